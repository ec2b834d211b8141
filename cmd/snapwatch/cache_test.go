package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/checker"
	"snapwatch/checker/scan"
	"snapwatch/internal/zfstest"
)

// TestChecksKeepWhatOthersLearnt: two checks of one user start together, for two different pools.
// The check that saves the cache last keeps the disks and the pending receives that the other check
// saved.
func TestChecksKeepWhatOthersLearnt(t *testing.T) {
	pending := vm(100, "stopped", 48*time.Hour)
	pending.Token = true
	other := vm(200, "hourly", time.Hour)
	other.Name = "big/vm-200-disk-0"
	f := zfstest.New(t, zfstest.World{Datasets: []zfstest.Dataset{{Name: "tank", GUID: 1}, pending, {Name: "big", GUID: 1}, other}})
	q := query{sourceFlags: sourceFlags{Seen: f.Path("seen.json"), Cache: filepath.Join(f.Path("cache"), "newest.json")}}
	clock := noon
	begin := func() memory {
		m, notes := q.remember(clock)
		require.Empty(t, notes)
		return m
	}
	check := func(m memory, pool string) checker.Pool {
		s := scan.Scanner{Kstat: f.Kstat, LockDir: f.LockDir, Now: func() time.Time { return clock }, Cache: m.cache}
		pools := []checker.Pool{s.Pool(t.Context(), pool, []string{pool})}
		require.Empty(t, pools[0].Problem)
		m.learn(pools, clock)
		kept, notes := m.keep(time.Minute, false)
		require.True(t, kept, "%v", notes)
		return pools[0]
	}
	a, b := begin(), begin()
	check(a, "tank")
	check(b, "big")
	assert.Len(t, begin().own.Disks, 2, "both are missed when they go")

	clock = clock.Add(time.Hour)
	a, b = begin(), begin()
	assert.Equal(t, noon.Unix(), check(a, "tank").Disks[0].PendingSince.Unix())

	// A disk that a person removed by forget remains removed, even if a check reads the inventory
	// before forget and saves the inventory after forget.
	forgotten, _ := scan.Inventory{}.Forget(other.Name, clock)
	require.NoError(t, forgotten.Save(q.Seen))
	f.Set(zfstest.World{Datasets: []zfstest.Dataset{{Name: "tank", GUID: 1}, pending, vm(101, "hourly", time.Hour), {Name: "big", GUID: 1}}})
	check(begin(), "big")
	check(b, "tank")
	assert.NotContains(t, begin().own.Disks, other.Name)
	assert.Len(t, begin().own.Disks, 2)
}

// Checks of another user could not read a cache file that root has written. If root types the
// command of another user's cron line, check does not write the user's cache file, and reports no
// fault.
func TestRootLeavesAnothersCacheAlone(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can write there")
	}
	s := newSite(t, vm(100, "hourly", time.Hour))
	dir := t.TempDir()
	require.NoError(t, os.Chown(dir, 65534, 65534))
	for _, cache := range []string{"newest.json", "more/newest.json"} {
		for range 2 {
			status, first := s.check("--changes", "-v", "--cache", filepath.Join(dir, cache))
			assert.Equal(t, 0, status, s.out.String())
			assert.Empty(t, first)
			assert.Contains(t, s.errors.String(), "results are not saved: "+dir+" belongs to user 65534")
		}
	}
	s.set(vm(100, "hourly", 7*time.Hour))
	status, first := s.check("--changes", "--cache", filepath.Join(dir, "newest.json"))
	assert.Equal(t, 2, status)
	assert.Contains(t, first, "changes are unknown")
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Empty(t, left)
}
