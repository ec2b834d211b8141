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

// futureSlack is the time by which a snapshot's date may be ahead of the clock before the
// snapshot counts as dated in the future.
const futureSlack = 5 * time.Minute

// Retention has the number of snapshots of each class to keep. If a class is not in the retention,
// snap neither takes nor destroys snapshots of this class. A snapshot of a class that is not in the
// retention counts as a snapshot of each shorter class.
type Retention map[zfs.Class]int

// Expired is a snapshot that the retention no longer keeps.
type Expired struct {
	Snapshot zfs.Snapshot
	Reason   string
	// Keepers has the names of snapshots that must exist when the expired snapshot is destroyed:
	// the newest snapshot, and the snapshots that the classes of the retention keep in place of the
	// expired one.
	Keepers []string
}

// managed is a managed snapshot of a disk, with its class. future is true if the snapshot is dated
// in the future.
type managed struct {
	zfs.Snapshot
	class  zfs.Class
	future bool
}

// managedOf returns the managed ones of a disk's snapshots, sorted by transaction group. If a
// snapshot's date is later than now by more than futureSlack, the snapshot fills no bucket and is
// never destroyed.
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

// counts reports whether the snapshot can fill a bucket of the class.
func (m managed) counts(class zfs.Class) bool {
	return !m.future && m.class != zfs.Stopped && m.class >= class
}

// Due returns the longest class that is due. A class is due if the retention keeps at least one
// snapshot of the class, and the current bucket of the class has neither a snapshot of the class
// nor one of a longer class. The class `frequently` is due at every run. Buckets are in the time
// zone of the argument `now`. If no class is due, the second result is false.
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

// Shortest returns the shortest class of which the retention keeps at least one snapshot.
func (r Retention) Shortest() (zfs.Class, bool) {
	for _, class := range slices.Backward(zfs.Rotating()) {
		if r[class] > 0 {
			return class, true
		}
	}
	return 0, false
}

// Expire returns the snapshots to destroy, the oldest first: the retention names their class, but
// no class of the retention keeps them. Expire never returns a _stopped snapshot, the newest
// managed snapshot, or a snapshot from the future. If the newest snapshot is from the future,
// Expire also keeps the newest snapshot that is not from the future.
func (r Retention) Expire(snapshots []zfs.Snapshot, now time.Time) []Expired {
	list := managedOf(snapshots, now)
	if len(list) == 0 {
		return nil
	}
	kept := map[zfs.Class]keptSet{}
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

// newestPast returns the index of the newest snapshot that is not from the future, -1 if there is
// none.
func newestPast(list []managed) int {
	for i, m := range slices.Backward(list) {
		if !m.future {
			return i
		}
	}
	return -1
}

// keptSet is the set of a disk's snapshots that one class of the retention keeps.
type keptSet struct {
	// The slices `index` and `candidate` have an element for each snapshot of the disk. In `index`,
	// the element is true if the class keeps the snapshot. In `candidate`, the element is true if
	// the class would keep the snapshot under a retention that allowed more snapshots.
	index, candidate []bool
	// byBucket has, by bucket, the name of the kept snapshot.
	byBucket map[bucket]string
	// oldest is the name of the oldest snapshot that the class keeps, "" if the class keeps no
	// snapshot.
	oldest string
	// The text `beyond` is the reason to destroy a snapshot whose bucket is older than all kept
	// buckets.
	beyond string
}

// keep returns the snapshots that one class of the retention keeps. The class `frequently` keeps
// the newest n snapshots of all classes. Every other class keeps one snapshot in each of the newest
// n buckets that have any snapshot, and in each of the newest n buckets that have a snapshot of
// this class or a longer one. In each bucket, a class keeps the oldest snapshot of this class or a
// longer one. If a bucket has neither a snapshot of the class nor one of a longer class, the class
// keeps the bucket's oldest snapshot of any class, because a host with copies may keep classes of
// which the source takes no snapshots. Buckets are sorted by time, and not by transaction group:
// the two orders differ after the clock was set back, and the result must not depend on earlier
// destroys.
func keep(list []managed, class zfs.Class, n int, zone *time.Location) keptSet {
	k := keptSet{
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
	for i, b := range order { // order has the newest bucket first
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

// expire reports whether no class of the retention keeps the snapshot at index i. The field Keepers
// of the returned Expired lists the snapshots that are kept in place of the expired snapshot.
func (r Retention) expire(i int, m managed, kept map[zfs.Class]keptSet, zone *time.Location) (Expired, bool) {
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
		reasons = []string{"no kept class counts " + m.class.String() + " snapshots"}
	}
	return Expired{Snapshot: m.Snapshot, Reason: strings.Join(reasons, "; "), Keepers: keepers}, true
}

// ExpireStopped returns the _stopped snapshots that may be destroyed. A _stopped snapshot may be
// destroyed only if it has a bookmark, or if the disk already keeps its full number of newer
// bookmarks of _stopped snapshots. A _stopped snapshot is kept until a newer managed snapshot, or
// the bookmark of a newer managed snapshot, has an age above grace, so that receivers have had the
// time to fetch the newer snapshot. If bookmarks are off, ExpireStopped keeps the newest _stopped
// snapshot. The only Keeper of a returned snapshot is the newest managed snapshot, because every
// newer snapshot except the newest one may be gone, or be destroyed in the same run.
func ExpireStopped(snapshots []zfs.Snapshot, marks Bookmarks, grace time.Duration, now time.Time) []Expired {
	// Most disks have no _stopped snapshot.
	if !slices.ContainsFunc(snapshots, func(s zfs.Snapshot) bool { return strings.HasSuffix(s.Name, zfs.Stopped.String()) }) {
		return nil
	}
	var expired []Expired
	newest := true
	list := managedOf(snapshots, now)
	witnesses := append(slices.Clone(list), managedOf(marks.Have, now)...)
	for _, m := range slices.Backward(list) {
		if m.class != zfs.Stopped {
			continue
		}
		marked := marks.hold(m.GUID) || !marks.wouldKeep(m.Snapshot)
		safe := marks.Keep > 0 && marked || marks.Keep == 0 && !newest
		newest = newest && m.future
		if m.future || !safe || m.Name == list[len(list)-1].Name {
			continue // the newest snapshot is kept, because only a bookmark may be newer
		}
		successor := slices.IndexFunc(witnesses, func(w managed) bool {
			return w.CreateTXG > m.CreateTXG && !w.future && w.Creation.Before(now.Add(-grace))
		})
		if successor < 0 {
			continue
		}
		reason := fmt.Sprintf("%s is newer, and has existed for more than %s", witnesses[successor].Name, grace)
		expired = append(expired, Expired{Snapshot: m.Snapshot, Reason: reason, Keepers: []string{list[len(list)-1].Name}})
	}
	slices.Reverse(expired)
	return expired
}

// RetentionOf converts the retention in the configuration to a Retention.
func RetentionOf(keep config.Keep) Retention {
	r := Retention{}
	for _, class := range zfs.Rotating() {
		if n, named := keep[class.String()]; named {
			r[class] = n
		}
	}
	return r
}
