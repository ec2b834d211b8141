package snapper

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/zfs"
)

// wanted returns the times of the snapshots that a disk must have after runs at the given times.
// wanted uses no code under test. wanted itself finds the newest n snapshots, and the first
// snapshot of each of the newest n hours, days, weeks, months and years.
func wanted(runs []time.Time, keep Retention) []time.Time {
	format := map[zfs.Class]func(time.Time) string{
		zfs.Frequently: func(t time.Time) string { return t.String() },
		zfs.Hourly:     func(t time.Time) string { return t.Format("2006-01-02 15 -0700") },
		zfs.Daily:      func(t time.Time) string { return t.Format("2006-01-02") },
		zfs.Weekly:     func(t time.Time) string { year, week := t.ISOWeek(); return fmt.Sprint(year, " ", week) },
		zfs.Monthly:    func(t time.Time) string { return t.Format("2006-01") },
		zfs.Yearly:     func(t time.Time) string { return t.Format("2006") },
	}
	var all []time.Time
	for class, n := range keep {
		var firsts []time.Time
		last := ""
		for _, run := range runs {
			if bucket := format[class](run); bucket != last {
				firsts = append(firsts, run)
				last = bucket
			}
		}
		all = append(all, firsts[max(0, len(firsts)-n):]...)
	}
	slices.SortFunc(all, time.Time.Compare)
	return slices.Compact(all)
}

// runEvery makes runs of snap at regular times, and returns the times of these runs.
func (w *world) runEvery(step time.Duration, from, to time.Time) []time.Time {
	var runs []time.Time
	for w.now = from; w.now.Before(to); w.now = w.now.Add(step) {
		w.run()
		runs = append(runs, w.now)
	}
	w.now = w.now.Add(-step)
	return runs
}

func created(d *Disk) []string {
	var list []string
	for _, s := range d.Snapshots {
		list = append(list, s.Creation.Format(time.RFC3339))
	}
	return list
}

func formatted(times []time.Time) []string {
	var list []string
	for _, t := range times {
		list = append(list, t.Format(time.RFC3339))
	}
	return list
}

// After months in which snap ran every quarter of an hour, including both nights when clocks
// change, a disk has exactly the snapshots that the retention keeps.
func TestMonths(t *testing.T) {
	zone := berlin(t)
	const quarter = 15 * time.Minute
	for _, test := range []struct {
		keep, from, to string
		step           time.Duration
	}{
		{"f48 h24 d30", "07-01 00:00", "08-05 12:00", quarter},
		{"f48 h24 d30 w8 m12 y3", "2026-01-20 08:00", "2026-05-01 01:20", time.Hour},
		{"f4 h30 d7 w5 m2 y1", "2026-10-01 00:00", "2027-01-04 01:20", time.Hour},
		{"h48", "10-20 00:00", "10-27 00:00", quarter},
		{"d5 m2", "10-20 00:00", "12-27 00:00", time.Hour},
	} {
		t.Run(test.keep, func(t *testing.T) {
			w := &world{policy: testPolicy(), disks: []Disk{runningDisk(disk0, words(test.keep))}}
			runs := w.runEvery(test.step, parseTime(t, test.from, zone), parseTime(t, test.to, zone))
			want := wanted(runs, w.disks[0].Retention)
			got := created(&w.disks[0])
			assert.Equal(t, formatted(want), got)
			days := wanted(runs, words("d30"))
			var marks []string
			for _, b := range w.disks[0].Bookmarks {
				marks = append(marks, b.Creation.Format(time.RFC3339))
			}
			assert.Equal(t, formatted(days), marks, "the first of each day is bookmarked")
		})
	}
}

// The nights when clocks change have 23 and 25 hours, and each of these hours gets its snapshot.
func TestClockChanges(t *testing.T) {
	zone := berlin(t)
	for _, test := range []struct {
		night string
		hours int
	}{{"03-29", 23}, {"10-25", 25}, {"07-15", 24}} {
		from := parseTime(t, test.night+" 00:00", zone)
		w := &world{policy: testPolicy(), disks: []Disk{runningDisk(disk0, words("h30 d2"))}}
		w.runEvery(15*time.Minute, from, from.AddDate(0, 0, 1))
		d := &w.disks[0]
		require.Len(t, d.Snapshots, test.hours, test.night)
		for i, s := range d.Snapshots {
			assert.Equal(t, from.Add(time.Duration(i)*time.Hour), s.Creation, test.night)
		}
		assert.Equal(t, 1, count(d, zfs.Daily), test.night)
	}
	w := &world{policy: testPolicy(), disks: []Disk{runningDisk(disk0, words("h30"))}}
	w.runEvery(15*time.Minute, parseTime(t, "10-25 00:00", zone), parseTime(t, "10-25 04:00", zone))
	assert.Equal(t, []string{
		"autosnap_2026-10-25_00:00:00_hourly", "autosnap_2026-10-25_01:00:00_hourly", "autosnap_2026-10-25_02:00:00_hourly",
		"autosnap_2026-10-25_02:00:01_hourly", "autosnap_2026-10-25_03:00:00_hourly",
	}, names(&w.disks[0]))
}

