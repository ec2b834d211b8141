package main

import (
	"context"
	"fmt"
	"io"
	"runtime/debug"
	"sync/atomic"
	"time"

	"snapwatch/checker"
	"snapwatch/checker/format"
	"snapwatch/config"
)

// checkUnknown is the exit status of a check that could not read the state of the disks. The
// Monitoring Plugins guidelines require the status UNKNOWN also for help and usage errors.
const checkUnknown = int(checker.Unknown)

// checkCmd is `snapwatch check`.
type checkCmd struct {
	limitFlags
	Timeout seconds `short:"t" default:"8s" placeholder:"TIME" help:"Answer within this time, whatever zfs does (seconds or a duration; default ${default})."`

	filterFlags
	sourceFlags

	Format   string  `enum:"nagios,checkmk,json,table" default:"nagios" help:"What to print: nagios, checkmk, json or table."`
	Perfdata string  `enum:"summary,disks" default:"summary" help:"The performance data: summary, or disks, which adds each disk's age."`
	Quiet    bool    `short:"q" help:"Print nothing while all is well."`
	Changes  bool    `help:"For cron's mail: print only what began, got worse or better, or ended since this user's last check with the same limits, disks, owners and configuration."`
	Remind   seconds `default:"1d" placeholder:"TIME" help:"With --changes: after this time without output, print the faults that still exist (default ${default})."`
	Verbose  int     `short:"v" type:"counter" help:"Say more: the disks that are not well, with the reason; all disks (-vv); the commands run (-vvv)."`
}

// Help returns the long help text of `snapwatch check`.
func (checkCmd) Help() string {
	return `It also judges pools, and the runs of snap and prune on this host. It needs no root, and answers in time even while zfs hangs.
Exit status: 0 OK; 1 WARNING; 2 CRITICAL; 3 UNKNOWN. The worst counts, in the order CRITICAL,
UNKNOWN, WARNING, OK. Help, usage errors and finding no disk are 3, too.

EXAMPLES
  snapwatch check                       every disk
  snapwatch check -w 90m -c 4h --pool tank
  snapwatch check --vmid 100 -v         one guest, with the reasons
  snapwatch check --changes -v          for cron: a mail of each change
  snapwatch check --owners https://a:10191,https://b:10191

Without --owners, check believes that a guest is off while the newest snapshot of its disk ends
in _stopped. If replication dies and the guest then starts again, only its owner can tell.`
}

// Validate returns an error for --changes with a format that only programs read.
func (c *checkCmd) Validate() error {
	if c.Changes && c.Format != "nagios" && c.Format != "table" {
		return fmt.Errorf("--changes is for people, and --format %s for programs, which must be told each time; leave one out", c.Format)
	}
	return nil
}

// Run prints the result of check and returns the state, OK to UNKNOWN, as the exit status. Run
// always ends within the timeout.
func (c *checkCmd) Run(env *environment) error {
	begun := time.Now()
	var pings atomic.Pointer[[]config.Ping]
	said := &head{}
	listened := *env
	listened.Stdout = io.MultiWriter(env.Stdout, said)
	err := c.run(&listened, &pings, begun)
	if all := pings.Load(); all != nil && c.coversAll() {
		const least = 500 * time.Millisecond
		left := time.Duration(c.Timeout) - time.Since(begun)
		sendEnd(env, pingsOf(*all, "check"), said, err, min(max(left, least), pingTime))
	}
	return err
}

// coversAll reports whether the check covers all disks, and uses only the limits in the
// configuration. If a check covers only some disks, or has limits from the command line, it can be
// OK although a disk has a fault, so such a check sends no pings.
func (c *checkCmd) coversAll() bool {
	q := query{filterFlags: c.filterFlags}
	return q.filter().None() && len(c.Guest) == 0 && c.Warning == nil && c.Critical == nil
}

// run does the check without sending pings to a dead man's switch. As soon as run has read the
// configuration, run stores the configured pings in the argument `pings`.
func (c *checkCmd) run(env *environment, pings *atomic.Pointer[[]config.Ping], begun time.Time) error {
	left := func() time.Duration { return time.Duration(c.Timeout) - time.Since(begun) }
	var stage atomic.Value
	stage.Store("starting")
	results := make(chan result, 1)
	go func() { results <- c.guarded(env, pings, &stage, begun) }()

	timer := time.NewTimer(time.Duration(c.Timeout))
	defer timer.Stop()
	var r result
	select {
	case r = <-results:
	case <-timer.C:
		return c.unknown(env, left, fmt.Errorf("no answer within %s while %s", c.Timeout, stage.Load()))
	}
	if r.err != nil {
		return c.unknown(env, left, r.err)
	}
	if err := c.print(env.Stdout, r.report, left); err != nil {
		return c.unknown(env, left, err)
	}
	if state := r.report.State(); state != checker.OK {
		return &exit{code: int(state)}
	}
	return nil
}

// guarded runs the query of check. If the query panics, guarded returns a result with an error,
// because a monitoring system gets no message from a plugin that crashes.
func (c *checkCmd) guarded(env *environment, pings *atomic.Pointer[[]config.Ping], stage *atomic.Value, begun time.Time) (r result) {
	defer func() {
		if e := recover(); e != nil {
			_, _ = fmt.Fprintf(env.Stderr, "%s\n", debug.Stack())
			r = result{err: fmt.Errorf("internal error while %s: %v", stage.Load(), e)}
		}
	}()
	q := query{limitFlags: c.limitFlags, filterFlags: c.filterFlags, sourceFlags: c.sourceFlags, Timeout: time.Duration(c.Timeout), pings: pings}
	if c.Verbose > 2 {
		q.ran = &commands{}
	}
	return q.find(context.Background(), env, stage, begun)
}

// print prints the report of check, unless --quiet or --changes suppress it. Reading and writing
// the record of printed changes takes at most the time that the function `left` returns.
func (c *checkCmd) print(w io.Writer, r checker.Report, left func() time.Duration) error {
	switch {
	case c.Changes:
		return c.printChanges(w, r, left)
	case c.Quiet && r.State() == checker.OK:
		return nil
	}
	return c.write(w, r)
}

func (c *checkCmd) write(w io.Writer, r checker.Report) error {
	switch c.Format {
	case "checkmk":
		return format.Checkmk(w, r)
	case "json":
		return format.JSON(w, r)
	case "table":
		return format.Table{Disks: true}.Write(w, r)
	}
	return format.Nagios{Verbosity: c.Verbose, DiskPerfdata: c.Perfdata == "disks"}.Write(w, r)
}

// unknown prints the reason why the check found no result, in the chosen format.
func (c *checkCmd) unknown(env *environment, left func() time.Duration, err error) error {
	_ = c.print(env.Stdout, checker.Report{Now: env.Now(), Failure: err.Error()}, left)
	return &exit{code: checkUnknown}
}
