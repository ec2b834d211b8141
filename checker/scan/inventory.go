package scan

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"snapwatch/checker"
	"snapwatch/internal/zfs"
)

// Inventory are the disks that were here once, so that one that is gone is missed. The
// exporter keeps one, and so does each user's check; none is changed, only replaced.
type Inventory struct {
	// Disks are they, by dataset; nil where there was no memory at all.
	Disks map[string]KnownDisk `json:"disks"`
	// Forgotten says when a dataset and all below it were to be forgotten. What was seen
	// by then does not count, whoever remembers it.
	Forgotten map[string]time.Time `json:"forgotten,omitempty"`
	// Owners are the disks that the nodes had of their own guests, by node and dataset there.
	Owners map[string]map[string]OwnerDisk `json:"owners,omitempty"`
	// Lost is what became of an earlier memory, nil if it was never lost.
	Lost *Loss `json:"lost,omitempty"`
}

// KnownDisk is one disk that was here.
type KnownDisk struct {
	// GUID is the dataset's, which a renamed one keeps.
	GUID uint64 `json:"guid,string"`
	// Pool is the guid of its pool, which one that is imported under another name keeps; 0
	// where ZFS does not tell.
	Pool uint64 `json:"pool_guid,string,omitempty"`
	// Since is when the read began that first saw the disk.
	Since time.Time `json:"since"`
	// Node is the node of this host's cluster on which its guest was configured, "" if none;
	// Left is since when it is not any more, while that may be why the disk goes.
	Node string    `json:"node,omitempty"`
	Left time.Time `json:"left,omitzero"`
}

// Loss says when a memory was lost, and why.
type Loss struct {
	At  time.Time `json:"at"`
	Why string    `json:"why"`
}

const (
	// toldFor is how long a loss is told: whoever is on duty then must have seen it.
	toldFor = 24 * time.Hour
	// forgottenFor is how long it is known that a disk was forgotten: each check that
	// remembers it must have run by then.
	forgottenFor = 90 * 24 * time.Hour
)

// Notes say that disks which were gone before a loss are not missed, for a day.
func (s Inventory) Notes(now time.Time) []checker.Note {
	if s.Lost == nil || now.Sub(s.Lost.At) > toldFor {
		return nil
	}
	return []checker.Note{{State: checker.Warning, Text: fmt.Sprintf("disks that were gone before %s are not missed: %s", s.Lost.At.Format(time.DateTime), s.Lost.Why)}}
}

// Updated returns s plus the disks just read and minus those renamed, and whether anything
// changed. If so, the result is a copy. What was read before it was forgotten, or before
// what is known, changes nothing. When each disk was read decides, not its pool: something
// beside it may be unreadable for days. From then on there is a memory, though it be empty.
func (s Inventory) Updated(pools []checker.Pool, now time.Time) (updated Inventory, changed bool) {
	s, changed = s.followed(pools)
	updated = s
	if kept := lasting(s.Forgotten, now); len(kept) != len(s.Forgotten) {
		updated.Forgotten, changed = kept, true
	}
	copied := false
	change := func() map[string]KnownDisk {
		if !copied {
			updated.Disks, changed, copied = maps.Clone(s.Disks), true, true
			if updated.Disks == nil {
				updated.Disks = map[string]KnownDisk{}
			}
		}
		return updated.Disks
	}
	if s.Disks == nil {
		change()
	}
	for i := range pools {
		pool := &pools[i]
		for k := range pool.Disks {
			d := &pool.Disks[k]
			old, known := s.Disks[d.Dataset]
			if known && old.GUID == d.GUID && (old.Pool == pool.GUID || pool.GUID == 0) {
				continue
			}
			later := old.Since.After(d.ReadAt) && !old.Since.After(now)
			counts := wasWhole(d) || (known && old.GUID == d.GUID)
			if !counts || later || s.Forgot(*d, now) {
				continue
			}
			seen := KnownDisk{GUID: d.GUID, Since: d.ReadAt}
			if known && old.GUID == d.GUID {
				seen = old
			}
			seen.Pool = pool.GUID
			change()[d.Dataset] = seen
		}
	}
	read := newReading(pools)
	for name, disk := range s.Disks {
		if read.renamed(name, disk) {
			delete(change(), name)
		}
	}
	return updated, changed
}

// wasWhole reports whether the disk would be missed if it were gone: its first receive was
// finished once, and it is no clone that somebody made to try something.
func wasWhole(d *checker.Disk) bool {
	if d.BareClone() && d.Owned != checker.Owned {
		return false
	}
	return !d.Receiving || d.Newest != nil || d.NewestOfAny != ""
}

// Forgot is [Inventory.forgot] of a disk as it was read.
func (s Inventory) Forgot(d checker.Disk, now time.Time) bool {
	return s.forgot(d.Dataset, d.ReadAt, now)
}

