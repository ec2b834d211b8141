package snapper

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/zfs"
)

// parseTime returns the time for a text such as "07-15 12:07", in the year 2026 and in the given
// time zone.
func parseTime(t testing.TB, text string, zone *time.Location) time.Time {
	t.Helper()
	if len(text) == len("07-15 12:07") {
		text = "2026-" + text
	}
	at, err := time.ParseInLocation("2006-01-02 15:04", text, zone)
	require.NoError(t, err)
	return at
}

// history returns snapshots for lines such as "07-15 12:07 hourly", the oldest first. A line
// without a class has the time and the name of an unmanaged snapshot.
func history(t testing.TB, lines ...string) []zfs.Snapshot {
	t.Helper()
	var list []zfs.Snapshot
	for i, line := range lines {
		cut := strings.LastIndexByte(line, ' ')
		created := parseTime(t, line[:cut], time.UTC)
		name := line[cut+1:]
		if _, managed := zfs.ParseSnapshotName("autosnap_2026-01-01_00:00:00_" + name); managed {
			name = "autosnap_" + created.Format("2006-01-02_15:04:05") + "_" + name
		}
		list = append(list, zfs.Snapshot{Dataset: disk0, Name: name, GUID: uint64(1000 + i), CreateTXG: uint64(100 + i), Creation: created})
	}
	return list
}

// The variable noon of these tests is Wednesday 2026-07-15, 12:07, in ISO week 29.
func TestDue(t *testing.T) {
	all := words("f1 h1 d1 w1 m1 y1")
	for _, test := range []struct {
		name string
		keep Retention
		have []string
		want string
	}{
		{"nothing there: the longest", all, nil, "yearly"},
		{"a yearly one fills all but frequently", all, []string{"07-15 12:00 yearly"}, "frequently"},
		{"this year's, last month's", all, []string{"06-30 23:59 yearly"}, "monthly"},
		{"this month's, last week's", all, []string{"07-12 23:59 yearly"}, "weekly"},
		{"this week's, yesterday's", all, []string{"07-14 23:59 yearly"}, "daily"},
		{"today's, last hour's", all, []string{"07-15 11:59 yearly"}, "hourly"},
		{"last year's", all, []string{"2025-12-31 23:59 yearly"}, "yearly"},
		{"a shorter one does not fill a longer", all, []string{"07-15 12:00 monthly"}, "yearly"},
		{"hourly does not fill daily", words("h1 d1"), []string{"07-15 12:00 hourly"}, "daily"},
		{"daily fills hourly", words("h1"), []string{"07-15 12:00 daily"}, "-"},
		{"an unnamed class counts", words("h1"), []string{"07-15 12:00 monthly"}, "-"},
		{"frequently at every run", words("f1"), []string{"07-15 12:07 frequently"}, "frequently"},
		{"0 is never due", words("f0 h0 d1"), []string{"07-15 00:00 daily"}, "-"},
		{"_stopped fills nothing", words("h1"), []string{"07-15 12:00 stopped"}, "hourly"},
		{"a foreign one fills nothing", words("h1"), []string{"07-15 12:00 zrepl_1", "07-15 12:01 autosnap_2026-07-15_12:01:00_hourly-keep"}, "hourly"},
		{"the future fills nothing", words("h1"), []string{"07-15 12:13 hourly"}, "hourly"},
		{"a clock a little ahead does", words("h1"), []string{"07-15 12:12 hourly"}, "-"},
		{"not the last one made, after the clock went back", words("h1"), []string{"07-15 12:01 hourly", "07-15 11:30 frequently"}, "-"},
		{"nothing named", words(""), nil, "-"},
	} {
		class, due := test.keep.Due(history(t, test.have...), noon)
		got := "-"
		if due {
			got = class.String()
		}
		assert.Equal(t, test.want, got, test.name)
	}
}

