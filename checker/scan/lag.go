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

// maxWitnesses is how many snapshots are looked at for one that nothing keeps.
const maxWitnesses = 3

// After is what a dataset's snapshots tell of the time after a txg.
type After struct {
	// First is the first managed snapshot after it.
	First zfs.SnapshotName
	// Witnesses are snapshots from before it, the newest first, of which a single one
	// that is neither held nor cloned shows that nothing after it is gone.
	Witnesses []string
}

// FirstAfter finds, among a dataset's snapshots, the first managed one after a txg. It
// is false where there is none, and where an older one may have been rotated away: a
// snapshot of the class frequently is kept by no other class, and the oldest go first
// (design: Retention), so as long as one from before the txg is there, nothing after
// the txg is gone. One whose name is of a later time does not show that: a clock that
// was ahead made it, and the retention leaves it alone until that time. Nor is the first
// one known where its name is of a later time than that of one that came after it: such a
// clock made it, and the replica would be behind since a moment that is yet to come, or
// that came long after.
func FirstAfter(list []zfs.SnapshotName, txg uint64) (after After, found bool) {
	for _, s := range list {
		if _, managed := s.Class(); managed && s.CreateTXG > txg && (!found || s.CreateTXG < after.First.CreateTXG) {
			after.First, found = s, true
		}
	}
	ahead := slices.ContainsFunc(list, func(s zfs.SnapshotName) bool {
		_, managed := s.Class()
		return managed && s.CreateTXG > txg && namedBefore(s.Name, after.First.Name)
	})
	var witnesses []zfs.SnapshotName
	for _, s := range list {
		if class, managed := s.Class(); managed && class == zfs.Frequently && s.CreateTXG < txg && namedBefore(s.Name, after.First.Name) {
			witnesses = append(witnesses, s)
		}
	}
	slices.SortFunc(witnesses, func(a, b zfs.SnapshotName) int { return cmp.Compare(b.CreateTXG, a.CreateTXG) })
	for _, s := range witnesses[:min(maxWitnesses, len(witnesses))] {
		after.Witnesses = append(after.Witnesses, s.Dataset+"@"+s.Name)
	}
	return after, found && len(witnesses) > 0 && !ahead
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
		pinned, err := r.Pinned(ctx, allWitnesses(places, lists))
		if err != nil {
			return err
		}
		for _, p := range places {
			after, found := FirstAfter(lists[p.Dataset], p.CreateTXG)
			if found && slices.ContainsFunc(after.Witnesses, func(w string) bool { return !pinned[w] }) {
				first[p] = p.Dataset + "@" + after.First.Name
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

func allWitnesses(places []Place, lists map[string][]zfs.SnapshotName) []string {
	var all []string
	for _, p := range places {
		after, _ := FirstAfter(lists[p.Dataset], p.CreateTXG)
		all = append(all, after.Witnesses...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}
