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
	"snapwatch/internal/lock"
	"snapwatch/internal/zfstest"
)

// brokenZFS returns a fake zfs. A command line ends with an I/O error if the function `fails`
// returns true for it.
func brokenZFS(next func(context.Context, command.Cmd, func(string) error) error, fails func(argv []string) bool) func(context.Context, command.Cmd, func(string) error) error {
	return func(ctx context.Context, c command.Cmd, line func(string) error) error {
		err := next(ctx, c, line)
		if err == nil && fails(c.Argv) {
			err = &command.Error{Argv: c.Argv, Stderr: "cannot open 'tank/vm-999-cloudinit': I/O error\n", Err: exec.CommandContext(ctx, "/bin/sh", "-c", "exit 1").Run()}
		}
		return err
	}
}

// If one dataset of a pool cannot be opened, processes that wait for the scan need not read the
// pool themselves: they use the result of the scan, in which only this dataset has a problem.
func TestOneScanServesAllBesideAFault(t *testing.T) {
	p := &played{world: plainWorld()}
	f := zfstest.New(t, p.world)
	busy, err := lock.WaitTurn(t.Context(), f.LockDir, listLock("tank"), now)
	require.NoError(t, err)
	var scans sync.WaitGroup
	pools := make([]checker.Pool, 20)
	for i := range pools {
		s := shares(t, f, p)
		s.Run = brokenZFS(p.run, func(argv []string) bool { return argv[1] == "get" })
		scans.Go(func() { pools[i] = s.Pool(t.Context(), "tank", []string{"tank"}) })
	}
	time.AfterFunc(200*time.Millisecond, busy.Release)
	scans.Wait()
	gets := 0
	for _, call := range p.calls {
		if strings.HasPrefix(call, "zfs get") {
			gets++
		}
	}
	assert.Equal(t, 2, gets, "one scan, which looks twice")
	for _, pool := range pools {
		assert.Contains(t, pool.Problem, "vm-999-cloudinit")
		assert.Zero(t, pool.ReadAt)
		assert.Len(t, pool.Disks, 4)
		assert.Equal(t, "hourly", suffixOf(pool, "tank/vm-100-disk-0"))
	}
}

