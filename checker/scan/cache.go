package scan

import (
	"maps"
	"sync"
	"time"

	"snapwatch/checker"
	"snapwatch/internal/zfs"
)

// Cache is what earlier scans learnt of the newest managed snapshots and what is
// still true, as long as the facts read fresh are the same. It never stands in for
// reading the heads. Its methods may be called at the same time.
type Cache struct {
	mu     sync.Mutex
	newest map[string]entry
	// pending are the receives that are, by dataset.
	pending map[string]pendingReceive
	// guests is what was looked up of guests' disks.
	guests guestCache
	// slow says of datasets when their list alone took nearly all the time that there was.
	slow map[string]time.Time
	// learnt is what this process found out since the last Save.
	learnt learnt
	// unsaved is true when an entry changed since the last Save.
	unsaved bool
}

// NewCache is an empty cache.
func NewCache() *Cache {
	return &Cache{newest: map[string]entry{}, pending: map[string]pendingReceive{}, slow: map[string]time.Time{}, learnt: newLearnt()}
}

// entry is what one dataset's newest managed snapshot was, and the facts it depends
// on.
type entry struct {
	key Key
	// name is the newest managed snapshot's, "" where there is none.
	name string
	// ofAny is the newest snapshot of whatever kind.
	ofAny string
	// snapshot is nil where only its name is known.
	snapshot *zfs.Snapshot
	// readAt is when that was read.
	readAt time.Time
}

// Key are the facts that a disk's list of snapshots depends on.
type Key struct {
	GUID    uint64
	Origin  string
	Newest  string
	Changed int64
}

// minChangeAge is how old snapshots_changed must be when it is read: it counts whole
// seconds, so that a change in the same second would go unseen.
const minChangeAge = 2 * time.Second

// keyOf is false for a head whose newest managed snapshot may change without the
// key changing, so that it cannot be remembered.
func keyOf(h zfs.Dataset, readAt time.Time) (Key, bool) {
	key := Key{h.GUID, h.Origin, h.NewestSnapshot, h.SnapshotsChanged}
	if h.SnapshotsChanged != 0 && readAt.Sub(time.Unix(h.SnapshotsChanged, 0)) > minChangeAge {
		return key, h.GUID != 0
	}
	// The newest of all is the newest managed, whatever happens to older ones.
	key.Changed = 0
	return key, h.GUID != 0 && checker.IsManaged(h.NewestSnapshot)
}

// lasting reports whether the key holds for another process, too: a name alone may be
// given again.
func (k Key) lasting() bool { return k.Changed != 0 }

// recall returns what is remembered for the head.
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

// keep remembers the newest snapshot of a head and the newest managed one's name, ""
// for none, with the snapshot where it was looked up.
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

// noKey is the key of an entry that tells nothing but which managed snapshot was the newest
// one before: no head has it.
func noKey(guid uint64) Key { return Key{GUID: guid} }

// managedBefore returns the name of the newest managed snapshot that the dataset had before,
// "" if none is known. Others may have come since, and it may be gone.
func (c *Cache) managedBefore(h zfs.Dataset) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.newest[h.Name]; h.GUID != 0 && e.key.GUID == h.GUID {
		return e.name
	}
	return ""
}

// slowFor is how long a list comes last that took all the time: what made it slow may be over.
const slowFor = 2 * time.Hour

// isSlow reports whether the dataset's list took all the time that there was, not long before.
func (c *Cache) isSlow(dataset string, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	at, marked := c.slow[dataset]
	return marked && !at.After(now) && now.Sub(at) < slowFor
}

// tookAll notes that the list of this dataset took all the time that there was.
func (c *Cache) tookAll(dataset string, readAt time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unsaved = true
	c.slow[dataset], c.learnt.slow[dataset] = readAt, readAt
}

// wasListed notes that the datasets were listed in time.
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

// Unsaved reports whether there is something that [Cache.Save] has not written.
func (c *Cache) Unsaved() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.unsaved
}

// forget drops what turned out wrong. Which managed snapshot was the newest stays known: it is
// believed only where it is still there.
func (c *Cache) forget(dataset string, readAt time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, known := c.newest[dataset]; known {
		c.newest[dataset] = entry{key: noKey(e.key.GUID), name: e.name, readAt: readAt}
		c.learnt.newest[dataset] = readAt
	}
}

// retain forgets the datasets below the roots that are not among those. What others search for
// may be remembered here, too.
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
