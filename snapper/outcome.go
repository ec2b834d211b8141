package snapper

import (
	"cmp"
	"slices"

	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
)

// Outcome is the result of a plan's steps on one disk.
type Outcome struct {
	Snapshot string // the name of the disk's new snapshot, "" if the run took none
	TXG      uint64 // the transaction group of the new snapshot, 0 if the run took none
	Err      error
	NoSpace  bool
	// Config is the configuration that the new snapshot keeps, nil if it keeps none.
	Config *Capture
	// Left is the reason why this run postponed the planned steps on the disk although nothing
	// failed, "" if the run postponed nothing. Living is true if Left has a reason and the disk's
	// guest lives, so that a living guest got no new snapshot.
	Left   string
	Living bool
	// Wrong is true if the run took a _stopped snapshot of the disk although its guest runs. Then
	// Left has the reason.
	Wrong bool
}

// Allowed returns the snapshots of the pool that may be destroyed after the new snapshots were
// taken. The run destroys the snapshots in `now` first. The run destroys the snapshots in `waiting`
// afterwards, until it has reached max_destroys. If the new snapshot of a disk failed, snapshots of
// this disk may be destroyed only if the cause of the failure was lack of space. If a disk's new
// snapshot failed for lack of space, Allowed returns the snapshots that the retention would drop
// without the new snapshot.
func (p PoolPlan) Allowed(outcomes map[string]Outcome) (now, waiting []Destroy) {
	allowed := func(due []Destroy) (list []Destroy) {
		for _, d := range due {
			o := outcomes[d.Dataset]
			if o.Err != nil || o.Left != "" || d.AfterNew && o.Snapshot == "" {
				continue
			}
			if d.AfterNew {
				d.Keepers = append(slices.Clone(d.Keepers), o.Snapshot)
			}
			list = append(list, d)
		}
		return list
	}
	now, waiting = allowed(p.Destroys), allowed(p.Waiting)
	full := filter(p.FullDestroys, func(d Destroy) bool { return outcomes[d.Dataset].NoSpace })
	room := min(len(full), len(p.Destroys)-len(now))
	now, waiting = append(now, full[:room]...), append(waiting, full[room:]...)
	OldestFirst(waiting)
	return now, waiting
}

// AllowedBookmarks returns the bookmarks of the pool that may be destroyed after the new snapshots
// were taken. If the new snapshot of a disk failed, bookmarks of this disk may be destroyed only if
// the cause of the failure was lack of space.
func (p PoolPlan) AllowedBookmarks(outcomes map[string]Outcome) []zfs.Snapshot {
	return filter(p.DestroyBookmarks, func(b zfs.Snapshot) bool {
		o := outcomes[b.Dataset]
		return o.Err == nil && o.Left == "" || o.NoSpace
	})
}

// Fail records the error as the outcome of each disk of a guest, because the run did no planned
// step on these disks.
func Fail(outcomes map[string]Outcome, g GuestPlan, err error, noSpace bool) {
	for _, d := range g.Disks {
		outcomes[d.Dataset] = Outcome{Err: err, NoSpace: noSpace}
	}
}

// Without returns a copy of the plan that lacks the snapshots of the living guests in the argument
// `failed`, whose hooks failed. The second result has, for each disk of a guest in `failed`, the
// outcome that the snapshot of the disk failed, so that no snapshot of the disk is destroyed. If a
// guest in `failed` is a member of a group, the group's remaining members get their snapshots all
// the same.
func (p Plan) Without(failed map[int]error) (Plan, map[string]Outcome) {
	refused, ready := map[string]Outcome{}, p
	ready.Guests = nil
	for _, g := range p.Guests {
		disks := g.Disks
		g.Disks = nil
		for _, d := range disks {
			if err := failed[d.VMID]; err != nil && !g.final() {
				refused[d.Dataset] = Outcome{Err: err}
			} else {
				g.Disks = append(g.Disks, d)
			}
		}
		g.Freeze = slices.DeleteFunc(slices.Clone(g.Freeze), func(f Freeze) bool { return failed[f.VMID] != nil })
		if len(g.Disks) > 0 {
			ready.Guests = append(ready.Guests, g)
		}
	}
	return ready, refused
}

// ToldOnce returns the plan, in which no note about a single disk is a warning any more. ToldOnce
// is for a run that could not read Proxmox's live list of running guests, because this run reports
// the failure once for all disks.
func (p Plan) ToldOnce() Plan {
	p.Notes = slices.Clone(p.Notes)
	for i := range p.Notes {
		if n := &p.Notes[i]; n.Dataset != "" && n.Severity == report.Warning {
			n.Severity = report.Info
		}
	}
	return p
}

// Report returns the result of the plan for each disk, sorted by dataset, and the problems to
// report to a person.
func (p Plan) Report(outcomes map[string]Outcome) ([]report.Disk, []report.Problem) {
	var disks []report.Disk
	var problems []report.Problem
	// If one disk fails, the run undoes the steps on all disks of the guest, and all these disks
	// have the same error.
	said := map[string]bool{}
	note := func(p report.Problem) {
		if !said[p.Text] {
			said[p.Text] = true
			problems = append(problems, p)
		}
	}
	tell := func(severity report.Severity, text string) { note(report.Problem{Severity: severity, Text: text}) }
	for _, n := range p.Notes {
		if n.Dataset == "" {
			tell(n.Severity, n.Reason)
			continue
		}
		if n.Severity == report.Notice || n.Severity == report.Warning {
			tell(n.Severity, n.Dataset+": "+n.Reason)
		}
		o := outcomes[n.Dataset]
		d := report.Disk{Dataset: n.Dataset, VMID: n.VMID, Result: string(n.Result), Reason: n.Reason, Snapshot: o.Snapshot}
		switch {
		case o.Err != nil:
			d.Result, d.Error = string(Unprotected), o.Err.Error()
			note(report.ProblemOf(report.Warning, o.Err))
		case o.Left != "":
			d.Result, d.Reason = string(Untouched), o.Left
			if o.Living {
				d.Result = string(Unprotected)
			}
			severity := report.Notice
			if o.Wrong {
				severity = report.Warning
			}
			tell(severity, o.Left)
		}
		disks = append(disks, d)
	}
	slices.SortFunc(disks, func(a, b report.Disk) int { return cmp.Compare(a.Dataset, b.Dataset) })
	return disks, problems
}
