package snapper

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"snapwatch/internal/zfs"
)

// anyHistory draws the snapshots of one disk: snapshots of all classes, snapshots that are not
// managed, a clock that sometimes jumps, and snapshots from the future.
func anyHistory(t *rapid.T, now time.Time) []zfs.Snapshot {
	n := rapid.IntRange(0, 60).Draw(t, "snapshots")
	span := rapid.SampledFrom([]time.Duration{6 * time.Hour, 5 * 24 * time.Hour, 900 * 24 * time.Hour}).Draw(t, "span")
	created := now.Add(-span)
	var list []zfs.Snapshot
	for i := range n {
		created = created.Add(span / time.Duration(n) * time.Duration(rapid.IntRange(0, 2).Draw(t, "pace")))
		if rapid.IntRange(0, 15).Draw(t, "jump") == 0 {
			created = now.Add(time.Duration(rapid.IntRange(-100, 20).Draw(t, "to")) * span / 100)
		}
		class := zfs.Class(rapid.IntRange(int(zfs.Stopped), int(zfs.Yearly)).Draw(t, "class"))
		name := zfs.FormatSnapshotName(created.Add(time.Duration(i)*time.Second), class)
		if rapid.IntRange(0, 9).Draw(t, "foreign") == 0 {
			name = rapid.SampledFrom([]string{"manual", "x" + name, name + "-keep", "__replicate_100-0_", "syncoid_c_"}).Draw(t, "name") + fmt.Sprint(i)
		}
		if slices.ContainsFunc(list, func(s zfs.Snapshot) bool { return s.Name == name }) {
			continue // the names of a dataset's snapshots differ
		}
		list = append(list, zfs.Snapshot{Dataset: disk0, Name: name, GUID: uint64(i + 1), CreateTXG: uint64(i + 1), Creation: created})
	}
	return list
}

func anyRetention(t *rapid.T) Retention {
	r := Retention{}
	for _, class := range zfs.Rotating() {
		if n := rapid.IntRange(-1, 5).Draw(t, class.String()); n >= 0 {
			r[class] = n
		}
	}
	return r
}

func anyNow(t *rapid.T, zone *time.Location) time.Time {
	nights := []time.Time{
		noon, time.Date(2026, 3, 29, 1, 10, 0, 0, time.UTC), time.Date(2026, 10, 25, 1, 10, 0, 0, time.UTC),
		time.Date(2027, 1, 1, 0, 0, 5, 0, time.UTC),
	}
	return rapid.SampledFrom(nights).Draw(t, "now").Add(time.Duration(rapid.IntRange(-90, 90).Draw(t, "minutes")) * time.Minute).In(zone)
}

func drop(list []zfs.Snapshot, gone []Expired) []zfs.Snapshot {
	return slices.DeleteFunc(slices.Clone(list), func(s zfs.Snapshot) bool {
		return slices.ContainsFunc(gone, func(e Expired) bool { return e.Snapshot.Name == s.Name })
	})
}

func TestExpireProperties(t *testing.T) {
	zone := berlin(t)
	rapid.Check(t, func(t *rapid.T) {
		now := anyNow(t, zone)
		list, keep := anyHistory(t, now), anyRetention(t)
		gone := keep.Expire(list, now)
		left := drop(list, gone)

		ours := managedOf(list, now)
		for _, e := range gone {
			class, managed := e.Snapshot.Class()
			_, named := keep[class]
			switch {
			case !managed:
				t.Fatalf("destroys the foreign %s", e.Snapshot.Name)
			case !named:
				t.Fatalf("destroys %s of a class that is not named", e.Snapshot.Name)
			case e.Snapshot.Name == ours[len(ours)-1].Name:
				t.Fatalf("destroys the newest, %s", e.Snapshot.Name)
			case e.Snapshot.Creation.After(now.Add(futureSlack)):
				t.Fatalf("destroys %s of the future", e.Snapshot.Name)
			}
			if len(e.Keepers) == 0 || e.Reason == "" {
				t.Fatalf("%s goes without a keeper or a reason: %+v", e.Snapshot.Name, e)
			}
			for _, keeper := range e.Keepers {
				if !slices.ContainsFunc(left, func(s zfs.Snapshot) bool { return s.Name == keeper }) {
					t.Fatalf("%s goes because of %s, which goes itself", e.Snapshot.Name, keeper)
				}
			}
		}
		if again := keep.Expire(left, now); len(again) > 0 {
			t.Fatalf("%v\ngone: %v\nleft: %v\ndestroyed by a second look: %v", keep, short(drop(list, nil)), short(left), again)
		}
		checkCounts(t, keep, left, now)
	})
}

func short(list []zfs.Snapshot) (names []string) {
	for _, s := range list {
		names = append(names, s.Creation.Format("06-01-02T15:04 ")+s.Name)
	}
	return names
}

