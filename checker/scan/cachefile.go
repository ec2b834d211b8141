package scan

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"time"

	"snapwatch/checker"
	"snapwatch/internal/files"
	"snapwatch/internal/zfs"
)

// cacheFile is the part of a [Cache] that is written to disk: the entries that are valid in
// another process, because they depend on more than a snapshot's name.
type cacheFile struct {
	Version int                       `json:"version"`
	Newest  map[string]cacheLine      `json:"newest"`
	Pending map[string]pendingReceive `json:"pending,omitempty"`
	Guests  guestCache                `json:"guests,omitzero"`
	Slow    map[string]time.Time      `json:"slow_at,omitempty"`
}

type cacheLine struct {
	GUID   uint64 `json:"guid,string"`
	Origin string `json:"origin,omitempty"`
	Newest string `json:"newest_of_any"`
	// Listed is the name of the dataset's newest snapshot, managed or not, if only a list of the
	// dataset's snapshots showed which snapshot is the newest.
	Listed  string `json:"newest_listed,omitempty"`
	Changed int64  `json:"snapshots_changed"`
	Managed string `json:"newest_managed"`
	// Read is the time at which a scan read the entry's snapshot, in milliseconds since 1970.
	Read int64 `json:"read_ms,omitempty"`
	// Snapshot is the dataset's newest managed snapshot, nil if only its name is known.
	Snapshot *checker.SnapshotDocument `json:"snapshot,omitempty"`
}

func (l cacheLine) entry(dataset string) (entry, error) {
	k := entry{key: Key{l.GUID, l.Origin, l.Newest, l.Changed}, name: l.Managed, ofAny: cmp.Or(l.Newest, l.Listed), readAt: time.UnixMilli(l.Read)}
	if !k.key.lasting() {
		k.key = noKey(l.GUID)
	}
	if l.Managed != "" && !checker.IsManaged(l.Managed) {
		return k, fmt.Errorf("%q is not a managed snapshot", l.Managed)
	}
	if checker.IsManaged(l.Newest) && l.Newest != l.Managed {
		return k, fmt.Errorf("the newest snapshot of %s is the managed snapshot %s, but the newest managed snapshot in the entry is %q", dataset, l.Newest, l.Managed)
	}
	if l.Snapshot == nil {
		return k, nil
	}
	s, err := l.Snapshot.Snapshot(dataset)
	if err != nil {
		return k, fmt.Errorf("%s: %w", dataset, err)
	}
	if s.Name != l.Managed || !possible(*s) {
		return k, fmt.Errorf("%s cannot be a snapshot of %s", s.FullName(), dataset)
	}
	s.Creation = s.Creation.Local() // in the local zone, like the times that zfs returns
	k.snapshot = s
	return k, nil
}

// possible reports whether zfs can have returned a snapshot with the guid, txg and creation time of
// s.
func possible(s zfs.Snapshot) bool {
	return s.GUID != 0 && s.CreateTXG != 0 && s.Creation.Unix() > 0
}

func newCacheLine(k entry) cacheLine {
	l := cacheLine{GUID: k.key.GUID, Origin: k.key.Origin, Newest: k.key.Newest, Changed: k.key.Changed, Managed: k.name, Read: k.readAt.UnixMilli()}
	if l.Newest == "" {
		l.Listed = k.ofAny
	}
	if k.snapshot != nil {
		l.Snapshot = checker.NewSnapshotDocument(*k.snapshot)
	}
	return l
}

const cacheVersion = 1

// LoadCache reads the entries that [Cache.Save] wrote to path. If the file cannot be used, the
// cache is empty and the error says why. If the file does not exist, the cache is empty and the
// error is nil.
func LoadCache(path string) (*Cache, error) {
	c := NewCache()
	text, err := files.ReadPrivate(path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return c, fmt.Errorf("cache ignored: %w", err)
	}
	var file cacheFile
	if err := json.Unmarshal(text, &file); err != nil {
		return c, fmt.Errorf("cache %s ignored: %w", path, err)
	}
	if file.Version != cacheVersion {
		return c, fmt.Errorf("cache %s ignored: version %d is not known", path, file.Version)
	}
	for dataset, line := range file.Newest {
		if c.newest[dataset], err = line.entry(dataset); err != nil {
			return NewCache(), fmt.Errorf("cache %s ignored: %w", path, err)
		}
	}
	c.guests = file.Guests
	if file.Pending != nil {
		c.pending = file.Pending
	}
	if file.Slow != nil {
		c.slow = file.Slow
	}
	return c, nil
}

// Save replaces the file at path atomically with the cache's entries.
func (c *Cache) Save(path string) error {
	text, err := json.Marshal(c.cacheFile())
	if err != nil {
		return fmt.Errorf("cache: %w", err)
	}
	if err := files.Replace(path, append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("cache: %w", err)
	}
	return nil
}

func (c *Cache) cacheFile() cacheFile {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unsaved, c.learnt = false, newLearnt()
	file := cacheFile{Version: cacheVersion, Newest: map[string]cacheLine{}}
	for dataset, k := range c.newest {
		if k.key.lasting() || k.name != "" {
			file.Newest[dataset] = newCacheLine(k)
		}
	}
	file.Pending, file.Guests = maps.Clone(c.pending), c.guests.lasting()
	file.Slow = maps.Clone(c.slow)
	return file
}
