//go:build e2e && systemd

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/deploy"
	"snapwatch/internal/zfs"
	"snapwatch/test/site"
)

// Tests named TestSystemd… need a machine that runs systemd: make test-systemd. A service belongs
// to the machine and not to a site. A file that both a service and other programs use must
// therefore be on the machine's own root file system.

// host runs a command on the machine itself and returns the command's output.
func (w *world) host(argv ...string) string {
	w.t.Helper()
	out, err := w.tryHost(argv...)
	require.NoError(w.t, err, "%s:\n%s", strings.Join(argv, " "), out)
	return out
}

func (w *world) tryHost(argv ...string) (string, error) {
	out, err := exec.CommandContext(w.ctx, argv[0], argv[1:]...).CombinedOutput()
	return string(out), err
}

// ship copies a file of deploy to the machine, and removes the copy at the end of the test.
func (w *world) ship(name, to string) {
	w.t.Helper()
	text, err := deploy.Files.ReadFile(name)
	require.NoError(w.t, err)
	w.place(to, string(text))
}

// place writes a file of the machine, and removes the file at the end of the test.
func (w *world) place(to, text string) {
	w.t.Helper()
	require.NoError(w.t, os.MkdirAll(filepath.Dir(to), 0o755))
	require.NoError(w.t, os.WriteFile(to, []byte(text), 0o644))
	w.t.Cleanup(func() { require.NoError(w.t, os.Remove(to)) })
}

// install copies the program to the path that the units use.
func (w *world) install() {
	w.t.Helper()
	w.host("install", "-m", "755", program(w.t), "/usr/bin/snapwatch")
}

// managed takes a managed snapshot of a dataset, with the present time in its name.
func (w *world) managed(dataset string, class zfs.Class) {
	w.t.Helper()
	w.zfs("snapshot", dataset+"@autosnap_"+time.Now().UTC().Format("2006-01-02_15:04:05")+"_"+class.String())
}

// hostCheck runs check as a monitoring user of the machine.
func (w *world) hostCheck(args ...string) string {
	w.t.Helper()
	argv := append([]string{"setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--reset-env", "/usr/bin/snapwatch", "check", "-v", "-t", "60"}, args...)
	out, _ := w.tryHost(argv...) // the first word of the output is the state
	w.t.Logf("$ snapwatch check\n%s", out)
	return out
}

// TestSystemdExporter: the exporter works in the shipped unit without any privilege. A check that
// another user runs can read the exporter's list of known disks, so check alarms if a pool is not
// imported after a reboot.
func TestSystemdExporter(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, site.CreateZvol(w.ctx, "tc/vm-100-disk-0", 8))
	w.managed("tc/vm-100-disk-0", zfs.Hourly)
	w.install()
	w.ship("systemd/snapwatch-exporter.sysusers.conf", "/etc/sysusers.d/snapwatch-exporter.conf")
	w.ship("systemd/snapwatch-exporter.service", "/etc/systemd/system/snapwatch-exporter.service")
	w.host("systemd-sysusers")
	w.host("systemctl", "daemon-reload")
	defer func() { w.host("systemctl", "stop", "snapwatch-exporter") }()
	assert.Empty(t, w.host("systemd-analyze", "verify", "--man=no", "/etc/systemd/system/snapwatch-exporter.service"))

	scrape := func() string {
		w.host("systemctl", "restart", "snapwatch-exporter")
		metrics := w.host("curl", "-sf", "-H", "X-Prometheus-Scrape-Timeout-Seconds: 60", "--retry", "60", "--retry-delay", "1", "--retry-connrefused", "http://127.0.0.1:10191/metrics")
		return metrics
	}
	user := func() string { return strings.TrimSpace(w.host("ps", "-o", "user:20=", "-C", "snapwatch")) }
	const disk = `{dataset="tc/vm-100-disk-0",disk="vm-100-disk-0",pool="tc",`
	metrics := scrape()
	assert.Contains(t, metrics, `snapwatch_pool_scrape_success{pool="tc"} 1`)
	assert.Contains(t, metrics, "snapwatch_disk_state"+disk+`state="fresh",vmid="100"} 1`)
	assert.Equal(t, "snapwatch-exporter", user())
	assert.Contains(t, w.hostCheck(), "OK")

	// The host boots again, and the pool is not imported.
	w.host("systemctl", "stop", "snapwatch-exporter")
	w.host("zpool", "export", "tc")
	assert.Contains(t, w.hostCheck(), "CRITICAL", "whether the exporter runs or not")
	metrics = scrape()
	assert.Contains(t, metrics, `snapwatch_pool_scrape_success{pool="tc"} 0`)
	assert.Contains(t, metrics, "snapwatch_disk_state"+disk+`state="missing",vmid="100"} 1`)
	gone := w.hostCheck()
	assert.Contains(t, gone, "CRITICAL")
	assert.Contains(t, gone, "tc is not imported")
	w.host("zpool", "import", "-d", "/tmp", "tc")

	// With DynamicUser everything works, except that a check that another user runs cannot read the
	// exporter's list of known disks.
	w.place("/run/systemd/system/snapwatch-exporter.service.d/dynamic.conf", "[Service]\nDynamicUser=yes\nUser=snapwatch-dynamic\nStateDirectory=\nStateDirectory=snapwatch-dynamic\n")
	w.host("systemctl", "daemon-reload")
	metrics = scrape()
	assert.Contains(t, metrics, `snapwatch_pool_scrape_success{pool="tc"} 1`)
	assert.Contains(t, metrics, "snapwatch_disk_state"+disk+`state="fresh",vmid="100"} 1`)
	assert.Regexp(t, "^6[0-9]{4}$", user(), "a number of those that systemd gives away")
	_, err := w.tryHost("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "cat", "/var/lib/snapwatch-dynamic/seen.json")
	assert.Error(t, err)
}
