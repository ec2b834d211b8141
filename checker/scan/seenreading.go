package scan

import (
	"slices"
	"sync"
	"time"

	"snapwatch/checker"
	"snapwatch/internal/zfs"
)

// reading is what was read, by what a disk that is not where it was is looked for with.
type reading struct {
	pools map[string]*checker.Pool
	here  map[string]bool
	// byGUID are the disks that were read with this guid.
	byGUID func() map[uint64][]seenDisk
}

// seenDisk is where a disk was read, and when.
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

// looked reports whether a disk's place was read since it was seen there.
func (r reading) looked(name string, disk KnownDisk) bool {
	pool := r.pools[zfs.Pool(name)]
	return pool != nil && disk.lookedFor(*pool)
}

// lookedFor reports whether all of the disk's pool was read since the disk was seen there.
func (disk KnownDisk) lookedFor(pool checker.Pool) bool {
	return !pool.ReadAt.IsZero() && !pool.ReadAt.Before(disk.Since)
}

// renamed reports whether a disk that is not where it was is read under another name in its
// own pool, since it was seen where it was. That the guid is in another pool shows nothing: zpool split makes a second pool
// with the same guids, and the first may be lost, or the disk destroyed in it.
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
