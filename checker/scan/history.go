package scan

import (
	"context"

	"snapwatch/internal/zfs"
)

// History lists all snapshots of one disk, the oldest first. The duration of a call of History
// grows with the number of the disk's snapshots. Other listings of the pool wait until History
// returns, so ctx must end soon.
func (s Scanner) History(ctx context.Context, dataset string) ([]zfs.Snapshot, error) {
	pool := zfs.Pool(dataset)
	if err := zfs.CheckPool(s.Kstat, pool); err != nil {
		return nil, err
	}
	var all []zfs.Snapshot
	err := s.listing(ctx, pool, func(r zfs.Reader) error {
		return r.Snapshots(ctx, []string{dataset}, func(one zfs.Snapshot) error {
			all = append(all, one)
			return nil
		})
	})
	return all, err
}
