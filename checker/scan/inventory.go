package scan

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"snapwatch/checker"
	"snapwatch/internal/zfs"
)

// Inventory contains the disks that earlier scans found on this host, so that a disk that
// disappeared is reported. The exporter keeps an inventory, and each user of check keeps a
// separate inventory. The methods of Inventory do not change it, but return a new inventory.
type Inventory struct {
	// Disks has, by dataset, the disks that were on this host. Disks is nil if no inventory was
	// ever written.
	Disks map[string]KnownDisk `json:"disks"`
	// Forgotten has, by dataset, the time at which the dataset and all datasets below it were
	// forgotten. A disk that was last seen before the dataset was forgotten is ignored, even if
	// another inventory still contains the disk.
	Forgotten map[string]time.Time `json:"forgotten,omitempty"`
	// Owners has, by node and by the dataset on this node, the disks of the guests that the node
	// owns.
	Owners map[string]map[string]OwnerDisk `json:"owners,omitempty"`
	// Lost describes the loss of an earlier inventory, nil if none was lost.
	Lost *Loss `json:"lost,omitempty"`
}

// KnownDisk is one disk of an [Inventory].
type KnownDisk struct {
	// GUID is the guid of the dataset, which a rename does not change.
	GUID uint64 `json:"guid,string"`
	// Pool is the guid of the disk's pool, 0 if unknown. The guid is unchanged when the pool is
	// imported under another name.
	Pool uint64 `json:"pool_guid,string,omitempty"`
	// Since is the start of the scan that first saw the disk.
	Since time.Time `json:"since"`
	// Node is the node of this host's cluster on which the guest of the disk was configured, "" if
	// none. Left is the time since when the guest is not configured on Node any more, zero while
	// the guest is configured on Node. Left is set to zero when the guest's move can no longer be the
	// reason for a missing disk.
	Node string    `json:"node,omitempty"`
	Left time.Time `json:"left,omitzero"`
}

// Loss says when and why the file of an inventory was lost.
type Loss struct {
	At  time.Time `json:"at"`
	Why string    `json:"why"`
}

const (
	// toldFor is the time for which the loss of an inventory is reported: long enough that the
	// person on duty sees the report.
	toldFor = 24 * time.Hour
	// forgottenFor is the time for which an inventory records a forgotten disk: long enough that each
	// process with a separate inventory runs at least once in this time, and also forgets the disk.
	forgottenFor = 90 * 24 * time.Hour
)

// Notes warns for a day after the loss of an inventory, because disks that disappeared before the
// loss are not reported.
func (s Inventory) Notes(now time.Time) []checker.Note {
	if s.Lost == nil || now.Sub(s.Lost.At) > toldFor {
		return nil
	}
	return []checker.Note{{State: checker.Warning, Text: fmt.Sprintf("disks that were gone before %s are not missed: %s", s.Lost.At.Format(time.DateTime), s.Lost.Why)}}
}

// Updated returns s plus the disks that were just read, minus the disks that were renamed, and
// whether anything changed. If the inventory changed, Updated returns a changed copy of s. Updated
// ignores a disk that was read before its dataset was forgotten, or before its entry in the
// inventory was made. Updated uses the time at which this disk was read, not its pool, because
// another disk of the pool may be unreadable for days. Disks in the returned inventory is never
// nil, but may be empty.
func (s Inventory) Updated(pools []checker.Pool, now time.Time) (updated Inventory, changed bool) {
	s, changed = s.followed(pools)
	updated = s
	if kept := keepRecent(s.Forgotten, now); len(kept) != len(s.Forgotten) {
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

// wasWhole reports whether the disk must be reported if it disappears: its first receive was
// finished, and it is not a clone that somebody made to try something.
func wasWhole(d *checker.Disk) bool {
	if d.BareClone() && d.Owned != checker.Owned {
		return false
	}
	return !d.Receiving || d.Newest != nil || d.NewestOfAny != ""
}

// Forgot reports whether a disk that was read at d.ReadAt is forgotten.
func (s Inventory) Forgot(d checker.Disk, now time.Time) bool {
	return s.forgot(d.Dataset, d.ReadAt, now)
}

// forgot reports whether a person typed `snapwatch forget` for a dataset, at the time `seen` or
// later. A forget entry with a time in the future is ignored, because a clock that was ahead wrote
// the entry.
func (s Inventory) forgot(dataset string, seen, now time.Time) bool {
	for within := dataset; within != ""; within = zfs.Parent(within) {
		if at, ok := s.Forgotten[within]; ok && !seen.After(at) && !at.After(now) {
			return true
		}
	}
	return false
}

// keepRecent returns the entries for forgotten datasets that are still valid. If the time of an
// entry is more than five minutes in the future, the clock was ahead when the entry was written.
// keepRecent drops this entry: with it, the inventory would by mistake forget disks that are read
// before that time. keepRecent keeps an entry that is at most five minutes in the future, because
// another process may have written the entry after the time `now`.
func keepRecent(forgotten map[string]time.Time, now time.Time) map[string]time.Time {
	const ahead = 5 * time.Minute
	kept := maps.Clone(forgotten)
	maps.DeleteFunc(kept, func(_ string, at time.Time) bool { return now.Sub(at) > forgottenFor || at.Sub(now) > ahead })
	return kept
}

// Forget returns s without the disks in a dataset and below it, and the number of removed disks.
// Other processes that read this inventory forget the removed disks, too.
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

// With returns the disks of both inventories, without the disks that one of the inventories records
// as forgotten.
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
	both.Forgotten = keepRecent(both.Forgotten, now)
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

// pools returns the names of the pools that contained the inventory's disks, except pools that are
// now imported under another name.
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

// Recall adds to each pool the disks of the inventory that the scan did not find. Recall adds a
// disk as gone if its pool was read or is missing, and as unreadable if its pool could not be
// read. Recall also marks clones without a snapshot that had their own snapshots before.
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

// recognized returns the disks. WasWhole becomes true for a clone that has no snapshot now and had
// snapshots before: zfs promote moved these snapshots to another dataset. The given list of disks
// is not changed, because other goroutines may read the list.
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
