package scan

import (
	"cmp"
	"context"
	"slices"
	"time"

	"snapwatch/internal/zfs"
)

// BehindFrom is a difference in age between the newest snapshots of owner and replica. If the
// replica's newest snapshot is older than the owner's by BehindFrom or more, the owner lists the
// snapshots of its disk. A list of the owner's snapshots shows since when the replica has been
// behind. While replication works, the owner lists no snapshots, so a comparison costs the same for
// any number of snapshots.
const BehindFrom = time.Hour

// maxEvidence is the greatest number of snapshots that are examined to find one that has neither a
// hold nor a clone.
const maxEvidence = 3

// FirstAfter returns the first managed snapshot of a list that was created after a given txg, and
// as evidence the full names of snapshots from before that txg, the newest first. The evidence
// shows whether the retention destroyed a snapshot between the txg and the returned snapshot. If
// one snapshot of the evidence has neither a hold nor a clone, the retention destroyed no snapshot
// between the txg and the returned snapshot: it destroys the oldest snapshots of the class
// frequently first, and no other class keeps these snapshots. found is false if there is no managed
// snapshot after the txg, or no evidence.
//
// The evidence contains no snapshot with a later time in its name than the returned snapshot: such
// a snapshot was named while the clock was ahead, and the retention keeps it until that time. found
// is also false if a snapshot that is newer than `first` has an earlier time in its name. In this
// case `first` was named while the clock was ahead, so its creation time would be a wrong start of
// the lag.
func FirstAfter(list []zfs.SnapshotName, txg uint64) (first zfs.SnapshotName, evidence []string, found bool) {
	for _, s := range list {
		if _, managed := s.Class(); managed && s.CreateTXG > txg && (!found || s.CreateTXG < first.CreateTXG) {
			first, found = s, true
		}
	}
	ahead := slices.ContainsFunc(list, func(s zfs.SnapshotName) bool {
		_, managed := s.Class()
		return managed && s.CreateTXG > txg && namedBefore(s.Name, first.Name)
	})
	var before []zfs.SnapshotName
	for _, s := range list {
		if class, managed := s.Class(); managed && class == zfs.Frequently && s.CreateTXG < txg && namedBefore(s.Name, first.Name) {
			before = append(before, s)
		}
	}
	slices.SortFunc(before, func(a, b zfs.SnapshotName) int { return cmp.Compare(b.CreateTXG, a.CreateTXG) })
	for _, s := range before[:min(maxEvidence, len(before))] {
		evidence = append(evidence, s.Dataset+"@"+s.Name)
	}
	return first, evidence, found && len(before) > 0 && !ahead
}

// namedBefore reports whether the time in the name of managed snapshot a is before the time in
// the name of managed snapshot b.
func namedBefore(a, b string) bool {
	earlier, errA := zfs.ParseSnapshotTime(a)
	later, errB := zfs.ParseSnapshotTime(b)
	return errA == nil && errB == nil && earlier.Before(later)
}

// Position is a point in the history of a dataset: a txg.
type Position struct {
	Dataset   string
	CreateTXG uint64
}

// BehindSince finds, for each [Position] in the history of a dataset, the creation time of the
// first managed snapshot after the position. All positions must be in one pool. The result has no
// entry for a position after which the first managed snapshot is unknown. BehindSince does not wait
// for scans.
func (s Scanner) BehindSince(ctx context.Context, pool string, positions []Position) map[Position]time.Time {
	since := map[Position]time.Time{}
	// The error of s.asking is ignored: if the result lacks a position, the caller uses the
	// difference in age between the newest snapshots of owner and replica instead.
	_ = s.asking(ctx, pool, func(r zfs.Reader) error {
		lists := map[string][]zfs.SnapshotName{}
		for _, p := range positions {
			lists[p.Dataset] = nil
		}
		err := r.SnapshotNames(ctx, sortedKeys(lists), func(n zfs.SnapshotName) error {
			lists[n.Dataset] = append(lists[n.Dataset], n)
			return nil
		})
		if err != nil {
			return err
		}
		first := map[Position]string{}
		var names []string
		pinned, err := r.Pinned(ctx, allEvidence(positions, lists))
		if err != nil {
			return err
		}
		for _, p := range positions {
			next, evidence, found := FirstAfter(lists[p.Dataset], p.CreateTXG)
			if found && slices.ContainsFunc(evidence, func(name string) bool { return pinned[name].Free() }) {
				first[p] = p.Dataset + "@" + next.Name
				names = append(names, first[p])
			}
		}
		slices.Sort(names)
		snapshots, err := r.Lookup(ctx, slices.Compact(names))
		for p, name := range first {
			if at := slices.IndexFunc(snapshots, func(s zfs.Snapshot) bool { return s.FullName() == name }); at >= 0 {
				since[p] = snapshots[at].Creation
			}
		}
		return err
	})
	return since
}

func allEvidence(positions []Position, lists map[string][]zfs.SnapshotName) []string {
	var all []string
	for _, p := range positions {
		_, evidence, _ := FirstAfter(lists[p.Dataset], p.CreateTXG)
		all = append(all, evidence...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}
