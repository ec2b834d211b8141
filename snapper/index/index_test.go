package index

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/zfs"
	"snapwatch/lua"
	"snapwatch/snapper"
)

// entryOfDisk returns the index entry of disk0, whose snapshots were listed at noon, and the head
// of disk0.
func entryOfDisk() (*entry, zfs.Dataset) {
	newest := zfs.FormatSnapshotName(noon.Add(-time.Hour), zfs.Hourly)
	h := zfs.Dataset{Name: disk0, GUID: 7, NewestSnapshot: newest, SnapshotsChanged: noon.Add(-time.Hour).Unix()}
	e := &entry{key: keyOf(h), listedAt: noon, Snapshots: []zfs.Snapshot{
		{Dataset: disk0, Name: zfs.FormatSnapshotName(noon.Add(-2*time.Hour), zfs.Daily), GUID: 1, CreateTXG: 10, Creation: noon.Add(-2 * time.Hour)},
		{Dataset: disk0, Name: newest, GUID: 2, CreateTXG: 20, Creation: noon.Add(-time.Hour)},
	}}
	e.Bookmarks = []zfs.Snapshot{e.Snapshots[0], {Dataset: disk0, Name: "by hand", GUID: 3, CreateTXG: 5, Creation: noon.Add(-9 * time.Hour)}}
	return e, h
}

func TestGate(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*zfs.Dataset)
		later  time.Duration
		why    string
	}{
		{name: "nothing changed", later: 15 * time.Minute},
		{name: "just before it is due", later: relistAfter - 8*time.Nanosecond},
		{name: "a day old", later: relistAfter, why: "it was listed 24h0m0s ago"},
		{name: "clock set back", later: -time.Second, why: "it was listed in the future"},
		{name: "snapshot newer", change: func(h *zfs.Dataset) { h.NewestSnapshot = "by hand" }, why: "its snapshots changed"},
		{name: "snapshot destroyed or renamed", change: func(h *zfs.Dataset) { h.SnapshotsChanged++ }, why: "its snapshots changed"},
		{name: "promoted", change: func(h *zfs.Dataset) { h.Origin = "tank/data/vm-9-disk-0@x" }, why: "its snapshots changed"},
		{name: "made again", change: func(h *zfs.Dataset) { h.GUID = 8 }, why: "another dataset has this name now"},
		{name: "all gone", change: func(h *zfs.Dataset) { h.NewestSnapshot, h.SnapshotsChanged = "", 0 }, why: "this ZFS has no snapshots_changed"},
		{name: "before 2.2", change: func(h *zfs.Dataset) { h.SnapshotsChanged = 0 }, why: "this ZFS has no snapshots_changed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			e, h := entryOfDisk()
			if test.change != nil {
				test.change(&h)
			}
			assert.Equal(t, test.why, e.outdated(h, noon.Add(test.later)))
		})
	}
}

// The entries of a pool's disks expire at different times, so that no single run must list the
// snapshots of all the disks again.
func TestGateSpreads(t *testing.T) {
	e, h := entryOfDisk()
	h.GUID = uint64(5 * time.Hour)
	e.key = keyOf(h)
	assert.Empty(t, e.outdated(h, noon.Add(19*time.Hour-time.Second)))
	assert.Equal(t, "it was listed 19h0m0s ago", e.outdated(h, noon.Add(19*time.Hour)))
}

// The index keeps a disk's list of snapshots only if no change of the list can have remained
// unnoticed.
func TestKeep(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*snapper.Disk)
		kept   bool
	}{
		{"settled", func(*snapper.Disk) {}, true},
		{"changed two seconds ago", func(d *snapper.Disk) { d.SnapshotsChanged = noon.Unix() - 2 }, true},
		{"changed a second ago", func(d *snapper.Disk) { d.SnapshotsChanged = noon.Unix() - 1 }, false},
		{"changed in the future", func(d *snapper.Disk) { d.SnapshotsChanged = noon.Unix() + 1 }, false},
		{"changed by a clock that was ahead", func(d *snapper.Disk) { d.SnapshotsChanged = noon.Add(24 * time.Hour).Unix() }, true},
		{"by less than an entry stands", func(d *snapper.Disk) { d.SnapshotsChanged = noon.Add(23 * time.Hour).Unix() }, false},
		{"before 2.2", func(d *snapper.Disk) { d.SnapshotsChanged = 0 }, false},
		{"the newest is not in the list", func(d *snapper.Disk) { d.Snapshots = d.Snapshots[:1] }, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			e, h := entryOfDisk()
			d := snapper.Disk{Dataset: h, Snapshots: e.Snapshots, Bookmarks: e.Bookmarks}
			test.change(&d)
			x := Index{Entries: map[string]*entry{disk0: {}}}
			x.Keep(&d, noon)
			assert.Equal(t, test.kept, x.Knows(disk0))
			assert.True(t, x.Changed)
			again := snapper.Disk{Dataset: d.Dataset}
			require.Equal(t, test.kept, x.Recall(&again, noon))
			if test.kept {
				assert.Equal(t, d.Snapshots, again.Snapshots)
				assert.Equal(t, d.Bookmarks, again.Bookmarks)
			}
		})
	}
}

