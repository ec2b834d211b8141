package run

import (
	"fmt"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/pve"
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
	w.pool("ssd").older("ssd/data/vm-100-disk-0", 3, 20*time.Hour)
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
	if len(w.happened("lock released")) > 0 { // the first lock was taken before the pools were read
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
				assert.Empty(t, w.happened("destroy"))
				assert.Empty(t, w.held)
			})
		})
	}
}
