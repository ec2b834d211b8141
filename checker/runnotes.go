package checker

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"snapwatch/internal/report"
	"snapwatch/internal/text"
)

// Runs is the information about the runs of snap, or of prune, on this host.
type Runs struct {
	// Last is the report of the last run, nil if there is no report. Problem says why the report
	// of the last run could not be read, "" if it was read.
	Last    *report.Run
	Problem string
	// Expected is true if a timer or cron starts the command regularly on this host.
	Expected bool
	// Limit is the time since the end of the last good run above which a run is late. Up is the
	// time since this host started, 0 if unknown. A run counts as late only if Up is unknown or
	// greater than Limit.
	Limit, Up time.Duration
}

// Age returns the time since the last good run ended, and whether this time is known. If the last
// good run ended in the future, the time since its end counts as unknown.
func (r Runs) Age(now time.Time) (age time.Duration, known bool) {
	if r.Last == nil {
		return 0, false
	}
	good := r.Last.SuccessBefore(now)
	return now.Sub(good), !good.IsZero()
}

// RunAge is the time since the last good run of a command ended, for performance data.
type RunAge struct {
	Command    string
	Age, Limit time.Duration
}

// RunAges returns the known ages of the last good runs of snap and prune, without a command that is
// not registered on this host.
func RunAges(snap, prune Runs, now time.Time) []RunAge {
	var ages []RunAge
	for _, r := range []struct {
		Runs
		command string
	}{{snap, "snap"}, {prune, "prune"}} {
		if age, known := r.Age(now); known && r.Expected {
			ages = append(ages, RunAge{r.command, age, r.Limit})
		}
	}
	return ages
}

// RunNotes returns alarms about the last runs of snap and prune on this host.
func RunNotes(snap, prune Runs, now time.Time) []Note {
	notes := append(snap.lateAlarm("snap", Critical, now), prune.lateAlarm("prune", Warning, now)...)
	add := func(s State, subject, kind, format string, args ...any) {
		notes = append(notes, Note{State: s, Text: fmt.Sprintf(format, args...), Subject: subject, kind: kind, whole: true})
	}
	last := snap.Last
	if last == nil {
		return notes
	}
	if frozen := last.LeftFrozen; len(frozen) > 0 {
		add(Critical, "about frozen guests", fmt.Sprint(slices.Sorted(slices.Values(frozen))), "%s may be frozen still (%s): snapwatch snap thaws them, or says how", text.Count(len(frozen), "guest"), numbers(frozen))
	}
	counts := last.UnprotectedByKind()
	var kinds, lacking []string
	for _, kind := range report.Kinds() {
		if n := counts[kind]; n > 0 {
			kinds, lacking = append(kinds, fmt.Sprint(kind)), append(lacking, fmt.Sprintf("%d %s", n, kind))
		}
	}
	if len(kinds) > 0 {
		add(Warning, "about disks without snapshots", strings.Join(kinds, ", "), "no snapshot covers disks of running guests (%s): snapwatch snap --dry-run -v names them", strings.Join(lacking, ", "))
	}
	if last.Locked > 0 {
		add(Warning, "about locked guests", "", "%s locked for long, so no snapshot of a locked guest is rotated: snapwatch snap --dry-run -v names the guests", text.Count(last.Locked, "guest"))
	}
	for _, pool := range slices.Sorted(maps.Keys(last.Rooms)) {
		if short := last.Rooms[pool].Short; short != "" { // the pool's own verdict says whether the pool is full
			add(Warning, "about the room in pool "+pool, "", "pool %s: %s", pool, short)
		}
	}
	return notes
}

// lateAlarm returns an alarm if a registered command had no good run for too long.
func (r Runs) lateAlarm(command string, state State, now time.Time) []Note {
	if !r.Expected {
		return nil
	}
	age, known := r.Age(now)
	var words, kind string
	switch {
	case r.Problem != "":
		kind = "unreadable"
		words = fmt.Sprintf("the report of %s cannot be read: %s", command, r.Problem)
	case !known && r.Last != nil && !r.Last.End.IsZero() && !r.Last.End.After(now):
		kind = "no good run"
		words = fmt.Sprintf("the last run of %s failed, and no good run is known: snapwatch cron status; snapwatch %s --dry-run -v", command, command)
	case !known:
		kind = "no good run"
		words = fmt.Sprintf("%s is registered here and had no good run yet: snapwatch cron status; snapwatch %s --dry-run", command, command)
		state = Warning // the command may have been registered just now
	case age > r.Limit && (r.Up == 0 || r.Up > r.Limit):
		kind = "late"
		words = fmt.Sprintf("the last good run of %s ended %s ago (limit %s): snapwatch cron status; snapwatch %s --dry-run -v", command, text.Age(age), text.Age(r.Limit), command)
	default:
		return nil
	}
	return []Note{{State: state, Text: words, Subject: "about the runs of " + command, kind: kind, whole: true}}
}

// numbers returns the first VMIDs of a list in words, with the number of the remaining VMIDs.
func numbers(vmids []int) string {
	var words []string
	for _, vmid := range slices.Sorted(slices.Values(vmids)) {
		words = append(words, fmt.Sprint(vmid))
	}
	return firstNames(words)
}
