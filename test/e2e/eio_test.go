//go:build e2e

package e2e

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/test/site"
)

// onFailingDevice gives A a guest on pool ta, and a container on pool ts, whose device the test can
// make fail.
func (w *world) onFailingDevice(failmode string) device {
	w.t.Helper()
	failing := w.newDevice("failing", 256, sound)
	w.pipe("zpool create -o cachefile=none -o failmode=" + failmode + " -O mountpoint=none ts /dev/mapper/failing && zfs create ts/data")
	w.t.Cleanup(func() { failing.remove("ts") })
	require.NoError(w.t, site.CreateFilesystem(w.ctx, "ts/data/subvol-101-disk-0"))
	require.NoError(w.t, w.a.WriteFile("/etc/pve/storage.cfg", "zfspool: local-zfs\n\tpool ta/data\n\nzfspool: second\n\tpool ts/data\n"))
	w.vm(100, "vm-100-disk-0")
	require.NoError(w.t, w.a.AddContainer(101, "second:subvol-101-disk-0"))
	w.start(w.a, 100)
	w.start(w.a, 101)
	for range 3 {
		w.snap(w.a, "f2", "d2")
	}
	return failing
}

// TestSnapOnAFailingDevice: the device of one pool fails at the moment when a channel program
// writes. Guests on a pool whose device works get their snapshots, in the run of snap during which
// the device fails and in later runs. After the failed device works again, every snapshot that must
// be kept exists, no running guest has a _stopped snapshot, and the next run of snap reports
// nothing.
func TestSnapOnAFailingDevice(t *testing.T) {
	for _, failmode := range []string{"wait", "continue"} {
		t.Run(failmode, func(t *testing.T) {
			w := newWorld(t)
			failing := w.onFailingDevice(failmode)
			const well, ill = "ta/data/vm-100-disk-0", "ts/data/subvol-101-disk-0"
			before := w.snapshots(ill)

			first, gate := w.gatedRun("ts", "snap", "f2", "d2")
			failing.fail()
			require.NoError(t, w.a.Remove(site.BinDir+"/zfs"))
			gate.Kill()
			// In /proc, OpenZFS 2.1 does not report the suspension of a pool with
			// failmode=continue.
			w.waitUntil(func() bool {
				asked, err := w.a.Run(w.ctx, "zfs", "list", "ts")
				require.NoError(t, err)
				return strings.Contains(asked.Stderr, "suspended")
			})
			w.waitUntil(func() bool { return len(w.snapshots(well)) > 0 && w.newest(well) != before[len(before)-1] })

			r := w.run(w.a, "snap", "f2", "d2", "-v")
			if failmode == "continue" && !w.tellsChanges(well) {
				assert.Contains(t, r.Stderr, "pool ts: another run is at work")
			} else {
				assert.Equal(t, 2, r.Code)
				assert.Contains(t, r.Stderr, "pool ts is suspended")
			}
			assert.Contains(t, r.Stderr, "pool ta: another run is at work", "it waits for ts, ten minutes at most")

			failing.mend()
			w.pipe("zpool clear ts")
			t.Log(first.Wait())
			mustStay(t, "the device is back", before, w.snapshots(ill))
			w.snap(w.a, "f2", "d2")
			mustStay(t, "the next run", before, w.snapshots(ill))
			assert.NotContains(t, w.classes(ill), "stopped")
			assert.Equal(t, "pve-a", w.label(ill))
			assert.NotEqual(t, before[len(before)-1], w.newest(ill))
		})
	}
}
