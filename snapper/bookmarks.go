package snapper

import (
	"slices"
	"time"

	"snapwatch/internal/zfs"
)

// keepStoppedBookmarks is how many bookmarks of _stopped snapshots a disk keeps.
const keepStoppedBookmarks = 10

// manyBookmarks is the number of bookmarks above which a disk is slow to open: each
// opening loads them all (facts: OpenZFS F).
const manyBookmarks = 100

// Bookmarks are a disk's bookmarks and how many day-first ones it keeps; with Keep
// 0 none are made.
type Bookmarks struct {
	Have []zfs.Snapshot
	Keep int
}

// hold tells whether there is a bookmark of the snapshot with this guid.
func (b Bookmarks) hold(guid uint64) bool {
	return slices.ContainsFunc(b.Have, func(s zfs.Snapshot) bool { return s.GUID == guid })
}

// firstOfDay tells whether a snapshot taken now is the disk's first in the calendar
// day of now's zone. One from the future is none of today's.
func firstOfDay(snapshots []zfs.Snapshot, now time.Time) bool {
	today := bucketOf(zfs.Daily, now)
	return !slices.ContainsFunc(snapshots, func(s zfs.Snapshot) bool {
		_, ours := s.Class()
		return ours && !s.Creation.After(now.Add(futureSlack)) && bucketOf(zfs.Daily, s.Creation.In(now.Location())) == today
	})
}

// Expire returns the bookmarks of ours beyond those that are kept: the newest Keep
// ones of a day's first snapshot, and apart from them the newest of _stopped ones.
// Bookmarks with other names are somebody else's. With bookmarks off all stay: one
// of them may be the last thing a receiver has in common with the disk.
func (b Bookmarks) Expire() []zfs.Snapshot {
	if b.Keep == 0 {
		return nil
	}
	marks := slices.Clone(b.Have)
	slices.SortStableFunc(marks, func(x, y zfs.Snapshot) int { return compareUint(y.CreateTXG, x.CreateTXG) })
	var expired []zfs.Snapshot
	days, stopped := 0, 0
	for _, m := range marks {
		class, ours := m.Class()
		switch {
		case !ours:
			continue
		case class == zfs.Stopped:
			if stopped++; stopped > keepStoppedBookmarks {
				expired = append(expired, m)
			}
		default:
			if days++; days > b.Keep {
				expired = append(expired, m)
			}
		}
	}
	slices.Reverse(expired)
	return expired
}
