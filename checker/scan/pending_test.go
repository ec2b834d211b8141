package scan

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/zfstest"
)

// A receive is pending since it was first seen, over a restart, too, and begins anew with
// each snapshot that arrives, whatever prune destroys meanwhile.
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
	assert.True(t, now.Equal(since(func(d *zfstest.Dataset) { d.Snapshots, d.Changed = d.Snapshots[1:], d.Changed+1 })), "a snapshot that was destroyed is no receive that ended")
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