// The buckets of retention (hours, days, weeks …) are those of the calendar in the node's time
// zone.
func TestDueZones(t *testing.T) {
	zone := berlin(t)
	due := func(keep Retention, made, now string) bool {
		created := parseTime(t, made, zone)
		_, due := keep.Due([]zfs.Snapshot{{Name: zfs.FormatSnapshotName(created, zfs.Yearly), Creation: created.UTC()}}, parseTime(t, now, zone))
		return due
	}
	assert.True(t, due(words("d1"), "07-14 23:59", "07-15 00:00"))
	assert.False(t, due(words("d1"), "07-15 00:00", "07-15 23:59"))
	assert.False(t, due(words("d1"), "07-15 00:30", "07-15 23:59"), "in UTC that is the day before")
	assert.True(t, due(words("w1"), "07-12 23:59", "07-13 00:00"), "the week begins on Monday")
	assert.False(t, due(words("w1"), "2026-12-31 12:00", "2027-01-01 12:00"), "the week continues over the new year")
	assert.True(t, due(words("m1"), "07-31 23:59", "08-01 00:00"))
	assert.True(t, due(words("y1"), "2026-12-31 12:00", "2027-01-01 12:00"))
	assert.True(t, due(words("h1"), "07-14 12:07", "07-15 12:07"), "the same hour of another day")
	assert.True(t, due(words("d1"), "2025-07-15 12:07", "07-15 12:07"), "the same day of another year")
}

func TestExpire(t *testing.T) {
	for _, test := range []struct {
		name string
		keep Retention
		have []string
		gone []string // the expected destroyed snapshots, as in have, with the reason after a colon
	}{
		{"nothing there", words("f1"), nil, nil},
		{"the newest stays", words("f0"), []string{"07-15 12:00 frequently"}, nil},
		{
			"beyond the count", words("f2"),
			[]string{"07-15 11:00 frequently", "07-15 11:15 frequently", "07-15 11:30 frequently"},
			[]string{"07-15 11:00 frequently: beyond the 2 kept frequently"},
		},
		{
			"frequently counts longer ones and destroys none", words("f2"),
			[]string{"07-13 00:00 daily", "07-15 10:00 frequently", "07-15 11:00 hourly", "07-15 11:15 daily"},
			[]string{"07-15 10:00 frequently: beyond the 2 kept frequently"},
		},
		{"a class that is not named", words("d1"), []string{"07-13 00:00 hourly", "07-13 01:00 monthly", "07-15 00:00 daily", "07-15 11:00 daily"}, nil},
		{
			"the oldest of each bucket, and the newest of all", words("h2"),
			[]string{"07-15 10:01 hourly", "07-15 10:31 hourly", "07-15 11:00 hourly", "07-15 12:00 hourly", "07-15 12:06 hourly"},
			[]string{
				"07-15 10:01 hourly: beyond the 2 kept hourly", "07-15 10:31 hourly: beyond the 2 kept hourly",
			},
		},
		{
			"a longer one stands in", words("h9"),
			[]string{"07-15 10:00 daily", "07-15 10:30 hourly", "07-15 12:00 hourly"},
			[]string{"07-15 10:30 hourly: autosnap_2026-07-15_10:00:00_daily is kept for its hourly bucket"},
		},
		{
			"hours without a snapshot cost no bucket", words("h2"),
			[]string{"07-01 10:00 hourly", "07-03 10:00 hourly", "07-15 12:00 hourly"},
			[]string{"07-01 10:00 hourly: beyond the 2 kept hourly"},
		},
		{
			"0 drops what only it kept", words("h0 d1"),
			[]string{"07-14 10:00 hourly", "07-15 00:00 daily", "07-15 11:00 hourly", "07-15 12:00 hourly"},
			[]string{"07-14 10:00 hourly: beyond the 1 kept daily", "07-15 11:00 hourly: no kept class counts hourly snapshots"},
		},
		{
			"a daily one that hourly keeps", words("h1 d0"),
			[]string{"07-13 00:00 daily", "07-15 12:00 daily", "07-15 12:05 hourly"},
			[]string{"07-13 00:00 daily: beyond the 1 kept hourly"},
		},
		{
			"months of a source that takes no monthly ones", words("d1 m3"),
			[]string{"03-30 00:00 daily", "04-02 00:00 hourly", "05-09 00:00 daily", "06-02 00:00 daily", "06-20 00:00 daily", "07-01 06:00 stopped", "07-15 00:00 daily"},
			[]string{
				"03-30 00:00 daily: beyond the 3 kept monthly; beyond the 1 kept daily",
				"06-20 00:00 daily: autosnap_2026-06-02_00:00:00_daily is kept for its monthly bucket; beyond the 1 kept daily",
			},
		},
		{
			"hours of a source that takes only frequently ones", words("f1 h2"),
			[]string{"07-15 10:00 frequently", "07-15 11:00 frequently", "07-15 11:15 frequently", "07-15 12:00 frequently"},
			[]string{
				"07-15 10:00 frequently: beyond the 2 kept hourly; beyond the 1 kept frequently",
				"07-15 11:15 frequently: autosnap_2026-07-15_11:00:00_frequently is kept for its hourly bucket; beyond the 1 kept frequently",
			},
		},
		{
			"one of the class stands before an older one of a shorter", words("f0 d2"),
			[]string{"07-14 01:00 frequently", "07-14 08:00 daily", "07-15 01:00 frequently", "07-15 02:00 frequently"},
			[]string{"07-14 01:00 frequently: no kept class counts frequently snapshots"},
		},
		{
			"buckets with none of the class push out none that has one", words("f0 d1"),
			[]string{"07-12 00:00 daily", "07-14 01:00 frequently", "07-15 01:00 frequently", "07-15 12:00 frequently"},
			[]string{"07-14 01:00 frequently: beyond the 1 kept daily"},
		},
		{
			"the future is kept and fills no bucket", words("f1"),
			[]string{"07-15 11:00 frequently", "07-15 18:00 frequently", "07-15 12:00 frequently"},
			[]string{"07-15 11:00 frequently: beyond the 1 kept frequently"},
		},
		{"the future is the newest, and nothing goes for it", words("f1"), []string{"07-15 11:00 frequently", "07-15 18:00 frequently"}, nil},
		{"nor what was the newest before it", words("f0"), []string{"07-15 11:00 frequently", "07-15 18:00 frequently"}, nil},
		{"foreign and _stopped ones", words("f1"), []string{
			"07-01 00:00 manual", "07-01 00:00 autosnap_2026-07-01_00:00:00_frequently-keep", "07-02 00:00 stopped", "07-15 12:00 frequently",
		}, nil},
		{"_stopped is the newest and counts for nobody", words("f1"), []string{"07-15 11:00 frequently", "07-15 12:00 stopped"}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got []string
			for _, e := range test.keep.Expire(history(t, test.have...), noon) {
				class, _ := e.Snapshot.Class()
				got = append(got, fmt.Sprintf("%s %s: %s", e.Snapshot.Creation.Format("01-02 15:04"), class, e.Reason))
				assert.NotEmpty(t, e.Keepers)
			}
			assert.Equal(t, test.gone, got)
		})
	}
}

