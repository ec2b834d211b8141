package run

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/pve"
	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
)

// timedLocks is a simulated host that measures the longest time for which a guest's lock is held.
type timedLocks struct {
	*virtualWorld
	longest *time.Duration
}

func (w timedLocks) LockGuest(id pve.ID) (func(), error) {
	release, err := w.virtualWorld.LockGuest(id)
	began := time.Now()
	return func() {
		*w.longest = max(*w.longest, time.Since(began))
		release()
	}, err
}

// unblock does not hold the guest's lock while it reads the pools, and holds the lock only for a
// short time while it destroys. Proxmox cannot start the guest while unblock holds the lock.
func TestUnblockHoldsTheLockBriefly(t *testing.T) {
	for _, remove := range []bool{false, true} {
		t.Run(fmt.Sprint("remove ", remove), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, request := blocked(t, remove)
				w.pool("ssd").onDestroy = func(string, string) syscall.Errno {
					time.Sleep(5 * time.Second)
					return 0
				}
				var longest time.Duration
				u, _, err := Unblock(t.Context(), w.options(func(o *Options) { o.World = timedLocks{w, &longest} }), request)
				require.NoError(t, err)
				assert.Empty(t, u.Refusals)
				if assert.LessOrEqual(t, longest, maxLocked); remove {
					require.Len(t, w.pool("ssd").snapshots["ssd/data/vm-100-disk-0"], 1)
					assert.Equal(t, maxLocked, longest, "it is held when the destroys begin")
				}
			})
		})
	}
}

// blocked returns a simulated host on which snapshots prevent a rollback of guest 100. On this
// host, listing a second pool takes 20 seconds.
func blocked(t *testing.T, remove bool) (w *virtualWorld, request UnblockRequest) {
	w = newVirtualWorld(t)
	w.guest(100, false, "ssd")
	w.guest(101, true, "tank")
	w.pool("ssd").addOlderSnapshots("ssd/data/vm-100-disk-0", 3, 20*time.Hour)
	w.pool("tank").slowList = 20 * time.Second
	oldest := w.pool("ssd").snapshots["ssd/data/vm-100-disk-0"][0].Name
	return w, UnblockRequest{VMID: 100, Snapshot: oldest, Remove: remove}
}

// changing is a simulated host. The function change is called while a run reads the pools.
type changing struct {
	*virtualWorld
	change func()
}

func (w changing) LockGuest(id pve.ID) (func(), error) {
	if len(w.eventsWith("lock released")) > 0 { // the first lock was taken before the pools were read
		w.change()
	}
	return w.virtualWorld.LockGuest(id)
}

// If Proxmox changes the guest while unblock reads the pools, unblock destroys nothing.
func TestUnblockOfAGuestThatChanges(t *testing.T) {
	for name, test := range map[string]struct {
		change func(g *virtualGuest)
		err    string
	}{
		"a snapshot was taken":       {func(g *virtualGuest) { g.cfg.Text = "parent: new" }, "the configuration of guest 100: Proxmox changed it meanwhile, try again"},
		"it cannot be read any more": {func(g *virtualGuest) { g.unread = true }, "the configuration of guest 100: context deadline exceeded"},
		"Proxmox works on it":        {func(g *virtualGuest) { g.busy = true }, "guest 100: Proxmox works on it"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, request := blocked(t, true)
				change := func() { test.change(w.guests[100]) }
				_, _, err := Unblock(t.Context(), w.options(func(o *Options) { o.World = changing{w, change} }), request)
				assert.ErrorContains(t, err, test.err)
				assert.Empty(t, w.eventsWith("destroy"))
				assert.Empty(t, w.held)
			})
		})
	}
}

// If ZFS refuses to destroy a snapshot or bookmark although ZFS would have allowed it at the check
// before the destroy, Proxmox rolls back no disk of the guest. unblock then destroys nothing on the
// pools that follow, and destroys bookmarks only when the snapshots on all pools are gone.
func TestUnblockStopsAtTheFirstRefusal(t *testing.T) {
	const ssd, tank = "ssd/data/vm-100-disk-0", "tank/data/vm-100-disk-1"
	for name, test := range map[string]struct {
		refuse func(w *virtualWorld)
		says   string
		events []string
	}{
		"no pool": {func(*virtualWorld) {}, "", []string{"ssd: destroy " + ssd + "@", "ssd: destroy " + ssd + "@", "tank: destroy " + tank + "@", "tank: destroy " + tank + "@", "ssd: destroy " + ssd + "#", "tank: destroy " + tank + "#"}},
		"a snapshot on the first pool": {
			func(w *virtualWorld) { w.pool("ssd").onDestroy = refuseBusy },
			"pool ssd: 2 snapshots are still in the way of the rollback, and no bookmark was destroyed; nothing was destroyed on tank", nil,
		},
		"a snapshot on the second pool": {
			func(w *virtualWorld) { w.pool("tank").onDestroy = refuseBusy },
			"pool tank: 2 snapshots are still in the way of the rollback, and no bookmark was destroyed", []string{"ssd: destroy " + ssd + "@", "ssd: destroy " + ssd + "@"},
		},
		"a bookmark on the first pool": {
			func(w *virtualWorld) { w.pool("ssd").failBookmark = errors.New("dataset is busy") },
			"pool ssd: 1 bookmark is still in the way of the rollback; no bookmark was destroyed on tank",
			[]string{"ssd: destroy " + ssd + "@", "ssd: destroy " + ssd + "@", "tank: destroy " + tank + "@", "tank: destroy " + tank + "@"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newVirtualWorld(t)
				w.guest(100, false, "ssd", "tank")
				for pool, disk := range map[string]string{"ssd": ssd, "tank": tank} {
					p := w.pool(pool)
					p.addOlderSnapshots(disk, 2, 20*time.Hour)
					mark := p.snapshots[disk][len(p.snapshots[disk])-1]
					mark.GUID++
					mark.Name = zfs.FormatSnapshotName(mark.Creation.Add(-time.Second), zfs.Frequently)
					p.bookmarks[disk] = []zfs.Snapshot{mark}
				}
				test.refuse(w)
				oldest := w.pool("ssd").snapshots[ssd][0].Name
				u, r, err := Unblock(t.Context(), w.options(), UnblockRequest{VMID: 100, Snapshot: oldest, Remove: true, LoseBase: true})
				require.NoError(t, err)
				require.Empty(t, u.Refusals)
				var warnings, events []string
				for _, p := range r.Problems {
					if p.Severity == report.Warning {
						warnings = append(warnings, p.Text)
					}
				}
				for _, e := range w.eventsWith(": destroy ") {
					events = append(events, e.what[:strings.IndexAny(e.what, "@#")+1])
				}
				assert.Equal(t, test.events, events)
				if test.says == "" {
					assert.Empty(t, warnings)
				} else {
					require.NotEmpty(t, warnings)
					assert.Equal(t, test.says, warnings[len(warnings)-1])
				}
			})
		})
	}
}

func refuseBusy(string, string) syscall.Errno { return syscall.EBUSY }