// After the clock was set back, snap destroys no snapshot that it would have kept with a correct
// clock, and continues to take snapshots.
func TestClockGoesBack(t *testing.T) {
	w := &world{policy: testPolicy(), disks: []Disk{runningDisk(disk0, words("f4 h24 d7"))}}
	w.runEvery(15*time.Minute, noon.AddDate(0, 0, -3), noon)
	before := names(&w.disks[0])
	back := noon.Add(-6 * time.Hour)
	w.runEvery(15*time.Minute, back, back.Add(2*time.Hour))
	now := names(&w.disks[0])
	for _, name := range before {
		class, _ := zfs.ParseSnapshotName(name)
		if class > zfs.Frequently {
			assert.Contains(t, now, name)
		}
	}
	newest := w.disks[0].Snapshots[len(w.disks[0].Snapshots)-1]
	assert.Equal(t, w.now, newest.Creation, "each run made one")
	w.runEvery(15*time.Minute, w.now, noon.AddDate(0, 0, 10))
	assert.LessOrEqual(t, len(w.disks[0].Snapshots), 4+24+7, "in the end all is as asked")
}

// sanoidHistory adds snapshots as sanoid takes them: one for each class that is due, in the same
// second.
func sanoidHistory(w *world, d *Disk, from, to time.Time) {
	for at := from; at.Before(to); at = at.Add(15 * time.Minute) {
		w.managed(d, zfs.Frequently, at)
		if at.Minute() == 0 {
			w.managed(d, zfs.Hourly, at)
			if at.Hour() == 0 {
				w.managed(d, zfs.Daily, at)
				if at.Day() == 1 {
					w.managed(d, zfs.Monthly, at)
				}
			}
		}
	}
}

// After snapwatch has replaced sanoid, snapwatch destroys no snapshot that sanoid would still keep
// by its own retention.
func TestAdoptSanoid(t *testing.T) {
	w := &world{policy: testPolicy(), now: noon, disks: []Disk{runningDisk(disk0, words("f96 h36 d30 m3"))}}
	d := &w.disks[0]
	sanoidHistory(w, d, noon.AddDate(0, 0, -40).Truncate(time.Hour), noon)
	keep := map[zfs.Class]int{zfs.Frequently: 96, zfs.Hourly: 36, zfs.Daily: 30, zfs.Monthly: 3}
	var points []time.Time
	for class, n := range keep {
		var list []time.Time
		for _, s := range d.Snapshots {
			if c, _ := s.Class(); c == class {
				list = append(list, s.Creation)
			}
		}
		points = append(points, list[len(list)-min(n, len(list)):]...)
	}
	w.run()
	have := created(d)
	for _, p := range points {
		assert.Contains(t, have, p.Format(time.RFC3339))
	}
	// The retention "f96" rotates only snapshots of the class `frequently`.
	w = &world{policy: testPolicy(), now: noon, disks: []Disk{runningDisk(disk0, words("f96"))}}
	sanoidHistory(w, &w.disks[0], noon.AddDate(0, 0, -40).Truncate(time.Hour), noon)
	w.policy.MaxDestroys = 1 << 20
	plan := w.run()
	require.NotEmpty(t, plan.Destroys)
	for _, gone := range append(plan.Destroys, plan.FullDestroys...) {
		require.True(t, strings.HasSuffix(gone.Name, "_frequently"), gone.Name)
	}
}

// If a class is removed from the retention, the snapshots of this class are kept. If the class is
// added to the retention again, snap destroys the old snapshots of the class that exceed the
// retention.
func TestClassesComeAndGo(t *testing.T) {
	w := &world{policy: testPolicy(), disks: []Disk{runningDisk(disk0, words("f4 h24 d7"))}}
	d := &w.disks[0]
	w.runEvery(15*time.Minute, noon.AddDate(0, 0, -9), noon)
	hourly, daily := count(d, zfs.Hourly), count(d, zfs.Daily)
	d.Retention = words("f4 d7")
	w.runEvery(15*time.Minute, noon, noon.AddDate(0, 0, 3))
	assert.Equal(t, hourly, count(d, zfs.Hourly))
	assert.Equal(t, daily, count(d, zfs.Daily))
	d.Retention = words("f4 h2 d7")
	w.runEvery(15*time.Minute, noon.AddDate(0, 0, 3), noon.AddDate(0, 0, 4))
	assert.LessOrEqual(t, count(d, zfs.Hourly), 2)
	d.Retention = words("f4 h0 d7")
	w.runEvery(15*time.Minute, noon.AddDate(0, 0, 4), noon.AddDate(0, 0, 5))
	assert.Zero(t, count(d, zfs.Hourly))
	d.Retention = words("h0 d0 f0")
	w.run()
	assert.Len(t, d.Snapshots, 1, "the newest stays")
}

// Planning one disk with very many snapshots takes far less than a second.
func BenchmarkPlan(b *testing.B) {
	for _, keep := range []string{"f200000 h24 d30", "f48 h24 d30 w8 m12 y3"} {
		b.Run(keep, func(b *testing.B) { benchmarkPlan(b, keep) })
	}
}

func benchmarkPlan(b *testing.B, keep string) {
	w := &world{policy: testPolicy(), now: noon, disks: []Disk{runningDisk(disk0, words(keep))}}
	d := &w.disks[0]
	for i := range 100_000 {
		at := noon.Add(time.Duration(i-100_000) * 15 * time.Minute)
		d.Snapshots = append(d.Snapshots, zfs.Snapshot{
			Dataset: disk0, Name: zfs.FormatSnapshotName(at, zfs.Class(i%7)), GUID: uint64(i), CreateTXG: uint64(i), Creation: at,
		})
	}
	for b.Loop() {
		MakePlan(w.disks, w.policy, w.now)
	}
}