func TestExpireStopped(t *testing.T) {
	const grace = 24 * time.Hour
	for _, test := range []struct {
		name  string
		have  []string
		marks []uint64 // the guids of the bookmarked snapshots; the first snapshot of have has the guid 1000
		keep  int
		gone  []string
	}{
		{"superseded long ago", []string{"07-13 00:00 stopped", "07-14 12:00 frequently"}, []uint64{1000}, 30, []string{"07-13 00:00"}},
		{"receivers had no time yet", []string{"07-13 00:00 stopped", "07-14 12:08 frequently"}, []uint64{1000}, 30, nil},
		{"no bookmark", []string{"07-13 00:00 stopped", "07-14 12:00 frequently"}, nil, 30, nil},
		{"a bookmark of another one", []string{"07-13 00:00 stopped", "07-14 12:00 frequently"}, []uint64{1001}, 30, nil},
		{"nothing newer", []string{"07-12 12:00 daily", "07-13 00:00 stopped"}, []uint64{1001}, 30, nil},
		{"only a foreign one is newer", []string{"07-13 00:00 stopped", "07-14 00:00 manual"}, []uint64{1000}, 30, nil},
		{"only the future is newer", []string{"07-13 00:00 stopped", "07-18 00:00 daily"}, []uint64{1000}, 30, nil},
		{"one of the future stays", []string{"07-18 00:00 stopped", "07-13 00:00 daily"}, []uint64{1000}, 30, nil},
		{"two, bookmarks off: the newest stays", []string{"07-11 00:00 stopped", "07-12 00:00 stopped", "07-13 00:00 daily"}, nil, 0, []string{"07-11 00:00"}},
		{"bookmarks off, the newest has one", []string{"07-12 00:00 stopped", "07-13 00:00 daily"}, []uint64{1000}, 0, nil},
		{"bookmarks off, one of the future is not the newest one", []string{"07-12 00:00 stopped", "07-18 00:00 stopped", "07-13 00:00 daily"}, nil, 0, nil},
		{"a newer _stopped one is a successor, too", []string{"07-12 00:00 stopped", "07-13 00:00 stopped"}, []uint64{1000, 1001}, 30, []string{"07-12 00:00"}},
		{"two with bookmarks", []string{"07-11 00:00 stopped", "07-12 00:00 stopped", "07-13 00:00 daily"}, []uint64{1000, 1001}, 30, []string{"07-11 00:00", "07-12 00:00"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var marks []zfs.Snapshot
			for _, guid := range test.marks {
				marks = append(marks, zfs.Snapshot{GUID: guid})
			}
			var got []string
			for _, e := range ExpireStopped(history(t, test.have...), Bookmarks{Have: marks, Keep: test.keep}, grace, noon) {
				got = append(got, e.Snapshot.Creation.Format("01-02 15:04"))
				assert.Len(t, e.Keepers, 1)
			}
			assert.Equal(t, test.gone, got)
		})
	}
}

