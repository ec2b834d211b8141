package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"snapwatch/checker"
	"snapwatch/checker/format"
)

// explainCmd is `snapwatch explain`.
type explainCmd struct {
	Disk []string `arg:"" help:"The disk: its dataset or last component (vm-100-disk-0), or a shell pattern."`
	sourceFlags

	Timeout seconds `short:"t" default:"30s" placeholder:"TIME" help:"Wait for zfs and the other sites no longer than this (default ${default})."`
}

// Help is the long help of the command.
func (explainCmd) Help() string {
	return `What each site has of the disk, which hop broke, by which limit it is judged, when a
snapshot last came here, whether a receive is pending, and what to do next.
It needs no root. With --owners, or owners: in the configuration, it asks the nodes
that may own the guest; without, it knows only this host.

EXAMPLES
  snapwatch explain vm-100-disk-0
  snapwatch explain tank/data/vm-100-disk-0 --owners https://pve1.example:10191`
}

// Run prints an explanation for each disk that is asked for.
func (c *explainCmd) Run(env *environment) error {
	var stage atomic.Value
	stage.Store("starting")
	return reading(time.Duration(c.Timeout), &stage, func(ctx context.Context) error { return c.explain(ctx, env, &stage) })
}

func (c *explainCmd) explain(ctx context.Context, env *environment, stage *atomic.Value) error {
	begun := time.Now()
	q := query{filterFlags: filterFlags{Disk: c.Disk}, sourceFlags: c.sourceFlags, Timeout: time.Duration(c.Timeout), whose: true}
	r := q.find(ctx, env, stage, begun)
	switch {
	case r.err != nil:
		return r.err
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	for _, p := range r.report.Pools {
		if p.Reason != "" {
			fmt.Fprintf(env.Stderr, "snapwatch: pool %s: %s\n", p.Name, p.Reason)
		}
	}
	unbroken := format.Table{Colour: env.table().Colour} // its lines are wrapped, not cut
	for n, d := range r.report.Disks {
		if n > 0 {
			fmt.Fprintln(env.Stdout)
		}
		explanation := checker.Explain(d, r.evidence[d.Dataset])
		if r.own(d.Disk) {
			explanation = checker.ExplainOwn(d)
		}
		if err := format.Explanation(env.Stdout, unbroken, explanation, r.report.Now); err != nil {
			return err
		}
	}
	var unmatched []string
	for _, name := range c.Disk {
		if !slices.ContainsFunc(r.report.Disks, func(d checker.Result) bool { return checker.Filter{Disks: []string{name}}.Selects(d.Disk) }) {
			unmatched = append(unmatched, name)
		}
	}
	if len(unmatched) > 0 {
		return fmt.Errorf("no disk matches %s; snapwatch status lists the disks", strings.Join(unmatched, ", "))
	}
	return nil
}
