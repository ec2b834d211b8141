package run

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/command"
	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
	"snapwatch/lua"
	"snapwatch/snapper"
)

func testOptions() Options {
	return Options{World: Local{Clock: func() time.Time { return noon }}}
}

func testJournal() *journal { return &journal{report: report.Run{Counts: map[report.Event]int{}}} }

func testPool() *pool {
	o := testOptions()
	return &pool{Pool: o.World.Pool("tank"), Options: o, journal: testJournal(), name: "tank"}
}

func errno(n syscall.Errno) *syscall.Errno { return &n }

// TestSettle checks the outcomes of a guest's disks that follow from a channel program's result.
func TestSettle(t *testing.T) {
	done := lua.Outcome{Snapshot: errno(0), Label: errno(0), Bookmark: errno(0)}
	for _, test := range []struct {
		name    string
		first   lua.Outcome
		second  lua.Outcome
		retry   string // the snapshot's name when the run tries again
		failed  string
		noSpace bool
		warning string
	}{
		{name: "done", first: done, second: done},
		{name: "same txg", first: done, second: lua.Outcome{Snapshot: errno(syscall.EAGAIN)}, retry: "autosnap_2026-07-15_12:07:59_hourly", failed: "snapshot of " + disk1 + ": another snapshot of it is being made right now (EAGAIN)"},
		{name: "name taken", first: lua.Outcome{Snapshot: errno(syscall.EEXIST)}, retry: "autosnap_2026-07-15_12:08:01_hourly", failed: "the name is taken"},
		{name: "no space", first: done, second: lua.Outcome{Snapshot: errno(syscall.ENOSPC)}, failed: "no space", noSpace: true},
		{name: "busy", first: lua.Outcome{Snapshot: errno(syscall.EBUSY)}, failed: "snapshot of " + disk0 + ": it has a hold, or is being sent or received (EBUSY)"},
		{name: "unknown error", first: lua.Outcome{Snapshot: errno(syscall.EIO)}, failed: "input/output error (errno 5)"},
		{name: "no answer for the second", first: done, failed: "snapshot of " + disk1 + ": the channel program returned no result"},
		{name: "label failed", first: lua.Outcome{Snapshot: errno(0), Label: errno(syscall.EIO), Bookmark: errno(0)}, second: done, failed: "label of " + disk0 + ": input/output error (errno 5)"},
		{name: "no answer for the label", first: lua.Outcome{Snapshot: errno(0), Bookmark: errno(0)}, second: done, failed: "label of " + disk0 + ": the channel program returned no result"},
		{name: "bookmark failed", first: lua.Outcome{Snapshot: errno(0), Label: errno(0), Bookmark: errno(syscall.ENOSPC)}, second: done, warning: "bookmark of " + disk0},
		{name: "bookmark there", first: lua.Outcome{Snapshot: errno(0), Label: errno(0), Bookmark: errno(syscall.EEXIST)}, second: done, warning: "a bookmark of another snapshot has this name"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, outcomes := testPool(), map[string]snapper.Outcome{}
			g := snapper.GuestPlan{Pool: "tank", VMID: 100, Snapshot: "autosnap_2026-07-15_12:07:59_hourly", Class: zfs.Hourly, Disks: []snapper.DiskPlan{
				{Dataset: disk0, Snapshot: true, Bookmark: true, Label: "pve1"}, {Dataset: disk1, Snapshot: true, Label: "pve1"},
			}}
			next, again := p.recordResults(g, map[string]lua.Outcome{disk0: test.first, disk1: test.second}, outcomes)
			assert.Equal(t, test.retry != "", again)
			if again {
				assert.Equal(t, test.retry, next.Snapshot)
			}
			failures := 0
			for dataset, o := range outcomes {
				assert.Equal(t, test.noSpace, o.NoSpace, dataset)
				if o.Err != nil {
					failures++
					assert.ErrorContains(t, o.Err, test.failed)
				}
			}
			require.Len(t, outcomes, 2)
			assert.Equal(t, test.failed != "", failures > 0)
			if test.failed == "" {
				assert.Equal(t, 2, p.report.Counts[report.DidSnapshot])
				assert.Equal(t, 2, p.report.Counts[report.DidLabel])
			}
			if test.warning == "" {
				assert.Empty(t, p.report.Problems)
			} else {
				require.Len(t, p.report.Problems, 1)
				assert.Contains(t, p.report.Problems[0].Text, test.warning)
			}
		})
	}
}

// If the snapshot of one disk of a guest fails, the channel program destroys the guest's other new
// snapshots. A run reports each new snapshot that the channel program failed to destroy.
func TestSettleUndone(t *testing.T) {
	p := testPool()
	g := snapper.GuestPlan{Snapshot: "autosnap_2026-07-15_12:07:00_stopped", Class: zfs.Stopped, Disks: []snapper.DiskPlan{{Dataset: disk0, Snapshot: true}, {Dataset: disk1, Snapshot: true}}}
	p.recordResults(g, map[string]lua.Outcome{
		disk0: {Snapshot: errno(0), Undone: errno(syscall.EBUSY)}, disk1: {Snapshot: errno(syscall.ENOSPC)},
	}, map[string]snapper.Outcome{})
	require.Len(t, p.report.Problems, 1)
	assert.Contains(t, p.report.Problems[0].Text, disk0+"@autosnap_2026-07-15_12:07:00_stopped was made and could not be destroyed again: it has a hold")
}

