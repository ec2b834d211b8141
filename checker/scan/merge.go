package scan

import (
	"maps"
	"time"
)

// learnt says, of each kind of thing that a [Cache] knows, what one process found out itself, and
// when it read that. What it found to be gone is among those, too.
type learnt struct {
	newest, pending, slow map[string]time.Time
	// guests are entries of the [guestCache].
	guests map[string]bool
}

func newLearnt() learnt {
	return learnt{map[string]time.Time{}, map[string]time.Time{}, map[string]time.Time{}, map[string]bool{}}
}

// Merge adds what other processes left at path since this cache was read: what this process
// has found out stands, unless they read it later. A file that cannot be used adds nothing. The
// caller keeps others from writing until [Cache.Save] has returned.
func (c *Cache) Merge(path string) {
	saved, err := LoadCache(path)
	if err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.newest = merged(c.newest, saved.newest, c.learnt.newest, func(theirs, _ entry, at time.Time) bool { return theirs.readAt.After(at) })
	// Of one receive the first sight counts, of two receives the later.
	c.pending = merged(c.pending, saved.pending, c.learnt.pending, func(theirs, ours pendingReceive, at time.Time) bool {
		return ours.continues(theirs) || theirs.Since.After(at) && !theirs.continues(ours)
	})
	c.slow = merged(c.slow, saved.slow, c.learnt.slow, func(theirs, _ time.Time, at time.Time) bool { return theirs.After(at) })
	c.guests = guestCache{
		Commons: mergedGuests(c.guests.Commons, saved.guests.Commons, c.learnt.guests),
		Pairs:   mergedGuests(c.guests.Pairs, saved.guests.Pairs, c.learnt.guests),
		Configs: mergedGuests(c.guests.Configs, saved.guests.Configs, c.learnt.guests),
	}
}

// merged returns theirs with what was learnt of ours, unless theirs is better.
func merged[V any](ours, theirs map[string]V, learnt map[string]time.Time, better func(theirs, ours V, at time.Time) bool) map[string]V {
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

// drop takes what is gone from known, and notes that.
func drop[V any](known map[string]V, learnt map[string]time.Time, gone func(name string) bool, at time.Time) {
	for name := range known {
		if gone(name) {
			delete(known, name)
			learnt[name] = at
		}
	}
}
