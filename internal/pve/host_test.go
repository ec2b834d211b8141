package pve

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func testHost(t *testing.T) Host {
	dir := t.TempDir()
	place := func(name string) string { return filepath.Join(dir, name) }
	return Host{Etc: place("pve"), Run: place("run"), Proc: place("proc"), Lock: place("lock"), LXC: place("lxc"), Systemd: place("systemd")}
}

func testCluster(t *testing.T) Host {
	h := testHost(t)
	write(t, h.Etc+"/storage.cfg", "zfspool: data\n\tpool tank/data\n")
	write(t, h.Etc+"/nodes/pve1/qemu-server/100.conf", "scsi0: data:vm-100-disk-0\n")
	write(t, h.Etc+"/nodes/pve1/lxc/101.conf", "rootfs: data:subvol-101-disk-0\n")
	write(t, h.Etc+"/nodes/pve1/qemu-server/100.conf.tmp.12", "")
	write(t, h.Etc+"/nodes/pve1/qemu-server/notes.conf", "")
	write(t, h.Etc+"/nodes/pve1/qemu-server/104", "")
	write(t, h.Etc+"/nodes/pve2/qemu-server/200.conf", "scsi0: data:vm-200-disk-0\n")
	write(t, h.Etc+"/nodes/pve2/lxc/201.conf", "")
	require.NoError(t, os.MkdirAll(h.Etc+"/nodes/pve3", 0o755))
	require.NoError(t, os.Symlink("nodes/pve1", h.Etc+"/local"))
	return h
}

func TestCluster(t *testing.T) {
	c, err := testCluster(t).Cluster(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "pve1", c.Node)
	assert.Equal(t, []string{"pve1", "pve2", "pve3"}, c.Nodes)
	assert.Equal(t, []Storage{{"data", "tank/data"}}, c.Storages)
	assert.Equal(t, map[int]string{200: "pve2", 201: "pve2"}, c.Elsewhere)
	require.Len(t, c.Guests, 2)
	assert.Equal(t, "qemu/100", c.Guests[100].ID.String())
	assert.Equal(t, "lxc/101", c.Guests[101].ID.String())
	assert.False(t, c.Guests[100].Changed.IsZero(), "when it was written last")
	assert.Empty(t, c.HAStarted)
}

// If /etc/pve/nodes has a plain file, the file is ignored, and the nodes there are read all the
// same.
func TestANoteAmongTheNodes(t *testing.T) {
	h := testCluster(t)
	write(t, h.Etc+"/nodes/notes.txt", "")
	c, err := h.Cluster(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []string{"pve1", "pve2", "pve3"}, c.Nodes)
	owners, err := h.Owners()
	require.NoError(t, err)
	assert.Equal(t, "pve2", owners.Of[201])
}

func TestNoCluster(t *testing.T) {
	_, err := testHost(t).Cluster(t.Context())
	assert.ErrorIs(t, err, ErrNotPVE)
	h := testCluster(t)
	require.NoError(t, os.Remove(h.Etc+"/storage.cfg"))
	_, err = h.Cluster(t.Context())
	assert.ErrorContains(t, err, "storage.cfg: no such file")
}

// If the configuration of one guest cannot be read, the other guests are read all the same.
func TestUnreadConfiguration(t *testing.T) {
	direct := testCluster(t)
	require.NoError(t, os.MkdirAll(direct.Etc+"/nodes/pve1/qemu-server/102.conf", 0o755))
	write(t, direct.Etc+"/nodes/pve1/qemu-server/103.conf", "\x7fELF\x00\x01\n\x02")
	write(t, direct.Etc+"/nodes/pve1/qemu-server/104.conf", "scsi0: data:vm-104-disk-0\nname: \x00\n")
	write(t, direct.Etc+"/nodes/pve1/qemu-server/105.conf", "\n \n")
	for _, h := range []Host{direct, withReader(t, direct)} {
		c, err := h.Cluster(t.Context())
		require.NoError(t, err)
		assert.Equal(t, []int{102, 103, 104}, c.Unread())
		assert.Contains(t, c.Guests[102].Problem, "102.conf: is a directory")
		assert.Contains(t, c.Guests[103].Problem, "103.conf is not a guest's configuration")
		assert.Equal(t, Config{ID: ID{104, QEMU}, Problem: c.Guests[104].Problem}, c.Guests[104])
		assert.Len(t, c.Guests[100].Volumes, 1)
		_, err = h.GuestConfig(t.Context(), ID{103, QEMU})
		require.ErrorContains(t, err, "not a guest's configuration")
	}
}

// If a guest's configuration moves from one node to another while the nodes are read, the guest is
// listed on one of the two nodes, not on both.
func TestClusterNamesAGuestOnce(t *testing.T) {
	h := testCluster(t)
	write(t, h.Etc+"/nodes/pve2/qemu-server/100.conf", "")
	c, err := h.Cluster(t.Context())
	require.NoError(t, err)
	_, here := c.Guests[100]
	_, there := c.Elsewhere[100]
	assert.False(t, here && there, "seen on both")
}

