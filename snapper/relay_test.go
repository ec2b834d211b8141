package snapper

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/zfs"
)

// copyOf returns a model with one disk in the given state. The disk has snapshots of two days,
// which it received from its source.
func copyOf(state GuestState) (*world, *Disk) {
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

// snap makes on a copy the same bookmarks as on the copy's source, and changes nothing else there.
func TestRelay(t *testing.T) {
	all := []string{"07-15 01:00", "07-14 12:00", "07-14 00:00"}
	received := zfs.Property{Value: "pve9", Received: "pve9", Source: zfs.SourceReceived}
	for _, test := range []struct {
		name   string
		state  GuestState
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
			assert.Equal(t, test.want, markNames(plan.CreateBookmarks))
			assert.Empty(t, stepsOf(plan))
			assert.Empty(t, plan.Destroys)
			assert.Empty(t, plan.DestroyBookmarks)
			assert.Equal(t, before, names(d))
			require.Len(t, plan.Notes, 1)
			if test.want != nil {
				assert.Contains(t, plan.Notes[0].Reason, "a copy: bookmarks only")
			}
			assert.Empty(t, w.run().CreateBookmarks, "a second run has nothing to do")
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
	assert.Equal(t, []string{"07-15 01:00", "07-14 12:00", "07-14 00:00"}, missing(Bookmarks{Keep: 30, Have: s[5:6]}), "one of a later snapshot is somebody else's")
	assert.Empty(t, Bookmarks{Keep: 30, Have: s[4:5]}.Missing(s[5:], noon), "a day that has one needs no other, even if its first snapshot went")
	assert.Equal(t, []string{"07-15 01:00", "07-14 00:00"}, missing(Bookmarks{Keep: 30, Have: s[2:3]}), "a _stopped one is not the day's")
	other := s[0]
	other.GUID = 7
	assert.Equal(t, []string{"07-15 01:00", "07-14 12:00"}, missing(Bookmarks{Keep: 30, Have: []zfs.Snapshot{other}}), "the name is taken")
	assert.Empty(t, Bookmarks{Keep: 30}.Missing(s, at2("07-13 12:00")), "snapshots from the future")
}

// A snapshot belongs to a day in the time zone of the node that took the snapshot, on whatever host
// the copy is.
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

// The number of bookmarks that one run creates is limited, and so is the number that it destroys. A
// run creates the bookmarks of the newest snapshots first.
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
	require.Len(t, plan.CreateBookmarks, maxBookmarkCreates)
	assert.Equal(t, noon.AddDate(0, 0, -21), plan.CreateBookmarks[0].Creation)
	assert.Equal(t, noon.AddDate(0, 0, -30), plan.CreateBookmarks[maxBookmarkCreates-1].Creation)
	assert.Len(t, w.run().CreateBookmarks, maxBookmarkCreates)
	assert.Empty(t, w.run().CreateBookmarks)
	w.policy.Bookmarks = 1
	assert.Len(t, w.run().DestroyBookmarks, MaxBookmarkDestroys)
}

// A running guest's disk gets the bookmarks that it lacks. The disk can lack a bookmark because an
// earlier run failed to make the bookmark, because the disk was a copy when it got the snapshot, or
// because sanoid took the snapshot.
func TestOwnMissing(t *testing.T) {
	w, d := copyOf(Running)
	d.Running = zfs.Property{Value: "pve1", Source: zfs.SourceLocal}
	plan := w.run()
	assert.Equal(t, []string{"07-15 01:00", "07-14 12:00", "07-14 00:00"}, markNames(plan.CreateBookmarks))
	assert.False(t, plan.Guests[0].Disks[0].Bookmark, "today has its first one")
}

// On a day that begins with a _stopped snapshot, the first regular snapshot gets its bookmark when
// it is taken, so that no later run has to add this bookmark after the _stopped snapshot was
// destroyed.
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

// If snap on this node makes bookmarks of a copy's snapshots, prune keeps each snapshot until it
// has its bookmark. If snap makes no bookmarks of the snapshots, prune does not wait for bookmarks.
func TestBookmarking(t *testing.T) {
	parents := []string{"tank/data"}
	for name, test := range map[string]struct {
		change func(*Disk)
		want   bool
	}{
		"a copy in a storage":      {func(*Disk) {}, true},
		"outside of the storages":  {func(d *Disk) { d.Name = "backup/in/vm-100-disk-0" }, false},
		"deeper than snap looks":   {func(d *Disk) { d.Name = "tank/data/in/vm-100-disk-0" }, false},
		"excluded from snapshots":  {func(d *Disk) { d.NoSnap = zfs.Property{Value: "on", Source: zfs.SourceLocal} }, false},
		"ignored":                  {func(d *Disk) { d.Ignored = "overrides[0].ignore" }, false},
		"its first receive is due": {func(d *Disk) { d.Inconsistent = true }, false},
	} {
		d := runningDisk(disk0, nil)
		d.State = Elsewhere
		test.change(&d)
		assert.Equal(t, test.want, Bookmarking(&d, parents), name)
	}
}
