package scan

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/checker"
	"snapwatch/internal/command"
	"snapwatch/internal/zfstest"
)

// played plays zfs in this process, with the datasets of world. The field hang names disks: a list
// of the snapshots of one of these disks does not end before the list's timeout.
type played struct {
	mu    sync.Mutex
	world zfstest.World
	hang  []string
	// calls has the command line of each call of zfs. listed has the datasets whose snapshots were
	// listed to the end.
	calls, listed []string
}

func (p *played) run(ctx context.Context, c command.Cmd, line func(string) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, strings.Join(c.Argv, " "))
	if slices.Contains(c.Argv, "-d") && c.Argv[1] == "list" {
		for _, dataset := range p.hang {
			if slices.Contains(c.Argv, dataset) {
				<-ctx.Done()
				return fmt.Errorf("zfs list: %w", ctx.Err())
			}
		}
		p.listed = append(p.listed, c.Argv[9:]...)
	}
	out, complaints, status := p.world.Answer(c.Argv[1:])
	if status != 0 {
		return &command.Error{Argv: c.Argv, Stderr: complaints, Err: exec.CommandContext(ctx, "/bin/sh", "-c", fmt.Sprint("exit ", status)).Run()}
	}
	return command.ReadLines(strings.NewReader(out), line)
}

// within scans the pool tank with the given cache, for at most a tenth of a second.
func (p *played) within(t *testing.T, cache *Cache) checker.Pool {
	t.Helper()
	f := zfstest.New(t, p.world)
	s := scanner(f)
	s.Cache, s.Run = cache, p.run
	p.listed = nil
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	pool := s.Pool(ctx, "tank", []string{"tank"})
	require.Empty(t, pool.Problem)
	return pool
}

// If there is no time to list a disk's newer snapshots, the scan uses the newest managed snapshot
// that an earlier scan found. The earlier scan may be another process's scan, and ZFS may lack the
// property snapshots_changed. The scan does not use this snapshot if it no longer exists: the disk
// was rolled back, perhaps to a time before the earlier scan.
func TestWhatWasTheNewestBefore(t *testing.T) {
	const name = "tank/vm-1-disk-0"
	for version, old := range map[string]bool{"OpenZFS 2.1": true, "OpenZFS 2.2": false} {
		t.Run(version, func(t *testing.T) {
			before := disk(name, 1, snapshot(older, 1), snapshot(hourly, 2))
			p := &played{world: zfstest.World{NoSnapshotsChanged: old, Datasets: []zfstest.Dataset{pool("tank"), before, disk("tank/vm-9-disk-0", 9)}}}
			cache := NewCache()
			require.Equal(t, hourly, p.within(t, cache).Disks[0].Newest.Name)

			path := filepath.Join(t.TempDir(), "newest.json")
			require.NoError(t, cache.Save(path))
			cache, err := LoadCache(path)
			require.NoError(t, err)
			after := disk(name, 1, snapshot(older, 1), snapshot(hourly, 2), snapshot(foreign, 3))
			after.Changed++
			p.world.Datasets[1], p.hang = after, []string{name}
			d := p.within(t, cache).Disks[0]
			assert.Empty(t, d.Problem)
			require.NotNil(t, d.Newest)
			assert.Equal(t, hourly, d.Newest.Name)
			assert.Contains(t, d.Unlisted, "reading pool tank took too long: listed the snapshots of 0 of 1 disks so far")

			p.world.Datasets[1].Snapshots = slices.Delete(p.world.Datasets[1].Snapshots, 1, 2)
			d = p.within(t, cache).Disks[0]
			assert.Contains(t, d.Problem, "took too long")
			assert.Empty(t, d.Unlisted)
			assert.Nil(t, d.Newest)

			p.hang = nil
			d = p.within(t, cache).Disks[0]
			assert.Empty(t, d.Problem+d.Unlisted)
			assert.Equal(t, older, d.Newest.Name)
		})
	}
}

// A dataset that was destroyed and created again is another dataset: the snapshots of the old
// dataset prove nothing about the new one.
func TestABoundIsOfThisDataset(t *testing.T) {
	const name = "tank/vm-1-disk-0"
	p := &played{world: zfstest.World{Datasets: []zfstest.Dataset{pool("tank"), disk(name, 1, snapshot(hourly, 2)), disk("tank/vm-9-disk-0", 9)}}}
	cache := NewCache()
	p.within(t, cache)
	p.world.Datasets[1], p.hang = disk(name, 2, snapshot(hourly, 2), snapshot(foreign, 3)), []string{name}
	assert.Contains(t, p.within(t, cache).Disks[0].Problem, "took too long")
}

// A scan reads first the lists of snapshots on which verdicts depend most. A list that took all the
// time of an earlier scan is read last, so that this list takes no time from the other lists.
func TestTheOrderOfLists(t *testing.T) {
	with := func(id int, newest string, txg uint64) zfstest.Dataset {
		return disk(fmt.Sprintf("tank/vm-%d-disk-0", id), uint64(id), snapshot(newest, txg))
	}
	p := &played{world: zfstest.World{Datasets: []zfstest.Dataset{pool("tank"), with(1, hourly, 2), with(2, hourly, 3), with(3, older, 1), disk("tank/vm-9-disk-0", 9)}}}
	cache := NewCache()
	p.within(t, cache)
	for i := range 3 {
		d := &p.world.Datasets[i+1]
		d.Changed++
		d.Snapshots = append(d.Snapshots, snapshot(foreign, 9))
	}
	p.world.Datasets = append(p.world.Datasets, disk("tank/vm-4-disk-0", 4, snapshot(hourly, 1), snapshot(foreign, 9)))
	p.hang = []string{"tank/vm-4-disk-0"}
	assert.Contains(t, p.within(t, cache).Disks[3].Problem, "took too long", "of which nothing is known")
	assert.Empty(t, p.listed)

	path := filepath.Join(t.TempDir(), "newest.json")
	require.True(t, cache.Unsaved())
	require.NoError(t, cache.Save(path))
	cache, err := LoadCache(path)
	require.NoError(t, err)
	disks := p.within(t, cache).Disks
	assert.Equal(t, []string{"tank/vm-3-disk-0", "tank/vm-1-disk-0", "tank/vm-2-disk-0"}, p.listed)
	for _, d := range disks[:3] {
		assert.Empty(t, d.Problem+d.Unlisted)
	}
	assert.Contains(t, disks[3].Problem, "took too long")

	p.hang = nil
	assert.Empty(t, p.within(t, cache).Disks[3].Problem)
	assert.Empty(t, cache.slow)
}
