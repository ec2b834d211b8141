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
	"snapwatch/checker/scan"
	"snapwatch/internal/zfs"
)

// explainCmd is `snapwatch explain`.
type explainCmd struct {
	Words []string `arg:"" name:"guest-or-disk" help:"A guest: its number or name. Or a disk: its dataset or last component (vm-100-disk-0), or a shell pattern."`
	sourceFlags

	Timeout seconds `short:"t" default:"30s" placeholder:"TIME" help:"Wait for zfs and the other sites no longer than this (default ${default})."`
	Format  string  `enum:"text,json" default:"text" help:"What to print: text, or json like that of check, with the explanation of each guest."`
}

// Help returns the long help text of `snapwatch explain`.
func (explainCmd) Help() string {
	return `For a guest: whether it can be started here, as of when, what is lost since then, whether its
disks are encrypted and the key is loaded, how much room there is, how the pool is, and the
commands that bring its disks up beside the copies and take them away again. explain runs none
of these commands.
For a disk: what each site has of it, between which two sites its snapshots got stuck, which
limit applies, when a snapshot last arrived, whether a receive is pending, and what to do next.
It needs no root. With --owners, or owners: in the configuration, it asks the nodes
that may own the guest. Without, it knows only this host.

EXAMPLES
  snapwatch explain 100
  snapwatch explain vm-100-disk-0
  snapwatch explain tank/data/vm-100-disk-0 --owners https://a:10191`
}

// Run prints an explanation of each guest and disk named on the command line.
func (c *explainCmd) Run(env *environment) error {
	var stage atomic.Value
	stage.Store("starting")
	return runReading(time.Duration(c.Timeout), &stage, func(ctx context.Context) error { return c.explain(ctx, env, &stage) })
}

func (c *explainCmd) explain(ctx context.Context, env *environment, stage *atomic.Value) error {
	begun := time.Now()
	guests, disks := splitWords(c.Words)
	q := query{sourceFlags: c.sourceFlags, Timeout: time.Duration(c.Timeout)}
	if len(guests) == 0 {
		q.Disk = disks // the explanation of a guest needs all disks of the guest
	}
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
	var unmatched []string
	var named checker.Report // the guests and disks that the arguments select
	for _, word := range guests {
		of := checker.Filter{Guests: []string{word}}.Apply(r.report)
		if len(of.Guests) == 0 {
			unmatched = append(unmatched, "guest "+word)
		}
		named.Guests = append(named.Guests, of.Guests...)
	}
	for _, word := range disks {
		of := checker.Filter{Disks: []string{word}}
		found := slices.DeleteFunc(slices.Clone(r.report.Disks), func(d checker.Result) bool { return !of.Selects(d.Disk) })
		if len(found) == 0 {
			unmatched = append(unmatched, word)
		}
		named.Disks = append(named.Disks, found...)
	}
	stage.Store("looking up the room and the keys for the guests' disks")
	v := c.volumes(ctx, env, named.Guests, begun)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := c.print(env, r, named, v); err != nil {
		return err
	}
	if len(unmatched) > 0 {
		return fmt.Errorf("no disk matches %s; snapwatch status lists the disks", strings.Join(unmatched, ", "))
	}
	return nil
}

// splitWords divides the arguments of explain into arguments that name guests and arguments that
// name disks. An argument names a disk if it is a disk's name, such as vm-100-disk-0, or contains a
// slash or a shell pattern.
func splitWords(words []string) (guests, disks []string) {
	for _, word := range words {
		if _, _, disk := zfs.ParseDiskName(zfs.Base(word)); disk || strings.ContainsAny(word, "/*?[") {
			disks = append(disks, word)
		} else {
			guests = append(guests, word)
		}
	}
	return guests, disks
}

// volumes reads the properties of the guests' disks that explain prints but that the report does
// not have.
func (c *explainCmd) volumes(ctx context.Context, env *environment, guests []checker.Guest, begun time.Time) checker.Volumes {
	var datasets []string
	for _, g := range guests {
		datasets = append(datasets, g.Disks...)
		for _, d := range g.Disks {
			datasets = append(datasets, g.StartNames(zfs.Pool(d))...)
		}
	}
	slices.Sort(datasets)
	datasets = slices.Compact(datasets)
	if c.From != "" {
		unknown := checker.Volumes{Problems: map[string]string{}}
		for _, d := range datasets {
			unknown.Problems[zfs.Pool(d)] = "an exporter does not report the encryption; on the exporter's host, run explain without --from"
		}
		return unknown
	}
	limit := time.Duration(c.Timeout)
	ctx, cancel := context.WithDeadline(ctx, begun.Add(limit-min(limit/16, 250*time.Millisecond))) // reading the report took less time
	defer cancel()
	scanner := scan.Scanner{Kstat: env.Kstat, LockDir: env.LockDir, Now: env.Now}
	return scanner.Volumes(ctx, datasets)
}

// print prints the explanations of the guests and disks that were named on the command line.
func (c *explainCmd) print(env *environment, r result, named checker.Report, v checker.Volumes) error {
	var explained []checker.GuestExplanation
	for _, g := range named.Guests {
		explained = append(explained, checker.ExplainGuest(r.report, g, r.ownGuest(g), v))
		if c.Format == "json" {
			named.Disks = append(named.Disks, r.disksOf(g)...)
		}
	}
	if c.Format == "json" {
		named.Now = r.report.Now
		doc := named.Document()
		for i, e := range explained {
			doc.Guests[i] = e.Document()
		}
		return format.Document(env.Stdout, doc)
	}
	printed := false
	gap := func() {
		if printed {
			fmt.Fprintln(env.Stdout)
		}
		printed = true
	}
	for _, e := range explained {
		gap()
		if err := format.GuestExplanation(env.Stdout, env.table(), e, r.report.Now); err != nil {
			return err
		}
	}
	for _, d := range named.Disks {
		gap()
		explanation := checker.Explain(d, r.evidence[d.Dataset])
		if r.own(d.Disk) {
			explanation = checker.ExplainOwn(d)
		}
		unbroken := format.Table{Colour: env.table().Colour} // the terminal wraps the lines of an explanation, so they are not cut
		if err := format.Explanation(env.Stdout, unbroken, explanation, r.report.Now); err != nil {
			return err
		}
	}
	return nil
}
