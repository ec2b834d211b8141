package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"snapwatch/config"
	"snapwatch/exporter"
	"snapwatch/internal/crontab"
	"snapwatch/internal/report"
	"snapwatch/snapper"
	"snapwatch/snapper/run"
)

// snapCmd is `snapwatch snap`.
type snapCmd struct {
	Keep []string `arg:"" optional:"" name:"retention" help:"What to keep: f48 h24 d30 w8 m12 y3 (frequently, hourly, daily, weekly, monthly, yearly). A letter left out leaves that class alone. Default: keep in the configuration, or else the words that cron runs snap with."`

	Config   string   `placeholder:"FILE" help:"Read this configuration (default: ${config_path} if it is there)."`
	DryRun   bool     `help:"Print what would be done, and why, and change nothing."`
	NoCron   bool     `xor:"cron" help:"Run once with exactly the typed words, and do not register them in cron. Only a run at a terminal registers its words."`
	Register bool     `xor:"cron" help:"Register the typed words in cron, even if cron has other words. This run still uses the words that cron had."`
	Adopt    []string `sep:"," placeholder:"VMID|DISK" help:"Take over these disks of stopped guests. snap leaves them alone otherwise, since they may be copies. Without a value: list such disks, each with the reason, and change nothing."`
	Node     string   `placeholder:"NAME" help:"Refuse to run unless this node has this name."`
	Verbose  bool     `short:"v" help:"Print every action and its reason."`

	Format    string `enum:"text,json" default:"text" help:"What to print on standard output: text, or json with the report and every action."`
	Textfile  string `placeholder:"FILE" help:"Also write the run's metrics to FILE, for node_exporter's textfile collector (FILE must end in .prom)."`
	LogFormat string `name:"log.format" enum:"plain,logfmt,json" default:"plain" help:"How to print problems on standard error: plain for people and mails, logfmt or json for a log."`
}

var errNoRetention = errors.New("no retention given; say what to keep, for example: f48 h24 d30")

var errNotRoot = errors.New("this must be run as root: channel programs need it")

// Help implements kong's HelpProvider.
func (snapCmd) Help() string {
	return `Exit status: 0 done; 1 something failed, the rest was done; 2 nothing could be done.
From cron it is silent unless something failed. At a terminal it registers itself in
cron, every 15 minutes with the same words (see snapwatch cron --help). If cron has other
words already, a run that you type uses cron's, so that a typing mistake destroys nothing that those keep.
--no-cron uses the words that you typed, once; --register writes them into cron for the next run.`
}

// Run implements the command.
func (c *snapCmd) Run(env *environment) error {
	cfg, keep, typed, err := c.prepare(env)
	if err != nil {
		if !c.DryRun && !c.lists() {
			thawLeft(env, c.LogFormat)
		}
		return &exit{2, err}
	}
	work := func(env *environment) error {
		return runChanging(env, func(ctx context.Context) error {
			return c.snap(ctx, env, cfg, keep, func(done report.Run) error { return typed.registers(env, done) })
		})
	}
	if c.DryRun || c.lists() {
		return work(env)
	}
	return withPing(env, cfg.Ping, "snap", work)
}

// lists reports whether the command has --adopt without a name. With --adopt and no name, the
// command lists the disks that can be adopted, and does nothing else.
func (c *snapCmd) lists() bool { return slices.Equal(c.Adopt, []string{nobody}) }

// prepare returns the configuration and the retention of a run of snap, and the command as the
// person typed it. The error is the reason why snap must not run.
func (c *snapCmd) prepare(env *environment) (cfg config.Config, keep config.Keep, typed snapCmd, err error) {
	cfg, keep, err = c.settings(env)
	if err == nil && keep == nil && c.Config == "" {
		if runs, _ := regularRuns(env, snapJob); len(runs) == 1 {
			c.asRegistered(env, runs[0])
			cfg, keep, err = c.settings(env)
		}
	}
	if err != nil {
		return cfg, keep, typed, err
	}
	if keep == nil {
		return cfg, keep, typed, errNoRetention
	}
	if err := checkTextfile(c.Textfile); err != nil {
		return cfg, keep, typed, err
	}
	typed = *c
	if env.Typed && !c.DryRun && !c.NoCron {
		always := crontab.Quote(c.words()) + " --register"
		if c.Register {
			always = ""
		}
		if err := agree(env, snapJob, c, always); err != nil {
			return cfg, keep, typed, err
		}
		if cfg, keep, err = c.settings(env); err != nil {
			return cfg, keep, typed, err
		}
	}
	if !env.Root {
		return cfg, keep, typed, errNotRoot
	}
	if len(c.Adopt) > 0 && !c.lists() && !env.Terminal && !c.DryRun {
		return cfg, keep, typed, errors.New("--adopt takes over disks that may be copies: run it at a terminal, once, and look at --adopt without a name first")
	}
	return cfg, keep, typed, nil
}

