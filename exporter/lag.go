package exporter

import (
	"context"
	"sync"

	"snapwatch/checker"
	"snapwatch/checker/scan"
	"snapwatch/internal/zfs"
)

// tellSince adds to an answer since when the asker has been behind, where it is so far
// behind that this matters and that it can be known.
func (s *Store) tellSince(ctx context.Context, request checker.CompareRequest, answer checker.CompareAnswer, found map[string]scan.Lookup) {
	ask := map[string][]scan.Position{} // by pool
	of := map[scan.Position][]*checker.ComparedDisk{}
	for i := range answer.Disks {
		d := &answer.Disks[i]
		if newest := request.Disks[i].Newest; farBehind(*d, newest) {
			at := scan.Position{Dataset: d.Dataset, CreateTXG: found[d.Dataset+"@"+newest.Name].CreateTXG}
			if of[at] == nil {
				pool := zfs.Pool(d.Dataset)
				ask[pool] = append(ask[pool], at)
			}
			of[at] = append(of[at], d)
		}
	}
	var asking sync.WaitGroup
	for pool, positions := range ask {
		asking.Go(func() {
			for at, since := range s.settings.Scanner.BehindSince(ctx, pool, positions) {
				for _, d := range of[at] {
					d.BehindSince = &since
				}
			}
		})
	}
	asking.Wait()
}

// farBehind reports whether a disk's newest snapshot is so much newer than the asker's,
// which it holds, too, that it is worth listing what lies between.
func farBehind(d checker.ComparedDisk, asked checker.SnapshotRef) bool {
	holds := (d.Presence == checker.AsSnapshot || d.Presence == checker.AsBookmark) && d.PresenceGUID == asked.GUID
	return d.Problem == "" && holds && d.Newest != nil && d.Newest.Creation.Sub(asked.Creation) >= scan.BehindFrom
}
