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
// ones of a day's first snapshot, in the zone's days, and apart from them the newest
// of _stopped ones. All others are somebody else's, such as those that
// syncoid --create-bookmark makes of a day's later snapshots. With bookmarks off all
// stay: one of them may be the last thing a receiver has in common with the disk.
func (b Bookmarks) Expire(zone *time.Location) []zfs.Snapshot {
	if b.Keep == 0 {
		return nil
	}
	marks := slices.Clone(b.Have)
	slices.SortStableFunc(marks, func(x, y zfs.Snapshot) int { return compareUint(x.CreateTXG, y.CreateTXG) })
	var days, stopped []zfs.Snapshot
	seen := map[bucket]bool{}
	for _, m := range marks {
		class, ours := m.Class()
		day := bucketOf(zfs.Daily, m.Creation.In(zone))
		switch {
		case !ours:
		case class == zfs.Stopped:
			stopped = append(stopped, m)
		case !seen[day]:
			seen[day] = true
			days = append(days, m)
		}
	}
	expired := slices.Clone(days[:max(0, len(days)-b.Keep)])
	return append(expired, stopped[:max(0, len(stopped)-keepStoppedBookmarks)]...)
}
