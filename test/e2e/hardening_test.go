//go:build e2e && systemd

package e2e

import (
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// confined is a hook that tries the actions of typical hooks, and actions that the unit must
// forbid.
const confined = `#!/bin/sh
set -eu
su -s /bin/sh nobody -c 'id -un' >/run/hook.user
cat /etc/pve/storage.cfg >/dev/null
mkdir /sys/fs/cgroup/hook
echo 1 >/sys/fs/cgroup/hook/cgroup.freeze
rmdir /sys/fs/cgroup/hook
nsenter -t 1 -m -n true
nice true
mount -t tmpfs tmpfs /mnt
! touch /usr/hook 2>/dev/null
! date -s '+1 hour' 2>/dev/null
! ip link add hook type dummy 2>/dev/null
touch /run/hook.done
`

// TestSystemdHardening: the systemd units grant snapwatch only the rights that are listed in the
// units. snap, its hooks and its pings work with these rights. TestSystemdExporter tests the
// exporter's unit, TestSystemdShutdown tests finalize.
func TestSystemdHardening(t *testing.T) {
	const disk = "ta/data/vm-100-disk-0"
	w := newWorld(t)
	told := make(chan string, 10)
	service := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { told <- r.URL.Path }))
	defer service.Close()
	w.machineNode()
	w.machineGuest(100, "vm-100-disk-0")
	w.install()
	threshold := map[string]string{"snapwatch": "50", "snapwatch-finalize": "50", "snapwatch-exporter": "20"}
	for unit := range threshold {
		w.ship("systemd/"+unit+".service", "/etc/systemd/system/"+unit+".service")
	}
	w.place("/usr/local/sbin/hook", confined)
	require.NoError(t, os.Chmod("/usr/local/sbin/hook", 0o755))
	w.place("/etc/snapwatch/config.yaml", "keep: f4\nboot_grace: 1s\n"+quick+"hooks: {before_snapshot: [{argv: [/usr/local/sbin/hook]}]}\n"+
		"ping: [{run: snap, success: '"+service.URL+"/success', failure: '"+service.URL+"/failure'}]\n")
	w.host("systemctl", "daemon-reload")
	defer func() {
		require.NoError(t, os.RemoveAll("/run/hook.user"))
		require.NoError(t, os.RemoveAll("/run/hook.done"))
	}()

	for unit, most := range threshold {
		out, err := w.tryHost("systemd-analyze", "security", "--no-pager", "--threshold="+most, unit+".service")
		assert.NoError(t, err, out)
	}
	_, err := w.tryHost("systemctl", "start", "snapwatch.service")
	log, _ := w.tryHost("journalctl", "-u", "snapwatch.service", "--no-pager", "-o", "cat")
	require.NoError(t, err, log)
	assert.Equal(t, []string{"frequently"}, w.classes(disk), log)
	assert.Equal(t, "machine", w.label(disk))
	assert.Equal(t, "nobody\n", w.host("cat", "/run/hook.user"))
	assert.FileExists(t, "/run/hook.done", log)
	assert.NoFileExists(t, "/usr/hook")
	assert.Equal(t, "/success", <-told)
	mounts, err := os.ReadFile("/proc/mounts")
	require.NoError(t, err)
	assert.NotContains(t, string(mounts), " /mnt ", "a hook's mount is its own")
}
