package snapper

import (
	"cmp"
	"slices"

	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
)

// Outcome is what became of a disk's part of the plan.
type Outcome struct {
	Snapshot string // the name it got, "" if none
	TXG      uint64 // that in which it was made, 0 if none was
	Err      error
	NoSpace  bool
	// Config is the configuration that the snapshot keeps, nil for none.
	Config *Capture
	// Left is why the disk was left alone after all, without any fault. Living is true where
	// its guest lives, and has no snapshot then.
	Left   string
	Living bool
}

// Allowed returns what may be destroyed in the pool after all, now and once the run knows that
// it may destroy more: nothing of a disk whose new snapshot failed, unless for lack of space,
// where the policy is applied as if the snapshot had not been planned.
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

// AllowedBookmarks returns which bookmarks may be destroyed in the pool after all: none of a
// disk whose new snapshot failed, unless for lack of space.
func (p PoolPlan) AllowedBookmarks(outcomes map[string]Outcome) []zfs.Snapshot {
	return filter(p.DestroyBookmarks, func(b zfs.Snapshot) bool {
		o := outcomes[b.Dataset]
		return o.Err == nil && o.Left == "" || o.NoSpace
	})
}

// Fail notes that what was planned for the disks of a guest was not done, and why.
func Fail(outcomes map[string]Outcome, g GuestPlan, err error, noSpace bool) {
	for _, d := range g.Disks {
		outcomes[d.Dataset] = Outcome{Err: err, NoSpace: noSpace}
	}
}

// Without leaves out the snapshots of living guests whose hook failed, and what would have
// hung on them: to the rest of the plan their disks are ones whose snapshot failed. The
// other members of such a guest's group get theirs.
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

// ToldOnce returns the plan without the warnings of single disks: Proxmox could not be asked
// which guests run, and that is told once.
func (p Plan) ToldOnce() Plan {
	p.Notes = slices.Clone(p.Notes)
	for i := range p.Notes {
		if n := &p.Notes[i]; n.Dataset != "" && n.Severity == report.Warning {
			n.Severity = report.Info
		}
	}
	return p
}

// Report returns what the plan and its outcomes mean for each disk, in order, and what is to
// be told of them.
func (p Plan) Report(outcomes map[string]Outcome) ([]report.Disk, []report.Problem) {
	var disks []report.Disk
	var problems []report.Problem
	said := map[string]bool{} // one failure undoes all disks of a guest
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
			tell(report.Notice, o.Left)
		}
		disks = append(disks, d)
	}
	slices.SortFunc(disks, func(a, b report.Disk) int { return cmp.Compare(a.Dataset, b.Dataset) })
	return disks, problems
}
