package snapper

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"snapwatch/internal/zfs"
)

// keepStoppedBookmarks is the number of bookmarks of _stopped snapshots that a disk keeps, in
// addition to the bookmarks of each day's first snapshot.
const keepStoppedBookmarks = 10

// MaxBookmarkDestroys is the largest number of bookmarks that one run destroys: each destroy of a
// bookmark takes a process and a transaction group.
const MaxBookmarkDestroys = 20

// maxAbandoned is the largest number of bookmarks of discarded histories that one run destroys
// before the guests get their snapshots.
const maxAbandoned = 200

// maxBookmarkCreates is the largest number of bookmarks that one run creates of snapshots that
// earlier runs took. One channel program creates all these bookmarks in one transaction group,
// and every writer to the pool waits for that group.
const maxBookmarkCreates = 200

// manyBookmarks is the number of bookmarks above which a disk is slow to open: each opening loads
// all bookmarks.
const manyBookmarks = 100

// Bookmarks are a disk's bookmarks, and the number of days, Keep, for which the disk keeps
// bookmarks. If Keep is 0, no bookmarks are created.
type Bookmarks struct {
	Have []zfs.Snapshot
	Keep int
}

// hold reports whether the disk has a bookmark of the snapshot with the guid.
func (b Bookmarks) hold(guid uint64) bool {
	return slices.ContainsFunc(b.Have, func(s zfs.Snapshot) bool { return s.GUID == guid })
}

// need reports whether a bookmark of this snapshot would be kept by Expire if the bookmark existed.
func (b Bookmarks) need(s zfs.Snapshot) bool {
	return len(b.withRoom([]zfs.Snapshot{s})) > 0
}

// withRoom returns the snapshots of list whose bookmarks would be kept if all snapshots of list
// had bookmarks.
func (b Bookmarks) withRoom(list []zfs.Snapshot) []zfs.Snapshot {
	whole := Bookmarks{Have: slices.Concat(b.Have, list), Keep: b.Keep}
	gone := map[zfs.Snapshot]bool{}
	for _, s := range whole.Expire() {
		gone[s] = true
	}
	return slices.DeleteFunc(list, func(s zfs.Snapshot) bool { return gone[s] })
}

// firstOfDay reports whether a snapshot taken now is the first of its calendar day, in the zone
// of now, compared with the given snapshots or bookmarks. A snapshot dated in the future does not
// count for today. A _stopped snapshot does not count either, because bookmarks of _stopped
// snapshots are kept by rules of their own.
func firstOfDay(snapshots []zfs.Snapshot, now time.Time) bool {
	today := now.Format(time.DateOnly)
	return !slices.ContainsFunc(snapshots, func(s zfs.Snapshot) bool {
		class, ours := s.Class()
		return ours && class != zfs.Stopped && !s.Creation.After(now.Add(futureSlack)) && zfs.DayOf(s.Name) == today
	})
}

// Missing returns the snapshots that should have a bookmark but have none, the newest first. Each
// day's first snapshot that is not _stopped should have a bookmark, and so should every _stopped
// snapshot. The program that takes snapshots on the source also bookmarks them, but a relay
// receives the snapshots without bookmarks. A day needs no second bookmark if it has a bookmark of
// its first snapshot, or of a still older snapshot that is gone. A snapshot needs no bookmark if
// [Bookmarks.Expire] would destroy the bookmark again. A bookmark of a later snapshot of the day
// was made by another program, such as syncoid --create-bookmark, and does not count.
func (b Bookmarks) Missing(snapshots []zfs.Snapshot, now time.Time) []zfs.Snapshot {
	if b.Keep == 0 {
		return nil
	}
	taken := map[string]bool{}
	first := map[string]uint64{} // the transaction group of each day's first bookmark, by calendar day
	for _, m := range b.Have {
		taken[m.Name] = true
		if class, ours := m.Class(); ours && class != zfs.Stopped {
			if at, any := first[zfs.DayOf(m.Name)]; !any || m.CreateTXG < at {
				first[zfs.DayOf(m.Name)] = m.CreateTXG
			}
		}
	}
	var missing []zfs.Snapshot
	last := "" // the day of the snapshot before: most snapshots are not the first of their day
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

// Expire returns the managed bookmarks that snap must destroy, the oldest first. For each of the
// newest Keep days, by the days in the names, the bookmark of the day's first regular snapshot is
// kept. The bookmark of the first _stopped snapshot is also kept, for each of the newest Keep days
// that have one, and so are the newest bookmarks of _stopped snapshots. A guest that is off, and
// whose disk other programs write to, gets new _stopped snapshots all day, but a copy that was last
// updated early that day has only the day's first _stopped snapshot. A day with more than one
// regular bookmark has bookmarks of another program, such as syncoid --create-bookmark, and all
// bookmarks of that day are kept. If Keep is 0, every bookmark is kept: any of the bookmarks may be
// the only base from which a receiver can still get an increment.
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
	// Days are sorted by name, so a day that comes again because the clock was set back is as old
	// as before. Once the first bookmark of a repeated day is gone, no later bookmark of that day
	// is kept in its place.
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

// byDay groups managed snapshots, given with the oldest first, by the days in their names. The
// groups are in the order of each day's first snapshot.
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
