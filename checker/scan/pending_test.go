package scan

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/checker"
	"snapwatch/internal/zfs"
	"snapwatch/internal/zfstest"
)

// A receive counts as pending since the first scan that saw it, also after a restart of the
// process. The time for which a receive is pending begins again with each snapshot that arrives,
// but not when prune destroys snapshots.
func TestPendingSince(t *testing.T) {
	clock := now
	f := zfstest.New(t, zfstest.World{Datasets: []zfstest.Dataset{pool("tank")}})
	path := filepath.Join(t.TempDir(), "newest.json")
	s := scanner(f)
	s.Now = func() time.Time { return clock }
	since := func(change func(*zfstest.Dataset)) time.Time {
		d := disk("tank/vm-1-disk-0", 1, snapshot(older, 1), snapshot(stopped, 2))
		d.Token = true
		change(&d)
		f.Set(zfstest.World{Datasets: []zfstest.Dataset{pool("tank"), d}})
		return scan(t, s).Disks[0].PendingSince
	}
	same := func(*zfstest.Dataset) {}
	assert.Equal(t, now, since(same))
	clock = now.Add(hour)
	assert.Equal(t, now, since(same))
	require.NoError(t, s.Cache.Save(path))
	again, err := LoadCache(path)
	require.NoError(t, err)
	s.Cache = again
	assert.True(t, now.Equal(since(same)), "another process remembers")
	assert.False(t, s.Cache.Unsaved())
	assert.True(t, now.Equal(since(func(d *zfstest.Dataset) { d.Snapshots, d.Changed = d.Snapshots[1:], d.Changed+1 })), "a snapshot that was destroyed is not a receive that ended")
	assert.Equal(t, clock, since(func(d *zfstest.Dataset) { d.Snapshots = append(d.Snapshots, snapshot(hourly, 3)) }), "one arrived, and the next receive is another")
	assert.Equal(t, clock, since(func(d *zfstest.Dataset) { d.GUID = 2 }))
	assert.Zero(t, since(func(d *zfstest.Dataset) { d.Token = false }))
	clock = now.Add(2 * hour)
	assert.Equal(t, clock, since(same), "it was not pending in between")
	assert.True(t, s.Cache.Unsaved())
	clock = now
	assert.Equal(t, clock, since(same), "the clock was ahead")
	f.Set(zfstest.World{Datasets: []zfstest.Dataset{pool("tank")}})
	scan(t, s)
	assert.Empty(t, s.Cache.pending)
}

// A snapshot that this host takes during a pending receive does not end the receive. If a receive
// ended without a managed snapshot, the scan recognizes the next receive because the two receives
// have different resume tokens.
func TestPendingBesideOtherSnapshots(t *testing.T) {
	c := NewCache()
	since := func(after time.Duration, ofAny, token, problem string) time.Time {
		newest := managed(zfs.Stopped, hour)
		disks := []checker.Disk{{Dataset: "tank/vm-1-disk-0", GUID: 1, Newest: newest, NewestOfAny: ofAny, PendingReceive: true, ReadAt: now.Add(after), Problem: problem}}
		if problem != "" {
			disks[0].Newest = nil
		}
		c.seePending(disks, map[string]string{"tank/vm-1-disk-0": token})
		return disks[0].PendingSince
	}
	assert.Equal(t, now, since(0, stopped, "1-a", ""))
	assert.Equal(t, now, since(hour, "zfs-auto-snap_hourly-1", "1-a", ""))
	assert.Equal(t, now, since(2*hour, "zfs-auto-snap_hourly-2", "1-a", ""))
	assert.Equal(t, now, since(2*hour, "zfs-auto-snap_hourly-2", "1-a", "its list took too long"))
	assert.Equal(t, now, since(2*hour, stopped, "1-b", ""), "more of it arrived")
	assert.Equal(t, now.Add(3*hour), since(3*hour, foreign, "1-c", ""), "one ended, and another began")
}

// Checks of one user with two configurations share one cache file.
func TestConfigurationsShareACache(t *testing.T) {
	clock := now
	a := disk("tank/a/vm-1-disk-0", 1, snapshot(stopped, 2))
	a.Token = true
	f := zfstest.New(t, zfstest.World{Datasets: []zfstest.Dataset{pool("tank"), pool("tank/a"), pool("tank/b"), a, disk("tank/b/vm-2-disk-0", 2, snapshot(hourly, 3))}})
	s := scanner(f)
	s.Now = func() time.Time { return clock }
	for i := range 3 {
		clock = now.Add(time.Duration(i) * hour)
		assert.Equal(t, now, scan(t, s, "tank/a").Disks[0].PendingSince)
		scan(t, s, "tank/b")
	}
	assert.Len(t, f.Calls(), 2*3+2, "the newest are looked up once: %q", f.Calls())
}
