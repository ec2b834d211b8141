//go:build e2e

package e2e

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestNoStopOnAGuess: only a guest that is proven to be off gets a _stopped snapshot. If a guest
// has no process, but nothing proves that the guest is off, snap changes neither the labels nor the
// snapshots of the guest's disks.
func TestNoStopOnAGuess(t *testing.T) {
	cases := []struct {
		name  string
		doubt func(w *world)
		alive bool // true if the guest's process runs
		code  int
	}{
		{"status unknown", func(w *world) { fault(w, "unknown", "") }, false, 1},
		{"status unknown, process lives", func(w *world) { fault(w, "unknown", "") }, true, 0},
		{"status paused", func(w *world) { fault(w, "garbage.qemu", `[{"vmid":100,"status":"paused"}]`) }, true, 0},
		{"status io-error", func(w *world) { fault(w, "garbage.qemu", `[{"vmid":100,"status":"io-error"}]`) }, true, 0},
		{"paused inside", func(w *world) { require.NoError(w.t, w.a.SetQMPStatus(100, "paused")) }, true, 0},
		{"pvesh fails", func(w *world) { fault(w, "fail", "Connection refused") }, false, 1},
		{"pvesh fails, process lives", func(w *world) { fault(w, "fail", "Connection refused") }, true, 1},
		{"pvesh hangs, process lives", func(w *world) { fault(w, "hang", "") }, true, 1},
		{"pvesh prints no JSON", func(w *world) { fault(w, "garbage", "blockstats callback: unexpected") }, false, 1},
		{"pvesh lists nothing", func(w *world) { fault(w, "empty", "") }, false, 1},
		{"lock migrate", func(w *world) { require.NoError(w.t, w.a.SetLock(100, "migrate")) }, false, 0},
		{"lock rollback", func(w *world) { require.NoError(w.t, w.a.SetLock(100, "rollback")) }, false, 0},
	}
	w := newWorld(t)
	w.vm(100, "vm-100-disk-0")
	disk := "ta/data/vm-100-disk-0"
	w.start(w.a, 100)
	w.snap(w.a, "f100")
	running := true
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if c.alive && !running {
				w.start(w.a, 100)
			}
			if !c.alive && running {
				w.stop(w.a, 100)
			}
			running = c.alive
			before := len(w.snapshots(disk))
			c.doubt(w)
			r := w.run(w.a, "snap", "f100")
			assert.Equal(t, c.code, r.Code)
			assert.NotContains(t, w.classes(disk), "stopped")
			assert.Equal(t, "pve-a", w.label(disk))
			if c.alive {
				assert.Len(t, w.snapshots(disk), before+1, "a living guest is still snapshotted")
			} else {
				assert.Len(t, w.snapshots(disk), before)
			}
			require.NoError(t, w.a.ClearPveshFault())
			require.NoError(t, w.a.SetLock(100, ""))
		})
	}
	if running {
		w.stop(w.a, 100)
	}
	w.snap(w.a, "f100")
	assert.Equal(t, "stopped", w.label(disk), "without a doubt left, the stop is written down")
}

func fault(w *world, kind, content string) {
	w.t.Helper()
	require.NoError(w.t, w.a.SetPveshFault(kind, content))
}
