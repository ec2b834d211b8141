package snapper

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
)

func TestFreeName(t *testing.T) {
	one, other := runningDisk(disk0, nil), runningDisk("tank/data/vm-100-disk-1", nil)
	name := func() string {
		return freeName([]diskTask{{disk: &one}, {disk: &other}}, zfs.Hourly, noon)
	}
	assert.Equal(t, "autosnap_2026-07-15_12:07:00_hourly", name())
	other.Snapshots = []zfs.Snapshot{{Name: name()}}
	assert.Equal(t, "autosnap_2026-07-15_12:07:01_hourly", name(), "taken on one disk")
	one.Snapshots = []zfs.Snapshot{{Name: "autosnap_2026-07-15_12:07:01_hourly"}}
	assert.Equal(t, "autosnap_2026-07-15_12:07:02_hourly", name(), "taken on the other, too")
	one.Snapshots = append(one.Snapshots, zfs.Snapshot{Name: "autosnap_2026-07-15_12:07:02_daily"})
	assert.Equal(t, "autosnap_2026-07-15_12:07:02_hourly", name(), "another class is another name")
	one.Bookmarks = []zfs.Snapshot{{Name: "autosnap_2026-07-15_12:07:02_hourly"}}
	assert.Equal(t, "autosnap_2026-07-15_12:07:03_hourly", name(), "a bookmark of a snapshot that is gone has it: the new one could have none")
}

// An hour occurs twice in the night in which clocks are set back. In an hour that occurs twice,
// snap uses each snapshot name at most once, even if the snapshot of that name was destroyed.
func TestNamesOfTheHourThatComesTwice(t *testing.T) {
	berlin := berlin(t)
	// Lord Howe Island sets its clocks back by half an hour.
	lordHowe, err := time.LoadLocation("Australia/Lord_Howe")
	require.NoError(t, err)
	for _, test := range []struct {
		zone *time.Location
		at   string // the present time of the run, in UTC
		want string
	}{
		{berlin, "2026-10-24T23:59:59Z", "01:59:59"},
		{berlin, "2026-10-25T00:00:00Z", "02:00:00"},
		{berlin, "2026-10-25T00:00:01Z", "02:00:00"},
		{berlin, "2026-10-25T00:59:59Z", "02:59:58"},
		{berlin, "2026-10-25T01:00:00Z", "02:00:01"},
		{berlin, "2026-10-25T01:00:01Z", "02:00:01"},
		{berlin, "2026-10-25T01:59:58Z", "02:59:59"},
		{berlin, "2026-10-25T02:00:00Z", "03:00:00"},
		{berlin, "2026-10-25T02:00:01Z", "03:00:01"},
		{berlin, "2026-03-29T00:59:59Z", "01:59:59"},
		{berlin, "2026-03-29T01:00:00Z", "03:00:00"},
		{lordHowe, "2026-04-04T14:29:59Z", "01:29:59"},
		{lordHowe, "2026-04-04T14:30:01Z", "01:30:00"},
		{lordHowe, "2026-04-04T15:00:00Z", "01:30:01"},
		{lordHowe, "2026-04-04T15:30:00Z", "02:00:00"},
		{time.UTC, "2026-10-25T01:00:00Z", "01:00:00"},
	} {
		now, err := time.Parse(time.RFC3339, test.at)
		require.NoError(t, err)
		assert.Equal(t, test.want, inPass(now.In(test.zone)).Format(time.TimeOnly), test.at)
	}
	rapid.Check(t, func(t *rapid.T) {
		draw := func(label string) time.Time {
			return time.Date(2026, 10, 25, 0, 0, 0, 0, time.UTC).Add(time.Duration(rapid.IntRange(-9000, 9000).Draw(t, label)) * time.Second).In(berlin)
		}
		first, second := draw("one"), draw("other")
		_, summer := first.Zone()
		_, winter := second.Zone()
		if summer != winter && freeName(nil, zfs.Hourly, first) == freeName(nil, zfs.Hourly, second) {
			t.Fatalf("%s and %s have one name", first, second)
		}
	})
}

