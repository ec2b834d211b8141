package scan

import (
	"slices"
	"strings"

	"snapwatch/config"
	"snapwatch/internal/zfs"
)

// Targets has, by pool, the datasets to scan. If a pool has no datasets in Targets, a scan only
// checks that the pool is imported.
type Targets map[string][]string

// Imported has, by the name of an imported pool, the pool's guid, 0 if unknown.
type Imported map[string]uint64

// FindPools returns the imported pools and their guids. FindPools returns [zfs.ErrNoZFS] if the
// host has no ZFS.
func FindPools(kstat string) (Imported, error) {
	names, err := zfs.Pools(kstat)
	pools := Imported{}
	for _, name := range names {
		pools[name] = zfs.PoolGUID(kstat, name)
	}
	return pools, err
}

// NewTargets returns the datasets and pools that the configuration names. If the configuration
// names no datasets, NewTargets adds every imported pool, and every pool that had disks before.
// NewTargets leaves out a pool that is now imported under another name.
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

// Pools returns the names of the pools, sorted.
func (t Targets) Pools() []string { return sortedKeys(t) }

// Only (a method) returns the targets in those pools for which the function `keep` returns true.
func (t Targets) Only(keep func(pool string) bool) Targets {
	rest := Targets{}
	for pool, roots := range t {
		if keep(pool) {
			rest[pool] = roots
		}
	}
	return rest
}

// Covers reports whether a dataset is a target or is below a target.
func (t Targets) Covers(dataset string) bool {
	return zfs.WithinAny(dataset, t[zfs.Pool(dataset)])
}

// outermost leaves out each dataset that lies below another one of the datasets, because zfs would
// list its disks twice.
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
