package run

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/pve"
	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
	"snapwatch/snapper"
)

// If the bookmarks of a disk cannot be read, no snapshot of the disk is destroyed, because it is
// unknown which snapshots are needed.
func TestBookmarksUnread(t *testing.T) {
	for name, err := range map[string]error{
		"read":       nil,
		"error":      errTest,
		"disk fault": zfs.Faults{disk0: "creation is not a time"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newVirtualWorld(t)
				w.guest(100, true, "tank")
				p := w.pool("tank")
				for i := range 8 {
					p.addOlder(virtualSnapshot(disk0, time.Duration(2+i)*time.Hour, zfs.Frequently, uint64(800-i)))
				}
				p.addOlder(virtualSnapshot(disk0, 30*time.Hour, zfs.Frequently, 700))
				p.bookmarks[disk0] = []zfs.Snapshot{virtualSnapshot(disk0, 23*time.Hour, zfs.Frequently, 600)}
				p.remember()
				if err != nil {
					p.onBookmarks = func() error { return err }
				}
				w.run(t)
				assert.Equal(t, err == nil, len(w.eventsWith("tank: destroy")) > 0)
			})
		})
	}
}

// A run may receive SIGTERM after it has read a pool's history and before it carries out the plan.
// After the SIGTERM, the next run destroys the bookmark that belongs to a discarded history.
func TestDiscardedForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		w.guest(99, true, "aaa")
		w.guest(100, true, "tank")
		w.guest(101, false, "tank") // guest 101 seems stopped, which causes a second look
		p := w.pool("tank")
		p.slowList = 40 * time.Second // the slow pool is read and planned later than the other pool
		discarded := virtualSnapshot(disk0, 5*time.Hour, zfs.Daily, 950)
		p.bookmarks[disk0] = []zfs.Snapshot{discarded}
		p.history = zfs.History{Since: 1, SetBacks: []zfs.SetBack{{Dataset: disk0, Base: 900, TXG: 980}}}
		ctx, end := context.WithCancel(t.Context())
		w.onWait = end
		_, _, err := Run(ctx, w.options())
		require.NoError(t, err)
		w.onlyEvent(t, "tank: history")
		require.Empty(t, w.eventsWith("tank: destroy"))

		w.onWait = nil
		time.Sleep(15 * time.Minute)
		w.run(t)
		w.onlyEvent(t, "tank: destroy "+disk0+"#"+discarded.Name)
	})
}

// If the second look at a guest's state fails, the run does not look again, reports the failure
// once, and does not treat the guest as stopped.
func TestSecondLookFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		w.guest(100, false, "tank")
		w.onWait = func() {
			w.log("looks again")
			w.clusterErr = errors.New("pmxcfs is away")
		}
		r := w.run(t)
		w.onlyEvent(t, "looks again")
		require.Len(t, r.Problems, 1)
		assert.Contains(t, r.Problems[0].Text, "so no guest counts as stopped: pmxcfs is away")
		assert.Empty(t, w.eventsWith("_stopped"))
	})
}

// If a rollback discarded a snapshot, the next run destroys the snapshot's bookmark, and only then
// takes the disk's _stopped snapshot. While the bookmark exists, a receiver that still has the
// discarded snapshot could get a mixture of two histories.
func TestDiscardedGoesBeforeTheStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		w.guest(100, false, "tank")
		p := w.pool("tank")
		discarded := virtualSnapshot(disk0, 5*time.Hour, zfs.Daily, 950)
		p.bookmarks[disk0] = []zfs.Snapshot{discarded}
		p.history = zfs.History{Since: 1, SetBacks: []zfs.SetBack{{Dataset: disk0, Base: 900, TXG: 980}}}
		w.run(t)
		var order []string
		for _, e := range slices.Concat(w.eventsWith("tank: destroy "), w.eventsWith("_stopped")) {
			order = append(order, e.what)
		}
		require.Len(t, order, 2)
		all := w.eventsWith("tank: ")
		at := func(text string) int {
			return slices.IndexFunc(all, func(e virtualEvent) bool { return e.what == text })
		}
		assert.Less(t, at(order[0]), at(order[1]))
	})
}

