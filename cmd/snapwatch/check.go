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
)

// checkUnknown is the exit status of a check that could not find out, the one for
// its help and its usage errors, too (Monitoring Plugins guidelines).
const checkUnknown = int(checker.Unknown)

// checkCmd is `snapwatch check`.
type checkCmd struct {
	limitFlags
	Timeout seconds `short:"t" default:"8s" placeholder:"TIME" help:"Answer within this time, whatever zfs does (seconds or a duration; default ${default})."`

	filterFlags
	sourceFlags

	Format   string `enum:"nagios,checkmk,json,table" default:"nagios" help:"nagios, checkmk, json or table."`
	Perfdata string `enum:"summary,disks" default:"summary" help:"disks adds each disk's age to the performance data."`
	Quiet    bool   `short:"q" help:"Print nothing while all is well."`
	Verbose  int    `short:"v" type:"counter" help:"Say more: the disks that are not well with the reason, all disks (-vv), the commands run (-vvv)."`
}

// Help is the long help of the command.
func (checkCmd) Help() string {
	return `EXIT STATUS
  0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN; the worst of all disks counts, in the order
  CRITICAL, UNKNOWN, WARNING, OK. Help and usage errors are 3, and so is finding no disk.

EXAMPLES
  snapwatch check                          every disk, with the limits of the configuration
  snapwatch check -w 90m -c 4h --pool tank
  snapwatch check --vmid 100 -v            one guest, with the reasons
  snapwatch check --owners https://pve1.example:10191,https://pve2.example:10191

WITHOUT --owners a disk whose newest snapshot ends in _stopped is believed to be off.
If replication dies meanwhile and the guest starts again, only its owner can tell.`
}

// Run prints the check's result and ends with its state. Whatever happens, it
// answers in time and with a state.
func (c *checkCmd) Run(env *environment) error {
	begun := time.Now()
	var stage atomic.Value
	stage.Store("starting")
	results := make(chan result, 1)
	go func() { results <- c.guarded(env, &stage, begun) }()

	timer := time.NewTimer(time.Duration(c.Timeout))
	defer timer.Stop()
	var r result
	select {
	case r = <-results:
	case <-timer.C:
		return c.unknown(env, fmt.Errorf("no answer within %s while %s", c.Timeout, stage.Load()))
	}
	if r.err != nil {
		return c.unknown(env, r.err)
	}
	if err := c.print(env.Stdout, r.report); err != nil {
		return c.unknown(env, err)
	}
	if state := r.report.State(); state != checker.OK {
		return &exit{code: int(state)}
	}
	return nil
}

// guarded turns a panic into an answer: a plugin that dies says nothing.
func (c *checkCmd) guarded(env *environment, stage *atomic.Value, begun time.Time) (r result) {
	defer func() {
		if e := recover(); e != nil {
			_, _ = fmt.Fprintf(env.Stderr, "%s\n", debug.Stack())
			r = result{err: fmt.Errorf("internal error while %s: %v", stage.Load(), e)}
		}
	}()
	q := query{limitFlags: c.limitFlags, filterFlags: c.filterFlags, sourceFlags: c.sourceFlags, Timeout: time.Duration(c.Timeout)}
	if c.Verbose > 2 {
		q.ran = &commands{}
	}
	return q.find(context.Background(), env, stage, begun)
}

func (c *checkCmd) print(w io.Writer, r checker.Report) error {
	if c.Quiet && r.State() == checker.OK {
		return nil
	}
	switch c.Format {
	case "checkmk":
		return format.Checkmk(w, r)
	case "json":
		return format.JSON(w, r)
	case "table":
		return format.Table{}.Write(w, r)
	}
	return format.Nagios{Verbosity: c.Verbose, DiskPerfdata: c.Perfdata == "disks"}.Write(w, r)
}

// unknown prints why nothing was found out, in the form that is read.
func (c *checkCmd) unknown(env *environment, err error) error {
	_ = c.print(env.Stdout, checker.Report{Now: env.Now(), Failure: err.Error()})
	return &exit{code: checkUnknown}
}
