package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"syscall"
	"time"

	"snapwatch/config"
	"snapwatch/internal/report"
	"snapwatch/snapper"
)

// snapCmd is `snapwatch snap`.
type snapCmd struct {
	Keep []string `arg:"" optional:"" name:"retention" help:"What to keep: f48 h24 d30 w8 m12 y3 (frequently, hourly, daily, weekly, monthly, yearly). A letter left out leaves that class alone. Default: keep in the configuration."`

	Config  string `placeholder:"FILE" help:"Read this configuration (default: ${config_path} if it is there)."`
	DryRun  bool   `help:"Print what would be done, and why, and change nothing."`
	NoCron  bool   `help:"Do not register in cron. Only a run at a terminal ever does."`
	Adopt   bool   `help:"Take over disks of stopped guests that have managed snapshots but no label yet."`
	Node    string `placeholder:"NAME" help:"Refuse to run unless this node has this name."`
	Verbose bool   `short:"v" help:"Print every action and its reason."`
}

// Help implements kong's HelpProvider.
func (snapCmd) Help() string {
	return `Exit status: 0 done; 1 something failed, the rest was done; 2 nothing could be done.
From cron it is silent unless something failed. At a terminal it registers itself in
cron, every 15 minutes with the same words (see snapwatch cron --help).`
}

// lockedTooLong is for how long another run may hold a pool before that is worth a
// mail: two intervals of cron.
const lockedTooLong = 30 * time.Minute

// Run implements the command.
func (c *snapCmd) Run(env *environment) error {
	cfg, err := env.loadConfig(c.Config)
	if err != nil {
		return &exit{2, err}
	}
	keep := cfg.Keep
	if len(c.Keep) > 0 || keep == nil {
		if keep, err = config.ParseKeep(c.Keep); err != nil {
			return &exit{2, err}
		}
	}
	if !env.Root {
		return &exit{2, errors.New("snap must be run as root: channel programs need it")}
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer stop()
	plan, done, err := snapper.Run(ctx, snapper.Options{
		Config: cfg, Keep: keep, Node: c.Node, DryRun: c.DryRun, Adopt: c.Adopt,
		PVE: env.PVE, Kstat: env.Kstat, LockDir: env.LockDir, StateDir: env.StateDir, Now: env.Now,
	})
	if err != nil {
		return &exit{2, err}
	}
	if c.DryRun || c.Verbose {
		printPlan(env.Stdout, plan)
	}
	c.tell(env, done)
	status := env.snapStatus(done)
	if env.Terminal && !c.NoCron && !c.DryRun && !done.Nothing() {
		if err := register(env, c.words()); err != nil {
			return &exit{max(status, 1), fmt.Errorf("not registered in cron: %w", err)}
		}
	}
	if status != 0 {
		return &exit{code: status}
	}
	return nil
}

// tell prints the problems, and at a terminal what was done and what is not covered.
// From cron only what is worth a mail is printed.
func (c *snapCmd) tell(env *environment, done report.Run) {
	for _, p := range done.Problems {
		if p.Grade == report.Warning || env.Terminal || c.Verbose {
			fmt.Fprintf(env.Stderr, "snapwatch: %s: %s\n", p.Grade, p.Text)
		}
	}
	for _, p := range done.Pools {
		if !env.Terminal && !p.LockedSince.IsZero() && done.Start.Sub(p.LockedSince) > lockedTooLong {
			fmt.Fprintf(env.Stderr, "snapwatch: pool %s is locked by another run since %s\n", p.Pool, p.LockedSince.Local().Format(time.DateTime))
		}
	}
	if !env.Terminal && !c.Verbose && !c.DryRun {
		return
	}
	for _, u := range done.Unprotected {
		fmt.Fprintf(env.Stdout, "guest %d runs, and %s has no snapshots: %s\n", u.VMID, u.Volume, u.Reason)
	}
	if c.DryRun {
		return
	}
	n := done.Counts
	fmt.Fprintf(env.Stdout, "%d snapshots made, %d destroyed, %d labels set, %d bookmarks made, %d failures (%s)\n",
		n[report.DidSnapshot], n[report.DidDestroy], n[report.DidLabel], n[report.DidBookmark], n[report.DidFail],
		done.End.Sub(done.Start).Round(100*time.Millisecond))
}

// snapStatus is the exit status that goes with a report. Another run at work is
// nothing to be told by cron until it takes too long.
func (e *environment) snapStatus(done report.Run) int {
	locked := false
	for _, p := range done.Pools {
		if !p.LockedSince.IsZero() && (e.Terminal || done.Start.Sub(p.LockedSince) > lockedTooLong) {
			locked = true
		}
	}
	switch {
	case done.Nothing() && (done.Failed() || locked):
		return 2
	case done.Failed() || locked:
		return 1
	}
	return 0
}

// words is the command line to be repeated by cron.
func (c *snapCmd) words() []string {
	words := append([]string{"snap"}, c.Keep...)
	if c.Config != "" {
		words = append(words, "--config", absolute(c.Config))
	}
	if c.Node != "" {
		words = append(words, "--node", c.Node)
	}
	return words
}

// printPlan prints what is to be done, one line an action with its reason.
func printPlan(w io.Writer, plan snapper.Plan) {
	for _, g := range plan.Guests {
		for _, d := range g.Disks {
			if d.Snapshot {
				fmt.Fprintf(w, "snapshot %s@%s: guest %d, %s\n", d.Dataset, g.Snapshot, g.VMID, d.Reason)
			}
			if d.Label != "" {
				fmt.Fprintf(w, "label    %s: running=%s: %s\n", d.Dataset, d.Label, d.Reason)
			}
			if d.Bookmark {
				fmt.Fprintf(w, "bookmark %s#%s\n", d.Dataset, g.Snapshot)
			}
		}
	}
	for _, dataset := range plan.GiveBack {
		fmt.Fprintf(w, "label    %s: give way to the received value\n", dataset)
	}
	for _, d := range plan.Destroys {
		fmt.Fprintf(w, "destroy  %s@%s: %s\n", d.Dataset, d.Name, d.Reason)
	}
	for _, b := range plan.Unmark {
		fmt.Fprintf(w, "unmark   %s#%s: beyond the bookmarks kept\n", b.Dataset, b.Name)
	}
	for _, n := range plan.Notes {
		if n.Result != snapper.Snapshotted && n.Dataset != "" {
			fmt.Fprintf(w, "leave    %s: %s: %s\n", n.Dataset, n.Result, n.Reason)
		}
	}
}
