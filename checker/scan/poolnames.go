package scan

import (
	"maps"
	"strings"

	"snapwatch/checker"
	"snapwatch/internal/zfs"
)

// followed returns s after pools were imported under other names: the disks of these pools, also
// the gone disks, have new dataset names. Pools are identified by guid. followed reports whether
// anything changed. If the inventory changed, followed returns a changed copy of s.
func (s Inventory) followed(pools []checker.Pool) (moved Inventory, changed bool) {
	names, guids := map[uint64]*checker.Pool{}, map[string]uint64{}
	for i := range pools {
		if pool := &pools[i]; !pool.Missing {
			names[pool.GUID], guids[pool.Name] = pool, pool.GUID
		}
	}
	moved = s
	for _, name := range sortedKeys(s.Disks) {
		disk := s.Disks[name]
		pool := names[disk.Pool]
		if disk.Pool == 0 || pool == nil || guids[zfs.Pool(name)] == disk.Pool {
			continue
		}
		if !changed {
			moved.Disks, changed = maps.Clone(s.Disks), true
		}
		delete(moved.Disks, name)
		to := pool.Name + strings.TrimPrefix(name, zfs.Pool(name))
		if at, there := moved.Disks[to]; there && at.Pool == disk.Pool {
			continue // a scan saw the disk under the new name
		}
		if disk.Since.Before(pool.ReadAt) {
			disk.Since = pool.ReadAt // an earlier forget of that name was about another disk
		}
		moved.Disks[to] = disk
	}
	return moved, changed
}