// A run enters its new snapshot of a disk in the index only if no other program has changed the
// disk's snapshots since the run read them.
func TestSnapshotted(t *testing.T) {
	const name = "autosnap_2026-07-15_12:07:00_hourly"
	for _, test := range []struct {
		name   string
		change func(first, second *lua.Outcome)
		kept   bool
	}{
		{"made", func(_, _ *lua.Outcome) {}, true},
		{"bookmark not made", func(o, _ *lua.Outcome) { o.Bookmark = errno(syscall.ENOSPC) }, false},
		{"bookmark was there", func(o, _ *lua.Outcome) { o.Bookmark = errno(syscall.EEXIST) }, false},
		{"snapshot not made", func(o, _ *lua.Outcome) { o.Snapshot = errno(syscall.EAGAIN) }, false},
		{"undone for another disk", func(_, o *lua.Outcome) { o.Snapshot = errno(syscall.ENOSPC) }, false},
		{"no answer", func(o, _ *lua.Outcome) { *o = lua.Outcome{} }, false},
		{"changed meanwhile", func(o, _ *lua.Outcome) { o.Before++ }, false},
		{"change not told", func(o, _ *lua.Outcome) { o.After = 0 }, false},
		{"snapshot not told", func(o, _ *lua.Outcome) { o.GUID = 0 }, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			e, h := entryOfDisk()
			x := Index{Entries: map[string]*entry{disk0: e}}
			watched := lua.ListChange{Before: h.SnapshotsChanged, After: noon.Unix()}
			made := zfs.Snapshot{Dataset: disk0, Name: name, GUID: 1<<64 - 1, CreateTXG: 30, Creation: time.Unix(noon.Unix(), 0)}
			first := lua.Outcome{Snapshot: errno(0), Bookmark: errno(0), GUID: -1, CreateTXG: 30, Creation: noon.Unix(), ListChange: watched}
			second := lua.Outcome{Snapshot: errno(0)}
			test.change(&first, &second)
			g := snapper.GuestPlan{Snapshot: name, Disks: []snapper.DiskPlan{{Dataset: disk0, Snapshot: true, Bookmark: true}, {Dataset: disk1, Snapshot: true}}}
			x.Snapshotted(g, map[string]lua.Outcome{disk0: first, disk1: second})
			require.Equal(t, test.kept, x.Knows(disk0))
			if !test.kept {
				return
			}
			h.NewestSnapshot, h.SnapshotsChanged = name, noon.Unix()
			d := snapper.Disk{Dataset: h}
			require.True(t, x.Recall(&d, noon))
			assert.Equal(t, made, d.Snapshots[2])
			assert.Equal(t, made, d.Bookmarks[2])
		})
	}
}