func TestFirstOfDay(t *testing.T) {
	zone := berlin(t)
	now := parseTime(t, "07-15 00:20", zone)
	for _, test := range []struct {
		have  string
		class zfs.Class
		want  bool
	}{
		{"07-14 23:59", zfs.Yearly, true},
		{"07-15 00:05", zfs.Frequently, false},
		// A _stopped snapshot does not count as the first snapshot of its day.
		{"07-15 00:05", zfs.Stopped, true},
		{"07-15 00:24", zfs.Frequently, false},
		{"07-15 06:00", zfs.Daily, true}, // a snapshot from the future fills no bucket
		{"2025-07-15 00:05", zfs.Daily, true},
	} {
		created := parseTime(t, test.have, zone)
		have := []zfs.Snapshot{{Name: zfs.FormatSnapshotName(created, test.class), Creation: created.UTC()}}
		assert.Equal(t, test.want, firstOfDay(have, now), "%s %s", test.have, test.class)
	}
	assert.True(t, firstOfDay(nil, now))
	assert.True(t, firstOfDay([]zfs.Snapshot{{Name: "manual", Creation: now}}, now), "not ours")
}

func TestBookmarksExpire(t *testing.T) {
	mark := func(txg int, at time.Time, name string) zfs.Snapshot {
		return zfs.Snapshot{Name: name, CreateTXG: uint64(txg), Creation: at}
	}
	var have []zfs.Snapshot
	for i := range 12 {
		at := noon.AddDate(0, 0, i-30)
		have = append(have,
			mark(10*i, at, zfs.FormatSnapshotName(at, zfs.Daily)),
			mark(10*i+1, at, zfs.FormatSnapshotName(at, zfs.Stopped)),
			mark(10*i+2, at, fmt.Sprintf("zrepl_%d", i)))
	}
	// syncoid --create-bookmark creates a bookmark of every snapshot that syncoid sends.
	sent := noon.AddDate(0, 0, -29).Add(time.Hour)
	have = append(have, mark(13, sent, zfs.FormatSnapshotName(sent, zfs.Hourly)))
	expired := func(keep int) (txgs []uint64) {
		for _, m := range (Bookmarks{Have: have, Keep: keep}).Expire() {
			txgs = append(txgs, m.CreateTXG)
		}
		return txgs
	}
	assert.Empty(t, expired(30), "a day's first _stopped one stays, apart from the others")
	assert.Equal(t, []uint64{0, 20, 30, 1, 11}, expired(8), "of a day with somebody else's none goes: once the first had, the next would be that")
	assert.Empty(t, expired(0), "0 makes none; what is there may be the last common point of a receiver")
}

// A run does not destroy a bookmark if [Bookmarks.Missing] would make the next run create the
// bookmark again. After a run has destroyed a bookmark, the next run does not destroy a second
// program's bookmark of the same day. In TestBookmarksExpireOnce clocks are set back, and programs
// other than snap also create bookmarks.
func TestBookmarksExpireOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		marks := Bookmarks{Keep: rapid.IntRange(1, 4).Draw(t, "keep")}
		day := 0
		for i := range rapid.IntRange(0, 60).Draw(t, "marks") {
			day = max(0, day+rapid.SampledFrom([]int{0, 0, 0, 0, 1, 1, -1}).Draw(t, "days on"))
			created := noon.AddDate(0, 0, day).Add(time.Duration(i) * time.Second)
			class := rapid.SampledFrom([]zfs.Class{zfs.Frequently, zfs.Stopped, zfs.Stopped, zfs.Stopped}).Draw(t, "class")
			marks.Have = append(marks.Have, zfs.Snapshot{Name: zfs.FormatSnapshotName(created, class), GUID: uint64(i + 1), CreateTXG: uint64(i + 1), Creation: created})
		}
		gone := marks.Expire()
		marks.Have = slices.DeleteFunc(marks.Have, func(m zfs.Snapshot) bool { return slices.Contains(gone, m) })
		if next := marks.Expire(); len(next) > 0 {
			t.Fatalf("of %v go %v next", marks.Have, next)
		}
		if again := marks.Missing(gone, noon.AddDate(0, 0, 60)); len(again) > 0 {
			t.Fatalf("beside %v there is room for %v again", marks.Have, again)
		}
		for _, m := range gone {
			if class, _ := m.Class(); class == zfs.Stopped && marks.wouldKeep(m) {
				t.Fatalf("beside %v there is room for %v again", marks.Have, m)
			}
		}
	})
}

