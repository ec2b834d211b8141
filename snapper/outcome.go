package snapper

import (
	"slices"

	"snapwatch/internal/zfs"
)

// Outcome is what became of a disk's part of the plan.
type Outcome struct {
	Snapshot string // the name it got, "" if none
	Err      error
	NoSpace  bool
}

// Allowed returns what may be destroyed in the pool after all: nothing of a disk
// whose new snapshot failed, unless for lack of space, where the policy is applied
// as if the snapshot had not been planned.
func Allowed(plan Plan, pool string, outcomes map[string]Outcome) []Destroy {
	var list []Destroy
	for _, d := range plan.Destroys {
		made := outcomes[d.Dataset].Snapshot
		if zfs.Pool(d.Dataset) != pool || outcomes[d.Dataset].Err != nil || d.AfterNew && made == "" {
			continue
		}
		if d.AfterNew {
			d.Keepers = append(slices.Clone(d.Keepers), made)
		}
		list = append(list, d)
	}
	for _, d := range plan.FullDestroys {
		if zfs.Pool(d.Dataset) == pool && outcomes[d.Dataset].NoSpace {
			list = append(list, d)
		}
	}
	return list
}

// Fail notes that what was planned for the disks of a guest was not done, and why.
func Fail(outcomes map[string]Outcome, g GuestPlan, err error, noSpace bool) {
	for _, d := range g.Disks {
		outcomes[d.Dataset] = Outcome{Err: err, NoSpace: noSpace}
	}
}

// Without leaves out the snapshots of guests whose hook failed, and what would have
// hung on them: to the rest of the plan their disks are ones whose snapshot failed. The
// other members of such a guest's group get theirs.
func (p Plan) Without(failed map[int]error) (Plan, map[string]Outcome) {
	refused, ready := map[string]Outcome{}, p
	ready.Guests = nil
	for _, g := range p.Guests {
		disks := g.Disks
		g.Disks = nil
		for _, d := range disks {
			if err := failed[d.VMID]; err != nil {
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
	untouched := func(d Destroy) bool { _, is := refused[d.Dataset]; return is }
	ready.Destroys = slices.DeleteFunc(slices.Clone(p.Destroys), untouched)
	return ready, refused
}
