package run

import (
	"context"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"snapwatch/internal/report"
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
		w.pool("tank").onSnapshot = nil
		time.Sleep(15 * time.Minute)
		w.run(t, hooking)
		stop := w.once(t, "stop begins").what
		assert.Contains(t, stop, "ssd/data/vm-100-disk-0")
		assert.Contains(t, stop, "tank/data/vm-100-disk-1")
		w.nothingOwed(t)
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

// An after_stop is owed once, however many runs tried to take its _stopped snapshots: it runs
// when they exist, and then nothing is owed any more.
func TestStopIsOwedOnce(t *testing.T) {
	for name, begin := range map[string]func(t *testing.T, w *virtualWorld){
		"the pool is full once": func(t *testing.T, w *virtualWorld) {
			w.failStops(t, syscall.ENOSPC, 1)
		},
		"the pool is full for a day": func(t *testing.T, w *virtualWorld) {
			w.failStops(t, syscall.ENOSPC, 100)
		},
		"a run is killed between its note and its program": func(t *testing.T, w *virtualWorld) {
			w.oweStop("autosnap_1999-12-31_23:45:00_stopped")
		},
		"two runs are killed there": func(t *testing.T, w *virtualWorld) {
			w.oweStop("autosnap_1999-12-31_23:30:00_stopped")
			w.oweStop("autosnap_1999-12-31_23:45:00_stopped")
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newVirtualWorld(t)
				g := w.guest(100, false, "tank")
				begin(t, w)
				assert.Empty(t, told(w.run(t, hooking), report.Warning, ""))
				assert.Contains(t, w.once(t, "stop begins").what, w.pool("tank").heads[0].NewestSnapshot)
				w.nothingOwed(t)
				time.Sleep(25 * time.Hour)
				g.alive = true
				assert.Empty(t, told(w.run(t, hooking), report.Warning, ""))
				assert.Len(t, w.happened("stop begins"), 1)
			})
		})
	}
}

// failStops makes n runs whose channel programs fail with errno, one each quarter of an hour.
func (w *virtualWorld) failStops(t *testing.T, errno syscall.Errno, n int) {
	w.pool("tank").onSnapshot = failing(errno)
	for range n {
		assert.Empty(t, told(w.run(t, hooking), report.Warning, "hook"))
		assert.Len(t, w.owed(t), 1)
		time.Sleep(15 * time.Minute)
	}
	w.pool("tank").onSnapshot = nil
}

// oweStop leaves the note of a run that was killed before it took a _stopped snapshot.
func (w *virtualWorld) oweStop(snapshot string) {
	h := &hooks{journal: testJournal(), Options: w.options(hooking)}
	killed := &turn{vmid: 100}
	h.owe(killed, afterStop, hookGuest{VMID: 100, Snapshots: []hookSnapshot{{Dataset: "tank/data/vm-100-disk-0", Name: snapshot, Class: "stopped"}}})
	killed.owed.Leave()
}

// An after_stop for pools that the run reads in different rounds runs when all of them have their
// snapshots.
func TestStopOwedForPoolsOfTwoRounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		w.guest(100, false, "ssd", "tank")
		w.pool("tank").onSnapshot = failing(syscall.ENOSPC)
		w.run(t, hooking)
		assert.Len(t, w.owed(t), 1)
		w.pool("tank").onSnapshot = nil
		w.pool("tank").slowList = time.Minute
		time.Sleep(15 * time.Minute)
		w.run(t, hooking)
		assert.Contains(t, w.once(t, "stop begins").what, "ssd/data/vm-100-disk-0")
		w.nothingOwed(t)
	})
}
