package scan

import (
	"maps"
	"sync"
	"time"

	"snapwatch/checker"
	"snapwatch/internal/zfs"
)

// Cache contains the newest managed snapshots that earlier scans found. An entry of the cache is
// valid while the facts that every scan reads from the dataset's head are unchanged. Every scan
// reads the heads, also with a cache. The methods of Cache may be called at the same time.
type Cache struct {
	mu     sync.Mutex
	newest map[string]entry
	// pending has, by dataset, the receive that was pending at the last scan.
	pending map[string]pendingReceive
	// The field guests has the results of looking up snapshots of guests' disks.
	guests guestCache
	// slow has, by dataset, the time of a listing that alone took nearly all the time of its scan.
	slow map[string]time.Time
	// learnt lists the entries of the cache that this process changed since the last Save.
	learnt learnt
	// unsaved is true if an entry of the cache changed since the last Save.
	unsaved bool
}

// NewCache returns an empty cache.
func NewCache() *Cache {
	return &Cache{newest: map[string]entry{}, pending: map[string]pendingReceive{}, slow: map[string]time.Time{}, learnt: newLearnt()}
}

// entry is a cache entry: the newest managed snapshot of one dataset, and the facts under which
// the entry is valid.
type entry struct {
	key Key
	// name is the name of the dataset's newest managed snapshot, "" if the dataset has no managed
	// snapshot.
	name string
	// ofAny is the name of the dataset's newest snapshot, managed or not.
	ofAny string
	// snapshot is the dataset's newest managed snapshot, nil if only its name is known.
	snapshot *zfs.Snapshot
	// readAt is the time at which a scan read the entry's snapshot.
	readAt time.Time
}

// Key contains the facts on which a disk's list of snapshots depends.
type Key struct {
	GUID    uint64
	Origin  string
	Newest  string
	Changed int64
}

// minChangeAge is the least age of snapshots_changed at which the property is trusted:
// snapshots_changed counts whole seconds, so a later change in the same second would be missed.
const minChangeAge = 2 * time.Second

// keyOf returns the key of a head, and whether the newest managed snapshot can be remembered by
// this key. keyOf returns false if the newest managed snapshot may change while the key does not
// change.
func keyOf(h zfs.Dataset, readAt time.Time) (Key, bool) {
	key := Key{h.GUID, h.Origin, h.NewestSnapshot, h.SnapshotsChanged}
	if h.SnapshotsChanged != 0 && readAt.Sub(time.Unix(h.SnapshotsChanged, 0)) > minChangeAge {
		return key, h.GUID != 0
	}
	// Because the newest snapshot of the disk is managed, changes to older snapshots do not
	// matter.
	key.Changed = 0
	return key, h.GUID != 0 && checker.IsManaged(h.NewestSnapshot)
}

// lasting reports whether the key is valid in another process, too. A key without
// snapshots_changed is valid only in one process, because the name of a snapshot may be used
// again.
func (k Key) lasting() bool { return k.Changed != 0 }

// recall returns the valid cache entry of a head, and whether the cache has a valid entry.
func (c *Cache) recall(h zfs.Dataset, readAt time.Time) (entry, bool) {
	key, ok := keyOf(h, readAt)
	if !ok {
		return entry{}, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	found, ok := c.newest[h.Name]
	return found, ok && found.key == key
}

// keep stores the name of a head's newest snapshot and of its newest managed snapshot ("" for
// none) in the cache. newest is the newest managed snapshot, nil if it was not looked up.
func (c *Cache) keep(h zfs.Dataset, readAt time.Time, ofAny, name string, newest *zfs.Snapshot) {
	key, ok := keyOf(h, readAt)
	if !ok {
		key = noKey(h.GUID)
	}
	k := entry{key: key, name: name, ofAny: ofAny, snapshot: newest, readAt: readAt}
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.newest[h.Name]
	c.unsaved = c.unsaved || before.name != name || (key.lasting() && (before.key != key || (before.snapshot == nil) != (newest == nil)))
	c.newest[h.Name] = k
	c.learnt.newest[h.Name] = readAt
}

// noKey returns a key that no head has. A cache entry with a key from noKey says only which managed
// snapshot was the newest at an earlier scan.
func noKey(guid uint64) Key { return Key{GUID: guid} }

// managedBefore returns the name of the dataset's newest managed snapshot at an earlier scan, "" if
// none is known. The dataset may have newer snapshots by now, and the returned snapshot may be
// gone.
func (c *Cache) managedBefore(h zfs.Dataset) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.newest[h.Name]; h.GUID != 0 && e.key.GUID == h.GUID {
		return e.name
	}
	return ""
}

// slowFor is the time for which a dataset with a slow listing is listed after all other datasets.
// When slowFor is over, the cause of the slowness may have ended.
const slowFor = 2 * time.Hour

// isSlow reports whether, within the last slowFor, a listing of the dataset took nearly all the
// time of its scan.
func (c *Cache) isSlow(dataset string, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	at, marked := c.slow[dataset]
	return marked && !at.After(now) && now.Sub(at) < slowFor
}

// tookAll records that the listing of a dataset took nearly all the time of its scan.
func (c *Cache) tookAll(dataset string, readAt time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unsaved = true
	c.slow[dataset], c.learnt.slow[dataset] = readAt, readAt
}

// wasListed records that the listing of the datasets did not take nearly all the time of the scan.
func (c *Cache) wasListed(datasets []string, readAt time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, dataset := range datasets {
		_, marked := c.slow[dataset]
		c.unsaved = c.unsaved || marked
		delete(c.slow, dataset)
		c.learnt.slow[dataset] = readAt
	}
}

// Unsaved reports whether the cache has changes that [Cache.Save] has not written.
func (c *Cache) Unsaved() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.unsaved
}

// forget drops the wrong cache entry of a dataset. The name of the newest managed snapshot is kept,
// because a scan uses the name only if the snapshot still exists.
func (c *Cache) forget(dataset string, readAt time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, known := c.newest[dataset]; known {
		c.newest[dataset] = entry{key: noKey(e.key.GUID), name: e.name, readAt: readAt}
		c.learnt.newest[dataset] = readAt
	}
}

// retain drops the cache entries of all datasets that lie below the roots and are not in the map
// datasets. Entries of datasets outside of the roots are kept, because a scan with other roots may
// have made these entries.
func (c *Cache) retain(roots []string, datasets map[string]bool, readAt time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	gone := func(name string) bool {
		return !datasets[name] && zfs.WithinAny(name, roots)
	}
	drop(c.newest, c.learnt.newest, gone, readAt)
	drop(c.pending, c.learnt.pending, gone, readAt)
	drop(c.slow, c.learnt.slow, gone, readAt)
	maps.DeleteFunc(c.guests.Configs, func(dataset string, _ configEntry) bool { return gone(dataset) })
}
