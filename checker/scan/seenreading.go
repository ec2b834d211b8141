package scan

import (
	"slices"
	"sync"

	"snapwatch/checker"
	"snapwatch/internal/zfs"
)

// reading is what was read, by what a disk that is not where it was is looked for with.
type reading struct {
	pools map[string]*checker.Pool
	here  map[string]bool
	// byGUID are the pools, by name, that have a dataset of this guid.
	byGUID func() map[uint64][]string
}

func newReading(pools []checker.Pool) reading {
	r := reading{pools: map[string]*checker.Pool{}, here: map[string]bool{}}
	for i := range pools {
		r.pools[pools[i].Name] = &pools[i]
		for k := range pools[i].Disks {
			r.here[pools[i].Disks[k].Dataset] = true
		}
	}
	r.byGUID = sync.OnceValue(func() map[uint64][]string {
		guids := map[uint64][]string{}
		for i := range pools {
			for k := range pools[i].Disks {
				guid := pools[i].Disks[k].GUID
				guids[guid] = append(guids[guid], pools[i].Name)
			}
		}
		return guids
	})
	return r
}

// looked reports whether a disk's place was read since it was seen there.
func (r reading) looked(name string, disk KnownDisk) bool {
	pool := r.pools[zfs.Pool(name)]
	return pool != nil && !pool.ReadAt.IsZero() && !pool.ReadAt.Before(disk.Since)
}

// renamed reports whether a disk that is not where it was is read under another name in its
// own pool. That the guid is in another pool shows nothing: zpool split makes a second pool
// with the same guids, and the first may be lost, or the disk destroyed in it.
func (r reading) renamed(name string, disk KnownDisk) bool {
	pool := r.pools[zfs.Pool(name)]
	if disk.GUID == 0 || r.here[name] || !r.looked(name, disk) {
		return false
	}
	samePool := disk.Pool == 0 || pool.GUID == 0 || disk.Pool == pool.GUID
	return samePool && slices.Contains(r.byGUID()[disk.GUID], pool.Name)
}