// A scan reads a second time only the disks for which the first reading has no answer. If a scan
// has no time for its second reading of a pool, the answers of the first reading count.
func TestTheSecondLookSpoilsNothing(t *testing.T) {
	const bad = "tank/vm-3-disk-0"
	w := zfstest.World{NoSnapshotsChanged: true, Datasets: []zfstest.Dataset{pool("tank")}}
	for i := range 3 {
		w.Datasets = append(w.Datasets, disk(fmt.Sprintf("tank/vm-%d-disk-0", i+1), uint64(i+1), snapshot(hourly, 1), snapshot(foreign, 2)))
	}
	p := &played{world: w}
	f := zfstest.New(t, w)
	s, failed := scanner(f), 0
	s.Run = brokenZFS(p.run, func(argv []string) bool {
		fails := slices.Contains(argv, "-d") && slices.Contains(argv, bad)
		if fails && !slices.Contains(argv, "tank/vm-2-disk-0") {
			failed++ // the dataset is listed alone, as the last one of a reading
			p.hang = []string{"tank/vm-1-disk-0"}
		}
		return fails
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	got := s.Pool(ctx, "tank", []string{"tank"})
	assert.Equal(t, 2, failed, "in both looks")
	require.Len(t, got.Disks, 3, got.Problem)
	for _, d := range got.Disks[:2] {
		assert.Empty(t, d.Problem+d.Unlisted, d.Dataset)
		assert.Equal(t, hourly, d.Newest.Name)
	}
	assert.Contains(t, got.Disks[2].Problem, "I/O error")
}

// Each test case has the answers of two readings of a pool, and the reading whose answer is used.
func TestBetter(t *testing.T) {
	is := func(what string) checker.Disk {
		d := checker.Disk{Dataset: "tank/vm-1-disk-0", GUID: 1}
		switch what {
		case "problem":
			d.Problem = what
		case "unlisted":
			d.Unlisted = what
		case "another":
			d.GUID, d.Problem = 2, what
		}
		return d
	}
	for _, c := range []struct {
		first, second string
		failed        bool
		want          []checker.Disk
	}{
		{"whole", "problem", false, []checker.Disk{is("whole")}},
		{"whole", "unlisted", false, []checker.Disk{is("whole")}},
		{"unlisted", "problem", false, []checker.Disk{is("unlisted")}},
		{"problem", "whole", false, []checker.Disk{is("whole")}},
		{"problem", "unlisted", false, []checker.Disk{is("unlisted")}},
		{"whole", "another", false, []checker.Disk{is("another")}},
		{"whole", "", false, nil},
		{"whole", "", true, []checker.Disk{is("whole")}},
		{"problem", "", true, nil},
	} {
		var second []checker.Disk
		if c.second != "" {
			second = append(second, is(c.second))
		}
		var failed error
		if c.failed {
			failed = assert.AnError
		}
		assert.Equal(t, c.want, better(second, []checker.Disk{is(c.first)}, failed), "%v", c)
	}
}

// A shared scan does not contain the times since which receives are pending. A process that uses
// another process's scan must itself remember since when a receive has been pending, or report this
// time as unknown.
func TestSincePendingIsNotShared(t *testing.T) {
	p := &played{world: plainWorld()}
	p.world.Datasets[2].Token = true
	f := zfstest.New(t, p.world)
	one := shares(t, f, p)
	one.Pool(t.Context(), "tank", []string{"tank"})
	last, serves := one.sharedScan("tank", []string{"tank"}).ifRecent(time.Now(), time.Now())
	require.True(t, serves)
	for _, d := range last.Pool.Disks {
		assert.Zero(t, d.PendingSince, d.Dataset)
	}
	other, pool := shares(t, f, p), checker.Pool{Name: "tank"}
	other.Cache = NewCache()
	other.take(last, &pool)
	const pending = "tank/vm-100-disk-0"
	assert.True(t, other.Cache.Unsaved())
	assert.Equal(t, one.Cache.pending[pending].Token, other.Cache.pending[pending].Token)
	at := slices.IndexFunc(pool.Disks, func(d checker.Disk) bool { return d.Dataset == pending })
	assert.Equal(t, last.ReadAt, pool.Disks[at].PendingSince)
}

// If the time of a scan ends during a list of snapshots, the list counts as slow only if this list
// alone took nearly all the time of the scan. The list then counts as slow for some hours. The next
// scan must read a quick list again if the list was running when the time of the scan before ended.
func TestOnlyAListThatHadAllTheTimeIsLong(t *testing.T) {
	const quick, late = "tank/vm-1-disk-0", "tank/vm-2-disk-0"
	p := &played{hang: []string{late}, world: zfstest.World{Datasets: []zfstest.Dataset{pool("tank"),
		disk(quick, 1, snapshot(hourly, 1), snapshot(foreign, 2)), disk(late, 2, snapshot(hourly, 1), snapshot(foreign, 2)),
		disk("tank/vm-3-disk-0", 3, snapshot(hourly, 1), snapshot(foreign, 2)), disk("tank/vm-9-disk-0", 9),
	}}}
	f := zfstest.New(t, p.world)
	s := scanner(f)
	s.Run = func(ctx context.Context, c command.Cmd, line func(string) error) error {
		if slices.Contains(c.Argv, quick) && slices.Contains(c.Argv, "-d") {
			time.Sleep(40 * time.Millisecond) // this list takes a part of the scan's time
		}
		return p.run(ctx, c, line)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
	defer cancel()
	s.Pool(ctx, "tank", []string{"tank"})
	assert.Empty(t, s.Cache.slow, "it was not alone, and not the first")

	p.within(t, s.Cache)
	assert.True(t, s.Cache.isSlow(late, now), "it alone had all the time")
	path := filepath.Join(t.TempDir(), "newest.json")
	require.NoError(t, s.Cache.Save(path))
	again, err := LoadCache(path)
	require.NoError(t, err)
	assert.True(t, again.isSlow(late, now.Add(slowFor-time.Second)))
	assert.False(t, again.isSlow(late, now.Add(slowFor)))
	assert.False(t, again.isSlow(late, now.Add(-time.Second)), "a clock that was ahead")
}
