package snapper

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"snapwatch/config"
	"snapwatch/internal/zfs"
)

// futureSlack is how far ahead of the clock a snapshot may be dated.
const futureSlack = 5 * time.Minute

// Retention says how many snapshots of each class are kept. A class that is not in
// it is left alone: it is neither taken nor destroyed, though its snapshots count.
type Retention map[zfs.Class]int

// Expired is a snapshot the retention no longer keeps.
type Expired struct {
	Snapshot zfs.Snapshot
	Reason   string
	// Keepers are snapshots that must still exist when it is destroyed: the newest,
	// and for each class the one that makes this one superfluous.
	Keepers []string
}

// managed is a snapshot of ours with what retention needs to know of it.
type managed struct {
	zfs.Snapshot
	class  zfs.Class
	future bool
}

// managedOf picks the managed snapshots and orders them by txg. One dated further
// in the future than futureSlack fills no bucket and is never destroyed.
func managedOf(snapshots []zfs.Snapshot, now time.Time) []managed {
	list := make([]managed, 0, len(snapshots))
	for _, s := range snapshots {
		if class, ok := s.Class(); ok {
			list = append(list, managed{s, class, s.Creation.After(now.Add(futureSlack))})
		}
	}
	byTXG := func(a, b managed) int { return cmp.Compare(a.CreateTXG, b.CreateTXG) }
	if !slices.IsSortedFunc(list, byTXG) {
		slices.SortStableFunc(list, byTXG)
	}
	return list
}

// counts reports whether a snapshot fills a bucket of a class.
func (m managed) counts(class zfs.Class) bool {
	return !m.future && m.class != zfs.Stopped && m.class >= class
}

// Due returns the longest class that is named with more than 0 and has no snapshot
// of it or a longer one in the current bucket. Frequently is due at every run. The
// zone is that of now. It is false when nothing is due.
func (r Retention) Due(snapshots []zfs.Snapshot, now time.Time) (zfs.Class, bool) {
	list := managedOf(snapshots, now)
	for _, class := range zfs.Rotating() {
		if r[class] <= 0 {
			continue
		}
		if class == zfs.Frequently || !filled(list, class, now) {
			return class, true
		}
	}
	return 0, false
}

func filled(list []managed, class zfs.Class, now time.Time) bool {
	current := bucketOf(class, now)
	for _, m := range slices.Backward(list) {
		if m.counts(class) && bucketOf(class, m.Creation.In(now.Location())) == current {
			return true
		}
	}
	return false
}

// Shortest returns the shortest class that is named with more than 0.
func (r Retention) Shortest() (zfs.Class, bool) {
	for _, class := range slices.Backward(zfs.Rotating()) {
		if r[class] > 0 {
			return class, true
		}
	}
	return 0, false
}

// Expire returns the snapshots that no named class keeps and whose own class is
// named, oldest first. _stopped ones are not its business, and neither are the
// newest managed snapshot and those from the future. One from the future protects
// nothing: the newest of the others stays, too.
func (r Retention) Expire(snapshots []zfs.Snapshot, now time.Time) []Expired {
	list := managedOf(snapshots, now)
	if len(list) == 0 {
		return nil
	}
	kept := map[zfs.Class]kept{}
	for class, n := range r {
		kept[class] = keep(list, class, n, now.Location())
	}
	newest, newestPast := list[len(list)-1], newestPast(list)
	var expired []Expired
	for i, m := range list[:len(list)-1] {
		if _, named := r[m.class]; !named || m.future || m.class == zfs.Stopped || i == newestPast {
			continue
		}
		if e, ok := r.expire(i, m, kept, now.Location()); ok {
			if !slices.Contains(e.Keepers, newest.Name) {
				e.Keepers = append(e.Keepers, newest.Name)
			}
			expired = append(expired, e)
		}
	}
	return expired
}

// newestPast is the place of the newest snapshot that is not from the future.
func newestPast(list []managed) int {
	for i, m := range slices.Backward(list) {
		if !m.future {
			return i
		}
	}
	return -1
}

// kept is what one class keeps.
type kept struct {
	// index marks what is kept by its place in the list, candidate what the class might
	// have kept.
	index, candidate []bool
	// byBucket is the kept snapshot of a bucket.
	byBucket map[bucket]string
	// oldest is the name of the oldest one kept, "" if none is.
	oldest string
	// beyond says of a snapshot that its bucket is older than those kept.
	beyond string
}