func TestDestroyedIsForgotten(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*lua.Destroyed)
		left   int // the number of snapshots in the index entry, -1 for no entry
	}{
		{"destroyed", func(*lua.Destroyed) {}, 1},
		{"held", func(d *lua.Destroyed) {
			for name := range d.Gone {
				d.Gone[name] = syscall.EBUSY
			}
		}, 2},
		{"being received", func(d *lua.Destroyed) { *d = lua.Destroyed{Receiving: 1} }, 2},
		{"a keeper is missing", func(d *lua.Destroyed) { *d = lua.Destroyed{Missing: "k"} }, -1},
		{"no answer", func(d *lua.Destroyed) { *d = lua.Destroyed{} }, -1},
		{"changed meanwhile", func(d *lua.Destroyed) { d.Before++ }, -1},
	} {
		t.Run(test.name, func(t *testing.T) {
			e, h := entryOfDisk()
			x := Index{Entries: map[string]*entry{disk0: e}}
			got := lua.Destroyed{Gone: map[string]syscall.Errno{e.Snapshots[0].Name: 0}, ListChange: lua.ListChange{Before: h.SnapshotsChanged, After: noon.Unix()}}
			test.change(&got)
			x.DestroyedAll([]snapper.Destroy{{Dataset: disk0}, {Dataset: disk1}, {Dataset: disk0}}, map[string]lua.Destroyed{disk0: got})
			if test.left < 0 {
				assert.False(t, x.Knows(disk0))
				return
			}
			require.True(t, x.Knows(disk0))
			assert.Len(t, e.Snapshots, test.left)
		})
	}
}

func TestIndexFile(t *testing.T) {
	path := Path(filepath.Join(t.TempDir(), "state"), "tank")
	e, _ := entryOfDisk()
	written := uint64(0)
	second := &entry{key: gateKey{GUID: 1<<64 - 1, Origin: "tank/a b@c d", Newest: "by hand", Changed: 1}, listedAt: noon.Local(), Written: &written}
	x := Index{Entries: map[string]*entry{disk0: e, disk1: second}, Changed: true}
	require.NoError(t, x.Save(path))
	assert.False(t, x.Changed)
	got, err := Load(path)
	require.NoError(t, err)
	require.Equal(t, x.Text(), got.Text())
	for dataset, want := range x.Entries {
		assert.Equal(t, want.key, got.Entries[dataset].key)
		assert.Equal(t, want.Written, got.Entries[dataset].Written)
		assert.True(t, want.listedAt.Equal(got.Entries[dataset].listedAt))
		require.Len(t, got.Entries[dataset].Snapshots, len(want.Snapshots))
		require.Len(t, got.Entries[dataset].Bookmarks, len(want.Bookmarks))
	}
}

func TestIndexIsRefused(t *testing.T) {
	text := func() string {
		e, _ := entryOfDisk()
		x := Index{Entries: map[string]*entry{disk0: e}}
		return string(x.Text())
	}()
	signed := func(body string) string { return body + "\nend\t" + sum([]byte(body)) + "\n" }
	for name, test := range map[string]struct {
		text string
		mode os.FileMode
		said string
	}{
		"cut off":          {text[:len(text)/2], 0o600, "damaged"},
		"without its end":  {text[:len(text)-1], 0o600, "damaged"},
		"one bit":          {text[:60] + "X" + text[61:], 0o600, "damaged"},
		"empty":            {"", 0o600, "damaged"},
		"another format":   {signed("snapwatch index 2"), 0o600, "it begins with"},
		"no name":          {signed(indexHead + "\ndisk\ttank/a\t1\t\tx\t1\t1\t\nsnapshot\t\t1\t1\t1"), 0o600, "unexpected"},
		"no disk":          {signed(indexHead + "\nsnapshot\tx\t1\t1\t1"), 0o600, "unexpected"},
		"no number":        {signed(indexHead + "\ndisk\ttank/a\t1\t\tx\t1\tnow\t"), 0o600, "invalid syntax"},
		"others may write": {text, 0o666, "can be written by others"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "index-tank")
			require.NoError(t, os.WriteFile(path, []byte(test.text), test.mode))
			require.NoError(t, os.Chmod(path, test.mode))
			x, err := Load(path)
			require.ErrorContains(t, err, test.said)
			assert.ErrorContains(t, err, "every snapshot is listed")
			assert.Empty(t, x.Entries)
		})
	}
	x, err := Load(filepath.Join(t.TempDir(), "index-tank"))
	require.NoError(t, err)
	assert.Empty(t, x.Entries)
}

// A run by root ignores an index file that another user wrote.
func TestIndexOfAnother(t *testing.T) {
	if os.Geteuid() != 0 {
		assert.Error(t, os.Chown(t.TempDir(), 1, 1), "only root can give a file away, so only root's test can")
		return
	}
	path := filepath.Join(t.TempDir(), "index-tank")
	x := Index{}
	require.NoError(t, x.Save(path))
	require.NoError(t, os.Chown(path, 1, 1))
	_, err := Load(path)
	assert.ErrorContains(t, err, "belongs to user")
}
