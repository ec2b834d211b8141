//go:build e2e && systemd && nightly

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/zfs"
	"snapwatch/test/site"
)

// installed is a host with its own systemd, network and files: a container with an overlay over the
// machine's files. The container sees all pools of the machine.
type installed struct {
	w      *world
	name   string
	root   string // the path of the host's root on the machine
	leader string // the process number of the host's first process
	readme string // the text of the README, whose lines the test types
}

// shippedReadme returns the README of the package.
func (w *world) shippedReadme() string {
	w.t.Helper()
	return w.host("sh", "-c", "dpkg-deb --fsys-tarfile "+builtPackage(w.t, "latest")+" | tar -xO ./usr/share/doc/snapwatch/README.md")
}

// newHost creates a host that is not booted yet.
func (w *world) newHost(name string) *installed {
	w.t.Helper()
	dir := filepath.Join("/run/hosts", name)
	h := &installed{w: w, name: name, root: filepath.Join(dir, "root"), readme: w.shippedReadme()}
	for _, d := range []string{"upper", "work", "root"} {
		require.NoError(w.t, os.MkdirAll(filepath.Join(dir, d), 0o755))
	}
	// The services that are installed on the machine must not run on the new host.
	for _, unit := range []string{
		"prometheus", "prometheus-alertmanager", "prometheus-node-exporter", "nagios-nrpe-server", "qemu-guest-agent",
		"zfs-import-cache", "zfs-import-scan", "zfs-mount", "zfs-share", "zfs-zed", "zfs-volume-wait", "e2scrub_reap", "systemd-networkd",
	} {
		path := filepath.Join(dir, "upper/etc/systemd/system", unit+".service")
		require.NoError(w.t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(w.t, os.Symlink("/dev/null", path))
	}
	w.host("mount", "-t", "overlay", "overlay", "-o", "lowerdir=/,upperdir="+dir+"/upper,workdir="+dir+"/work", h.root)
	w.t.Cleanup(func() {
		_ = exec.Command("systemctl", "stop", "host-"+name).Run()
		_ = exec.Command("umount", h.root).Run()
		require.NoError(w.t, os.RemoveAll(dir))
	})
	return h
}

// write writes a file of the host.
func (h *installed) write(path, text string) {
	h.w.t.Helper()
	path = filepath.Join(h.root, path)
	require.NoError(h.w.t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(h.w.t, os.WriteFile(path, []byte(text), 0o644))
}

// boot starts the systemd of the hosts and waits until they have booted.
func (w *world) boot(hosts ...*installed) {
	w.t.Helper()
	for _, h := range hosts {
		// ZFS's programs read the features of the kernel module in /sys/module.
		w.host("systemd-run", "--quiet", "--unit=host-"+h.name, "-p", "Delegate=yes", "-p", "KillMode=mixed",
			"-E", "SYSTEMD_NSPAWN_API_VFS_WRITABLE=yes", "systemd-nspawn", "--bind-ro=/sys/module", "--quiet", "--keep-unit", "--machine="+h.name, "--directory="+h.root,
			"--private-network", "--bind=/dev/zfs", "--capability=all", "--boot")
	}
	for _, h := range hosts {
		w.waitUntil(func() bool {
			out, err := w.tryHost("machinectl", "show", "--value", "-p", "Leader", h.name)
			h.leader = strings.TrimSpace(out)
			return err == nil && h.leader != ""
		})
		w.waitUntil(func() bool {
			out, _ := h.try("systemctl is-system-running")
			return strings.HasPrefix(out, "running") || strings.HasPrefix(out, "degraded")
		})
	}
}

// argv returns the command line that runs a command on the host with the environment of a login.
func (h *installed) argv(words ...string) []string {
	return append([]string{"nsenter", "--all", "--target", h.leader, "--", "env", "-i",
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "TERM=dumb", "LANG=C.UTF-8"}, words...)
}

func (h *installed) try(line string) (string, error) {
	return h.w.tryHost(h.argv("sh", "-c", "cd /root && "+line)...)
}

// The method `types` runs a line in root's shell on the host, as if a person typed the line. The
// command must succeed.
func (h *installed) types(line string) string {
	h.w.t.Helper()
	out, err := h.try(line)
	h.w.t.Logf("root@%s# %s\n%s", h.name, line, out)
	require.NoError(h.w.t, err)
	return out
}

// follows types a line in root's shell on the host; the line must be in the README.
func (h *installed) follows(line string) string {
	h.w.t.Helper()
	found := false
	for text := range strings.Lines(h.readme) {
		typed, _, _ := strings.Cut(strings.TrimSpace(text), "  #")
		found = found || strings.TrimSpace(typed) == line || strings.Contains(text, "`"+line+"`")
	}
	require.True(h.w.t, found, "the README does not tell to type %q", line)
	return h.types(strings.TrimPrefix(line, "sudo ")) // the shell is root's already
}

// terminal types a line of the README at a terminal, because snap writes its line into cron's file
// only if a person starts snap at a terminal.
func (h *installed) terminal(line string) string {
	h.w.t.Helper()
	h.follows(line + " --dry-run")
	return h.types("script -qec '" + line + "' /dev/null")
}

// proxmox makes the host a Proxmox node with the storage local-zfs on the dataset.
func (h *installed) proxmox(dataset string) {
	h.w.t.Helper()
	standin := filepath.Join(filepath.Dir(program(h.w.t)), "standin")
	text, err := os.ReadFile(standin)
	require.NoError(h.w.t, err)
	h.write("/usr/local/lib/pve/standin", string(text))
	h.w.host("chmod", "755", h.root+"/usr/local/lib/pve/standin")
	for _, name := range []string{"pvesh", "lxc-start"} {
		require.NoError(h.w.t, os.Symlink("/usr/local/lib/pve/standin", filepath.Join(h.root, "usr/bin", name)))
	}
	for _, kind := range []string{"qemu-server", "lxc"} {
		require.NoError(h.w.t, os.MkdirAll(filepath.Join(h.root, "etc/pve/nodes", h.name, kind), 0o755))
	}
	require.NoError(h.w.t, os.Symlink("nodes/"+h.name, filepath.Join(h.root, "etc/pve/local")))
	h.write("/etc/systemd/system/pve-guests.service", "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n")
	h.write("/etc/pve/storage.cfg", "zfspool: local-zfs\n\tpool "+dataset+"\n\tcontent rootdir,images\n")
}

// The method `starts` starts a container on the host. The returned function `end` stops the
// container.
func (h *installed) starts(vmid string) (end func()) {
	h.w.t.Helper()
	guest := h.w.startReady(h.argv("/usr/bin/lxc-start", "-F", "-n", vmid)...)
	return func() {
		h.types("pkill -x lxc-start")
		require.NoError(h.w.t, guest.Wait())
	}
}

// TestSystemdInstall types the steps of the README on three fresh hosts: in the end A takes
// snapshots from cron, and B and C check the copies that they receive.
func TestSystemdInstall(t *testing.T) {
	const disk = "subvol-101-disk-0"
	w := newWorld(t)
	a, b, c := w.newHost("pve-a"), w.newHost("pve-b"), w.newHost("site-c")
	hosts := []*installed{a, b, c}
	for _, h := range hosts {
		deb, err := os.ReadFile(builtPackage(t, "latest"))
		require.NoError(t, err)
		h.write("/root/dist/snapwatch_0_amd64.deb", string(deb))
	}
	a.proxmox("ta/data")
	b.proxmox("tb/data")
	a.write("/etc/pve/nodes/pve-a/lxc/101.conf", "arch: amd64\nhostname: ct101\nrootfs: local-zfs:"+disk+",size=1G\n")
	require.NoError(t, site.CreateFilesystem(w.ctx, "ta/data/"+disk))
	w.boot(hosts...)
	end := a.starts("101")

	for _, h := range hosts {
		h.follows("sudo apt install ./dist/snapwatch_*_amd64.deb")
	}
	a.write("/etc/snapwatch/config.yaml", "boot_grace: 1s\n"+quick) // these hosts have only just booted
	a.types("systemctl start pve-guests")
	b.write("/etc/snapwatch/config.yaml", "datasets: [tb/data]\n")
	c.write("/etc/snapwatch/config.yaml", "role: replica\ndatasets: [tc]\n")
	out, _ := a.try("snapwatch doctor")
	t.Log(out)
	assert.NotContains(t, out, "does not work")

	a.terminal("snapwatch snap f48 h24 d30")
	line := a.types("cat /etc/cron.d/snapwatch")
	assert.Contains(t, line, "*/15 * * * * root ")
	assert.Contains(t, line, "snap f48 h24 d30")
	assert.Equal(t, "active\n", a.types("systemctl is-active cron"))
	assert.Equal(t, []string{"daily"}, w.classes("ta/data/"+disk))
	assert.Equal(t, "pve-a", w.label("ta/data/"+disk))

	// The README leaves replication to the administrator; this test sends with syncoid.
	w.send("ta/data/"+disk, "tb/data/"+disk)
	w.send("ta/data/"+disk, "tc/"+disk)
	for _, h := range hosts[1:] {
		h.follows("sudo systemctl enable --now snapwatch-exporter")
		assert.Contains(t, h.follows("snapwatch check"), "OK")
		w.waitUntil(func() bool {
			metrics, _ := h.try("curl -s http://127.0.0.1:10191/metrics")
			return strings.Contains(metrics, `disk="`+disk+`"`) && strings.Contains(metrics, `state="fresh",vmid="101"} 1`)
		})
	}
	_, err := c.try("snapwatch snap f4")
	assert.Error(t, err, "a replica")

	// The guest stops: the command in cron's line notices the stop, and C never alarms.
	end()
	command := line[strings.Index(line, "root ")+len("root "):]
	a.types(strings.SplitN(command, "\n", 2)[0])
	assert.Equal(t, []string{"daily", zfs.Stopped.String()}, w.classes("ta/data/"+disk))
	w.send("ta/data/"+disk, "tc/"+disk)
	assert.Contains(t, c.types("snapwatch check -v"), "stopped")
	assert.Equal(t, "enabled\n", c.types("systemctl is-enabled snapwatch-exporter"))
}
