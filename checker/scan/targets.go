package scan

import (
	"slices"
	"strings"

	"snapwatch/config"
	"snapwatch/internal/zfs"
)

// Targets are what is to be scanned: for each pool the datasets to search, none
// where only the pool itself must be there.
type Targets map[string][]string

// Imported are the pools that are imported, by name: their guids, 0 where ZFS does not tell.
type Imported map[string]uint64

// FindPools finds the imported pools. The error is [zfs.ErrNoZFS] where there is no ZFS.
func FindPools(kstat string) (Imported, error) {
	names, err := zfs.Pools(kstat)
	pools := Imported{}
	for _, name := range names {
		pools[name] = zfs.PoolGUID(kstat, name)
	}
	return pools, err
}

// NewTargets is what the configuration asks for; without datasets in it, every
// imported pool and every one that had disks before, but for one that is imported under
// another name.
func NewTargets(c config.Config, imported Imported, seen Inventory) Targets {
	t := Targets{}
	for _, root := range outermost(c.Datasets) {
		pool := zfs.Pool(root)
		t[pool] = append(t[pool], root)
	}
	for _, pool := range c.Pools {
		if len(c.Datasets) == 0 {
			t[pool] = []string{pool}
		} else if _, ok := t[pool]; !ok {
			t[pool] = nil
		}
	}
	if len(c.Datasets) == 0 {
		for _, pool := range append(sortedKeys(imported), seen.pools(imported)...) {
			t[pool] = []string{pool}
		}
	}
	return t
}

// Pools are the pools' names, in order.
func (t Targets) Pools() []string { return sortedKeys(t) }

// Only returns the targets whose pool satisfies keep.
func (t Targets) Only(keep func(pool string) bool) Targets {
	rest := Targets{}
	for pool, roots := range t {
		if keep(pool) {
			rest[pool] = roots
		}
	}
	return rest
}

// Covers reports whether a dataset is searched.
func (t Targets) Covers(dataset string) bool {
	return zfs.WithinAny(dataset, t[zfs.Pool(dataset)])
}

// outermost leaves out datasets that lie within another one: zfs would list them
// twice.
func outermost(datasets []string) []string {
	sorted := slices.Clone(datasets)
	slices.SortFunc(sorted, strings.Compare)
	var roots []string
	for _, d := range sorted {
		if !zfs.WithinAny(d, roots) {
			roots = append(roots, d)
		}
	}
	return roots
}
