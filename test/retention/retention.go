// Package retention compares snapwatch's rotation with a second implementation of the rules in
// docs/replication.md. The code of the second implementation is independent of snapwatch's code.
package retention

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"snapwatch/internal/zfs"
)

// lengths lists the classes from the shortest to the longest, in the order of docs/replication.md.
var lengths = []string{"frequently", "hourly", "daily", "weekly", "monthly", "yearly"}

// parse returns the last part of a managed snapshot's name, such as hourly or stopped. The second
// result is false if the name is not that of a managed snapshot.
func parse(name string) (suffix string, managed bool) {
	const form = "autosnap_0000-00-00_00:00:00_"
	if len(name) <= len(form) {
		return "", false
	}
	for i, c := range []byte(form) {
		if digit := '0' <= name[i] && name[i] <= '9'; c == '0' && !digit || c != '0' && name[i] != c {
			return "", false
		}
	}
	suffix = name[len(form):]
	return suffix, strings.Trim(suffix, "abcdefghijklmnopqrstuvwxyz") == ""
}

// period returns a name for the hour, day, week, month or year that contains the time t.
func period(class int, t time.Time) string {
	switch lengths[class] {
	case "hourly":
		return t.Format("2006-01-02 15 MST")
	case "daily":
		return t.Format(time.DateOnly)
	case "weekly":
		year, week := t.ISOWeek()
		return fmt.Sprint(year, " week ", week)
	case "monthly":
		return t.Format("2006-01")
	}
	return t.Format("2006")
}

// counted is a managed snapshot that the retention counts, with the index of its class.
type counted struct {
	zfs.Snapshot
	class int
}

// Drops returns the names of the snapshots that must be destroyed by the retention, oldest first.
func Drops(words map[string]int, list []zfs.Snapshot, now time.Time) (names []string) {
	var all []counted // managed snapshots, except _stopped ones and ones from the future
	newest, newestPast := "", ""
	for _, s := range list {
		suffix, managed := parse(s.Name)
		if !managed {
			continue
		}
		class, past := slices.Index(lengths, suffix), !s.Creation.After(now.Add(5*time.Minute))
		newest = s.Name
		if past {
			newestPast = s.Name
		}
		if class >= 0 && past {
			all = append(all, counted{s, class})
		}
	}
	stays := make([]bool, len(all))
	for i := range all {
		stays[i] = len(all)-1-i < words["frequently"]
	}
	for class := 1; class < len(lengths); class++ {
		if n := words[lengths[class]]; n > 0 {
			keep(class, n, all, now.Location(), stays)
		}
	}
	for i, s := range all {
		if _, named := words[lengths[s.class]]; named && !stays[i] && s.Name != newest && s.Name != newestPast {
			names = append(names, s.Name)
		}
	}
	return names
}

// keep sets stays[i] to true if the retention keeps the snapshot all[i] for the given class (not
// frequently). The argument n is the number of snapshots that the retention keeps of the class.
func keep(class, n int, all []counted, zone *time.Location, stays []bool) {
	periods := make([]string, len(all))
	for i, s := range all {
		periods[i] = period(class, s.Creation.In(zone))
	}
	for i, s := range all {
		// first is the snapshot that represents the period of s. It is the first snapshot in this
		// period whose class is `class` or longer, or else the first snapshot in this period.
		first, isLong := slices.Index(periods, periods[i]), false
		for j, o := range all {
			if isLong = periods[j] == periods[i] && o.class >= class; isLong {
				first = j
				break
			}
		}
		if first != i {
			continue
		}
		any, long := map[string]bool{}, map[string]bool{} // the newer periods than that of s
		for j, o := range all {
			if periods[j] == periods[i] || o.Creation.Before(s.Creation) {
				continue
			}
			any[periods[j]] = true
			if o.class >= class {
				long[periods[j]] = true
			}
		}
		stays[i] = stays[i] || len(any) < n || isLong && len(long) < n
	}
}

// Always returns the snapshots that prune keeps with any retention: the newest 3 _stopped
// snapshots, and the first snapshot of each of the newest 3 days, by the day in the snapshot's
// name. Snapshots from the future and _stopped snapshots do not count as the first of a day.
func Always(list []zfs.Snapshot, now time.Time) map[string]bool {
	stays := map[string]bool{}
	var days, stopped []string // the names of _stopped snapshots and of the first snapshots of their days
	seen := map[string]bool{}
	for _, s := range list {
		suffix, managed := parse(s.Name)
		day := strings.TrimPrefix(s.Name, "autosnap_")
		switch {
		case !managed, s.Creation.After(now.Add(5 * time.Minute)):
		case suffix == "stopped":
			stopped = append(stopped, s.Name)
		case !seen[day[:10]]:
			seen[day[:10]] = true
			days = append(days, s.Name)
		}
	}
	for _, names := range [][]string{days, stopped} {
		for _, name := range names[max(0, len(names)-3):] {
			stays[name] = true
		}
	}
	return stays
}
