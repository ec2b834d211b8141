package exporter

import (
	"context"
	"sync"
	"time"

	"snapwatch/checker"
	"snapwatch/checker/scan"
	"snapwatch/internal/zfs"
)

// tellSince adds to an answer, for each of the asker's copies that is far behind, the time since
// when the copy has been behind. tellSince also sets NeverHad for the asker's snapshots that are
// absent here.
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
	for pool, unknown := range s.absent(request, answer) {
		asking.Go(func() {
			never := s.settings.Scanner.NeverHad(ctx, pool, unknown)
			for _, d := range answerOf(answer, pool) {
				d.NeverHad = d.Presence == checker.Absent && never[d.Dataset]
			}
		})
	}
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

// absent finds each dataset that lacks the asker's newest snapshot although the dataset has a newer
// snapshot. For each such dataset, absent returns the creation time of the asker's newest snapshot,
// by pool and dataset. _stopped snapshots are left out, because they have a separate retention, so
// that their absence proves nothing.
func (*Store) absent(request checker.CompareRequest, answer checker.CompareAnswer) map[string]map[string]time.Time {
	absent := map[string]map[string]time.Time{}
	for i := range answer.Disks {
		d, asked := &answer.Disks[i], request.Disks[i].Newest
		if class, _ := zfs.ParseSnapshotName(asked.Name); class == zfs.Stopped {
			continue
		}
		if d.Problem != "" || d.Presence != checker.Absent || d.Newest == nil || !asked.Creation.Before(d.Newest.Creation) {
			continue
		}
		pool := zfs.Pool(d.Dataset)
		if absent[pool] == nil {
			absent[pool] = map[string]time.Time{}
		}
		if at, twice := absent[pool][d.Dataset]; !twice || asked.Creation.Before(at) {
			absent[pool][d.Dataset] = asked.Creation
		}
	}
	return absent
}

// answerOf returns the part of an answer about the disks in one pool.
func answerOf(answer checker.CompareAnswer, pool string) []*checker.ComparedDisk {
	var disks []*checker.ComparedDisk
	for i := range answer.Disks {
		if d := &answer.Disks[i]; zfs.Pool(d.Dataset) == pool {
			disks = append(disks, d)
		}
	}
	return disks
}

// farBehind reports whether the disk has the asker's newest snapshot, and also a snapshot that is
// at least [scan.BehindFrom] younger. If farBehind returns false, it is not worthwhile to list the
// disk's snapshots since the asker's newest snapshot.
func farBehind(d checker.ComparedDisk, asked checker.SnapshotRef) bool {
	holds := (d.Presence == checker.AsSnapshot || d.Presence == checker.AsBookmark) && d.PresenceGUID == asked.GUID
	return d.Problem == "" && holds && d.Newest != nil && d.Newest.Creation.Sub(asked.Creation) >= scan.BehindFrom
}
