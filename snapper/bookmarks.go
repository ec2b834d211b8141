package snapper

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"snapwatch/internal/zfs"
)

// keepStoppedBookmarks is how many bookmarks of _stopped snapshots a disk keeps beside
// those of days' first ones.
const keepStoppedBookmarks = 10

// MaxBookmarkDestroys is how many bookmarks one run destroys at most: each takes a process and
// a transaction group.
const MaxBookmarkDestroys = 20

// maxAbandoned is how many bookmarks of discarded histories one run destroys at most, before
// the guests get their snapshots.
const maxAbandoned = 200

// maxBookmarkCreates is how many bookmarks of snapshots that are there already one run makes at
// most. All of them are in one transaction group, which every writer waits for.
const maxBookmarkCreates = 200

// manyBookmarks is the number of bookmarks above which a disk is slow to open: each
// opening loads them all.
const manyBookmarks = 100

// Bookmarks are a disk's bookmarks and of how many days it keeps them; with Keep 0 none
// are made.
type Bookmarks struct {
	Have []zfs.Snapshot
	Keep int
}

// hold reports whether there is a bookmark of the snapshot with this guid.
func (b Bookmarks) hold(guid uint64) bool {
	return slices.ContainsFunc(b.Have, func(s zfs.Snapshot) bool { return s.GUID == guid })
}

// need reports whether a bookmark of this snapshot, were it there, would stay.
func (b Bookmarks) need(s zfs.Snapshot) bool {
	return len(b.withRoom([]zfs.Snapshot{s})) > 0
}

// withRoom returns those of the snapshots whose bookmarks, were they all there, would stay.
func (b Bookmarks) withRoom(list []zfs.Snapshot) []zfs.Snapshot {
	whole := Bookmarks{Have: slices.Concat(b.Have, list), Keep: b.Keep}
	gone := map[zfs.Snapshot]bool{}
	for _, s := range whole.Expire() {
		gone[s] = true
	}
	return slices.DeleteFunc(list, func(s zfs.Snapshot) bool { return gone[s] })
}

// firstOfDay reports whether a snapshot taken now is the disk's first in the calendar
// day of now's zone, beside these snapshots or bookmarks. One from the future is none of
// today's. A _stopped one does not count: its bookmark is kept by other numbers than those
// of days.
func firstOfDay(snapshots []zfs.Snapshot, now time.Time) bool {
	today := now.Format(time.DateOnly)
	return !slices.ContainsFunc(snapshots, func(s zfs.Snapshot) bool {
		class, ours := s.Class()
		return ours && class != zfs.Stopped && !s.Creation.After(now.Add(futureSlack)) && zfs.DayOf(s.Name) == today
	})
}

// Missing returns the snapshots that should have a bookmark and don't, the newest
// first: each day's first one that is not _stopped, and every _stopped one. On the source
// the program that makes them bookmarks them; a relay receives them without. A day that
// has a bookmark of its first, or of an older one that is gone, needs no second one; what
// [Bookmarks.Expire] would take away again needs none at all. A bookmark of a later snapshot
// of the day is somebody else's, such as syncoid --create-bookmark makes.
func (b Bookmarks) Missing(snapshots []zfs.Snapshot, now time.Time) []zfs.Snapshot {
	if b.Keep == 0 {
		return nil
	}
	taken := map[string]bool{}
	first := map[string]uint64{} // by day, the transaction group of its first bookmark
	for _, m := range b.Have {
		taken[m.Name] = true
		if class, ours := m.Class(); ours && class != zfs.Stopped {
			if at, any := first[zfs.DayOf(m.Name)]; !any || m.CreateTXG < at {
				first[zfs.DayOf(m.Name)] = m.CreateTXG
			}
		}
	}
	var missing []zfs.Snapshot
	last := "" // day: most snapshots are a day's later ones
	for _, s := range managedOf(snapshots, now) {
		if s.future || s.class != zfs.Stopped && zfs.DayOf(s.Snapshot.Name) == last {
			continue
		}
		wanted := s.class == zfs.Stopped
		if !wanted {
			last = zfs.DayOf(s.Snapshot.Name)
			at, any := first[last]
			wanted = !any || at > s.CreateTXG
			first[last] = 0
		}
		if wanted && !taken[s.Name] && !b.hold(s.GUID) {
			missing = append(missing, s.Snapshot)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	missing = b.withRoom(missing)
	slices.Reverse(missing)
	return missing
}

// Expire returns the bookmarks of ours beyond those that are kept, the oldest first:
// those of the first snapshot of each of the newest Keep days, by the days in their
// names, and apart from them those of the first _stopped one of as many days, and of the
// newest _stopped ones. A guest that is off and changed by others has new ones all day,
// and a copy that is away since the first of them has none but that. A day that has more
// bookmarks has somebody else's, such as those that syncoid --create-bookmark makes of
// what it sent, and all of it stays. With bookmarks off everything does: one of them may
// be the last thing a receiver has in common with the disk.
func (b Bookmarks) Expire() []zfs.Snapshot {
	if b.Keep == 0 {
		return nil
	}
	marks := slices.Clone(b.Have)
	slices.SortStableFunc(marks, func(x, y zfs.Snapshot) int { return cmp.Compare(x.CreateTXG, y.CreateTXG) })
	var regular, stopped, expired []zfs.Snapshot
	for _, m := range marks {
		switch class, ours := m.Class(); {
		case !ours:
		case class == zfs.Stopped:
			stopped = append(stopped, m)
		default:
			regular = append(regular, m)
		}
	}
	days := byDay(regular)
	for _, day := range days[:max(0, len(days)-b.Keep)] {
		if len(day) == 1 {
			expired = append(expired, day[0])
		}
	}
	// Sorted by name, a day to which a clock was set back is as old as before, so that
	// what comes later in it has no room once its first is gone.
	days = byDay(stopped)
	slices.SortFunc(days, func(x, y []zfs.Snapshot) int { return strings.Compare(zfs.DayOf(x[0].Name), zfs.DayOf(y[0].Name)) })
	kept := days[max(0, len(days)-b.Keep):]
	for _, m := range stopped[:max(0, len(stopped)-keepStoppedBookmarks)] {
		if !slices.ContainsFunc(kept, func(day []zfs.Snapshot) bool { return day[0] == m }) {
			expired = append(expired, m)
		}
	}
	return expired
}

// byDay divides managed snapshots, the oldest first, by the days in their names, in the
// order of the days' first.
func byDay(list []zfs.Snapshot) [][]zfs.Snapshot {
	var days [][]zfs.Snapshot
	at := map[string]int{}
	for _, s := range list {
		day := zfs.DayOf(s.Name)
		if _, known := at[day]; !known {
			at[day] = len(days)
			days = append(days, nil)
		}
		days[at[day]] = append(days[at[day]], s)
	}
	return days
}
