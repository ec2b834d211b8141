package snapper

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
)

// copyOf is a disk that is a copy, by the state, with two days of its source's history.
func copyOf(state State) (*world, *Disk) {
	w := &world{policy: testPolicy(), now: noon, disks: []Disk{runningDisk(disk0, words("f4"))}}
	d := &w.disks[0]
	d.State, d.Why, d.Running = state, state.String(), zfs.Property{}
	w.managed(d, zfs.Daily, at2("07-14 00:00"))
	w.managed(d, zfs.Hourly, at2("07-14 11:00"))
	w.managed(d, zfs.Stopped, at2("07-14 12:00"))
	w.snap(d, "syncoid_1", at2("07-15 00:00"))
	w.managed(d, zfs.Frequently, at2("07-15 01:00"))
	w.managed(d, zfs.Hourly, at2("07-15 02:00"))
	return w, d
}

func at2(text string) time.Time {
	t, err := time.Parse("2006-01-02 15:04", "2026-"+text)
	if err != nil {
		panic(err)
	}
	return t
}

func markNames(list []zfs.Snapshot) []string {
	var got []string
	for _, m := range list {
		got = append(got, m.Creation.Format("01-02 15:04"))
	}
	return got
}

// A copy gets the bookmarks that its source made, and nothing else.
func TestRelay(t *testing.T) {
	all := []string{"07-15 01:00", "07-14 12:00", "07-14 00:00"}
	received := zfs.Property{Value: "pve9", Received: "pve9", Source: zfs.SourceReceived}
	for _, test := range []struct {
		name   string
		state  State
		change func(*world, *Disk)
		want   []string
	}{
		{"on another node", Elsewhere, nil, all},
		{"no guest has it", Orphan, nil, all},
		{"listed under replicas", Replica, nil, all},
		{"with a resume token", Elsewhere, func(_ *world, d *Disk) { d.ResumeToken = true }, all},
		{"beside a copied configuration", Stopped, func(_ *world, d *Disk) { d.Running = received }, all},
		{"beside a copied configuration, receiving", Stopped, func(_ *world, d *Disk) { d.ResumeToken = true }, all},
		{"first receive not finished", Elsewhere, func(_ *world, d *Disk) { d.Inconsistent = true }, nil},
		{"stopped here", Stopped, func(_ *world, d *Disk) { d.Running.Source, d.Running.Value = zfs.SourceLocal, "node9" }, nil},
		{"busy", Busy, nil, nil},
		{"unknown", Unknown, nil, nil},
		{"disputed", Disputed, nil, nil},
		{"template", Template, nil, nil},
		{"excluded", Elsewhere, func(_ *world, d *Disk) { d.NoSnap.Value = "on" }, nil},
		{"ignored", Elsewhere, func(_ *world, d *Disk) { d.Ignored = "ignored" }, nil},
		{"bookmarks off", Elsewhere, func(w *world, _ *Disk) { w.policy.Bookmarks = 0 }, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			w, d := copyOf(test.state)
			if test.change != nil {
				test.change(w, d)
			}
			before := names(d)
			plan := w.run()
			assert.Equal(t, test.want, markNames(plan.Marks))
			assert.Empty(t, did(plan))
			assert.Empty(t, plan.Destroys)
			assert.Empty(t, plan.Unmark)
			assert.Equal(t, before, names(d))
			require.Len(t, plan.Notes, 1)
			if test.want != nil {
				assert.Contains(t, plan.Notes[0].Reason, "a copy: bookmarks only")
			}
			assert.Empty(t, w.run().Marks, "a second run has nothing to do")
		})
	}
}

func TestMissing(t *testing.T) {
	_, d := copyOf(Elsewhere)
	missing := func(b Bookmarks) []string { return markNames(b.Missing(d.Snapshots, noon)) }
	s := d.Snapshots
	assert.Equal(t, []string{"07-15 01:00", "07-14 12:00", "07-14 00:00"}, missing(Bookmarks{Keep: 30}))
	assert.Equal(t, []string{"07-15 01:00", "07-14 12:00"}, missing(Bookmarks{Keep: 1}), "none that would go at once")
	assert.Equal(t, []string{"07-14 12:00", "07-14 00:00"}, missing(Bookmarks{Keep: 30, Have: s[4:5]}))
	assert.Equal(t, []string{"07-14 12:00", "07-14 00:00"}, missing(Bookmarks{Keep: 30, Have: s[5:6]}), "a day that has one needs no other, even if its first went before")
	assert.Equal(t, []string{"07-15 01:00", "07-14 00:00"}, missing(Bookmarks{Keep: 30, Have: s[2:3]}), "a _stopped one is not the day's")
	other := s[0]
	other.GUID = 7
	assert.Equal(t, []string{"07-15 01:00", "07-14 12:00"}, missing(Bookmarks{Keep: 30, Have: []zfs.Snapshot{other}}), "the name is taken")
	assert.Empty(t, Bookmarks{Keep: 30}.Missing(s, at2("07-13 12:00")), "snapshots from the future")
}