// checkCounts fails the test if more snapshots of the retention's classes remain than the retention
// allows for all its classes together. Each class allows as many snapshots as the retention says,
// once for buckets of any snapshots and once for buckets with a snapshot of this class. checkCounts
// does not count the newest snapshot and the snapshots from the future.
func checkCounts(t *rapid.T, keep Retention, left []zfs.Snapshot, now time.Time) {
	asked := 1
	for _, class := range slices.Backward(zfs.Rotating()) {
		asked += 2 * max(0, keep[class])
	}
	have := 0
	for _, m := range managedOf(left, now) {
		if _, named := keep[m.class]; named && !m.future {
			have++
		}
	}
	if have > asked {
		t.Fatalf("%v keeps %d snapshots of the classes it names: %v", keep, have, short(left))
	}
}

// [Retention.Expire] keeps the same snapshots as the loops of this test, which apply the rules of
// retention to one bucket after the other.
func TestExpireKeepsEveryBucket(t *testing.T) {
	zone := berlin(t)
	rapid.Check(t, func(t *rapid.T) {
		now := anyNow(t, zone)
		list, keep := anyHistory(t, now), anyRetention(t)
		left := managedOf(drop(list, keep.Expire(list, now)), now)
		for class, n := range keep {
			buckets := map[bucket]time.Time{} // the time of the newest snapshot in each bucket
			for _, m := range managedOf(list, now) {
				if b := bucketOf(class, m.Creation.In(zone)); m.counts(class) && class != zfs.Frequently && !m.Creation.Before(buckets[b]) {
					buckets[b] = m.Creation
				}
			}
			for b, moment := range buckets {
				newer := 0
				for other, at := range buckets {
					if other != b && at.After(moment) {
						newer++
					}
				}
				held := slices.ContainsFunc(left, func(m managed) bool { return m.counts(class) && bucketOf(class, m.Creation.In(zone)) == b })
				if newer < n && !held {
					t.Fatalf("%v: the %s bucket %v of %s lost its snapshots, and only %d are newer", keep, class, b, moment, newer)
				}
			}
		}
	})
}

// A snapshot from the future is never a reason to destroy a snapshot from the past.
func TestFutureDestroysNothing(t *testing.T) {
	zone := berlin(t)
	rapid.Check(t, func(t *rapid.T) {
		now := anyNow(t, zone)
		list, keep := anyHistory(t, now), anyRetention(t)
		past := slices.DeleteFunc(slices.Clone(list), func(s zfs.Snapshot) bool { return s.Creation.After(now.Add(futureSlack)) })
		marks := Bookmarks{Have: list, Keep: rapid.IntRange(0, 1).Draw(t, "bookmarks")}
		gone, alone := keep.Expire(list, now), keep.Expire(past, now)
		gone = append(gone, ExpireStopped(list, marks, time.Hour, now)...)
		alone = append(alone, ExpireStopped(past, marks, time.Hour, now)...)
		for _, e := range gone {
			if !slices.ContainsFunc(alone, func(a Expired) bool { return a.Snapshot.Name == e.Snapshot.Name }) {
				t.Fatalf("%v: %s goes only because of snapshots from the future: %v", keep, e.Snapshot.Name, short(list))
			}
		}
		class, due := keep.Due(list, now)
		if c, d := keep.Due(past, now); c != class || d != due {
			t.Fatalf("%v: due %s %v instead of %s %v because of the future", keep, class, due, c, d)
		}
	})
}

func TestExpireStoppedProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := anyHistory(t, noon)
		marks := Bookmarks{Keep: rapid.IntRange(0, 1).Draw(t, "bookmarks")}
		var list []zfs.Snapshot
		for _, s := range all {
			if rapid.Bool().Draw(t, "bookmarked") {
				marks.Have = append(marks.Have, s)
			}
			if rapid.IntRange(0, 4).Draw(t, "gone") > 0 {
				// A snapshot that is not in `list` does not exist any more, but its bookmark may
				// exist.
				list = append(list, s)
			}
		}
		gone := ExpireStopped(list, marks, 24*time.Hour, noon)
		ours := managedOf(list, noon)
		for _, e := range gone {
			class, managed := e.Snapshot.Class()
			if !managed || class != zfs.Stopped || e.Snapshot.Name == ours[len(ours)-1].Name {
				t.Fatalf("destroys %s", e.Snapshot.Name)
			}
			if marks.Keep > 0 && !marks.hold(e.Snapshot.GUID) && marks.wouldKeep(e.Snapshot) {
				t.Fatalf("destroys %s, which waits for its bookmark", e.Snapshot.Name)
			}
			if slices.Contains(e.Keepers, e.Snapshot.Name) {
				t.Fatalf("destroys %s, which is its own keeper", e.Snapshot.Name)
			}
		}
		if again := ExpireStopped(drop(list, gone), marks, 24*time.Hour, noon); len(again) > 0 {
			t.Fatalf("destroyed by a second look: %v", again)
		}
	})
}
