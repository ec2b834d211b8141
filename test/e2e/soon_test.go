//go:build e2e && systemd && nightly

package e2e

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// killMachineGuest kills the process of a guest that runs on the machine itself and not in a site.
func (w *world) killMachineGuest(vmid int) {
	w.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/run/qemu-server/%d.pid", vmid))
	require.NoError(w.t, err)
	var pid int
	_, err = fmt.Sscan(string(text), &pid)
	require.NoError(w.t, err)
	require.NoError(w.t, syscall.Kill(pid, syscall.SIGKILL))
	w.waitUntil(func() bool { return syscall.Kill(pid, 0) != nil })
}

// TestSystemdStopSoon: when guests stop, snapwatch's hookscript requests one run of snap for all
// guests that stop together, with the retention of cron's line. The guests' _stopped snapshots
// exist soon after the guests have stopped.
func TestSystemdStopSoon(t *testing.T) {
	const first, second = "ta/data/vm-100-disk-0", "ta/data/vm-101-disk-0"
	w := newWorld(t)
	w.machineNode()
	w.machineGuest(100, "vm-100-disk-0")
	w.machineGuest(101, "vm-101-disk-0")
	w.install()
	w.place("/etc/snapwatch/config.yaml", "boot_grace: 1s\n"+quick)
	w.ship("pve/snapwatch-hookscript", "/var/lib/vz/snippets/snapwatch-hookscript")
	require.NoError(t, os.Chmod("/var/lib/vz/snippets/snapwatch-hookscript", 0o755))
	hook := func(vmid int, phase string) string {
		return w.host("/var/lib/vz/snippets/snapwatch-hookscript", fmt.Sprint(vmid), phase) // the hookscript must end with status 0
	}
	w.host("snapwatch", "snap", "f4")
	require.Equal(t, []string{"frequently"}, w.classes(first))

	assert.Contains(t, hook(100, "post-stop"), "snap does not run by itself on this host", "the task's log says so")
	w.host("snapwatch", "cron", "install", "f4")
	t.Cleanup(func() { require.NoError(t, os.Remove("/etc/cron.d/snapwatch")) })
	for _, phase := range []string{"pre-start", "post-start", "pre-stop"} {
		assert.Empty(t, hook(100, phase))
	}
	require.Equal(t, "inactive", w.unit("is-active", "snapwatch-soon.timer"))

	w.killMachineGuest(100)
	w.killMachineGuest(101)
	stopped := time.Now()
	assert.Empty(t, hook(100, "post-stop"))
	assert.Equal(t, "active", w.unit("is-active", "snapwatch-soon.timer"), "not in the hook: Proxmox holds the guest's lock")
	assert.Equal(t, []string{"frequently"}, w.classes(first))
	assert.Empty(t, hook(101, "post-stop"))
	assert.Equal(t, "inactive", w.unit("is-active", "snapwatch-soon-again.timer"), "one run for both")
	w.waitUntil(func() bool { return w.label(first) == "stopped" && w.label(second) == "stopped" })
	t.Logf("from the stop to the label: %s", time.Since(stopped).Round(time.Second))
	for _, disk := range []string{first, second} {
		classes := w.classes(disk)
		assert.Equal(t, "stopped", classes[len(classes)-1])
	}
	w.waitUntil(func() bool { return strings.HasPrefix(w.unit("is-active", "snapwatch-soon.service"), "inactive") })
	log := w.host("journalctl", "-u", "snapwatch-soon.service", "--no-pager", "-o", "cat")
	assert.Equal(t, 1, strings.Count(log, "Finished "), log)
	assert.Empty(t, w.host("systemctl", "list-units", "--all", "--plain", "--no-legend", "snapwatch-soon*"), "nothing is left")

	// If a guest stops during a run that the hookscript requested, a second run follows for that
	// guest.
	w.startMachineGuest(100, "vm-100-disk-0")
	w.host("snapwatch", "snap", "f4")
	require.NoError(t, os.WriteFile("/run/pvesh.slow", nil, 0o644))
	assert.Empty(t, hook(101, "post-stop"))
	w.waitUntil(func() bool { return w.unit("is-active", "snapwatch-soon.service") == "activating" })
	w.killMachineGuest(100)
	assert.Empty(t, hook(100, "post-stop"))
	assert.Equal(t, "active", w.unit("is-active", "snapwatch-soon-again.timer"))
	require.NoError(t, os.Remove("/run/pvesh.slow"))
	w.waitUntil(func() bool { return w.label(first) == "stopped" })
	w.waitUntil(func() bool {
		return w.host("systemctl", "list-units", "--all", "--plain", "--no-legend", "snapwatch-soon*") == ""
	})
}