// Even if a program other than snap soon destroys each snapshot, only one snapshot a day counts as
// the first of its day and gets a bookmark.
func TestOneBookmarkADay(t *testing.T) {
	w := &world{policy: testPolicy(), now: noon, disks: []Disk{runningDisk(disk0, words("f4"))}}
	for _, first := range []bool{true, false, false} {
		assert.Equal(t, first, w.run().Guests[0].Disks[0].Bookmark)
		w.disk(disk0).Snapshots = nil
		w.now = w.now.Add(15 * time.Minute)
	}
	assert.Len(t, w.disk(disk0).Bookmarks, 1)
	w.now = w.now.AddDate(0, 0, 1)
	assert.True(t, w.run().Guests[0].Disks[0].Bookmark)
}

// If a guest is off, and a program writes to its disk all day, the disk gets a _stopped snapshot
// each hour. A copy that was last updated with a day's first _stopped snapshot can continue from
// the bookmark of this snapshot, however many _stopped snapshots follow until the guest starts.
func TestBookmarksOfAGuestThatStopsAllDay(t *testing.T) {
	at := func(day, hour int) time.Time { return time.Date(2026, time.July, day, hour, 30, 0, 0, time.UTC) }
	var have []zfs.Snapshot
	for i := range 3 * 12 { // for three days, each hour from 11:30 on
		created := at(13+i/12, 11+i%12)
		have = append(have, zfs.Snapshot{Name: zfs.FormatSnapshotName(created, zfs.Stopped), GUID: uint64(i + 1), CreateTXG: uint64(i + 1), Creation: created})
	}
	marks := Bookmarks{Have: have, Keep: 30}
	stays := func() (txgs []uint64) {
		for range 2 { // the second run of the hour takes no snapshot
			gone := marks.Expire()
			marks.Have = slices.DeleteFunc(slices.Clone(marks.Have), func(m zfs.Snapshot) bool { return slices.Contains(gone, m) })
		}
		for _, m := range marks.Have {
			txgs = append(txgs, m.CreateTXG)
		}
		return txgs
	}
	newest := []uint64{27, 28, 29, 30, 31, 32, 33, 34, 35, 36}
	assert.Equal(t, append([]uint64{1, 13, 25}, newest...), stays(), "the first of each day, and the newest ten")
	assert.Empty(t, marks.Missing(have, at(15, 23)), "what expired is not made again")

	snapshots := append(slices.Clone(have), zfs.Snapshot{Name: zfs.FormatSnapshotName(at(15, 23), zfs.Frequently), GUID: 99, CreateTXG: 99, Creation: at(15, 23)})
	gone := func() []Expired { return ExpireStopped(snapshots, marks, time.Hour, at(16, 5)) }
	assert.Len(t, gone(), len(have), "all have their bookmark, or none of theirs would stay")
	marks.Have = marks.Have[1:]
	assert.Len(t, gone(), len(have)-12, "of the first day's none has a bookmark, and any would be its first")

	marks.Have, marks.Keep = have, 2
	assert.Equal(t, append([]uint64{13, 25}, newest...), stays(), "of as many days as of other snapshots")
}

