//go:build e2e

package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/test/site"
)

// pve runs one of Proxmox's programs on A.
func (w *world) pve(argv ...string) site.Result {
	w.t.Helper()
	r, err := w.a.Run(w.ctx, argv...)
	require.NoError(w.t, err)
	w.t.Logf("A# %s\n%s%s-> %d", strings.Join(argv, " "), r.Stdout, r.Stderr, r.Code)
	return r
}

// takes is the setter of a step's duration in the stand-ins; the time "" means that the step takes
// no time.
func (w *world) takes(step, time string) {
	w.t.Helper()
	path := "/run/standin/" + step + ".takes"
	if time == "" {
		require.NoError(w.t, w.a.Remove(path))
		return
	}
	require.NoError(w.t, w.a.WriteFile(path, time))
}

// busy reports whether a process holds the lock of the guest's configuration.
func (w *world) busy(vmid int) bool {
	w.t.Helper()
	release, err := w.a.HoldFlock(vmid)
	if err == nil {
		require.NoError(w.t, release())
	}
	return err != nil
}

// TestPmxcfsHangs: while processes wait in the kernel for pmxcfs, doctor and snap end at their
// timeouts and keep no lock. After pmxcfs has ended, none of the processes of doctor and snap is
// left.
func TestPmxcfsHangs(t *testing.T) {
	w := newWorld(t)
	w.vm(100, "vm-100-disk-0")
	w.start(w.a, 100)
	w.snap(w.a, "f48")
	w.pipe("modprobe fuse")
	require.FileExists(t, "/dev/fuse", "the lab's kernel has FUSE")
	pmxcfs, err := w.a.Start(w.ctx, "pmxcfs", "/etc/pve")
	require.NoError(t, err)
	require.NoError(t, pmxcfs.WaitFor(w.ctx, "ready"))
	told := func(args ...string) site.Result {
		begun := time.Now()
		r := w.pve(append([]string{"timeout", "--preserve-status", "-s", "TERM", "6", program(t)}, args...)...)
		assert.Less(t, time.Since(begun), 12*time.Second, args)
		return r
	}
	r := told("doctor")
	assert.Equal(t, 143, r.Code)
	assert.Contains(t, r.Stderr, "interrupted by a signal (terminated) while asking Proxmox")
	told("snap", "f48")
	r = w.run(w.a, "doctor")
	assert.Equal(t, 2, r.Code)
	assert.Contains(t, r.Stdout, "is pmxcfs hung?")
	assert.Contains(t, r.Stdout, "ok       pool           ta")

	pmxcfs.Stop()
	w.waitUntil(func() bool {
		running, err := w.a.Processes()
		require.NoError(t, err)
		return !strings.Contains(strings.Join(argvs(running), "\n"), "read-pve")
	})
	w.snap(w.a, "f48")
	assert.Len(t, w.snapshots("ta/data/vm-100-disk-0"), 2)
}

func argvs(running []site.Running) (all []string) {
	for _, p := range running {
		all = append(all, strings.Join(p.Argv, " "))
	}
	return all
}
