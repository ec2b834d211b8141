package scan

import (
	"maps"
	"slices"
	"strings"
	"time"

	"snapwatch/checker"
)

// learnt contains the entries of a [Cache] that this process changed or deleted, with the time at
// which the process read each entry.
type learnt struct {
	newest, pending, slow map[string]time.Time
	// guests has the names of the changed entries of the [guestCache].
	guests map[string]bool
}

func newLearnt() learnt {
	return learnt{map[string]time.Time{}, map[string]time.Time{}, map[string]time.Time{}, map[string]bool{}}
}

// Merge adds the entries that other processes wrote to path after this cache was read. A cache
// entry that this process changed is kept, unless another process read the same dataset later. If
// the file at path cannot be read, or is damaged, Merge ignores the file. The caller must keep
// other processes from writing the file until [Cache.Save] has returned.
func (c *Cache) Merge(path string) {
	saved, err := LoadCache(path)
	if err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.newest = mergeMaps(c.newest, saved.newest, c.learnt.newest, func(theirs, _ entry, at time.Time) bool { return theirs.readAt.After(at) })
	// If both processes saw the same pending receive, the cache keeps the time of the earlier scan.
	// If the two processes saw different receives, the cache keeps the receive of the later scan.
	c.pending = mergeMaps(c.pending, saved.pending, c.learnt.pending, func(theirs, ours pendingReceive, at time.Time) bool {
		return ours.continues(theirs) || theirs.Since.After(at) && !theirs.continues(ours)
	})
	c.slow = mergeMaps(c.slow, saved.slow, c.learnt.slow, func(theirs, _ time.Time, at time.Time) bool { return theirs.After(at) })
	c.guests = guestCache{
		Commons: mergedGuests(c.guests.Commons, saved.guests.Commons, c.learnt.guests),
		Pairs:   mergedGuests(c.guests.Pairs, saved.guests.Pairs, c.learnt.guests),
		Configs: mergedGuests(c.guests.Configs, saved.guests.Configs, c.learnt.guests),
	}
}

// mergeMaps adds the entries in learnt, which this process changed or deleted, to another process's
// cache entries, and returns the result. An entry in learnt replaces or deletes the other process's
// entry of the same name, unless the function `better` prefers the other process's entry.
func mergeMaps[V any](ours, theirs map[string]V, learnt map[string]time.Time, better func(theirs, ours V, at time.Time) bool) map[string]V {
	for name, at := range learnt {
		our, has := ours[name]
		their, had := theirs[name]
		switch {
		case had && better(their, our, at):
		case has:
			theirs[name] = our
		default:
			delete(theirs, name)
		}
	}
	return theirs
}

func mergedGuests[V any](ours, theirs map[string]V, learnt map[string]bool) map[string]V {
	all := maps.Clone(theirs)
	if all == nil {
		all = map[string]V{}
	}
	for name, our := range ours {
		if learnt[name] {
			all[name] = our
		}
	}
	return all
}

// drop deletes the cache entries for which gone returns true, and records each deletion in
// learnt.
func drop[V any](known map[string]V, learnt map[string]time.Time, gone func(name string) bool, at time.Time) {
	for name := range known {
		if gone(name) {
			delete(known, name)
			learnt[name] = at
		}
	}
}

// better combines the disks of two readings of a pool: the disks of the second reading, but with
// the first reading's answer about a disk if the first answer is more complete. If the second
// reading failed in part, better adds the disks that only the first reading found.
func better(second, first []checker.Disk, failed error) []checker.Disk {
	worth := func(d checker.Disk) int {
		switch {
		case d.Problem != "":
			return 0
		case d.Unlisted != "":
			return 1
		}
		return 2
	}
	answered := map[string]checker.Disk{}
	for _, d := range first {
		if worth(d) > 0 {
			answered[d.Dataset] = d
		}
	}
	for i, d := range second {
		if before := answered[d.Dataset]; before.GUID == d.GUID && worth(before) > worth(d) {
			second[i] = before
		}
		delete(answered, d.Dataset)
	}
	if failed != nil {
		for _, dataset := range sortedKeys(answered) {
			second = append(second, answered[dataset])
		}
		slices.SortFunc(second, func(a, b checker.Disk) int { return strings.Compare(a.Dataset, b.Dataset) })
	}
	return second
}
