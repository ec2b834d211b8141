package checker

import (
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

// witnesses is how many snapshots from before a txg show that none from after it is
// gone: a single one may be there because somebody holds it or cloned it.
const witnesses = 2

// FirstAfter finds, among a dataset's snapshots, the first managed one after a txg. It
// is false where there is none, and where an older one may have been rotated away: a
// snapshot of the class frequently is kept by no other class, and the oldest go first
// (design: Retention), so as long as some from before the txg are there, nothing after
// the txg is gone. One whose name is of a later time does not show that: a clock that
// was ahead made it, and the retention leaves it alone until that time.
func FirstAfter(list []zfs.SnapshotName, txg uint64) (first zfs.SnapshotName, found bool) {
	for _, s := range list {
		if _, managed := s.Class(); managed && s.CreateTXG > txg && (!found || s.CreateTXG < first.CreateTXG) {
			first, found = s, true
		}
	}
	older := 0
	for _, s := range list {
		if class, managed := s.Class(); managed && class == zfs.Frequently && s.CreateTXG < txg && namedBefore(s.Name, first.Name) {
			older++
		}
	}
	return first, found && older >= witnesses
}

// namedBefore tells whether a managed name is of an earlier time than another.
func namedBefore(a, b string) bool {
	earlier, errA := zfs.ParseSnapshotTime(a)
	later, errB := zfs.ParseSnapshotTime(b)
	return errA == nil && errB == nil && earlier.Before(later)
}

// Place is a point in a dataset's history.
type Place struct {
	Dataset   string
	CreateTXG uint64
}

// BehindSince finds when the first managed snapshot after each of the places, all of
// one pool, was made. A place of which that is not known is left out. It waits for the
// pool's lock as a scan does.
func (s Scanner) BehindSince(ctx context.Context, pool string, places []Place) map[Place]time.Time {
	since := map[Place]time.Time{}
	// What fails leaves the difference of the newest creations, which is known.
	_ = s.locked(ctx, pool, func(r zfs.Reader) error {
		lists := map[string][]zfs.SnapshotName{}
		for _, p := range places {
			lists[p.Dataset] = nil
		}
		err := r.SnapshotNames(ctx, sortedKeys(lists), func(n zfs.SnapshotName) error {
			lists[n.Dataset] = append(lists[n.Dataset], n)
			return nil
		})
		if err != nil {
			return err
		}
		first := map[Place]string{}
		var names []string
		for _, p := range places {
			if s, found := FirstAfter(lists[p.Dataset], p.CreateTXG); found {
				first[p] = p.Dataset + "@" + s.Name
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