// All disks of a guest get a snapshot with the same name. The class in the name is the longest
// class that is due on at least one disk of the guest.
func TestCommonClass(t *testing.T) {
	w := &world{policy: testPolicy(), now: noon, disks: []Disk{
		runningDisk(disk0, words("f4 h4 d4")), runningDisk("tank/data/vm-100-disk-1", words("f4 h9 d1")),
		runningDisk("ssd/vm-100-disk-2", words("f4 h4 d4")), runningDisk("tank/data/vm-101-disk-0", words("f4 h4 d4")),
	}}
	for _, name := range []string{disk0, "tank/data/vm-100-disk-1", "tank/data/vm-101-disk-0"} {
		w.managed(w.disk(name), zfs.Daily, noon.Add(-time.Hour))
	}
	plan := w.run()
	assert.Equal(t, []string{
		"ssd/vm-100-disk-2 daily", disk0 + " daily", "tank/data/vm-100-disk-1 daily", "tank/data/vm-101-disk-0 hourly",
	}, stepsOf(plan))
	assert.Equal(t, plan.Guests[0].Snapshot, plan.Guests[1].Snapshot, "one name in both pools")
	var marked []string
	for _, g := range plan.Guests {
		for _, d := range g.Disks {
			if d.Bookmark {
				marked = append(marked, d.Dataset)
			}
		}
	}
	assert.Equal(t, []string{"ssd/vm-100-disk-2"}, marked, "the disk's first snapshot of the day")
}

// A disk gets only snapshots of classes that the disk's retention names, because runs never destroy
// snapshots of another class.
func TestDifferentClasses(t *testing.T) {
	w := &world{policy: testPolicy(), now: noon, disks: []Disk{
		runningDisk(disk0, words("f4 h4 d4")), runningDisk("tank/data/vm-100-disk-1", words("f4")),
		runningDisk("tank/data/vm-100-disk-2", words("f9 d0")), runningDisk("tank/data/vm-100-disk-3", words("h0")),
	}}
	assert.Equal(t, []string{
		disk0 + " daily", "tank/data/vm-100-disk-1 frequently", "tank/data/vm-100-disk-2 frequently",
	}, stepsOf(w.run()))
}

// The start of a guest causes a snapshot on the guest's disks even if no class is due.
func TestStartWithDisksThatRan(t *testing.T) {
	w := &world{policy: testPolicy(), now: noon, disks: []Disk{runningDisk(disk0, words("h4 d4")), runningDisk("tank/data/vm-100-disk-1", words("h4 d4"))}}
	for i := range w.disks {
		w.managed(&w.disks[i], zfs.Daily, noon.Add(-time.Minute))
	}
	w.disks[1].Running.Value = "stopped"
	assert.Equal(t, []string{"tank/data/vm-100-disk-1 hourly label=pve1"}, stepsOf(w.run()), "nothing is due on the other")
	assert.Empty(t, stepsOf(w.run()))
}

// When a guest stops, the _stopped snapshots of its disks have the same name on all pools, and each
// _stopped snapshot gets a bookmark.
func TestFinalOfAGuest(t *testing.T) {
	w := &world{policy: testPolicy(), now: noon, disks: []Disk{runningDisk(disk0, words("f4")), runningDisk("ssd/vm-100-disk-1", words("h1"))}}
	for i := range w.disks {
		w.disks[i].State = Stopped
		w.managed(&w.disks[i], zfs.Hourly, noon.Add(-time.Minute))
	}
	plan := w.run()
	require.Equal(t, []string{"ssd/vm-100-disk-1 stopped label=stopped", disk0 + " stopped label=stopped"}, stepsOf(plan))
	for _, g := range plan.Guests {
		assert.Equal(t, "autosnap_2026-07-15_12:07:00_stopped", g.Snapshot)
		assert.True(t, g.Disks[0].Bookmark)
	}
	assert.Len(t, plan.Stops(), 1, "one piece of work over both pools")

	w.policy.Bookmarks = 0
	w.disks[0].Running.Value = "pve1"
	w.disks[0].Written = 1
	plan = w.run()
	require.Len(t, plan.Guests, 1)
	assert.False(t, plan.Guests[0].Disks[0].Bookmark, "bookmarks are off")
	assert.Equal(t, "autosnap_2026-07-15_12:07:01_stopped", plan.Guests[0].Snapshot)
}

// snap rotates the snapshots of a disk only while its guest runs. snap destroys no regular snapshot
// of a stopped guest, nor of a guest on which Proxmox is at work.
func TestNoRotationUnlessRunning(t *testing.T) {
	for state := range GuestState(len(stateNames)) {
		w := &world{policy: testPolicy(), now: noon, disks: []Disk{runningDisk(disk0, words("f1"))}}
		w.disks[0].State = state
		w.managed(&w.disks[0], zfs.Stopped, noon.Add(-72*time.Hour))
		w.disks[0].Bookmarks = w.disks[0].Snapshots
		for i := range 4 {
			w.managed(&w.disks[0], zfs.Frequently, noon.Add(time.Duration(i-50)*time.Hour))
		}
		plan := MakePlan(w.disks, w.policy, w.now)
		want := 0
		if state == Running {
			want = 5
		}
		assert.Len(t, plan.Destroys, want, state.String())
	}
}

