package scan

import (
	"cmp"
	"context"
	"slices"
	"time"

	"snapwatch/internal/zfs"
)

// NeverHad says of which datasets, all of one pool, it is known that they never had a
// managed snapshot, made at the time given, that they do not have now. The retention takes
// the oldest first, and no other class keeps a snapshot of the class frequently: as long as
// one from before that time is there, and nothing pins it, none that came later was rotated
// away.
func (s Scanner) NeverHad(ctx context.Context, pool string, made map[string]time.Time) map[string]bool {
	never := map[string]bool{}
	// What fails leaves it unknown.
	_ = s.asking(ctx, pool, func(r zfs.Reader) error {
		oldest := map[string][]zfs.SnapshotName{}
		err := r.SnapshotNames(ctx, sortedKeys(made), func(n zfs.SnapshotName) error {
			if class, managed := n.Class(); managed && class == zfs.Frequently {
				oldest[n.Dataset] = append(oldest[n.Dataset], n)
			}
			return nil
		})
		if err != nil {
			return err
		}
		var names []string
		for dataset, list := range oldest {
			slices.SortFunc(list, func(a, b zfs.SnapshotName) int { return cmp.Compare(a.CreateTXG, b.CreateTXG) })
			for _, n := range list[:min(maxEvidence, len(list))] {
				names = append(names, dataset+"@"+n.Name)
			}
		}
		slices.Sort(names)
		pinned, err := r.Pinned(ctx, names)
		if err != nil {
			return err
		}
		snapshots, err := r.Lookup(ctx, slices.DeleteFunc(names, func(name string) bool { return !pinned[name].Free() }))
		for _, snapshot := range snapshots {
			if snapshot.Creation.Before(made[snapshot.Dataset]) {
				never[snapshot.Dataset] = true
			}
		}
		return err
	})
	return never
}