// thawLeft thaws the guests that earlier runs left frozen, and reports them. A command that refuses
// to run calls thawLeft, because it is unknown whether a later run will thaw the guests.
func thawLeft(env *environment, logFormat string) {
	if !env.Root {
		return
	}
	_ = runChanging(env, func(ctx context.Context) error {
		run.TakeOver(ctx, env.local(), problemTeller(env, logFormat, false))
		return nil
	})
}

// snap executes the run, and calls registers if the run changed something.
func (c *snapCmd) snap(ctx context.Context, env *environment, cfg config.Config, keep config.Keep, registers func(report.Run) error) error {
	lists := c.lists()
	options := env.options(cfg)
	options.Keep, options.Node, options.DryRun, options.Adopt = keep, c.Node, c.DryRun || lists, c.Adopt
	tell := problemTeller(env, c.LogFormat, c.Verbose)
	if !lists {
		options.Tell = tell
	}
	plan, done, err := run.Run(ctx, options)
	if !options.DryRun {
		env.removeDrills(ctx) // after the snapshots, because a pool that hangs may delay it
	}
	if err != nil {
		if lists {
			tell(done.Problems)
		}
		return &exit{2, err}
	}
	if lists {
		return listAdoptable(env.Stdout, plan)
	}
	if err := c.tell(env, plan, done); err != nil {
		return &exit{1, err}
	}
	status := env.snapStatus(done)
	for _, name := range c.Adopt {
		if !snapper.Knows(plan, name) {
			status = max(status, 1)
			fmt.Fprintf(env.Stderr, "snapwatch: nothing was adopted: no guest and no disk here is called %s (snapwatch snap --adopt lists the disks that can be)\n", name)
		}
	}
	if c.Textfile != "" && !c.DryRun {
		if err := exporter.WriteTextfile(c.Textfile, done); err != nil {
			return &exit{max(status, 1), fmt.Errorf("--textfile: %w", err)}
		}
	}
	if !c.DryRun && !done.Nothing() && ctx.Err() == nil {
		if err := registers(done); err != nil {
			return &exit{max(status, 1), fmt.Errorf("not registered in cron: %w", err)}
		}
	}
	if !c.DryRun {
		refreshDamage(ctx, env)
	}
	if status != 0 {
		return &exit{code: status}
	}
	return nil
}

// nobody is the placeholder for the missing name in --adopt, because kong cannot parse an empty
// list.
const nobody = "-"

// withAdopt replaces --adopt without a name by --adopt=nobody.
func withAdopt(args []string) []string {
	args = slices.Clone(args)
	for i, arg := range args {
		if arg == "--adopt" && (i == len(args)-1 || strings.HasPrefix(args[i+1], "-")) {
			args[i] = "--adopt=" + nobody
		}
	}
	return args
}

// listAdoptable prints the disks that a person may adopt with snap --adopt.
func listAdoptable(out io.Writer, plan snapper.Plan) error {
	any := false
	for _, n := range plan.Notes {
		if n.Adoptable {
			any = true
			fmt.Fprintf(out, "%s: %s\n", n.Dataset, n.Reason)
		}
	}
	if !any {
		fmt.Fprintln(out, "no disk of a stopped guest waits for --adopt")
	}
	return nil
}

// settings returns the configuration and the retention of snap. The retention is nil if neither the
// command line nor the configuration has one.
func (c *snapCmd) settings(env *environment) (config.Config, config.Keep, error) {
	cfg, err := env.loadConfig(c.Config)
	if err != nil || len(c.Keep) == 0 {
		return cfg, cfg.Keep, err
	}
	keep, err := config.ParseKeep(c.Keep)
	return cfg, keep, err
}

func (c *snapCmd) flags() regularFlags { return regularFlags{&c.Keep, &c.Config, &c.Textfile, &c.Node} }

// words returns the command line of snap without the flags for a single run, such as --dry-run.
func (c *snapCmd) words() []string {
	words := append([]string{"snap"}, c.Keep...)
	if c.Config != "" {
		words = append(words, "--config", c.Config)
	}
	if c.Textfile != "" {
		words = append(words, "--textfile", c.Textfile)
	}
	if c.Node != "" {
		words = append(words, "--node", c.Node)
	}
	if c.Format != "text" {
		words = append(words, "--format", c.Format)
	}
	if c.Verbose {
		words = append(words, "-v")
	}
	return append(words, logFormatWords(c.LogFormat)...)
}

func logFormatWords(format string) []string {
	if format == "plain" {
		return nil
	}
	return []string{"--log.format", format}
}