// The days are those of the node that made the snapshots, wherever they are looked at.
func TestDaysAreTheSources(t *testing.T) {
	for _, zone := range []*time.Location{time.UTC, berlin(t), time.FixedZone("", -11*3600)} {
		var list []zfs.Snapshot
		for i := range 49 {
			at := time.Date(2026, 7, 13, i, 0, 0, 0, berlin(t))
			list = append(list, zfs.Snapshot{Name: zfs.FormatSnapshotName(at, zfs.Hourly), GUID: uint64(i + 1), CreateTXG: uint64(i + 1), Creation: at.In(zone)})
		}
		var got []uint64
		for _, m := range (Bookmarks{Keep: 30}).Missing(list, noon.In(zone)) {
			got = append(got, m.GUID)
		}
		assert.Equal(t, []uint64{49, 25, 1}, got)
	}
}

// What is bookmarked or not in one run is bounded, the newest first.
func TestMarksAreBounded(t *testing.T) {
	w := &world{policy: testPolicy(), now: noon}
	for i := range 20 {
		d := runningDisk("tank/data/vm-100-disk-"+string(rune('0'+i%10))+string(rune('0'+i/10)), words("f4"))
		d.State = Elsewhere
		for day := range 20 {
			w.managed(&d, zfs.Daily, noon.AddDate(0, 0, day-40))
		}
		w.disks = append(w.disks, d)
	}
	plan := w.run()
	require.Len(t, plan.Marks, maxMarks)
	assert.Equal(t, noon.AddDate(0, 0, -21), plan.Marks[0].Creation)
	assert.Equal(t, noon.AddDate(0, 0, -30), plan.Marks[maxMarks-1].Creation)
	assert.Len(t, w.run().Marks, maxMarks)
	assert.Empty(t, w.run().Marks)
	w.policy.Bookmarks = 1
	assert.Len(t, w.run().Unmark, maxUnmarks)
}

// A running guest's disk gets the bookmarks that it lacks: those that failed, those of
// the time it was a copy, those of sanoid's snapshots.
func TestOwnMissing(t *testing.T) {
	w, d := copyOf(Running)
	d.Running = zfs.Property{Value: "pve1", Source: zfs.SourceLocal}
	plan := w.run()
	assert.Equal(t, []string{"07-15 01:00", "07-14 12:00", "07-14 00:00"}, markNames(plan.Marks))
	assert.False(t, plan.Guests[0].Disks[0].Bookmark, "today has its first one")
}

// A day that begins with a _stopped snapshot has its first of another class bookmarked
// when that is made: no later run finds it missing, once the _stopped one is gone.
func TestDayBeginsStopped(t *testing.T) {
	w := &world{policy: testPolicy(), now: at2("07-15 08:00"), disks: []Disk{runningDisk(disk0, words("f2 h4"))}}
	d := &w.disks[0]
	w.managed(d, zfs.Stopped, at2("07-15 01:00"))
	d.Bookmarks = []zfs.Snapshot{d.Snapshots[0]}
	d.Running.Value = zfs.LabelStopped
	plan := w.run()
	assert.True(t, plan.Guests[0].Disks[0].Bookmark)
	assert.Empty(t, Bookmarks{Have: d.Bookmarks, Keep: 30}.Missing(d.Snapshots[1:], w.now))
	assert.Empty(t, Bookmarks{Have: d.Bookmarks, Keep: 30}.Missing(d.Snapshots, w.now))
}

