package scan

import (
	"cmp"
	"context"
	"slices"
	"time"

	"snapwatch/internal/zfs"
)

// BehindFrom is the least difference between the newest snapshots of owner and replica for which
// the owner lists its snapshots, to find the time since when the replica has been behind. While
// replication works the difference is smaller, and a comparison costs the same for any number of
// snapshots.
const BehindFrom = time.Hour

// maxEvidence is the number of snapshots that are examined to find a snapshot without a hold and
// without a clone.
const maxEvidence = 3

// FirstAfter returns the first managed snapshot after a txg, and the evidence that no earlier one
// after the txg was destroyed: full names of snapshots from before the txg, the newest first. A
// single evidence snapshot with neither a hold nor a clone is enough: the retention destroys the
// oldest snapshots first, and a snapshot of the class frequently is kept by no other class. found
// is false if there is no such first snapshot or no evidence.
//
// A snapshot whose name has a later time than the first one is not evidence: a clock that was ahead
// named the snapshot, and the retention keeps it until that time. found is also false if the first
// one's name has a later time than the name of a newer snapshot: a clock that was ahead named the
// first one, and its time would be a wrong start of the lag.
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

// namedBefore reports whether the time in managed name a is before the time in managed name b.
func namedBefore(a, b string) bool {
	earlier, errA := zfs.ParseSnapshotTime(a)
	later, errB := zfs.ParseSnapshotTime(b)
	return errA == nil && errB == nil && earlier.Before(later)
}

// Position is a point in a dataset's history.
type Position struct {
	Dataset   string
	CreateTXG uint64
}

// BehindSince finds, for each position, the creation of the first managed snapshot after the
// position. All positions must be in one pool. A position is left out if the first snapshot after
// the position is unknown. BehindSince does not wait for scans.
func (s Scanner) BehindSince(ctx context.Context, pool string, positions []Position) map[Position]time.Time {
	since := map[Position]time.Time{}
	// After a failure the caller still knows the difference between the newest snapshots.
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
