package main

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"snapwatch/internal/doctor"
)

// doctorCmd is `snapwatch doctor`.
type doctorCmd struct {
	Config string `placeholder:"FILE" help:"Read this configuration (default: ${config_path} if it is there)."`
}

// Help implements kong's HelpProvider.
func (doctorCmd) Help() string {
	return `It changes nothing. Run it as root on a Proxmox node, as any user elsewhere.
Exit status: 0 all is well; 1 something should be looked at; 2 something does not work.
It waits 15 seconds for each thing that does not answer, and 90 seconds in all.`
}

// doctorTimeout is the longest time that doctor may take. partTimeout is the longest time that one
// of doctor's readings may take, such as the reading of the pools, so that a reading that hangs
// leaves time for the other readings.
const (
	doctorTimeout = 90 * time.Second
	partTimeout   = 15 * time.Second
)

// Run implements the command.
func (c *doctorCmd) Run(env *environment) error {
	var stage atomic.Value
	var findings []doctor.Finding
	err := runReading(doctorTimeout, &stage, func(ctx context.Context) error {
		findings = doctor.Judge(c.read(ctx, env, &stage))
		return nil
	})
	if err != nil {
		return err
	}
	for _, f := range findings {
		fmt.Fprintf(env.Stdout, "%-8s %-14s %s\n", f.Status, f.Topic, oneLine(f.Text))
		if f.Do != "" {
			fmt.Fprintf(env.Stdout, "%24s-> %s\n", "", f.Do)
		}
	}
	if worst := doctor.Worst(findings); worst != doctor.OK {
		return &exit{code: int(worst)}
	}
	return nil
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