// forgot reports whether what was seen of a dataset at a time is to be forgotten. A time
// that is yet to come was that of a clock that was ahead.
func (s Inventory) forgot(dataset string, seen, now time.Time) bool {
	for within := dataset; within != ""; within = zfs.Parent(within) {
		if at, ok := s.Forgotten[within]; ok && !seen.After(at) && !at.After(now) {
			return true
		}
	}
	return false
}

// lasting returns what is still to be forgotten. A time that is yet to come was that of a clock
// that was ahead, and would forget later what nobody forgot; a few minutes are another process
// that has just forgotten.
func lasting(forgotten map[string]time.Time, now time.Time) map[string]time.Time {
	const ahead = 5 * time.Minute
	kept := maps.Clone(forgotten)
	maps.DeleteFunc(kept, func(_ string, at time.Time) bool { return now.Sub(at) > forgottenFor || at.Sub(now) > ahead })
	return kept
}

// Forget returns s without a dataset and all below it, and how many disks went. Whoever
// remembers them, too, forgets them when he reads this.
func (s Inventory) Forget(dataset string, now time.Time) (Inventory, int) {
	forgotten := maps.Clone(s.Forgotten)
	if forgotten == nil {
		forgotten = map[string]time.Time{}
	}
	forgotten[dataset] = now
	before := len(s.Disks)
	s.Forgotten = forgotten
	s = s.With(Inventory{}, now)
	return s, before - len(s.Disks)
}

// With returns what both remember, less what either forgot.
func (s Inventory) With(other Inventory, now time.Time) Inventory {
	both := Inventory{Forgotten: maps.Clone(s.Forgotten), Lost: s.Lost, Owners: s.Owners}
	if other.Owners != nil {
		both.Owners = other.Owners
	}
	if both.Forgotten == nil && len(other.Forgotten) > 0 {
		both.Forgotten = map[string]time.Time{}
	}
	for dataset, at := range other.Forgotten {
		if at.After(both.Forgotten[dataset]) {
			both.Forgotten[dataset] = at
		}
	}
	both.Forgotten = lasting(both.Forgotten, now)
	if s.Disks != nil || other.Disks != nil {
		both.Disks = map[string]KnownDisk{}
	}
	for _, from := range []map[string]KnownDisk{other.Disks, s.Disks} {
		for name, disk := range from {
			if !both.forgot(name, disk.Since, now) {
				both.Disks[name] = disk
			}
		}
	}
	return both
}

// pools are those that held the disks, less those that are imported under another name now.
func (s Inventory) pools(imported Imported) []string {
	names := map[uint64]string{}
	for name, guid := range imported {
		names[guid] = name
	}
	pools := map[string]bool{}
	for name, disk := range s.Disks {
		pool := zfs.Pool(name)
		if _, here := imported[pool]; here || disk.Pool == 0 || names[disk.Pool] == "" {
			pools[pool] = true
		}
	}
	return sortedKeys(pools)
}

// Recall adds to the pools' disks those that were here before and are not read now:
// as gone where the pool was read or is missing, and as unreadable where it could
// not be read. It says of clones without a snapshot which were whole before.
func (s Inventory) Recall(pools []checker.Pool, t Targets) {
	s, _ = s.followed(pools)
	read := newReading(pools)
	absent := map[string][]string{} // by pool
	for name, disk := range s.Disks {
		if !read.here[name] && t.Covers(name) && !read.renamed(name, disk) {
			absent[zfs.Pool(name)] = append(absent[zfs.Pool(name)], name)
		}
	}
	for i := range pools {
		pool := &pools[i]
		pool.Disks = s.recognized(pool.Disks)
		slices.Sort(absent[pool.Name])
		for _, name := range absent[pool.Name] {
			pool.Disks = append(pool.Disks, s.Disks[name].absent(name, *pool))
		}
	}
}

// recognized returns the disks with those marked that look like clones made for a trial, and
// were whole before: their snapshots were promoted away. Others may read the list that it is
// given.
func (s Inventory) recognized(disks []checker.Disk) []checker.Disk {
	copied := false
	for i := range disks {
		if d := disks[i]; !d.BareClone() || d.GUID == 0 || s.Disks[d.Dataset].GUID != d.GUID {
			continue
		}
		if !copied {
			disks, copied = slices.Clone(disks), true
		}
		disks[i].WasWhole = true
	}
	return disks
}

func (disk KnownDisk) absent(name string, pool checker.Pool) checker.Disk {
	vmid, kind, _ := zfs.ParseDiskName(zfs.Base(name))
	d := checker.Disk{Dataset: name, VMID: vmid, Template: kind == zfs.TemplateDisk, GUID: disk.GUID, ReadAt: pool.ReadAt}
	if pool.Problem != "" && !pool.Missing && !disk.lookedFor(pool) {
		d.Problem = pool.Problem
	} else {
		d.Gone = true
	}
	return d
}