// TestSettleDestroys checks the problems that follow from the results of a batch of destroys, and
// their severities.
func TestSettleDestroys(t *testing.T) {
	p := testPool()
	batch := []snapper.Destroy{
		{Dataset: disk0, Name: "gone"}, {Dataset: disk0, Name: "held"}, {Dataset: disk0, Name: "cloned"}, {Dataset: disk0, Name: "broken"}, {Dataset: disk0, Name: "unsaid"},
		{Dataset: disk1, Name: "a"}, {Dataset: disk1, Name: "b"}, {Dataset: "tank/data/vm-101-disk-0", Name: "a"}, {Dataset: "tank/data/vm-101-disk-0", Name: "b"},
	}
	p.recordDestroys(batch, map[string]lua.Destroyed{
		disk0: {Gone: map[string]syscall.Errno{"gone": 0, "held": syscall.EBUSY, "cloned": syscall.EEXIST, "broken": syscall.EIO}},
		disk1: {Receiving: 1}, "tank/data/vm-101-disk-0": {Missing: "keeper"},
	})
	p.reportKept()
	assert.Equal(t, 1, p.report.Counts[report.DidDestroy])
	var got []string
	for _, said := range p.report.Problems {
		got = append(got, string(said.Severity)+": "+said.Text)
	}
	assert.Equal(t, []string{
		"warning: destroying " + disk0 + "@broken: input/output error (errno 5)",
		"warning: destroying " + disk0 + "@unsaid: the channel program returned no result",
		"notice: " + disk1 + " is being received: no snapshot of it is destroyed",
		"notice: tank/data/vm-101-disk-0@keeper is gone, although it had to be kept: no snapshot of the disk is destroyed, the next run checks again",
		"notice: " + disk0 + "@held is kept: it has a hold, or is being sent or received (EBUSY); the next run tries again",
		"notice: " + disk0 + "@cloned is kept: the name is taken, or a clone depends on it (EEXIST); the next run tries again",
	}, got)
}

func TestDoomed(t *testing.T) {
	got := requests([]snapper.Destroy{
		{Dataset: disk0, Name: "a", Keepers: []string{"k", "new"}}, {Dataset: disk1, Name: "a", Keepers: []string{"k"}}, {Dataset: disk0, Name: "b", Keepers: []string{"new", "l"}},
	}, nil)
	assert.Equal(t, []lua.DestroyRequest{
		{Dataset: disk0, Destroy: []string{"a", "b"}, Keepers: []string{"k", "new", "l"}}, {Dataset: disk1, Destroy: []string{"a"}, Keepers: []string{"k"}},
	}, got)
}

// snap destroys only managed bookmarks, whatever the plan says.
func TestUnmarkRefuses(t *testing.T) {
	p := testPool()
	for _, b := range []zfs.Snapshot{{Dataset: disk0, Name: "zrepl_1"}, {Dataset: disk0 + "@a", Name: zfs.FormatSnapshotName(time.Unix(0, 0), zfs.Daily)}} {
		assert.ErrorContains(t, p.destroyBookmark(t.Context(), b), "refusing to destroy the bookmark")
	}
}

// After SIGTERM, a run starts no further channel program. The run reports the steps of its plan
// that it did not do.
func TestToldToEnd(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	t.Setenv("PATH", t.TempDir())
	p := testPool()
	open := []snapper.GuestPlan{{Pool: "tank", Snapshot: "autosnap_2026-07-15_12:07:00_hourly", Disks: []snapper.DiskPlan{{Dataset: disk0, Snapshot: true}}}}
	plan := snapper.PoolPlan{
		Destroys: []snapper.Destroy{{Dataset: disk1, Name: "autosnap_2026-07-14_12:07:00_hourly"}}, InheritReceived: []string{disk1},
		DestroyBookmarks: []zfs.Snapshot{{Dataset: disk1, Name: "autosnap_2026-07-14_12:07:00_hourly"}},
	}
	outcomes := p.takeSnapshots(ctx, open, &lease{}, programTimeout)
	p.finishPlan(ctx, plan, outcomes)
	assert.ErrorContains(t, outcomes[disk0].Err, "told to end before the snapshots were taken")
	require.Len(t, p.report.Problems, 1)
	assert.Contains(t, p.report.Problems[0].Text, "told to end, 1 snapshot is left for the next run to destroy")
}

// While a command of the run hangs on a pool, the run begins no second command on this pool: the
// run would have to wait for the first command to end, and would hold guests' locks during that
// wait.
func TestNothingIsBegunBehindAStepThatHangs(t *testing.T) {
	p := testPool()
	assert.ErrorIs(t, p.withTimeout(func(context.Context) error { return fmt.Errorf("zfs: %w", command.ErrStillRunning) }), command.ErrStillRunning)
	assert.ErrorIs(t, p.withTimeout(func(context.Context) error { t.Error("begun"); return nil }), errHangs)

	mark := zfs.Snapshot{Dataset: disk1, Name: "autosnap_2026-07-14_12:07:00_hourly"}
	p.finishPlan(t.Context(), snapper.PoolPlan{InheritReceived: []string{disk1}, CreateBookmarks: []zfs.Snapshot{mark}, DestroyBookmarks: []zfs.Snapshot{mark}}, nil)
	assert.Empty(t, p.report.Problems)
	p.destroyAbandoned(t.Context(), []snapper.JudgedBookmark{{Snapshot: mark}})
	assert.True(t, p.unfinished[disk1], "the next run must look at it again")
}

func TestNextName(t *testing.T) {
	assert.Equal(t, "autosnap_2026-10-25_03:00:01_hourly", nextName("autosnap_2026-10-25_02:59:59_hourly", zfs.Hourly))
}
