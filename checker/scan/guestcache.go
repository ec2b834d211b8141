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

// guestCache is what was looked up of guests' disks, and what it depends on.
type guestCache struct {
	// Commons are the newest snapshots in common, by the datasets.
	Commons map[string]commonEntry `json:"commons,omitempty"`
	// Pairs says of two datasets, by guid, whether they are copies of one disk.
	Pairs map[string]pairEntry `json:"pairs,omitempty"`
	// Configs are the configurations that are kept with snapshots, by dataset.
	Configs map[string]configEntry `json:"configs,omitempty"`
}

// guestCacheAge is how long is remembered what nobody asked for: a guest's disks agree most of
// the time, and then nothing is asked.
const guestCacheAge = 90 * 24 * time.Hour

type commonEntry struct {
	// Disks is what was known of each, by dataset.
	Disks map[string]commonDisk `json:"disks"`
	// Used is when it was asked for last, to a day.
	Used time.Time `json:"used"`
}

type commonDisk struct {
	Key
	// Managed is the guid of its newest managed snapshot.
	Managed uint64 `json:",string"`
	// Lasting is true where the key changes with every change.
	Lasting bool
	// Point is its snapshot, nil where there is none in common.
	Point *checker.SnapshotDocument `json:",omitempty"`
	// Oldest is true where its newest managed snapshot was older than those of the others.
	Oldest bool `json:",omitempty"`
	// Ahead is as of [checker.Looked]; Asked is true where it was looked for.
	Ahead time.Time `json:",omitzero"`
	Asked bool      `json:",omitempty"`
}

type pairEntry struct {
	// Same holds for ever: what was one disk once is. Else it depends on the keys.
	Same bool      `json:"same"`
	Keys [2]Key    `json:"keys"`
	Used time.Time `json:"used"`
}

// diskKey is the key of a disk's list of snapshots. It is false where that may change and the
// key does not.
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

// holds reports whether no disk has changed.
func (e *commonEntry) holds(disks []checker.Disk) bool {
	for _, d := range disks {
		if !e.Disks[d.Dataset].unchanged(d) {
			return false
		}
	}
	return true
}

// snapshots are those in common, nil for none.
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
		s.Creation = s.Creation.Local() // as zfs tells it
		row = append(row, *s)
	}
	return row
}

// sensible reports whether this could have been found: one snapshot of each disk, all of one
// time, or none of any.
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

// ahead is since when the disk has been ahead of a snapshot, zero if that is not known, and
// whether it was looked for.
func (e *commonEntry) ahead(s zfs.Snapshot) (since time.Time, asked bool) {
	if e == nil {
		return since, false
	}
	if k := e.Disks[s.Dataset]; k.Point != nil && k.Point.Name == s.Name {
		return k.Ahead, k.Asked
	}
	return since, false
}

// limits reports whether the disk had the oldest of the newest managed snapshots, and still has
// it. Then all others were past it, and could receive nothing since that it has.
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

// recallCommon returns what is remembered of these disks, nil where that is nothing or makes
// no sense, or where one of them is another dataset by now.
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

// wholeDay is a time of which one a day is written.
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

// recallPair returns whether two datasets are copies of one disk, if that is known.
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

// lasting is what is worth to be written: what was used since long before the last use.
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
