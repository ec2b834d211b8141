package run

import (
	"context"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"snapwatch/lua"
)

// failing returns a channel program that fails with errno for each disk.
func failing(errno syscall.Errno) func(context.Context, []lua.Guest) (map[string]lua.Outcome, error) {
	return func(_ context.Context, guests []lua.Guest) (map[string]lua.Outcome, error) {
		got := map[string]lua.Outcome{}
		for _, g := range guests {
			for _, d := range g.Disks {
				got[d.Dataset] = lua.Outcome{Snapshot: &errno}
			}
		}
		return got, nil
	}
}

// after_stop waits for the _stopped snapshots of all pools: also for a snapshot that was left to
// the next run, because Proxmox needed the guest's lock.
func TestAfterStopWaitsForAllPools(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		w.guest(100, false, "ssd", "tank")
		again := failing(syscall.EAGAIN)
		w.pool("tank").onSnapshot = func(ctx context.Context, guests []lua.Guest) (map[string]lua.Outcome, error) {
			time.Sleep(maxLocked + time.Second)
			return again(ctx, guests)
		}
		w.run(t, hooking)
		assert.Len(t, w.pool("ssd").snapshots["ssd/data/vm-100-disk-0"], 2)
		assert.Empty(t, w.happened("stop begins"))
		assert.Len(t, w.owed(t), 1)
	})
}

// A stop that is not carried out, because the guest was only left to the next run, owes no
// after_stop.
func TestLeftStopOwesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		g := w.guest(100, false, "tank")
		w.pool("tank").onSync = func(context.Context) error {
			g.busy = true
			return nil
		}
		r := w.run(t, hooking)
		assert.Contains(t, r.Disks[0].Reason, "Proxmox works on it")
		w.nothingOwed(t)
	})
}
