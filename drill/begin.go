package drill

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"snapwatch/internal/text"
	"snapwatch/internal/zfs"
	"snapwatch/snapper"
)

// Facts are the facts on which it depends whether a drill may begin.
type Facts struct {
	// Pools are the pools of the guest's disks, by name.
	Pools map[string]Pool
	// Receiving are those of the guest's disks into which a receive is running, or was interrupted
	// and can be resumed.
	Receiving []string
	// Snapshots are all snapshots of the guest's disks, by dataset, the oldest first.
	Snapshots map[string][]zfs.Snapshot
	// Prunes are the retentions with which prune may run on this host, by dataset.
	Prunes map[string][]snapper.Retention
	// StoppedGrace is the time for which the source keeps a _stopped snapshot after the snapshot
	// that follows it.
	StoppedGrace time.Duration
	// FillWarning is the used share of a pool, in percent, from which no drill begins; 0 for no
	// limit.
	FillWarning int
	// MaxDrill is the longest time of a drill, 0 for the default.
	MaxDrill time.Duration
	// Doubts are the reasons why other facts are unknown.
	Doubts []string
}

// Pool is the space of a pool in bytes.
type Pool struct{ Size, Allocated uint64 }

// Refuse returns the plan with the reasons why the drill must not begin at the time now. In doubt
// there is a reason.
func (p Plan) Refuse(f Facts, now time.Time) Plan {
	f.MaxDrill = cmp.Or(f.MaxDrill, MaxDrill)
	p.MaxDrill, p.Refusals = f.MaxDrill, slices.Clone(f.Doubts)
	refuse := func(format string, args ...any) { p.Refusals = append(p.Refusals, fmt.Sprintf(format, args...)) }
	for _, name := range p.Pools() {
		pool := f.Pools[name]
		switch used := float64(pool.Allocated) / float64(pool.Size) * 100; {
		case f.FillWarning == 0:
		case pool.Size == 0:
			refuse("it is unknown how full pool %s is", name)
		case used >= float64(f.FillWarning):
			refuse("pool %s is %.0f%% full (limit %d%%, limits.fill_warning)", name, used, f.FillWarning)
		}
	}
	for _, d := range p.Guest.Disks {
		if slices.Contains(f.Receiving, d.Dataset) {
			refuse("%s is being received, or waits for an interrupted receive", d.Dataset)
		}
		if why := cmp.Or(d.atSource(f, now), d.byPrune(f, now)); why != "" {
			refuse("%s", why)
		}
	}
	return p
}

// atSource returns the reason why the source might destroy the disk's snapshot before a drill ends
// that begins at the time now, "" if the source keeps the snapshot for so long. A source that
// destroys a snapshot may make its next receive destroy it here (zfs send -R, pvesr), and that
// receive fails while the snapshot has a clone.
func (d Disk) atSource(f Facts, now time.Time) string {
	age := now.Add(f.MaxDrill).Sub(d.At.Creation)
	class, managed := d.At.Class()
	switch {
	case !managed:
		return fmt.Sprintf("%s is not managed: it is unknown how long its source keeps it", d.At.FullName())
	case class == zfs.Stopped && d.IsOwners && f.StoppedGrace > f.MaxDrill:
		return "" // a newer snapshot must be older than stopped_grace before this one goes
	case class == zfs.Stopped && age < f.StoppedGrace:
		return ""
	case class == zfs.Stopped:
		return fmt.Sprintf("it is unknown whether its source still needs %s: no owner answers that it is the newest one (owners: in the configuration)", d.At.FullName())
	}
	for _, s := range f.Snapshots[d.Dataset] {
		if d.At.Creation.Sub(s.Creation) >= age && sameRule(s, d.At, f.Snapshots[d.Dataset]) {
			return ""
		}
	}
	return fmt.Sprintf("it is unknown whether the source keeps %s until it is %s old: no older snapshot here shows that the source keeps %s ones for so long",
		d.At.FullName(), text.Age(age), class)
}

// sameRule reports whether the rule of a retention that kept the older snapshot `s` will also keep
// the snapshot `at`, until `at` has the age of `s`. The class of s must be the class of at, or
// frequently: of that class the newest are kept, whatever their class. And s must not be the first
// of its hour (day, week, month, year), which a longer class may keep for itself.
func sameRule(s, at zfs.Snapshot, all []zfs.Snapshot) bool {
	class, managed := s.Class()
	wanted, _ := at.Class()
	if !managed || class == zfs.Stopped || class != wanted && class != zfs.Frequently {
		return false
	}
	above := min(class+1, zfs.Yearly)
	return slices.ContainsFunc(all, func(o zfs.Snapshot) bool {
		c, managed := o.Class()
		return managed && c != zfs.Stopped && o.Creation.Before(s.Creation) && snapper.SameBucket(above, named(o), named(s))
	})
}

// named returns the time in the name of a managed snapshot.
func named(s zfs.Snapshot) time.Time {
	made, _ := zfs.ParseSnapshotTime(s.Name) // each managed name has a time
	return made
}

// byPrune returns the reason why prune might destroy the disk's snapshot before a drill ends that
// begins at the time now, "" if prune keeps it. The snapshots that may arrive until then are
// guessed: as many as were made in the same time before the snapshot.
func (d Disk) byPrune(f Facts, now time.Time) string {
	end := now.Add(f.MaxDrill)
	all := slices.Clone(f.Snapshots[d.Dataset])
	window, txg := end.Sub(d.At.Creation), d.At.CreateTXG
	for _, s := range f.Snapshots[d.Dataset] {
		txg = max(txg, s.CreateTXG)
	}
	for _, s := range f.Snapshots[d.Dataset] {
		class, managed := s.Class()
		later := s.Creation.Add(window)
		if !managed || s.Creation.After(d.At.Creation) || !later.After(d.At.Creation) {
			continue
		}
		txg++
		all = append(all, zfs.Snapshot{Dataset: d.Dataset, Name: zfs.FormatSnapshotName(later, class), CreateTXG: txg, Creation: later})
	}
	for _, retention := range f.Prunes[d.Dataset] {
		disk := snapper.Disk{Dataset: zfs.Dataset{Name: d.Dataset}, State: snapper.Replica, Retention: retention, Snapshots: all}
		plan := snapper.PlanPrune([]snapper.Disk{disk}, snapper.PrunePolicy{StoppedGrace: f.StoppedGrace, MaxDestroys: len(all)}, nil, end)
		for _, gone := range plan.Destroys {
			if gone.Name == d.At.Name {
				return fmt.Sprintf("prune may destroy %s within %s: %s", d.At.FullName(), text.Age(f.MaxDrill), strings.TrimSpace(gone.Reason))
			}
		}
	}
	return ""
}