// If the configuration of a running guest has had a lock word for days, the guest gets no
// snapshots, and snap warns about the lock word.
func TestRunningLockedForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		g := w.guest(100, true, "tank")
		g.cfg.Lock, g.cfg.Changed = "rollback", time.Now().Add(-72*time.Hour)
		r := w.run(t)
		assert.Empty(t, w.eventsWith("tank: snapshot"))
		require.Len(t, r.Problems, 1)
		assert.Equal(t, report.Warning, r.Problems[0].Severity)
		assert.Contains(t, r.Problems[0].Text, "guest 100 runs and is locked (rollback)")
	})
}

// If the configuration of one guest cannot be read, guests with a readable configuration get their
// snapshots, but the run counts as failed. snap leaves alone the guest of the unreadable
// configuration. snap also leaves alone each disk of a stopped guest, if the unreadable
// configuration may name this disk.
func TestUnreadConfiguration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		w.guest(100, true, "tank")
		w.guest(101, false, "tank")
		unread := w.guest(102, true, "tank")
		unread.cfg = pve.Config{ID: unread.cfg.ID, Problem: "input/output error"}
		unnamed := w.guest(103, false, "tank")
		unnamed.cfg.Volumes = nil
		r := w.run(t)
		assert.False(t, r.Success)
		results := map[int]string{}
		for _, d := range r.Disks {
			results[d.VMID] = d.Result
		}
		assert.Equal(t, map[int]string{100: "snapshot", 101: "snapshot", 102: "untouched", 103: "untouched"}, results)
		var texts []string
		for _, p := range r.Problems {
			texts = append(texts, p.Text)
		}
		assert.Contains(t, texts, "guest 102: its configuration could not be read, so its disks are left alone: input/output error")

		unread.cfg.Problem = ""
		assert.True(t, w.run(t).Success)
		assert.NotEmpty(t, w.pool("tank").programs)
	})
}

// prune leaves alone every disk that a guest's unreadable configuration may name.
func TestPruneBesideAnUnreadConfiguration(t *testing.T) {
	c := pve.Cluster{Guests: map[int]pve.Config{100: {Problem: "input/output error"}, 101: {Volumes: []pve.Volume{{Name: "/dev/zvol/tank/in/vm-7-disk-0"}}}}}
	var disks []snapper.Disk
	for _, name := range []string{"tank/in/vm-7-disk-0", "tank/in/vm-8-disk-0"} {
		disks = append(disks, snapper.Disk{Dataset: zfs.Dataset{Name: name}, VMID: snapper.VmidOf(name)})
	}
	o := Options{World: newVirtualWorld(t)}
	for _, replicas := range [][]string{nil, {"tank/in"}} {
		o.Config.Replicas = replicas
		p := &pool{disks: slices.Clone(disks)}
		cluster := c
		if replicas != nil {
			cluster.Guests = map[int]pve.Config{100: c.Guests[100]}
		}
		(&run{Options: o}).copies(t.Context(), cluster, []*pool{p})
		for _, d := range p.disks {
			assert.Equal(t, snapper.Unknown, d.State, d.Name)
		}
	}
}

// One guest that seems stopped makes a run look a second time at all guests. If a second guest
// seems stopped at the second look, but not at the first, its stop is not proven.
func TestOneLookIsNotEnough(t *testing.T) {
	for name, c := range map[string]struct {
		alive bool
		lock  string
	}{
		"it ran":                {alive: true},
		"it was being migrated": {lock: "migrate"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newVirtualWorld(t)
				w.guest(100, false, "tank")
				g := w.guest(101, c.alive, "tank")
				g.cfg.Lock = c.lock
				w.onWait = func() { g.alive, g.cfg.Lock = false, "" }
				w.run(t)
				stops := w.eventsWith("_stopped")
				require.Len(t, stops, 1)
				assert.Contains(t, stops[0].what, "vm-100-disk-0")
				assert.NotContains(t, stops[0].what, "vm-101-disk-0")
			})
		})
	}
}
