package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"time"

	"snapwatch/internal/report"
	"snapwatch/internal/text"
	"snapwatch/internal/zfs"
	"snapwatch/snapper"
)

// If another run holds a pool's lock for longer than lockedTooLong, two intervals of cron, a mail
// reports the lock.
const lockedTooLong = 30 * time.Minute

// progress returns a function that prints the present step of a long run. If standard error is not
// a terminal, progress returns nil.
func (e *environment) progress() func(string) {
	if !e.Terminal {
		return nil
	}
	return func(text string) { fmt.Fprintf(e.Stderr, "snapwatch: %s\n", text) }
}

// tell prints the pools that another run has locked for too long, and then the steps of this run,
// in the chosen format.
func (c *snapCmd) tell(env *environment, plan snapper.Plan, done report.Run) error {
	tellLocked(env, c.LogFormat, done)
	if c.Format == "json" {
		out := json.NewEncoder(env.Stdout)
		out.SetIndent("", "  ")
		return out.Encode(struct {
			report.Run
			DryRun  bool     `json:"dry_run"`
			Actions []action `json:"actions"`
		}{done, c.DryRun, actions(plan)})
	}
	c.tellText(env, plan, done)
	return nil
}

// problemTeller returns a function that prints the problems of a run. At a terminal, or if the
// argument `all` is true, the function prints every problem. Otherwise the function prints only
// warnings, because cron sends a mail for each output.
func problemTeller(env *environment, logFormat string, all bool) func([]report.Problem) { //nolint:revive // as the user asks for it
	say := problemPrinter(env, logFormat)
	return func(problems []report.Problem) {
		for _, p := range problems {
			if p.Severity == report.Warning || env.Terminal || all {
				say(p.Severity, p.Text)
			}
		}
	}
}

func problemPrinter(env *environment, logFormat string) func(s report.Severity, text string) {
	if logFormat == "plain" {
		return func(s report.Severity, text string) { fmt.Fprintf(env.Stderr, "snapwatch: %s: %s\n", s, text) }
	}
	log := newLogger(env, logFormat, slog.LevelInfo)
	return func(s report.Severity, text string) {
		if s == report.Warning {
			log.Warn(text)
		} else {
			log.Info(text)
		}
	}
}

// tellLocked reports pools that another run has locked for too long. At a terminal, the run has
// already reported the locked pools.
func tellLocked(env *environment, logFormat string, done report.Run) {
	say := problemPrinter(env, logFormat)
	for _, p := range done.Pools {
		if !env.Terminal && !p.LockedSince.IsZero() && done.Start.Sub(p.LockedSince) > lockedTooLong {
			say(report.Warning, fmt.Sprintf("pool %s is locked by another run since %s", p.Pool, p.LockedSince.Local().Format(time.DateTime)))
		}
	}
}

// tellText prints the plan or the result at a terminal, with -v or for --dry-run. tellText also
// prints which disks of running guests are not protected by snapshots.
func (c *snapCmd) tellText(env *environment, plan snapper.Plan, done report.Run) {
	if c.DryRun || c.Verbose {
		printActions(env.Stdout, actions(plan))
	}
	if !env.Terminal && !c.Verbose && !c.DryRun {
		return
	}
	for _, u := range done.Unprotected {
		fmt.Fprintf(env.Stdout, "guest %d runs, and %s is not protected: %s\n", u.VMID, u.Volume, u.Reason)
	}
	if c.DryRun {
		return
	}
	tellQuiesced(env.Stdout, done)
	n := done.Counts
	fmt.Fprintf(env.Stdout, "%s made, %d destroyed, %s set, %s made, %s (%s)\n",
		text.Count(n[report.DidSnapshot], "snapshot"), n[report.DidDestroy], text.Count(n[report.DidLabel], "label"),
		text.Count(n[report.DidBookmark], "bookmark"), text.Count(n[report.DidFail], "failure"),
		done.End.Sub(done.Start).Round(100*time.Millisecond))
}

// snapStatus returns the exit status of snap for the report of a run. Away from a terminal, a pool
// that another run has locked counts as a failure only after lockedTooLong, so that cron sends no
// mail about a short lock.
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

// action is one step of a plan, or a disk that the plan does not change, with the reason.
type action struct {
	Do     string `json:"do"`
	Target string `json:"target"`
	Reason string `json:"reason,omitempty"`
}

// actions returns a plan's steps, in the order in which a run carries them out, and then the disks
// that the plan does not change.
func actions(plan snapper.Plan) []action {
	list := freezes(plan)
	for _, g := range plan.Guests {
		for _, d := range g.Disks {
			if d.Snapshot {
				reason := fmt.Sprintf("guest %d, %s", d.VMID, d.Reason)
				if d.Takes != "" {
					reason += "; " + d.Takes
				}
				list = append(list, action{"snapshot", d.Dataset + "@" + g.Snapshot, reason})
			}
			if d.Label != "" {
				list = append(list, action{"label", d.Dataset, "running=" + d.Label + ": " + d.Reason})
			}
			if d.Bookmark {
				list = append(list, action{"bookmark", d.Dataset + "#" + g.Snapshot, ""})
			}
		}
	}
	for _, dataset := range plan.InheritReceived {
		list = append(list, action{"inherit", dataset, "-S " + zfs.LabelRunning + ": the received value takes over"})
	}
	for _, b := range plan.Abandoned {
		list = append(list, action{"destroy", b.Dataset + "#" + b.Name, b.Reason})
	}
	for _, m := range plan.CreateBookmarks {
		list = append(list, action{"bookmark", m.Dataset + "#" + m.Name, "of an existing snapshot"})
	}
	for _, d := range plan.Destroys {
		list = append(list, action{"destroy", d.Dataset + "@" + d.Name, d.Reason})
	}
	for _, b := range plan.DestroyBookmarks {
		list = append(list, action{"destroy", b.Dataset + "#" + b.Name, "beyond the bookmarks kept"})
	}
	for _, n := range plan.Notes {
		if n.Result != snapper.Snapshotted && n.Dataset != "" {
			list = append(list, action{"leave", n.Dataset, string(n.Result) + ": " + n.Reason})
		}
	}
	return list
}

// printActions prints each action of a plan on a line of its own.
func printActions(w io.Writer, list []action) {
	for _, a := range list {
		if a.Reason == "" {
			fmt.Fprintf(w, "%-8s %s\n", a.Do, a.Target)
			continue
		}
		fmt.Fprintf(w, "%-8s %s: %s\n", a.Do, a.Target, a.Reason)
	}
}