// Bookmarks of a history that the disk no longer has.
func TestAbandoned(t *testing.T) {
	s := func(txg int, text string, class zfs.Class) zfs.Snapshot {
		return zfs.Snapshot{Name: zfs.FormatSnapshotName(at2(text), class), GUID: uint64(txg), CreateTXG: uint64(txg), Creation: at2(text)}
	}
	base, old := s(10, "07-13 00:00", zfs.Daily), s(5, "07-12 00:00", zfs.Daily)
	ours, tip := s(20, "07-14 00:00", zfs.Daily), s(30, "07-15 00:00", zfs.Daily)
	theirs := s(40, "07-15 01:00", zfs.Daily)
	foreign := zfs.Snapshot{Name: "zrepl_1", GUID: 21, CreateTXG: 21}
	marks := []zfs.Snapshot{old, base, ours, foreign, tip, theirs}
	left := report.Tip{Name: tip.Name, TXG: ours.CreateTXG}
	for _, test := range []struct {
		name      string
		tip       report.Tip
		snapshots []zfs.Snapshot
		want      []zfs.Snapshot
	}{
		{"rolled back", left, []zfs.Snapshot{base, theirs}, []zfs.Snapshot{ours, tip}},
		{"rolled back by one", left, []zfs.Snapshot{base, ours, theirs}, []zfs.Snapshot{tip}},
		{"nothing received since: destroyed by hand", left, []zfs.Snapshot{base}, nil},
		{"destroyed by hand, one of two", left, []zfs.Snapshot{base, ours}, nil},
		{"not rolled back, old ones rotated", left, []zfs.Snapshot{tip, theirs}, nil},
		{"nothing is known", report.Tip{}, []zfs.Snapshot{base, theirs}, nil},
		{"the newest was another", report.Tip{Name: base.Name, TXG: 5}, []zfs.Snapshot{base, theirs}, nil},
	} {
		assert.Equal(t, test.want, Abandoned(test.tip, test.snapshots, marks), test.name)
	}

	d := runningDisk(disk0, words("f4"))
	d.State, d.Snapshots, d.Bookmarks, d.Tip = Elsewhere, []zfs.Snapshot{base, theirs}, marks, left
	plan := MakePlan([]Disk{d}, testPolicy(), noon)
	assert.Equal(t, []string{"07-14 00:00", "07-15 00:00"}, markNames(plan.Abandoned))
	assert.Empty(t, plan.Marks)
	d.Ignored = "ignored"
	assert.Empty(t, MakePlan([]Disk{d}, testPolicy(), noon).Abandoned)
}

// What is about to be bookmarked is known to the next run even if this one is cut off.
func TestIntend(t *testing.T) {
	r := testRun()
	r.StateDir = t.TempDir()
	r.previous.Start = noon
	r.previous.Tips = map[string]report.Tip{disk0: {Name: "old", TXG: 1}, disk1: {Name: "old", TXG: 1}}
	w := &world{now: noon}
	p := &pool{name: "tank", disks: []Disk{runningDisk(disk0, nil), runningDisk(disk1, nil)}}
	for i := range p.disks {
		w.managed(&p.disks[i], zfs.Daily, noon)
	}
	r.intend(Plan{Guests: []GuestPlan{{Snapshot: "new", Disks: []DiskPlan{{Dataset: disk0, Snapshot: true}}}}}, []*pool{p})
	_, err := report.Load(r.StateDir)
	require.Error(t, err, "without a bookmark there is nothing to remember")
	both := Plan{Guests: []GuestPlan{{Snapshot: "new", Disks: []DiskPlan{{Dataset: disk0, Bookmark: true}, {Dataset: disk1, Bookmark: true}}}}}
	both.Abandoned = []zfs.Snapshot{{Dataset: disk1}}
	r.intend(both, []*pool{p})
	kept, err := report.Load(r.StateDir)
	require.NoError(t, err)
	assert.Equal(t, map[string]report.Tip{disk0: {Name: "new", TXG: 1}, disk1: {Name: "old", TXG: 1}}, kept.Tips)
	assert.Equal(t, noon, kept.Start.UTC(), "the last run is still the last one")

	r.intend(Plan{Guests: []GuestPlan{{Snapshot: "later", Disks: []DiskPlan{{Dataset: disk1, Bookmark: true}}}}}, []*pool{p})
	kept, err = report.Load(r.StateDir)
	require.NoError(t, err)
	assert.Equal(t, "new", kept.Tips[disk0].Name, "a later round leaves what the first one intended")
	assert.Equal(t, "later", kept.Tips[disk1].Name)
}

// What the next run compares with is what was left, or what was not done.
func TestTips(t *testing.T) {
	r := testRun()
	r.previous.Tips = map[string]report.Tip{disk0: {Name: "old", TXG: 1}, disk1: {Name: "old", TXG: 1}, "ssd/vm-1-disk-0": {Name: "old", TXG: 1}, "tank/data/vm-9-disk-0": {Name: "gone", TXG: 1}}
	r.report.Disks = []report.Disk{{Dataset: disk0, Snapshot: "made"}}
	r.stuck = map[string]bool{disk1: true}
	w := &world{now: noon}
	pools := []*pool{{name: "tank", disks: []Disk{runningDisk(disk0, nil), runningDisk(disk1, nil), runningDisk("tank/data/vm-101-disk-0", nil), runningDisk("tank/data/vm-102-disk-0", nil)}}, {name: "ssd", err: errTest}}
	for i := range 3 {
		w.managed(&pools[0].disks[i], zfs.Daily, noon)
		w.snap(&pools[0].disks[i], "manual", noon)
	}
	assert.Equal(t, map[string]report.Tip{
		disk0: {Name: "made", TXG: 2}, disk1: {Name: "old", TXG: 1}, "ssd/vm-1-disk-0": {Name: "old", TXG: 1},
		"tank/data/vm-101-disk-0": {Name: zfs.FormatSnapshotName(noon, zfs.Daily), TXG: 6},
	}, r.tips(pools))
}
