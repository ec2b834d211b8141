package scan

import (
	"cmp"
	"context"
	"slices"
	"time"

	"snapwatch/internal/zfs"
)

// NeverHad returns the datasets that are known to have never had the replica's newest snapshot. The
// argument made has, by dataset of one pool, the time at which the replica's newest snapshot was
// made. The caller knows that none of the datasets has the replica's newest snapshot now. The
// retention destroys the oldest snapshots first, and no other class keeps a snapshot of the class
// frequently. So a snapshot of the class frequently is a proof if it is older than the replica's
// newest snapshot and has no hold or clone: the retention has destroyed no later snapshot of this
// class.
func (s Scanner) NeverHad(ctx context.Context, pool string, made map[string]time.Time) map[string]bool {
	never := map[string]bool{}
	// If zfs fails, it is unknown which snapshots the datasets had, and the datasets are left
	// out.
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