// A _stopped snapshot is destroyed when a newer snapshot has an age above stopped_grace. If the
// retention destroys each newer snapshot before its age reaches stopped_grace, the bookmark of a
// day's first snapshot proves that a newer snapshot existed.
func TestExpireStoppedByABookmark(t *testing.T) {
	have := history(t, "07-13 00:00 stopped", "07-15 11:00 frequently")
	stopped := have[0]
	stopped.CreateTXG = 5
	have[0], have[1].CreateTXG = stopped, 9
	day := zfs.Snapshot{Name: "autosnap_2026-07-13_08:00:00_frequently", GUID: 77, CreateTXG: 7, Creation: stopped.Creation.Add(8 * time.Hour)}
	marks := Bookmarks{Have: []zfs.Snapshot{stopped, day}, Keep: 30}
	assert.Len(t, ExpireStopped(have, marks, 24*time.Hour, noon), 1)
	marks.Have[1].CreateTXG = 4
	assert.Empty(t, ExpireStopped(have, marks, 24*time.Hour, noon), "an older one tells nothing")
}

// A guest that stops often may have more _stopped snapshots within the time stopped_grace than snap
// keeps bookmarks of _stopped snapshots. snap must destroy an expired _stopped snapshot even if its
// bookmark is already destroyed; otherwise the snapshot would remain for ever.
func TestExpireStoppedBeyondTheBookmarks(t *testing.T) {
	first := history(t, "07-12 00:00 stopped")[0]
	first.GUID, first.CreateTXG = 1, 1
	have := history(t, "07-12 01:00 stopped", "07-12 02:00 stopped")
	have[0].CreateTXG, have[1].CreateTXG = 2, 3
	for i := range keepStoppedBookmarks - 1 {
		s := history(t, fmt.Sprintf("07-12 %02d:00 stopped", 3+i))[0]
		s.GUID, s.CreateTXG = uint64(2000+i), uint64(4+i)
		have = append(have, s)
	}
	gone := func(marks ...zfs.Snapshot) (names []string) {
		for _, e := range ExpireStopped(have, Bookmarks{Have: marks, Keep: 30}, 24*time.Hour, noon) {
			names = append(names, e.Snapshot.Creation.Format("15:04"))
		}
		return names
	}
	assert.Contains(t, gone(append(have[1:], first)...), "01:00", "ten newer ones have their bookmarks")
	assert.NotContains(t, gone(append(have[2:], first)...), "01:00", "nine have")
	assert.NotContains(t, gone(append(have[2:], first)...), "02:00")
	assert.NotContains(t, gone(have[1:]...), "01:00", "it would be the day's first")
}
