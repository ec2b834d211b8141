package main

import (
	"context"
	"fmt"
	"os/signal"
	"syscall"

	"snapwatch/config"
	"snapwatch/internal/report"
	"snapwatch/snapper/run"
)

// finalizeCmd is `snapwatch finalize`.
type finalizeCmd struct {
	Config string `placeholder:"FILE" help:"Read this configuration (default: ${config_path} if it is there)."`
}

// Help implements kong's HelpProvider.
func (finalizeCmd) Help() string {
	return `snapwatch-finalize.service runs it when the host shuts down, after the guests have stopped. Without
it, the disks of a host that is off alarm at the other sites. It does nothing unless systemd says that the
host shuts down and that pve-guests.service and pve-ha-lrm.service have ended, or if no snap ran
within the last day. Exit status: 0 done or nothing to do; 1 something failed; 2 nothing could be done.`
}

// Run implements the command.
func (c *finalizeCmd) Run(env *environment) error {
	cfg, err := env.loadConfig(c.Config)
	if err != nil {
		thawLeft(env, "plain")
		return &exit{2, err}
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	last, err := report.LastStart(env.StateDir)
	if err != nil {
		fmt.Fprintf(env.Stderr, "snapwatch: notice: the report of the last run is not used: %v\n", err)
	}
	if cfg.Role == "replica" {
		thawLeft(env, "plain")
		return nil
	}
	if why := env.local().Shutdown(ctx).Finalizes(last, env.Now()); why != "" {
		fmt.Fprintf(env.Stdout, "nothing to do: %s\n", why)
		return nil
	}
	if !env.Root {
		return &exit{2, errNotRoot}
	}
	plan, done, err := run.Run(ctx, run.Options{Config: cfg, Keep: config.Keep{}, Final: true, World: env.local(), Tell: problemTeller(env, "plain", false)})
	tellLocked(env, "plain", done)
	if err != nil {
		return &exit{2, err}
	}
	printActions(env.Stdout, actions(plan))
	if done.Failed() {
		return &exit{code: 1}
	}
	return nil
}
