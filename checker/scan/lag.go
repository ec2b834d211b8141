package scan

import (
	"cmp"
	"context"
	"slices"
	"time"

	"snapwatch/internal/zfs"
)

// BehindFrom is how much newer the owner's newest snapshot must be before it lists its
// snapshots to tell since when a replica has been behind. While replication works the
// difference stays below, so that a comparison costs the same however many snapshots
// there are.
const BehindFrom = time.Hour

// maxEvidence is how many snapshots are looked at for one that nothing keeps.
const maxEvidence = 3

// FirstAfter returns the first managed snapshot after a txg among a dataset's snapshots,
// and the evidence that it is the first: snapshots from before the txg, the newest first,
// of which a single one that is neither held nor cloned shows that nothing after it is
// gone. It is false where there is none, and where an older one may have been rotated away:
// a snapshot of the class frequently is kept by no other class, and the oldest go first, so
// as long as one from before the txg is there, nothing after the txg is gone.
//
// One whose name is of a later time does not show that: a clock that was ahead made it, and
// the retention leaves it alone until that time. Nor is the first one known where its name
// is of a later time than that of one that came after it: such a clock made it, and the
// replica would be behind since a moment that is yet to come, or that came long after.
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

// namedBefore reports whether a managed name is of an earlier time than another.
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

// BehindSince finds when the first managed snapshot after each of the positions, all of
// one pool, was made. A position of which that is not known is left out. It waits for no
// scan.
func (s Scanner) BehindSince(ctx context.Context, pool string, positions []Position) map[Position]time.Time {
	since := map[Position]time.Time{}
	// What fails leaves the difference of the newest creations, which is known.
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
