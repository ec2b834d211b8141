package snapper

import (
	"maps"
	"slices"

	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
)

// PoolPlan is the part of a plan that concerns one pool. The limits on destroys and the common
// snapshots of groups are decided for all pools together, before the plan is cut into PoolPlans.
type PoolPlan struct {
	// AbandonedOfStops has the bookmarks of discarded histories on the disks of guests that
	// stopped. Abandoned has the bookmarks of discarded histories on all disks except the disks of
	// guests that stopped.
	AbandonedOfStops, Abandoned []JudgedBookmark
	// Guests has the plan of each living guest or group that is not frozen.
	Guests          []GuestPlan
	CreateBookmarks []zfs.Snapshot
	InheritReceived []string
	// The run destroys the snapshots in Destroys and Waiting after it has taken the new snapshots.
	// The run destroys the snapshots in FullDestroys of a disk if the disk's new snapshot failed
	// for lack of space.
	Destroys, Waiting, FullDestroys []Destroy
	DestroyBookmarks                []zfs.Snapshot
}

// ForPool returns the part of the plan for one pool. ForPool leaves out guests that stopped and
// guests that are frozen, because each of these guests is handled on all pools together.
func (p Plan) ForPool(pool string) PoolPlan {
	stops := map[string]bool{}
	for _, g := range p.Guests {
		for _, d := range g.Disks {
			stops[d.Dataset] = g.final()
		}
	}
	on := func(dataset string) bool { return zfs.Pool(dataset) == pool }
	abandoned := func(final bool) []JudgedBookmark {
		return filter(p.Abandoned, func(j JudgedBookmark) bool { return on(j.Dataset) && stops[j.Dataset] == final })
	}
	marked := func(s zfs.Snapshot) bool { return on(s.Dataset) }
	gone := func(d Destroy) bool { return on(d.Dataset) }
	return PoolPlan{
		AbandonedOfStops: abandoned(true), Abandoned: abandoned(false),
		Guests:          filter(p.Guests, func(g GuestPlan) bool { return g.Pool == pool && !g.final() && !p.frozen(g) }),
		CreateBookmarks: filter(p.CreateBookmarks, marked), InheritReceived: filter(p.InheritReceived, on),
		Destroys: filter(p.Destroys, gone), Waiting: filter(p.Waiting, gone), FullDestroys: filter(p.FullDestroys, gone), DestroyBookmarks: filter(p.DestroyBookmarks, marked),
	}
}

func filter[T any](list []T, keep func(T) bool) []T {
	var kept []T
	for _, entry := range list {
		if keep(entry) {
			kept = append(kept, entry)
		}
	}
	return kept
}

// Stop is a guest that stopped, with one plan for its disks on each pool.
type Stop struct {
	VMID  int
	Plans []GuestPlan
}

// Stops returns the guests that get _stopped snapshots or the label "stopped", sorted by VMID.
func (p Plan) Stops() []Stop {
	byGuest := map[int][]GuestPlan{}
	for _, g := range p.Guests {
		if g.final() {
			byGuest[g.VMID] = append(byGuest[g.VMID], g)
		}
	}
	var stops []Stop
	for _, vmid := range slices.Sorted(maps.Keys(byGuest)) {
		stops = append(stops, Stop{vmid, byGuest[vmid]})
	}
	return stops
}

// Frozen is a guest or group that is frozen while its snapshots are taken. Plans has one plan for
// each pool, or several plans for a pool with disks whose retentions name different classes.
type Frozen struct {
	Group   string
	Plans   []GuestPlan
	Freezes []Freeze
}

// frozen reports whether a guest or group must be frozen while the snapshots in its plan are taken.
// The disk that makes the freeze necessary may be on a pool other than the pool of g.
func (p Plan) frozen(g GuestPlan) bool {
	return !g.final() && slices.ContainsFunc(p.Guests, func(o GuestPlan) bool {
		return !o.final() && o.VMID == g.VMID && o.Group == g.Group && len(o.Freeze) > 0
	})
}

// Frozen returns the guests and groups that must be frozen, in the plan's order.
func (p Plan) Frozen() []Frozen {
	var list []Frozen
	for _, g := range p.Guests {
		if !p.frozen(g) {
			continue
		}
		i := slices.IndexFunc(list, func(f Frozen) bool { return f.Group == g.Group && f.Plans[0].VMID == g.VMID })
		if i < 0 {
			i, list = len(list), append(list, Frozen{Group: g.Group})
		}
		f := &list[i]
		f.Plans = append(f.Plans, g)
		for _, freeze := range g.Freeze {
			if !slices.ContainsFunc(f.Freezes, func(have Freeze) bool { return have.VMID == freeze.VMID }) {
				f.Freezes = append(f.Freezes, freeze)
			}
		}
	}
	return list
}

// finalOnly returns the part of the plan that is carried out while the host shuts down: the
// _stopped snapshots and labels of guests that ran here, and the notes about all other disks. A run
// at shutdown rotates nothing, and takes no snapshots of a living guest.
func (p Plan) finalOnly(disks []Disk, names Names) Plan {
	final := Plan{Ask: p.Ask}
	labelled := map[string]bool{}
	for _, g := range p.Guests {
		if g.final() {
			final.Guests = append(final.Guests, g)
			for _, d := range g.Disks {
				labelled[d.Dataset] = true
			}
		}
	}
	running := map[string]*Disk{} // the disks whose labels say that their guest runs here, by name
	for i := range disks {
		if d := &disks[i]; len(d.Guests) > 0 && names.Classify(d.Running) == OwnLabel {
			running[d.Name] = d
		}
	}
	for _, n := range p.Notes {
		d := running[n.Dataset]
		switch {
		case labelled[n.Dataset]:
		case d != nil && n.Result != Excluded:
			if d.State.Alive() {
				n.Result, n.Reason = Untouched, "its guest still lives"
			}
			n.Severity, n.Reason = report.Warning, "no last snapshot, so its copies alarm until the host is up again: "+n.Reason
		case n.Dataset == "" || n.Severity == report.Info:
			continue
		}
		final.Notes = append(final.Notes, n)
	}
	return final
}

// Add appends the steps and notes of another plan to the plan.
func (p *Plan) Add(more Plan) {
	p.Guests = append(p.Guests, more.Guests...)
	p.Destroys = append(p.Destroys, more.Destroys...)
	p.Waiting = append(p.Waiting, more.Waiting...)
	p.FullDestroys = append(p.FullDestroys, more.FullDestroys...)
	p.CreateBookmarks = append(p.CreateBookmarks, more.CreateBookmarks...)
	p.Abandoned = append(p.Abandoned, more.Abandoned...)
	p.AbandonedLater = append(p.AbandonedLater, more.AbandonedLater...)
	p.DestroyBookmarks = append(p.DestroyBookmarks, more.DestroyBookmarks...)
	p.InheritReceived = append(p.InheritReceived, more.InheritReceived...)
	p.Notes = append(p.Notes, more.Notes...)
}
