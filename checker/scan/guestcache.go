package scan

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"snapwatch/checker"
	"snapwatch/internal/zfs"
)

// guestCache contains the results of looking up snapshots of guests' disks, with the facts on which
// each result depends.
type guestCache struct {
	// Commons has, by the names of the datasets of a guest's disks, the newest snapshots that these
	// disks have in common.
	Commons map[string]commonEntry `json:"commons,omitempty"`
	// Pairs says, for two datasets identified by their guids, whether both are copies of one
	// disk.
	Pairs map[string]pairEntry `json:"pairs,omitempty"`
	// Configs has, by dataset, the guest configuration that is kept with the dataset's snapshots.
	Configs map[string]configEntry `json:"configs,omitempty"`
}

// guestCacheAge is the time for which an unused entry of the guest cache is kept. guestCacheAge
// is long, because an entry is used only while a guest's disks have different newest snapshots,
// which is rare.
const guestCacheAge = 90 * 24 * time.Hour

type commonEntry struct {
	// Disks has, by dataset, the facts about each disk on which the cache entry depends.
	Disks map[string]commonDisk `json:"disks"`
	// Used is the day on which the cache entry was last used.
	Used time.Time `json:"used"`
}

type commonDisk struct {
	Key
	// Managed is the guid of the disk's newest managed snapshot.
	Managed uint64 `json:",string"`
	// Lasting is true if the Key changes with every change of the disk's snapshots, so that an
	// unchanged Key proves unchanged snapshots.
	Lasting bool
	// Point is the disk's snapshot at the newest time at which all disks of the guest have a
	// snapshot, nil if there is no such time.
	Point *checker.SnapshotDocument `json:",omitempty"`
	// Oldest is true if this disk's newest managed snapshot was the oldest among the newest managed
	// snapshots of the guest's disks.
	Oldest bool `json:",omitempty"`
	// Ahead is the value of [checker.Looked.Ahead] for the disk. Asked is true if the value of Ahead
	// was looked up.
	Ahead time.Time `json:",omitzero"`
	Asked bool      `json:",omitempty"`
}

type pairEntry struct {
	// Same is true if the two datasets are copies of one disk, which remains true for ever. If Same
	// is false, the entry is valid only while Keys are unchanged.
	Same bool      `json:"same"`
	Keys [2]Key    `json:"keys"`
	Used time.Time `json:"used"`
}

// diskKey returns the key of a disk's list of snapshots. lasting is false if the disk's list of
// snapshots may change while the key does not change.
func diskKey(d checker.Disk) (key Key, lasting bool) {
	key = Key{GUID: d.GUID, Origin: d.Origin, Newest: d.NewestOfAny}
	if d.Changed.IsZero() || d.ReadAt.Sub(d.Changed) <= minChangeAge {
		return key, false
	}
	key.Changed = d.Changed.Unix()
	return key, d.GUID != 0
}

func (k commonDisk) unchanged(d checker.Disk) bool {
	key, lasting := diskKey(d)
	return lasting && k.Lasting && k.Key == key && d.Newest != nil && k.Managed == d.Newest.GUID
}

// holds reports whether all disks of the cache entry are unchanged, so that the entry is valid.
func (e *commonEntry) holds(disks []checker.Disk) bool {
	for _, d := range disks {
		if !e.Disks[d.Dataset].unchanged(d) {
			return false
		}
	}
	return true
}

// snapshots returns each disk's snapshot at the newest time at which all the disks have a snapshot,
// nil if there is no such time.
func (e *commonEntry) snapshots(disks []checker.Disk) []zfs.Snapshot {
	var row []zfs.Snapshot
	for _, d := range disks {
		point := e.Disks[d.Dataset].Point
		if point == nil {
			return nil
		}
		s, err := point.Snapshot(d.Dataset)
		if err != nil {
			return nil
		}
		s.Creation = s.Creation.Local() // in the local zone, like the times that zfs returns
		row = append(row, *s)
	}
	return row
}

// sensible reports whether a scan can have written the cache entry. A scan writes one snapshot of
// each disk, all of one time, or no snapshot of any disk.
func (e *commonEntry) sensible(disks []checker.Disk) bool {
	if !slices.ContainsFunc(disks, func(d checker.Disk) bool { return e.Disks[d.Dataset].Point != nil }) {
		return true
	}
	var lists [][]zfs.Snapshot
	for _, s := range e.snapshots(disks) {
		if !possible(s) {
			return false
		}
		lists = append(lists, []zfs.Snapshot{s})
	}
	return checker.CommonPoint(lists) != nil
}

// ahead returns the time since when the disk of snapshot s has had snapshots newer than s, zero if
// unknown, and whether this time was looked up.
func (e *commonEntry) ahead(s zfs.Snapshot) (since time.Time, asked bool) {
	if e == nil {
		return since, false
	}
	if k := e.Disks[s.Dataset]; k.Point != nil && k.Point.Name == s.Name {
		return k.Ahead, k.Asked
	}
	return since, false
}

