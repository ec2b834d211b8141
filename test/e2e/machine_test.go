//go:build e2e && systemd

package e2e

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"snapwatch/test/site"
)

// machineNode makes the machine itself a Proxmox node, called machine, with the storage local-zfs
// on ta/data, because a package belongs to a machine and not to a site. While the file
// /run/pvesh.slow exists, pvesh does not answer.
func (w *world) machineNode() {
	w.t.Helper()
	w.t.Cleanup(func() {
		for _, dir := range []string{"/usr/local/lib/pve", "/etc/pve", "/run/qemu-server", "/run/standin"} {
			require.NoError(w.t, os.RemoveAll(dir))
		}
	})
	standin := filepath.Join(filepath.Dir(program(w.t)), "standin")
	w.place("/usr/bin/pvesh", "#!/bin/sh\nwhile [ -e /run/pvesh.slow ]; do sleep 0.1; done\nexec /usr/local/lib/pve/pvesh \"$@\"\n")
	require.NoError(w.t, os.Chmod("/usr/bin/pvesh", 0o755))
	for _, dir := range []string{"/usr/local/lib/pve", "/etc/pve/nodes/machine/qemu-server", "/etc/pve/nodes/machine/lxc", "/run/qemu-server", "/run/lock/qemu-server"} {
		require.NoError(w.t, os.MkdirAll(dir, 0o755))
	}
	w.place("/etc/pve/storage.cfg", "zfspool: local-zfs\n\tpool ta/data\n\tcontent rootdir,images\n")
	require.NoError(w.t, os.Symlink("nodes/machine", "/etc/pve/local"))
	for _, name := range []string{"pvesh", "kvm"} {
		require.NoError(w.t, os.Symlink(standin, "/usr/local/lib/pve/"+name))
	}
}

// machineGuest configures and starts a guest of the machine, with a new volume.
func (w *world) machineGuest(vmid int, disk string) {
	w.t.Helper()
	require.NoError(w.t, site.CreateZvol(w.ctx, "ta/data/"+disk, 16))
	w.machineGuestOn(vmid, disk)
}

// machineGuestOn configures and starts a guest of the machine, with a volume that exists.
func (w *world) machineGuestOn(vmid int, disk string) {
	w.t.Helper()
	require.NoError(w.t, os.WriteFile(fmt.Sprintf("/etc/pve/nodes/machine/qemu-server/%d.conf", vmid),
		fmt.Appendf(nil, "name: vm%d\nscsi0: local-zfs:%s,size=1G\n", vmid, disk), 0o644))
	w.startMachineGuest(vmid, disk)
}

func (w *world) startMachineGuest(vmid int, disk string) {
	w.t.Helper()
	require.NoError(w.t, site.WaitZvol(w.ctx, "ta/data/"+disk))
	guest := w.startReady("/usr/local/lib/pve/kvm", "-id", fmt.Sprint(vmid), "-name", fmt.Sprintf("vm%d", vmid),
		"-pidfile", fmt.Sprintf("/var/run/qemu-server/%d.pid", vmid), "-drive", "file=/dev/zvol/ta/data/"+disk+",format=raw")
	ended := make(chan struct{})
	go func() { _ = guest.Wait(); close(ended) }()
	w.t.Cleanup(func() {
		_ = guest.Process.Kill()
		<-ended
	})
}

// startReady starts a stand-in for a guest's process and returns after this process has reported
// that it runs.
func (w *world) startReady(argv ...string) *exec.Cmd {
	w.t.Helper()
	guest := exec.Command(argv[0], argv[1:]...)
	guest.Stderr = os.Stderr
	out, err := guest.StdoutPipe()
	require.NoError(w.t, err)
	require.NoError(w.t, guest.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(w.t, err)
	require.Equal(w.t, "ready\n", line)
	return guest
}

// surviveShutdown keeps the test's own service running during a shutdown. surviveShutdown also
// allows the test to start shutdown.target. shutdown.target conflicts with all other units, so its
// start stops all other units, but does not switch the machine off.
func (w *world) surviveShutdown() {
	w.t.Helper()
	const job = "/run/systemd/system/lab-job.service"
	unit, err := os.ReadFile(job)
	require.NoError(w.t, err)
	stay := strings.Replace(string(unit), "Requires=basic.target", "DefaultDependencies=no", 1)
	require.NotEqual(w.t, string(unit), stay)
	require.NoError(w.t, os.WriteFile(job, []byte(stay), 0o644))
	w.t.Cleanup(func() { require.NoError(w.t, os.WriteFile(job, unit, 0o644)) })
	w.place("/run/systemd/system/shutdown.target.d/start.conf", "[Unit]\nRefuseManualStart=no\n")
	w.host("systemctl", "daemon-reload")
}

// builtPackage returns the path of the package in the directory old or latest next to the test.
func builtPackage(t *testing.T, which string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(filepath.Dir(program(t)), which, "*_amd64.deb"))
	require.NoError(t, err)
	require.Len(t, found, 1)
	return found[0]
}

// apt runs apt-get as a person does, without questions.
func (w *world) apt(words ...string) {
	w.t.Helper()
	w.t.Log(w.host(append([]string{"env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-y"}, words...)...))
}

// unit returns systemctl's answer of one word about a unit, or about the whole machine if name is
// empty.
func (w *world) unit(verb, name string) string {
	w.t.Helper()
	argv := []string{"systemctl", verb}
	if name != "" {
		argv = append(argv, name)
	}
	out, _ := w.tryHost(argv...)
	return strings.TrimSpace(out)
}

func (w *world) unitProperty(name, property string) string {
	w.t.Helper()
	return strings.TrimSpace(w.host("systemctl", "show", "--value", "-p", property, name))
}
