package scan

import (
	"slices"
	"sync"
	"time"

	"snapwatch/checker"
	"snapwatch/internal/zfs"
)

// reading is the result of a scan, with an index by guid that finds a renamed disk.
type reading struct {
	pools map[string]*checker.Pool
	here  map[string]bool
	// byGUID returns, by the guid of a disk, the pools in which the disk was read, with the time of
	// reading.
	byGUID func() map[uint64][]seenDisk
}

// seenDisk is a pool in which a disk was read, and the time of reading.
type seenDisk struct {
	pool string
	at   time.Time
}

func newReading(pools []checker.Pool) reading {
	r := reading{pools: map[string]*checker.Pool{}, here: map[string]bool{}}
	for i := range pools {
		r.pools[pools[i].Name] = &pools[i]
		for k := range pools[i].Disks {
			r.here[pools[i].Disks[k].Dataset] = true
		}
	}
	r.byGUID = sync.OnceValue(func() map[uint64][]seenDisk {
		guids := map[uint64][]seenDisk{}
		for i := range pools {
			for k := range pools[i].Disks {
				d := &pools[i].Disks[k]
				guids[d.GUID] = append(guids[d.GUID], seenDisk{pools[i].Name, d.ReadAt})
			}
		}
		return guids
	})
	return r
}

// looked reports whether the disk's pool was read completely after the scan that first found the
// disk there.
func (r reading) looked(name string, disk KnownDisk) bool {
	pool := r.pools[zfs.Pool(name)]
	return pool != nil && disk.lookedFor(*pool)
}

// lookedFor reports whether the pool was read completely after the scan that first found the disk.
func (disk KnownDisk) lookedFor(pool checker.Pool) bool {
	return !pool.ReadAt.IsZero() && !pool.ReadAt.Before(disk.Since)
}

// renamed reports whether a disk has a new name: its dataset is gone, and the same pool had the
// disk under another name after the scan that first found the disk in its dataset. A disk with the
// same guid in another pool proves nothing: zpool split makes a second pool with the same guids,
// and the first pool may be lost, or the disk in the first pool destroyed.
func (r reading) renamed(name string, disk KnownDisk) bool {
	pool := r.pools[zfs.Pool(name)]
	if disk.GUID == 0 || r.here[name] || pool == nil {
		return false
	}
	samePool := disk.Pool == 0 || pool.GUID == 0 || disk.Pool == pool.GUID
	return samePool && slices.ContainsFunc(r.byGUID()[disk.GUID], func(d seenDisk) bool {
		return d.pool == pool.Name && !d.at.Before(disk.Since)
	})
}