// If pmxcfs hangs, Host.Cluster stops waiting when ctx ends.
func TestClusterHangs(t *testing.T) {
	h := testCluster(t)
	fifo := h.Etc + "/nodes/pve1/qemu-server/102.conf"
	require.NoError(t, syscall.Mkfifo(fifo, 0o600))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := h.Cluster(ctx)
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	assert.ErrorContains(t, err, "is pmxcfs hung?")
	end, err := os.OpenFile(fifo, os.O_WRONLY, 0) // this ends the goroutine that reads the pipe
	require.NoError(t, err)
	require.NoError(t, end.Close())
}

func TestUptime(t *testing.T) {
	h := testHost(t)
	_, err := h.Uptime()
	assert.ErrorIs(t, err, os.ErrNotExist)
	write(t, h.Proc+"/uptime", "350735.47 234388.90\n")
	up, err := h.Uptime()
	require.NoError(t, err)
	assert.Equal(t, 350735470*time.Millisecond, up)
	for _, text := range []string{"", "soon\n"} {
		write(t, h.Proc+"/uptime", text)
		_, err = h.Uptime()
		assert.ErrorContains(t, err, "uptime", "%q", text)
	}
}

func TestQEMUProcess(t *testing.T) {
	const ours = "/usr/bin/kvm\x00-id\x00100\x00-pidfile\x00/var/run/qemu-server/100.pid\x00-daemonize\x00"
	for _, test := range []struct {
		name, pidFile, cmdline string
		alive                  bool
		err                    string
	}{
		{"alive", "4711\n", ours, true, ""},
		{"alive, by its long name", "4711", "/usr/bin/qemu-system-x86_64\x00-pidfile\x00/run/qemu-server/100.pid", true, ""},
		{"no pid file", "", ours, false, ""},
		{"stale pid file", "4712\n", ours, false, ""},
		{"a zombie", "4711\n", "", false, ""},
		{"another guest's process", "4711\n", "/usr/bin/kvm\x00-pidfile\x00/var/run/qemu-server/1100.pid\x00", false, ""},
		{"another program", "4711\n", "/usr/bin/vim\x00-pidfile\x00/var/run/qemu-server/100.pid\x00", false, ""},
		{"a program that is named alike", "4711\n", "/usr/bin/xkvm\x00-pidfile\x00/var/run/qemu-server/100.pid\x00", false, ""},
		{"QEMU without a pid file", "4711\n", "/usr/bin/kvm\x00-pidfile\x00", false, ""},
		{"no number", "x\n", ours, false, "pid file of guest 100 does not contain a number"},
		{"empty", "\n", ours, false, "pid file of guest 100 does not contain a number"},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := testHost(t)
			if test.pidFile != "" {
				write(t, h.Run+"/qemu-server/100.pid", test.pidFile)
			}
			write(t, h.Proc+"/4711/cmdline", test.cmdline)
			alive, err := h.Process(ID{VMID: 100, Kind: QEMU})
			assert.Equal(t, test.alive, alive)
			if test.err != "" {
				assert.ErrorContains(t, err, test.err)
				return
			}
			assert.NoError(t, err)
		})
	}
	h := testHost(t)
	require.NoError(t, os.MkdirAll(h.Run+"/qemu-server/100.pid", 0o755))
	_, err := h.Process(ID{VMID: 100, Kind: QEMU})
	assert.Error(t, err, "a pid file that cannot be read is not a proof")
}

func TestContainerSocket(t *testing.T) {
	h := testHost(t)
	_, err := h.Process(ID{VMID: 101, Kind: LXC})
	assert.ErrorIs(t, err, os.ErrNotExist, "without the list of sockets nothing is known")
	write(t, h.Proc+"/net/unix", `Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01 32405 /run/systemd/journal/stdout
0000000000000000: 00000003 00000000 00000000 0001 03 34567
0000000000000000: 00000002 00000000 00010000 0001 01 45678 @/var/lib/lxc/101/command
0000000000000000: 00000002 00000000 00010000 0001 01 45679 @/var/lib/lxc/1020/command
0000000000000000: 00000002 00000000 00010000 0001 01 45679 @/var/lib/lxc/103/command2
`)
	for vmid, want := range map[int]bool{101: true, 102: false, 1020: true, 103: false, 1: false} {
		alive, err := h.Process(ID{VMID: vmid, Kind: LXC})
		require.NoError(t, err)
		assert.Equal(t, want, alive, vmid)
	}
}

func TestRebooting(t *testing.T) {
	h := testHost(t)
	vm, ct := ID{VMID: 100, Kind: QEMU}, ID{VMID: 101, Kind: LXC}
	assert.False(t, h.Rebooting(vm))
	assert.False(t, h.Rebooting(ct))
	write(t, h.Run+"/qemu-server/100.reboot", "")
	write(t, h.LXC+"/101/reboot", "")
	assert.True(t, h.Rebooting(vm))
	assert.True(t, h.Rebooting(ct))
}

func TestConfigLock(t *testing.T) {
	h := LocalHost()
	assert.Equal(t, "/run/lock/qemu-server/lock-100.conf", h.ConfigLock(ID{VMID: 100, Kind: QEMU}))
	assert.Equal(t, "/run/lock/lxc/pve-config-101.lock", h.ConfigLock(ID{VMID: 101, Kind: LXC}))
}
