package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"snapwatch/config"
	"snapwatch/exporter"
	"snapwatch/internal/crontab"
	"snapwatch/internal/report"
	"snapwatch/internal/text"
	"snapwatch/snapper"
	"snapwatch/snapper/run"
)

// pruneCmd is `snapwatch prune`.
type pruneCmd struct {
	Keep []string `arg:"" optional:"" name:"retention" help:"What to keep, as for snap: f96 h48 d60 m24. A letter left out leaves that class alone. Default: keep in the configuration, where that says role: replica."`

	Config    string `placeholder:"FILE" help:"Read this configuration (default: ${config_path} if it is there)."`
	DryRun    bool   `help:"Print what would be destroyed, and why, and change nothing."`
	NoCron    bool   `help:"Run once with exactly the typed words, even if cron has other words."`
	Verbose   bool   `short:"v" help:"Print every action and its reason."`
	Textfile  string `placeholder:"FILE" help:"Also write the run's metrics to FILE, for node_exporter's textfile collector (FILE must end in .prom)."`
	LogFormat string `name:"log.format" enum:"plain,logfmt,json" default:"plain" help:"How to print problems on standard error: plain, logfmt or json."`
}

// Help implements kong's HelpProvider.
func (pruneCmd) Help() string {
	return `It leaves alone the disks of this node's guests, what is being received, and what
Proxmox replicates. Whatever the retention says, it keeps the newest snapshot of a
disk, the newest 3 of those that are the first of a day, and the newest 3 _stopped
ones: the source has bookmarks of these. Held and cloned ones stay, too.
Exit status: 0 done; 1 something failed, the rest was done; 2 nothing could be done.
If cron runs prune with other words, a run that you type uses cron's; --no-cron uses the words that
you typed, once. It never registers itself: snapwatch cron install --prune f96 h48 d60 m24 runs it hourly.`
}

// Run implements the command.
func (c *pruneCmd) Run(env *environment) error {
	cfg, keep, err := c.prepare(env)
	if err != nil {
		if !c.DryRun {
			thawLeft(env, c.LogFormat)
		}
		return &exit{2, err}
	}
	work := func(env *environment) error {
		return runChanging(env, func(ctx context.Context) error { return c.prune(ctx, env, cfg, keep) })
	}
	if c.DryRun {
		return work(env)
	}
	return withPing(env, cfg.Ping, "prune", work)
}

// prepare returns the configuration and the retention of a run of prune. If prune must not run, the
// returned error is the reason.
func (c *pruneCmd) prepare(env *environment) (config.Config, config.Keep, error) {
	cfg, keep, err := c.settings(env)
	if err != nil {
		return cfg, keep, err
	}
	if env.Typed && !c.DryRun && !c.NoCron {
		always := "cron install --prune " + crontab.Quote(c.words()[1:])
		if err := agree(env, pruneJob, c, always); err != nil {
			return cfg, keep, err
		}
		if cfg, keep, err = c.settings(env); err != nil {
			return cfg, keep, err
		}
	}
	if !env.Root {
		return cfg, keep, errors.New("prune must be run as root: channel programs need it")
	}
	return cfg, keep, nil
}

func (c *pruneCmd) prune(ctx context.Context, env *environment, cfg config.Config, keep config.Keep) error {
	options := env.options(cfg)
	options.Keep, options.DryRun, options.Tell = keep, c.DryRun, problemTeller(env, c.LogFormat, c.Verbose)
	if !c.DryRun {
		env.removeDrills(ctx)
	}
	plan, done, err := run.Prune(ctx, options)
	if err != nil {
		return &exit{2, err}
	}
	c.tell(env, plan, done)
	status := env.snapStatus(done)
	if c.Textfile != "" && !c.DryRun {
		if err := exporter.WritePruneTextfile(c.Textfile, done); err != nil {
			return &exit{max(status, 1), fmt.Errorf("--textfile: %w", err)}
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

// settings returns the configuration, and the retention by which prune destroys snapshots. The key
// `keep` of the configuration is the retention of prune only if the key `role` is replica;
// otherwise it is the retention of snap.
func (c *pruneCmd) settings(env *environment) (config.Config, config.Keep, error) {
	cfg, err := env.loadConfig(c.Config)
	if err != nil {
		return cfg, nil, err
	}
	if err := checkTextfile(c.Textfile); err != nil {
		return cfg, nil, err
	}
	if len(c.Keep) == 0 && cfg.Role == "replica" && cfg.Keep != nil {
		return cfg, cfg.Keep, nil
	}
	keep, err := config.ParseKeep(c.Keep)
	return cfg, keep, err
}

func (c *pruneCmd) flags() regularFlags {
	return regularFlags{&c.Keep, &c.Config, &c.Textfile, new(string)}
}

// words returns the command line of prune without the flags for a single run, such as --dry-run.
func (c *pruneCmd) words() []string {
	words := append([]string{"prune"}, c.Keep...)
	if c.Config != "" {
		words = append(words, "--config", c.Config)
	}
	if c.Textfile != "" {
		words = append(words, "--textfile", c.Textfile)
	}
	if c.Verbose {
		words = append(words, "-v")
	}
	return append(words, logFormatWords(c.LogFormat)...)
}

func (c *pruneCmd) tell(env *environment, plan snapper.Plan, done report.Run) {
	tellLocked(env, c.LogFormat, done)
	if c.DryRun || c.Verbose {
		printActions(env.Stdout, actions(plan))
	}
	if c.DryRun || !env.Terminal && !c.Verbose {
		return
	}
	n := done.Counts
	fmt.Fprintf(env.Stdout, "%s destroyed, %s (%s)\n", text.Count(n[report.DidDestroy], "snapshot"), text.Count(n[report.DidFail], "failure"), done.End.Sub(done.Start).Round(100*time.Millisecond))
}
