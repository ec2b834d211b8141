package run

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/config"
	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
	"snapwatch/lua"
)

// On the disks of an override, the override's retention replaces the run's retention.
func TestKeepOfAnOverride(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		w.guest(100, true, "tank")
		w.pool("tank").addOlderSnapshots(disk0, 9, time.Hour)
		keep, err := config.ParseKeep([]string{"f99"})
		require.NoError(t, err)
		w.run(t, func(o *Options) {
			o.Config.Overrides = []config.Override{{Selector: config.Selector{Pool: "tank"}, Keep: keep}}
		})
		assert.Zero(t, w.destroyed("tank"))
		w.run(t)
		assert.NotZero(t, w.destroyed("tank"))
	})
}

// If the result of the program that takes a disk's snapshot is unknown, no snapshot of the disk is
// destroyed. If the program failed for lack of space, snapshots of the disk are destroyed.
func TestUnknownResultDestroysNothing(t *testing.T) {
	for name, test := range map[string]struct {
		result   func([]lua.Guest) (map[string]lua.Outcome, error)
		destroys bool
	}{
		"unknown": {func([]lua.Guest) (map[string]lua.Outcome, error) { return nil, errors.New("signal: killed") }, false},
		"no space": {func(guests []lua.Guest) (map[string]lua.Outcome, error) {
			return map[string]lua.Outcome{guests[0].Disks[0].Dataset: {Snapshot: errno(syscall.ENOSPC)}}, nil
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newVirtualWorld(t)
				w.guest(100, true, "tank")
				p := w.pool("tank")
				p.addOlderSnapshots(disk0, 9, 20*time.Hour)
				p.onSnapshot = func(_ context.Context, guests []lua.Guest) (map[string]lua.Outcome, error) {
					return test.result(guests)
				}
				w.run(t)
				assert.Equal(t, test.destroys, w.destroyed("tank") > 0)
			})
		})
	}
}

// prune leaves a disk under replicas alone if it is unknown whether a guest of this node that may
// use the disk runs.
func TestPruneOfACopyThatMayBeInUse(t *testing.T) {
	for name, unknown := range map[string]error{"off": nil, "unknown": errors.New("/proc hangs")} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newVirtualWorld(t)
				w.guest(100, false, "tank").processErr = unknown
				w.pool("tank").addOlderSnapshots(disk0, 9, time.Hour)
				w.prune(t, func(o *Options) { o.Config.Replicas = []string{"tank/data"} })
				assert.Equal(t, unknown == nil, w.destroyed("tank") > 0)
			})
		})
	}
}

// prune keeps a _stopped snapshot of a copy until a newer snapshot has an age above stopped_grace.
func TestPruneKeepsStopsForTheirGrace(t *testing.T) {
	const d = "tank/in/vm-100-disk-0"
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		w.plain = true
		w.copy(d, 6)
		p := w.pool("tank")
		for i := range 15 {
			s := virtualSnapshot(d, 3*time.Hour+time.Duration(i)*time.Minute, zfs.Stopped, uint64(700-i))
			p.addOlder(s)
			p.bookmarks[d] = append(p.bookmarks[d], s)
		}
		w.prune(t)
		assert.Equal(t, 15, p.stops(d))
		time.Sleep(48 * time.Hour)
		w.prune(t)
		assert.Less(t, p.stops(d), 15)
	})
}

// A run in which a running guest got no snapshot is not a success, whatever the reason.
func TestNoSuccessWithoutASnapshot(t *testing.T) {
	for name, change := range map[string]func(*virtualWorld, *virtualGuest){
		"the lock is taken": func(_ *virtualWorld, g *virtualGuest) { g.busy = true },
		"the lock was lost": func(w *virtualWorld, _ *virtualGuest) {
			w.pool("tank").onSnapshot = func(_ context.Context, guests []lua.Guest) (map[string]lua.Outcome, error) { return busyDisk(guests) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newVirtualWorld(t)
				change(w, w.guest(100, true, "tank"))
				r := w.run(t)
				require.Len(t, r.Disks, 1)
				assert.Empty(t, r.Disks[0].Snapshot)
				assert.Equal(t, report.ResultUnprotected, r.Disks[0].Result)
				assert.False(t, r.Success)
			})
		})
	}
}

// If ZFS could not create a bookmark, the index does not say that the bookmark exists.
func TestBookmarkThatFailed(t *testing.T) {
	for name, failed := range map[string]syscall.Errno{"made": 0, "failed": syscall.ENOSPC} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newVirtualWorld(t)
				w.guest(100, true, "tank")
				v := w.pool("tank")
				v.remember()
				v.onBookmark = func() syscall.Errno { return failed }
				p := &pool{Pool: v, Options: w.options(), journal: testJournal(), name: "tank", index: v.index}
				require.Contains(t, p.index.Entries, disk0)
				p.createBookmarks(t.Context(), v.snapshots[disk0])
				if failed == 0 {
					assert.Len(t, p.index.Entries[disk0].Bookmarks, 1)
				} else {
					assert.NotContains(t, p.index.Entries, disk0, "the next run lists them")
				}
			})
		})
	}
}

// If cron has started a run that is at work on a pool, finalize waits for the lock of the pool.
// finalize changes neither the report nor the state of the last run of snap.
func TestFinalizeBesideCron(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		g := w.guest(100, true, "tank")
		w.run(t)
		saves := 0
		w.onSave = func(report.Run) { saves++ }
		w.state.Busy = map[int]int{7: 7}
		before := w.state
		time.Sleep(time.Minute)
		g.alive, w.shutdown, w.pool("tank").busy = false, true, true
		w.run(t, func(o *Options) { o.Final = true })
		assert.Equal(t, 1, w.pool("tank").stops(disk0))
		assert.Zero(t, saves)
		assert.Equal(t, before, w.state)
	})
}

// A run changes nothing on a disk if it could not read the disk's snapshots, the disk's labels, or
// the bookmarks that the plan asks for.
func TestUnreadDiskIsLeftAlone(t *testing.T) {
	for name, test := range map[string]struct {
		alive  bool
		change func(*virtualPool)
	}{
		"snapshots": {true, func(p *virtualPool) { p.heads[0].Problem = "cannot be read" }},
		"labels":    {true, func(p *virtualPool) { p.heads[0].Unlabelled = "cannot be read" }},
		"bookmarks": {false, func(p *virtualPool) {
			p.remember()
			p.onBookmarks = func() error { return zfs.Faults{disk0: "cannot be read"} }
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newVirtualWorld(t)
				w.guest(100, test.alive, "tank")
				test.change(w.pool("tank"))
				r := w.run(t)
				assert.Empty(t, w.pool("tank").programs)
				assert.Contains(t, reasonOf(r, disk0), "cannot be read")
			})
		})
	}
}

// If zfs lists only some disks, the disks that are missing in the list do not count as gone.
func TestHalfAListProvesNothing(t *testing.T) {
	for name, failed := range map[string]error{"whole": nil, "half": errors.New("tank/data/x: I/O error")} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newVirtualWorld(t)
				w.guest(100, true, "tank")
				w.guest(101, true, "tank")
				w.run(t)
				const missing = "tank/data/vm-101-disk-0"
				require.Contains(t, w.state.Checked, missing)
				time.Sleep(15 * time.Minute)
				p := w.pool("tank")
				p.heads, p.failList = p.heads[:1], failed
				w.run(t)
				assert.Equal(t, failed != nil, w.state.Checked[missing].Gone.IsZero())
			})
		})
	}
}
