package snapper

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"snapwatch/internal/zfs"
)

// A disk keeps the newest keepStoppedBookmarks bookmarks of _stopped snapshots, in addition to the
// bookmarks of each day's first snapshot.
const keepStoppedBookmarks = 10

// MaxBookmarkDestroys is the largest number of bookmarks that one run destroys: each destroy of a
// bookmark takes a process and a transaction group.
const MaxBookmarkDestroys = 20

// maxAbandoned is the largest number of bookmarks of discarded histories that one run destroys
// before the guests get their snapshots.
const maxAbandoned = 200

// maxBookmarkCreates is the largest number of bookmarks that one run creates of snapshots that
// earlier runs took. One channel program creates all bookmarks of one run in one transaction group,
// and every writer to the pool waits for this transaction group.
const maxBookmarkCreates = 200

// A disk with more than manyBookmarks bookmarks is slow to open, because each opening loads all
// bookmarks.
const manyBookmarks = 100

// Bookmarks has all bookmarks of one disk, and in Keep the number of days for which the disk keeps
// bookmarks. If Keep is 0, snap creates no bookmarks on the disk.
type Bookmarks struct {
	Have []zfs.Snapshot
	Keep int
}

// hold reports whether the disk has a bookmark of the snapshot with the given guid.
func (b Bookmarks) hold(guid uint64) bool {
	return slices.ContainsFunc(b.Have, func(s zfs.Snapshot) bool { return s.GUID == guid })
}

// wouldKeep reports whether Expire would keep a bookmark of the given snapshot, if there were one.
func (b Bookmarks) wouldKeep(s zfs.Snapshot) bool {
	return len(b.withRoom([]zfs.Snapshot{s})) > 0
}

// withRoom assumes that each snapshot in the list gets a bookmark, and returns the snapshots whose
// bookmarks Expire would then keep.
func (b Bookmarks) withRoom(list []zfs.Snapshot) []zfs.Snapshot {
	whole := Bookmarks{Have: slices.Concat(b.Have, list), Keep: b.Keep}
	gone := map[zfs.Snapshot]bool{}
	for _, s := range whole.Expire() {
		gone[s] = true
	}
	return slices.DeleteFunc(list, func(s zfs.Snapshot) bool { return gone[s] })
}

// firstOfDay reports whether a snapshot that is taken at the time `now` is the first of its
// calendar day, compared with the given snapshots or bookmarks. The calendar day is in the time
// zone of `now`. Two kinds of snapshots do not count as snapshots of today: snapshots dated in the
// future, and _stopped snapshots, because the bookmarks of _stopped snapshots have rules of their
// own.
func firstOfDay(snapshots []zfs.Snapshot, now time.Time) bool {
	today := now.Format(time.DateOnly)
	return !slices.ContainsFunc(snapshots, func(s zfs.Snapshot) bool {
		class, ours := s.Class()
		return ours && class != zfs.Stopped && !s.Creation.After(now.Add(futureSlack)) && zfs.DayOf(s.Name) == today
	})
}

// Missing returns the snapshots that should have a bookmark but have none, the newest first. Each
// day's first snapshot that is not _stopped should have a bookmark, and so should every _stopped
// snapshot. On the source, the channel program that takes snapshots also bookmarks the snapshots,
// but a relay receives the snapshots without bookmarks. If a day has a bookmark of its first
// existing snapshot, or of an earlier snapshot that is gone, Missing returns no snapshot of this
// day. Missing leaves out a snapshot if [Bookmarks.Expire] would destroy the snapshot's new
// bookmark. A bookmark of a later snapshot of the day does not count, because a program such as
// syncoid --create-bookmark made it, not snap.
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
	last := "" // the day of the snapshot before, which often is the same day
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

// Expire returns the managed bookmarks that snap must destroy, the oldest first. A bookmark belongs
// to the day in its name. On each of the newest b.Keep days with regular snapshots, Expire keeps
// the bookmark of the day's first regular snapshot. On each of the newest b.Keep days with _stopped
// snapshots, Expire keeps the bookmark of the day's first _stopped snapshot. In addition, Expire
// keeps the newest keepStoppedBookmarks bookmarks of _stopped snapshots. The bookmark of a day's
// first _stopped snapshot serves a copy that was last updated early on that day: if programs write
// to the disk of a guest that is off, the disk gets new _stopped snapshots all day, but the copy
// has only the day's first _stopped snapshot. If a day has more than one bookmark of a regular
// snapshot, Expire keeps all bookmarks of this day: snap made only one of them, and a program such
// as syncoid --create-bookmark made the rest. If Keep is 0, Expire keeps every bookmark, because a
// receiver may have any of the bookmarks as its only base for an increment.
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
	for _, d := range days[:max(0, len(days)-b.Keep)] {
		if d.n == 1 {
			expired = append(expired, d.first)
		}
	}
	// Days are sorted by name: if the clock was set back, a day occurs twice, and the order of the
	// days must not depend on which bookmarks still exist. Once the first bookmark of a day is
	// destroyed, Expire keeps no later bookmark of the day in its place.
	days = byDay(stopped)
	slices.SortFunc(days, func(x, y day) int { return strings.Compare(zfs.DayOf(x.first.Name), zfs.DayOf(y.first.Name)) })
	kept := days[max(0, len(days)-b.Keep):]
	for _, m := range stopped[:max(0, len(stopped)-keepStoppedBookmarks)] {
		if !slices.ContainsFunc(kept, func(d day) bool { return d.first == m }) {
			expired = append(expired, m)
		}
	}
	return expired
}

// day is a calendar day in the names of a disk's snapshots or bookmarks: the first snapshot or
// bookmark with this day in its name, and the number of all snapshots or bookmarks with this day.
type day struct {
	first zfs.Snapshot
	n     int
}

// byDay counts managed snapshots by the days in their names. The given snapshots are sorted with
// the oldest first. The result has the days in the order of each day's first snapshot.
func byDay(list []zfs.Snapshot) []day {
	var days []day
	at := map[string]int{}
	for _, s := range list {
		name := zfs.DayOf(s.Name)
		if _, known := at[name]; !known {
			at[name] = len(days)
			days = append(days, day{first: s})
		}
		days[at[name]].n++
	}
	return days
}