// If a disk's new snapshot fails for lack of space, snap destroys the old snapshots that the
// retention would also drop without the new snapshot.
func TestFullPool(t *testing.T) {
	w := &world{policy: testPolicy(), now: noon, disks: []Disk{runningDisk(disk0, words("f2"))}}
	for i := range 4 {
		w.managed(&w.disks[0], zfs.Frequently, noon.Add(time.Duration(i-4)*time.Hour))
	}
	w.run(disk0)
	assert.Equal(t, []string{"autosnap_2026-07-15_10:07:00_frequently", "autosnap_2026-07-15_11:07:00_frequently"}, names(&w.disks[0]), "both stay")
	w.disks[0].Retention = words("f1")
	w.run(disk0)
	w.run(disk0)
	assert.Equal(t, []string{"autosnap_2026-07-15_11:07:00_frequently"}, names(&w.disks[0]), "the newest stays, however often")
	w.run()
	assert.Equal(t, []string{"autosnap_2026-07-15_12:07:00_frequently"}, names(&w.disks[0]))
}

// A run destroys an old snapshot only after the new snapshot that replaces it exists, under the
// name that the new snapshot got in the end.
func TestNewSnapshotIsAKeeper(t *testing.T) {
	w := &world{policy: testPolicy(), now: noon, disks: []Disk{runningDisk(disk0, words("f1"))}}
	w.managed(&w.disks[0], zfs.Frequently, noon)
	plan := MakePlan(w.disks, w.policy, w.now)
	require.Len(t, plan.Destroys, 1)
	allowed := func(pool string, outcomes map[string]Outcome) []Destroy {
		now, waiting := plan.ForPool(pool).Allowed(outcomes)
		assert.Empty(t, waiting)
		return now
	}
	got := allowed("tank", map[string]Outcome{disk0: {Snapshot: "autosnap_2026-07-15_12:07:09_frequently"}})
	require.Len(t, got, 1)
	assert.Equal(t, "autosnap_2026-07-15_12:07:00_frequently", got[0].Name)
	assert.Equal(t, []string{"autosnap_2026-07-15_12:07:09_frequently"}, got[0].Keepers)

	assert.Empty(t, allowed("tank", map[string]Outcome{disk0: {Err: errTest}}), "a snapshot that failed destroys nothing")
	assert.Empty(t, allowed("ssd", map[string]Outcome{disk0: {Snapshot: "x"}}))
	assert.Empty(t, allowed("tank", map[string]Outcome{}), "nobody tried to make it")
}

// If more snapshots have expired than one run may destroy, the run destroys the oldest snapshots of
// all disks together. Later runs destroy the rest.
func TestMaxDestroys(t *testing.T) {
	other := "tank/data/vm-101-disk-0"
	w := &world{policy: testPolicy(), now: noon, disks: []Disk{runningDisk(disk0, words("f1")), runningDisk(other, words("f1"))}}
	w.policy.MaxDestroys = 10
	for i := range w.disks {
		for j := range 9 {
			w.managed(&w.disks[i], zfs.Frequently, noon.Add(time.Duration(j-9)*time.Hour))
		}
	}
	plan := w.run()
	assert.Len(t, plan.Destroys, 10)
	assert.Len(t, plan.Waiting, 8)
	assert.Equal(t, "autosnap_2026-07-15_03:07:00_frequently", plan.Destroys[0].Name)
	assert.Equal(t, "autosnap_2026-07-15_03:07:00_frequently", plan.Destroys[1].Name)
	for i := range w.disks {
		assert.Len(t, w.disks[i].Snapshots, 5, "of each as many")
	}
	w.now = noon.Add(15 * time.Minute)
	w.run()
	for i := range w.disks {
		assert.Len(t, w.disks[i].Snapshots, 1)
	}

	// If a disk's new snapshot failed for lack of space, the destroys on this disk do not reduce
	// the number of destroys on other disks.
	for j := range 15 {
		w.managed(&w.disks[0], zfs.Frequently, noon.Add(time.Duration(j+20)*time.Minute))
		w.managed(&w.disks[1], zfs.Frequently, noon.Add(time.Duration(j+20)*time.Minute))
	}
	w.now = noon.Add(40 * time.Minute)
	plan = MakePlan(w.disks, w.policy, w.now)
	now, waiting := plan.ForPool("tank").Allowed(map[string]Outcome{disk0: {Err: errTest, NoSpace: true}, other: {Snapshot: "made"}})
	assert.Len(t, now, 10)
	assert.Len(t, waiting, 16+15-10)
	assert.True(t, slices.IsSortedFunc(waiting, func(a, b Destroy) int { return a.Creation.Compare(b.Creation) }))
}

