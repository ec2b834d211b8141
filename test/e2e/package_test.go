//go:build e2e && systemd && nightly

package e2e

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/test/site"
)

// TestSystemdPackage tests the package on the machine itself, which is a Proxmox node during the
// test: install, runs of the timer's service, upgrade during a run, remove, purge.
func TestSystemdPackage(t *testing.T) {
	const disk = "ta/data/vm-100-disk-0"
	w := newWorld(t)
	w.machineNode()
	w.machineGuest(100, "vm-100-disk-0")

	// After the install, only the unit that waits for the host's shutdown is enabled.
	w.apt("install", "--no-install-recommends", builtPackage(t, "old"))
	assert.Equal(t, "disabled", w.unit("is-enabled", "snapwatch.timer"))
	assert.Equal(t, "disabled", w.unit("is-enabled", "snapwatch-health.timer"))
	assert.Equal(t, "disabled", w.unit("is-enabled", "snapwatch-exporter.service"))
	assert.Equal(t, "enabled", w.unit("is-enabled", "snapwatch-finalize.service"))
	assert.Equal(t, "active", w.unit("is-active", "snapwatch-finalize.service"))
	assert.Empty(t, w.host("systemd-analyze", "verify", "--man=no", "snapwatch.timer", "snapwatch-health.timer", "snapwatch-exporter.service", "snapwatch-finalize.service"))
	assert.NoFileExists(t, "/etc/cron.d/snapwatch")
	w.host("snapwatch", "config", "check")
	require.NoError(t, os.WriteFile("/etc/snapwatch/config.yaml", []byte("keep: f4\nboot_grace: 1s\n"+quick), 0o644))

	// Only the test starts runs of snap; snapwatch.timer must start none.
	w.place("/run/systemd/system/snapwatch.timer.d/seldom.conf", "[Timer]\nOnCalendar=\nOnCalendar=2099-01-01\n")
	w.host("systemctl", "daemon-reload")
	w.host("systemctl", "enable", "--now", "snapwatch.timer", "snapwatch-health.timer", "snapwatch-exporter.service")
	w.host("systemctl", "start", "snapwatch.service")
	w.host("systemctl", "start", "snapwatch-health.service")
	assert.FileExists(t, "/var/lib/snapwatch/pool-health.json")
	assert.Equal(t, []string{"frequently"}, w.classes(disk))
	assert.Contains(t, w.host("snapwatch", "cron", "status"), "snapwatch.timer is enabled")
	_, err := w.tryHost("snapwatch", "cron", "install", "f4")
	assert.Error(t, err, "one of the two is enough")

	// The package is upgraded while a run of snap waits for Proxmox: the run ends normally.
	exporter := w.unitProperty("snapwatch-exporter.service", "ExecMainPID")
	w.upgradeDuringRun(builtPackage(t, "latest"))
	require.Eventually(t, func() bool { return w.unit("is-active", "snapwatch.service") == "inactive" }, 2*time.Minute, 100*time.Millisecond)
	assert.Equal(t, "success", w.unitProperty("snapwatch.service", "Result"))
	assert.Equal(t, []string{"frequently", "frequently"}, w.classes(disk))
	assert.Contains(t, w.host("cat", "/etc/snapwatch/config.yaml"), "keep: f4", "the configuration is the user's")
	assert.Equal(t, "enabled", w.unit("is-enabled", "snapwatch.timer"))
	assert.Equal(t, "active", w.unit("is-active", "snapwatch-exporter.service"))
	assert.NotEqual(t, exporter, w.unitProperty("snapwatch-exporter.service", "ExecMainPID"), "the exporter is the new one")
	w.host("systemctl", "start", "snapwatch.service")
	assert.Len(t, w.classes(disk), 3, "the new one continues")

	// After removal and reinstallation, the enabled units are active again.
	w.apt("remove", "snapwatch")
	w.apt("install", "--no-install-recommends", builtPackage(t, "latest"))
	for _, unit := range []string{"snapwatch.timer", "snapwatch-health.timer", "snapwatch-exporter.service", "snapwatch-finalize.service"} {
		assert.Equal(t, "active", w.unit("is-active", unit), unit)
	}

	// If cron starts snap instead of the timer, removing the package also removes snapwatch's lines
	// from cron: without the program, these lines would cause mail for ever.
	w.host("systemctl", "disable", "--now", "snapwatch.timer")
	w.host("snapwatch", "cron", "install", "f4")
	w.host("snapwatch", "cron", "install", "--prune", "f4")
	assert.FileExists(t, "/etc/cron.d/snapwatch")
	w.apt("remove", "snapwatch")
	assert.NoFileExists(t, "/usr/bin/snapwatch")
	assert.FileExists(t, "/etc/snapwatch/config.yaml")
	assert.NotContains(t, w.host("cat", "/etc/cron.d/snapwatch"), "/usr/bin/snapwatch")
	w.apt("purge", "snapwatch")
	for _, gone := range []string{"/etc/snapwatch", "/var/lib/snapwatch", "/var/lib/snapwatch-exporter"} {
		assert.NoDirExists(t, gone)
	}
	left, err := filepath.Glob("/etc/systemd/system/*/snapwatch*")
	require.NoError(t, err)
	assert.Empty(t, left)
	assert.Len(t, w.snapshots(disk), 3, "what is on the pool is the user's")
	assert.Equal(t, "machine", w.label(disk))
}