// keep finds what one class keeps. Frequently keeps the newest n of all classes. Any other
// keeps one snapshot in each of the newest n buckets that have any, and in each of the newest
// n that have one of the class or longer. It is the oldest of the class or longer, and where
// there is none, the oldest of all: a copy is often kept for longer than its source takes
// snapshots of the class. Buckets are ordered by time and not by txg, which is another order
// after the clock was set back: what is kept must not depend on what went before.
func keep(list []managed, class zfs.Class, n int, zone *time.Location) kept {
	k := kept{
		index: make([]bool, len(list)), candidate: make([]bool, len(list)), byBucket: map[bucket]string{},
		beyond: fmt.Sprintf("beyond the %d kept %s", n, class),
	}
	if n <= 0 {
		return k
	}
	if class == zfs.Frequently {
		for i := len(list) - 1; i >= 0; i-- {
			if k.candidate[i] = list[i].counts(class); k.candidate[i] && n > 0 {
				k.index[i], k.oldest = true, list[i].Name
				n--
			}
		}
		return k
	}
	first := map[bucket]int{}
	var order []bucket
	for i, m := range list {
		if !m.counts(zfs.Frequently) {
			continue
		}
		b := bucketOf(class, m.Creation.In(zone))
		before, seen := first[b]
		if !seen {
			order = append(order, b)
		}
		if !seen || m.counts(class) && !list[before].counts(class) {
			first[b] = i
		}
	}
	slices.SortFunc(order, func(a, b bucket) int { return list[first[b]].Creation.Compare(list[first[a]].Creation) })
	own := 0
	for i, b := range order { // the newest first
		at := first[b]
		isOwn := list[at].counts(class)
		if isOwn {
			own++
		}
		if i < n || isOwn && own <= n {
			k.index[at], k.byBucket[b], k.oldest = true, list[at].Name, list[at].Name
		}
	}
	for i, m := range list {
		at, any := first[bucketOf(class, m.Creation.In(zone))]
		k.candidate[i] = any && m.counts(zfs.Frequently) && (m.counts(class) || !list[at].counts(class))
	}
	return k
}

// expire reports whether no named class keeps the snapshot at place i, and which ones
// stand in for it.
func (r Retention) expire(i int, m managed, kept map[zfs.Class]kept, zone *time.Location) (Expired, bool) {
	for _, k := range kept {
		if k.index[i] {
			return Expired{}, false
		}
	}
	created := m.Creation.In(zone)
	reasons, keepers := make([]string, 0, len(kept)), make([]string, 0, len(kept)+1)
	for _, class := range zfs.Rotating() {
		k, named := kept[class]
		if !named || !k.candidate[i] {
			continue
		}
		keeper, reason := k.oldest, k.beyond
		if class != zfs.Frequently {
			if inBucket, ok := k.byBucket[bucketOf(class, created)]; ok {
				keeper, reason = inBucket, inBucket+" is kept for its "+class.String()+" bucket"
			}
		}
		reasons = append(reasons, reason)
		if keeper != "" && !slices.Contains(keepers, keeper) {
			keepers = append(keepers, keeper)
		}
	}
	if len(reasons) == 0 {
		reasons = []string{"no class that is kept counts a " + m.class.String() + " one"}
	}
	return Expired{Snapshot: m.Snapshot, Reason: strings.Join(reasons, "; "), Keepers: keepers}, true
}

// ExpireStopped returns the _stopped snapshots that may go: each has its bookmark, by
// guid, or those that are there leave no room for it, and a newer managed
// snapshot is older than grace, or was, as its bookmark tells, so that receivers had the
// time to fetch it. Where no bookmarks are made the newest _stopped one stays. That newer
// one may be gone or go in the same run, so the keeper is the newest of all.
func ExpireStopped(snapshots []zfs.Snapshot, marks Bookmarks, grace time.Duration, now time.Time) []Expired {
	var expired []Expired
	newest := true
	list := managedOf(snapshots, now)
	if !slices.ContainsFunc(list, func(m managed) bool { return m.class == zfs.Stopped }) {
		return nil
	}
	witnesses := append(slices.Clone(list), managedOf(marks.Have, now)...)
	for _, m := range slices.Backward(list) {
		if m.class != zfs.Stopped {
			continue
		}
		marked := marks.hold(m.GUID) || !marks.need(m.Snapshot)
		safe := marks.Keep > 0 && marked || marks.Keep == 0 && !newest
		newest = newest && m.future
		if m.future || !safe || m.Name == list[len(list)-1].Name {
			continue // a bookmark may be all that is newer: the newest snapshot stays
		}
		successor := slices.IndexFunc(witnesses, func(w managed) bool {
			return w.CreateTXG > m.CreateTXG && !w.future && w.Creation.Before(now.Add(-grace))
		})
		if successor < 0 {
			continue
		}
		reason := fmt.Sprintf("%s is newer and older than %s", witnesses[successor].Name, grace)
		expired = append(expired, Expired{Snapshot: m.Snapshot, Reason: reason, Keepers: []string{list[len(list)-1].Name}})
	}
	slices.Reverse(expired)
	return expired
}

// RetentionOf turns the configuration's words into the planner's classes.
func RetentionOf(keep config.Keep) Retention {
	r := Retention{}
	for _, class := range zfs.Rotating() {
		if n, named := keep[class.String()]; named {
			r[class] = n
		}
	}
	return r
}
