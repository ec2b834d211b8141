package scan

import (
	"context"
	"slices"
	"sync"

	"snapwatch/checker"
	"snapwatch/internal/zfs"
)

// copyKey is a question whose answer does not change: a dataset that held a
// snapshot and is at this newest one.
type copyKey struct {
	Snapshot, Dataset, Newest uint64
}

// pair is an older disk and a newer one of the same name.
type pair struct{ older, newer *checker.Disk }

func (p pair) key() copyKey {
	return copyKey{p.older.Newest.GUID, p.newer.GUID, p.newer.Newest.GUID}
}

// Copies finds for each disk, by its dataset, the datasets on this host that have
// its name, hold its newest managed snapshot and have a newer one: evidence that
// the disk moved. What cannot be asked is no evidence.
func (s Scanner) Copies(ctx context.Context, pools []checker.Pool) map[string][]string {
	ask := map[string][]pair{}
	all := pairs(pools)
	for _, p := range all {
		if _, known := s.Cache.copy(p.key()); !known {
			pool := zfs.Pool(p.newer.Dataset)
			ask[pool] = append(ask[pool], p)
		}
	}
	var asking sync.WaitGroup
	for pool, pairs := range ask {
		asking.Go(func() {
			// An internal error is no evidence, either; it must not end the process.
			defer func() { _ = recover() }()
			_ = s.locked(ctx, pool, func(r zfs.Reader) error { return s.compare(ctx, r, pairs) })
		})
	}
	asking.Wait()
	copies := map[string][]string{}
	for _, p := range all {
		if is, _ := s.Cache.copy(p.key()); is {
			copies[p.older.Dataset] = append(copies[p.older.Dataset], p.newer.Dataset)
		}
	}
	return copies
}

// SetCopies enters what [Scanner.Copies] found into the pools. Where it found anything
// that is in a list of its own: others may hold the one of before.
func SetCopies(pools []checker.Pool, copies map[string][]string) {
	if len(copies) == 0 {
		return
	}
	for i := range pools {
		pools[i].Disks = slices.Clone(pools[i].Disks)
		for j := range pools[i].Disks {
			d := &pools[i].Disks[j]
			d.Copies = copies[d.Dataset]
		}
	}
}

// pairs are the disks of one name of which one is newer than the other.
func pairs(pools []checker.Pool) []pair {
	first, same := map[string]*checker.Disk{}, map[string][]*checker.Disk{}
	for _, pool := range pools {
		if pool.Problem != "" && !pool.Unfinished {
			continue
		}
		for i := range pool.Disks {
			d := &pool.Disks[i]
			if d.Newest == nil || d.Problem != "" {
				continue
			}
			name := d.Name()
			if one, again := first[name]; !again {
				first[name] = d // most names stand once, and cost no list
			} else if len(same[name]) == 0 {
				same[name] = []*checker.Disk{one, d}
			} else {
				same[name] = append(same[name], d)
			}
		}
	}
	var found []pair
	for _, disks := range same {
		for _, older := range disks {
			for _, newer := range disks {
				if newer.Newest.Creation.After(older.Newest.Creation) {
					found = append(found, pair{older, newer})
				}
			}
		}
	}
	return found
}

// compare asks whether the newer disks hold the older ones' newest snapshots.
func (s Scanner) compare(ctx context.Context, r zfs.Reader, pairs []pair) error {
	var names []string
	for _, p := range pairs {
		names = append(names, p.newer.Dataset+"@"+p.older.Newest.Name)
	}
	snapshots, err := r.Lookup(ctx, names)
	if err != nil {
		return err
	}
	guids := map[string]uint64{}
	for _, found := range snapshots {
		guids[found.FullName()] = found.GUID
	}
	for i, p := range pairs {
		s.Cache.keepCopy(p.key(), guids[names[i]] == p.older.Newest.GUID)
	}
	return nil
}

func (c *Cache) copy(k copyKey) (is, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	is, known = c.copies[k]
	return is, known
}

// keepCopy remembers an answer. All are dropped once there are far more than hosts with
// several copies of each disk need.
func (c *Cache) keepCopy(k copyKey, is bool) {
	const maxCopies = 100_000
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.copies) >= maxCopies {
		clear(c.copies)
	}
	c.copies[k] = is
}