// A note warns about a disk that has so many bookmarks that opening the disk is slow.
func TestManyBookmarks(t *testing.T) {
	w := &world{policy: testPolicy(), now: noon, disks: []Disk{runningDisk(disk0, words("f1"))}}
	for i := range manyBookmarks + 1 {
		w.disks[0].Bookmarks = append(w.disks[0].Bookmarks, zfs.Snapshot{Dataset: disk0, Name: fmt.Sprint("zrepl_", i), CreateTXG: uint64(i)})
	}
	plan := MakePlan(w.disks, w.policy, w.now)
	last := plan.Notes[len(plan.Notes)-1]
	assert.Equal(t, report.Notice, last.Severity)
	assert.Contains(t, last.Reason, "101 bookmarks")
	w.disks[0].Bookmarks = w.disks[0].Bookmarks[1:]
	assert.Len(t, MakePlan(w.disks, w.policy, w.now).Notes, 1)
}

// At a terminal, a note has the number of snapshots whose class the retention no longer names.
func TestUnnamedClassesAreMentioned(t *testing.T) {
	w := &world{policy: testPolicy(), now: noon, disks: []Disk{runningDisk(disk0, words("f1 h0")), runningDisk("tank/data/vm-101-disk-0", words("f1 d1"))}}
	for i := range w.disks {
		for j, class := range []zfs.Class{zfs.Monthly, zfs.Daily, zfs.Stopped, zfs.Hourly, zfs.Frequently} {
			w.managed(&w.disks[i], class, noon.Add(time.Duration(j-10)*time.Hour))
		}
	}
	notes := MakePlan(w.disks, w.policy, w.now).Notes
	last := notes[len(notes)-1]
	assert.Equal(t, report.Notice, last.Severity)
	assert.Contains(t, last.Reason, "2 monthly, 1 daily, 1 hourly snapshots are never destroyed")
	for i := range w.disks {
		w.disks[i].Retention = words("f1 h1 d1 w1 m1 y1")
	}
	assert.Len(t, MakePlan(w.disks, w.policy, w.now).Notes, 2)
}

// A snapshot that is dated in the future is kept until its date, and a note says so.
func TestTheFutureIsSaid(t *testing.T) {
	const said = "2 snapshots are dated later than now, the last 2027-07-15 12:07:00, and kept until then: a clock was ahead when they were made, or is behind now"
	w := &world{policy: testPolicy(), now: noon, disks: []Disk{runningDisk(disk0, words("f1 h1"))}}
	d := &w.disks[0]
	w.managed(d, zfs.Hourly, noon.AddDate(1, 0, 0))
	w.managed(d, zfs.Stopped, noon.AddDate(0, 1, 0))
	w.managed(d, zfs.Hourly, noon.Add(-time.Hour))
	last := func(notes []Note) Note { return notes[len(notes)-1] }
	note := Note{Severity: report.Notice, Reason: said}
	assert.Equal(t, note, last(MakePlan(w.disks, w.policy, noon).Notes))
	d.State = Replica
	assert.Equal(t, note, last(PlanPrune(w.disks, prunePolicy(), nil, noon).Notes))
}
