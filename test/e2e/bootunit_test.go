//go:build e2e && systemd

package e2e

import (
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"snapwatch/test/site"
)

const bootUnit = "/run/systemd/system/pve-guests.service"

// TestSystemdBootUnit: pve-guests.service starts the guests at boot and stops the guests at
// shutdown. If a guest is off, the state of pve-guests.service shows whether the guest has stopped
// or has not been started yet.
func TestSystemdBootUnit(t *testing.T) {
	w := newWorld(t)
	t.Cleanup(func() { require.NoError(t, removeBootUnit()) })
	// This host has an uptime of ten minutes: longer than boot_grace, but so short that snap
	// accepts no stop if pve-guests.service failed.
	young, err := site.Start(w.ctx, site.Config{Name: "D", Node: "pve-d", Cluster: "young", Pool: "ta", Uptime: 10 * time.Minute})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, young.Close()) })
	require.NoError(t, young.WriteFile("/etc/snapwatch/config.yaml", quick))
	w.a = young
	disk := w.stopped(100, "vm-100-disk-0")

	w.bootUnit("ExecStart=/bin/sleep infinity\nTimeoutStartSec=infinity")
	w.systemctl("start", "--no-block", "pve-guests.service")
	w.unitIs("activating")
	w.untouched(t, disk)
	w.systemctl("stop", "pve-guests.service")

	w.bootUnit("ExecStart=/bin/true\nExecStop=/bin/sleep infinity\nTimeoutStopSec=infinity")
	w.systemctl("start", "pve-guests.service")
	w.systemctl("stop", "--no-block", "pve-guests.service")
	w.unitIs("deactivating")
	w.untouched(t, disk)
	w.systemctl("kill", "--signal=KILL", "pve-guests.service")
	w.unitIs("failed")
	w.untouched(t, disk)
	w.systemctl("reset-failed", "pve-guests.service")
	w.unitIs("inactive")
	w.untouched(t, disk)

	w.bootUnit("ExecStart=/bin/true")
	w.systemctl("start", "pve-guests.service")
	w.unitIs("active")
	w.final(t, disk)
}

// TestSystemdBootUnitFailedLongAgo: half an hour after boot, snap accepts a guest's stop although
// pve-guests.service failed.
func TestSystemdBootUnitFailedLongAgo(t *testing.T) {
	w := newWorld(t)
	t.Cleanup(func() { require.NoError(t, removeBootUnit()) })
	disk := w.stopped(100, "vm-100-disk-0")
	w.bootUnit("ExecStart=/bin/false")
	w.systemctl("start", "--no-block", "pve-guests.service")
	w.unitIs("failed")
	w.final(t, disk)
}

// bootUnit writes the machine's pve-guests.service and replaces an existing one.
func (w *world) bootUnit(service string) {
	w.t.Helper()
	require.NoError(w.t, w.a.WriteFile(bootUnit, "[Service]\nType=oneshot\nRemainAfterExit=yes\n"+service+"\n"))
	w.systemctl("daemon-reload")
}

// removeBootUnit stops and removes the machine's pve-guests.service, whatever its state is.
func removeBootUnit() error {
	script := "systemctl kill --signal=KILL pve-guests.service; systemctl stop pve-guests.service; systemctl reset-failed pve-guests.service; rm " + bootUnit + "; systemctl daemon-reload"
	return exec.Command("sh", "-c", script).Run()
}

func (w *world) systemctl(args ...string) {
	w.t.Helper()
	_, err := w.a.Output(w.ctx, append([]string{"systemctl"}, args...)...)
	require.NoError(w.t, err)
}

// unitIs waits until the machine's pve-guests.service has the given state.
func (w *world) unitIs(state string) {
	w.t.Helper()
	_, err := w.a.Output(w.ctx, "timeout", "60", "sh", "-c", `until [ "$(systemctl is-active pve-guests.service)" = "$1" ]; do sleep 0.1; done`, "sh", state)
	require.NoError(w.t, err)
}