// limits reports whether the newest time that the guest's disks have in common cannot be newer than
// at the last lookup. limits returns true if d's newest managed snapshot is the same as at that
// lookup, and was then the oldest among the newest managed snapshots of the guest's disks. d has no
// newer snapshot, and the guest's other disks receive no older ones, because they had newer ones
// already.
func (e *commonEntry) limits(d checker.Disk) bool {
	if e == nil || d.GUID == 0 {
		return false
	}
	was := e.Disks[d.Dataset]
	return was.Oldest && was.GUID == d.GUID && was.Managed == d.Newest.GUID
}

func commonName(disks []checker.Disk) string {
	var names []string
	for _, d := range disks {
		names = append(names, d.Dataset)
	}
	return strings.Join(names, "\n")
}

// recallCommon returns the cache entry about the snapshots that the given disks have in common. The
// result is nil if the cache has no entry about these disks, if no scan can have written the entry,
// or if the dataset of one of the disks was replaced by a new one.
func (c *Cache) recallCommon(disks []checker.Disk) *commonEntry {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.guests.Commons[commonName(disks)]
	if !ok {
		return nil
	}
	for _, d := range disks {
		if e.Disks[d.Dataset].GUID != d.GUID || d.GUID == 0 {
			return nil
		}
	}
	if !e.sensible(disks) {
		return nil
	}
	return &e
}

func (c *Cache) keepCommon(found common, looked map[string]*checker.Looked) {
	e := commonEntry{Disks: map[string]commonDisk{}, Used: wholeDay(found.disks[0].ReadAt)}
	for i, d := range found.disks {
		k := commonDisk{Managed: d.Newest.GUID, Ahead: looked[d.Dataset].Ahead, Asked: found.asked[d.Dataset], Oldest: i == found.oldest}
		k.Key, k.Lasting = diskKey(d)
		if found.row != nil {
			k.Point = checker.NewSnapshotDocument(found.row[i])
		}
		e.Disks[d.Dataset] = k
	}
	same := found.remembered != nil && found.remembered.Used.Equal(e.Used) && found.remembered.holds(found.disks) && !aheadChanged(found.remembered, e)
	if same {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.guests.Commons == nil {
		c.guests.Commons = map[string]commonEntry{}
	}
	c.guests.Commons[commonName(found.disks)] = e
	c.learnt.guests[commonName(found.disks)] = true
	c.unsaved = true
}

func aheadChanged(before *commonEntry, now commonEntry) bool {
	for dataset, k := range now.Disks {
		if old := before.Disks[dataset]; old.Asked != k.Asked || !old.Ahead.Equal(k.Ahead) {
			return true
		}
	}
	return false
}

// wholeDay returns the start of t's day in UTC, so that the use of an entry is written once a day.
func wholeDay(t time.Time) time.Time { return t.UTC().Truncate(24 * time.Hour) }

func (p pair) name() string {
	a, b := min(p.older.GUID, p.newer.GUID), max(p.older.GUID, p.newer.GUID)
	return strconv.FormatUint(a, 10) + " " + strconv.FormatUint(b, 10)
}

func (p pair) keys() (keys [2]Key, lasting bool) {
	a, lastingA := diskKey(p.older)
	b, lastingB := diskKey(p.newer)
	if a.GUID > b.GUID {
		a, b = b, a
	}
	return [2]Key{a, b}, lastingA && lastingB
}

// recallPair reports whether two datasets are copies of one disk according to the cache, and
// whether the cache has a valid entry about the two datasets.
func (c *Cache) recallPair(p pair) (same, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.guests.Pairs[p.name()]
	keys, lasting := p.keys()
	if !ok || keys[0].GUID == 0 || !e.Same && (!lasting || e.Keys != keys) {
		return false, false
	}
	return e.Same, true
}

func (c *Cache) keepPair(p pair) {
	keys, lasting := p.keys()
	e := pairEntry{Same: p.same, Used: wholeDay(p.older.ReadAt)}
	if !p.same {
		e.Keys = keys
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if before := c.guests.Pairs[p.name()]; keys[0].GUID == 0 || before == e || !p.same && !lasting {
		return
	}
	if c.guests.Pairs == nil {
		c.guests.Pairs = map[string]pairEntry{}
	}
	c.guests.Pairs[p.name()] = e
	c.learnt.guests[p.name()] = true
	c.unsaved = true
}

// lasting returns the entries of the guest cache that are written to disk. An entry is left out if
// it was last used more than guestCacheAge before the most recently used entry.
func (g guestCache) lasting() guestCache {
	kept := guestCache{Commons: maps.Clone(g.Commons), Pairs: maps.Clone(g.Pairs), Configs: maps.Clone(g.Configs)}
	var last time.Time
	for _, e := range kept.Commons {
		last = latest(last, e.Used)
	}
	for _, e := range kept.Pairs {
		last = latest(last, e.Used)
	}
	maps.DeleteFunc(kept.Commons, func(_ string, e commonEntry) bool { return last.Sub(e.Used) > guestCacheAge })
	maps.DeleteFunc(kept.Pairs, func(_ string, e pairEntry) bool { return last.Sub(e.Used) > guestCacheAge })
	return kept
}