// upgradeDuringRun installs a newer package. A run of snap begins just before dpkg, and the
// stand-in of pvesh lets the run wait until dpkg has replaced the program's file.
func (w *world) upgradeDuringRun(newer string) {
	w.t.Helper()
	const program = "/usr/bin/snapwatch"
	old, err := os.Stat(program)
	require.NoError(w.t, err)
	require.NoError(w.t, os.WriteFile("/run/pvesh.slow", nil, 0o644))
	w.place("/run/begin-run", "systemctl start --no-block snapwatch.service\nuntil pgrep -f '/usr/bin/pvesh get' >/dev/null; do sleep 0.1; done\n")
	upgrade := make(chan error, 1)
	go func() {
		out, err := w.tryHost("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-y",
			"-o", "DPkg::Pre-Invoke::=sh /run/begin-run", "install", newer)
		w.t.Log(out)
		upgrade <- err
	}()
	require.Eventually(w.t, func() bool {
		now, err := os.Stat(program)
		return err == nil && !os.SameFile(old, now)
	}, 2*time.Minute, 20*time.Millisecond)
	assert.Equal(w.t, "activating", w.unit("is-active", "snapwatch.service"), "the run is under way")
	require.NoError(w.t, os.Remove("/run/pvesh.slow"))
	require.NoError(w.t, <-upgrade)
}

// TestSystemdShutdown plays the shutdown of a host in systemd's own order: a unit stops the guests,
// and then, while the pool is still imported, each guest that ran here gets its _stopped snapshot.
// One of the guests came from another host, and syncoid took the newest snapshot of its disk. If a
// person stops snapwatch-finalize.service while the host is not shutting down, the unit takes no
// snapshot.
func TestSystemdShutdown(t *testing.T) {
	const first, second, third = "ta/data/vm-100-disk-0", "ta/data/vm-101-disk-0", "ta/data/vm-102-disk-0"
	w := newWorld(t)
	w.machineNode()
	w.machineGuest(100, "vm-100-disk-0")
	w.machineGuest(101, "vm-101-disk-0")
	require.NoError(t, site.CreateZvol(w.ctx, "ta/elsewhere", 16))
	w.host("zfs", "snapshot", "ta/elsewhere@autosnap_2026-01-01_00:00:00_daily")
	w.place("/run/stop-guests", "cd /run/qemu-server\nfor f in *.pid; do p=$(cat $f); kill $p; while kill -0 $p; do sleep 0.1; done; done\nsleep 2\n")
	const oneshot = "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n"
	w.place("/run/systemd/system/pve-guests.service", "[Unit]\nAfter=pve-ha-lrm.service\n"+oneshot+"ExecStop=/bin/sh /run/stop-guests\n")
	w.place("/run/systemd/system/pve-ha-lrm.service", oneshot)
	w.surviveShutdown()
	w.apt("install", "--no-install-recommends", builtPackage(t, "latest"))
	defer w.apt("purge", "snapwatch")
	require.NoError(t, os.WriteFile("/etc/snapwatch/config.yaml", []byte("keep: f4\n"), 0o644))
	w.host("systemctl", "start", "pve-ha-lrm.service", "pve-guests.service")
	w.host("sh", "-c", "zfs send ta/elsewhere@autosnap_2026-01-01_00:00:00_daily | zfs receive "+third)
	w.machineGuestOn(102, "vm-102-disk-0")
	w.host("snapwatch", "snap")
	require.Equal(t, []string{"frequently"}, w.classes(first))
	require.Equal(t, "machine", w.label(third))
	w.host("zfs", "snapshot", third+"@syncoid_c_2026-01-02:00:00:00-GMT00:00")

	w.host("systemctl", "stop", "snapwatch-finalize.service")
	w.host("systemctl", "start", "snapwatch-finalize.service")
	require.Equal(t, []string{"frequently"}, w.classes(first), "the host does not shut down")
	assert.Equal(t, "machine", w.label(first))

	defer w.host("systemctl", "start", "basic.target", "systemd-udevd.service")
	w.host("systemctl", "start", "shutdown.target")
	log, _ := w.tryHost("journalctl", "-u", "snapwatch-finalize.service", "--no-pager", "-o", "cat")
	t.Log(log)
	assert.Equal(t, "stopping", w.unit("is-system-running", ""))
	for _, disk := range []string{first, second} {
		assert.Equal(t, []string{"frequently", "stopped"}, w.classes(disk))
		assert.Equal(t, "stopped", w.label(disk))
	}
	assert.Equal(t, []string{"daily", "frequently", "stopped"}, w.classes(third))

	// The host boots again, and one of the guests starts.
	w.host("systemctl", "start", "basic.target", "systemd-udevd.service")
	w.startMachineGuest(100, "vm-100-disk-0")
	require.NoError(t, os.WriteFile("/etc/snapwatch/config.yaml", []byte("boot_grace: 1s\n"+quick), 0o644))
	w.host("systemctl", "start", "pve-guests.service")
	w.host("snapwatch", "snap", "f4")
	assert.Equal(t, []string{"frequently", "stopped", "frequently"}, w.classes(first))
	assert.Equal(t, "machine", w.label(first))
	assert.Equal(t, []string{"frequently", "stopped"}, w.classes(second))
	assert.Equal(t, "stopped", w.label(second))
}
