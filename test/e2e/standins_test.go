//go:build e2e

package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/test/site"
	"snapwatch/test/standin/contract"
)

// TestStandinsAreLikeProxmox: the stand-ins of Proxmox's programs take the locks that
// docs/proxmox-contract.md lists, wait for a lock as long as this page says, and take their steps
// in the order of this page.
func TestStandinsAreLikeProxmox(t *testing.T) {
	s := &standins{newWorld(t)}
	for _, of := range []struct {
		name string
		play func()
	}{{"virtual machine", s.vms}, {"container", s.containers}, {"disks", s.disks}, {"backup and migration", s.away}} {
		t.Run(of.name, func(t *testing.T) {
			s.t = t
			of.play()
		})
	}
}

// standins tests the stand-ins one by one.
type standins struct{ *world }

// The method `fails` calls a program, and asserts that the program prints the given message and
// ends with Proxmox's exit status for errors.
func (s *standins) fails(says string, argv ...string) {
	s.t.Helper()
	r := s.pve(argv...)
	assert.Equal(s.t, 255, r.Code, argv)
	assert.Contains(s.t, r.Stderr, says, argv)
}

func (s *standins) does(argv ...string) {
	s.t.Helper()
	require.Zero(s.t, s.pve(argv...).Code, argv)
}

// waitsInVain asserts that a call of a stand-in gives up waiting for a lock after the given time.
func (s *standins) waitsInVain(wait time.Duration, path string, argv ...string) {
	s.t.Helper()
	begun := time.Now()
	s.fails(contract.Timeout(path), argv...)
	assert.GreaterOrEqual(s.t, time.Since(begun), wait, argv)
}

// whileLocked calls the function `do`; during the call, another process holds the lock of the
// guest's configuration.
func (s *standins) whileLocked(vmid int, do func()) {
	s.t.Helper()
	release, err := s.a.HoldFlock(vmid)
	require.NoError(s.t, err)
	do()
	require.NoError(s.t, release())
}

// startCall starts a program of Proxmox's stand-ins and returns when the program is in the given
// step. The program remains in the given step until the test calls endCall.
func (s *standins) startCall(step string, argv ...string) *site.Process {
	s.t.Helper()
	s.takes(step, "1h")
	p, err := s.a.Start(s.ctx, argv...)
	require.NoError(s.t, err)
	require.NoError(s.t, p.WaitFor(s.ctx, step+" takes"))
	return p
}

// endCall ends the step in which startCall left a program, and waits until the program has ended.
func (s *standins) endCall(step string, p *site.Process) {
	s.t.Helper()
	s.takes(step, "")
	r := p.Wait()
	require.Zero(s.t, r.Code, r.Stderr)
}

// The method `says` asserts that a line is in the guest's current configuration, or is not there.
func (s *standins) says(vmid int, line string, there bool) {
	s.t.Helper()
	config, err := s.a.Configuration(vmid)
	require.NoError(s.t, err)
	current, _, _ := strings.Cut(config, "[")
	assert.Equal(s.t, there, strings.Contains(current, line), "%q in %s", line, current)
}

func (s *standins) running(kind string) bool {
	s.t.Helper()
	return strings.Contains(s.pve("pvesh", "get", "/nodes/localhost/"+kind, "--output-format", "json").Stdout, `"status":"running"`)
}

const (
	vmLock = "/var/lock/qemu-server/lock-100.conf"
	ctLock = "/run/lock/lxc/pve-config-200.lock"
)

func (s *standins) vms() {
	t, disk := s.t, "ta/data/vm-100-disk-0"
	s.vm(100, "vm-100-disk-0")
	s.whileLocked(100, func() { s.waitsInVain(contract.ConfigWait, vmLock, "qm", "start", "100") })
	s.does("qm", "start", "100")
	assert.True(t, s.running("qemu"))

	s.does("qm", "snapshot", "100", "before")
	s.says(100, "lock:", false)
	s.zfs("snapshot", disk+"@newer")
	s.fails("can't rollback, 'before' is not most recent snapshot on 'local-zfs:vm-100-disk-0'", "qm", "rollback", "100", "before")
	s.zfs("destroy", disk+"@newer")

	// A rollback holds the lock of the guest's configuration from its first check until it has
	// written the lock word rollback.
	rollback := s.startCall("stop", "qm", "rollback", "100", "before")
	assert.True(t, s.busy(100))
	s.says(100, "lock:", false) // the rollback stops the guest before it writes the lock word
	s.zfs("snapshot", disk+"@between")
	s.takes("stop", "")
	r := rollback.Wait()
	assert.Equal(t, 255, r.Code, r.Stderr)
	assert.Contains(t, r.Stderr, "more recent snapshots or bookmarks exist")
	s.says(100, "lock: rollback\n", true) // the guest is left off and locked
	s.fails("VM is locked (rollback)", "qm", "start", "100")
	require.NoError(t, s.a.SetLock(100, ""))
	s.zfs("destroy", disk+"@between")
	s.does("qm", "rollback", "100", "before")
	s.says(100, "parent: before\n", true)

	s.does("qm", "start", "100")
	s.does("qm", "reboot", "100")
	assert.True(t, s.running("qemu"))

	// pvesr has its own lock, and thaws a guest even if another program froze the guest.
	require.NoError(t, s.a.SetOption(100, "agent", "1"))
	require.NoError(t, s.a.WriteFile("/run/standin/agent-100", "frozen"))
	release, err := s.a.HoldMigrateLock(100)
	require.NoError(t, err)
	s.waitsInVain(contract.ReplicateWait, "/var/lock/pve-manager/pve-migrate-100", "pvesr", "100")
	require.NoError(t, release())
	s.does("pvesr", "100")
	text, err := s.a.ReadFile("/run/standin/agent-100")
	require.NoError(t, err)
	assert.Equal(t, "thawed", text)
	assert.Contains(t, strings.Join(s.snapshots(disk), " "), "__replicate_100-0_")
	s.does("qm", "stop", "100")
}

func (s *standins) containers() {
	t, disk := s.t, "ta/data/subvol-200-disk-0"
	s.container(200, "subvol-200-disk-0")
	s.whileLocked(200, func() { s.waitsInVain(contract.ConfigWait, ctLock, "pct", "start", "200") })
	s.does("pct", "start", "200")
	assert.True(t, s.running("lxc"))

	// A reboot holds the lock of the container's configuration until the container runs again.
	reboot := s.startCall("stop", "pct", "reboot", "200")
	assert.True(t, s.busy(200))
	s.endCall("stop", reboot)
	assert.True(t, s.running("lxc"))

	s.does("pct", "snapshot", "200", "before")
	s.says(200, "lock:", false)
	rollback := s.startCall("stop", "pct", "rollback", "200", "before")
	assert.True(t, s.busy(200))
	s.says(200, "lock:", false) // the rollback stops the container before it writes the lock word
	s.endCall("stop", rollback)
	s.says(200, "parent: before\n", true)
	assert.False(t, s.running("lxc"))
	s.zfs("snapshot", disk+"@newer")
	s.fails("can't rollback, 'before' is not most recent snapshot on 'local-zfs:subvol-200-disk-0'", "pct", "rollback", "200", "before")
	s.does("pct", "delsnapshot", "200", "before")
	assert.Equal(t, []string{"newer"}, s.snapshots(disk))

	require.NoError(t, s.a.SetLock(200, "mounted"))
	s.does("pct", "stop", "200")
	s.fails("CT is locked (mounted)", "pct", "snapshot", "200", "more")
	require.NoError(t, s.a.SetLock(200, ""))
	s.does("pct", "start", "200")
	for _, word := range []string{"shutdown", "start", "stop"} {
		s.does("pct", word, "200")
		assert.Equal(t, word == "start", s.running("lxc"))
	}
}

func (s *standins) disks() {
	t := s.t
	s.zfs("create", "ta/more")
	storage, err := s.a.ReadFile("/etc/pve/storage.cfg")
	require.NoError(t, err)
	require.NoError(t, s.a.WriteFile("/etc/pve/storage.cfg", storage+"\nzfspool: more\n\tpool ta/more\n\tcontent images,rootdir\n"))
	s.vm(110, "vm-110-disk-0")
	s.container(210, "subvol-210-disk-0")

	s.does("qm", "resize", "110", "scsi0", "24M")
	assert.Equal(t, "24M\n", s.zfs("get", "-H", "-o", "value", "volsize", "ta/data/vm-110-disk-0"))
	s.says(110, "size=24M", true)
	s.does("pct", "resize", "210", "rootfs", "32M")
	assert.Equal(t, "32M\n", s.zfs("get", "-H", "-o", "value", "refquota", "ta/data/subvol-210-disk-0"))

	// While Proxmox copies a disk of a virtual machine, the configuration's lock is held and there
	// is no lock word; for a container, there is a lock word and the lock is free.
	s.does("qm", "start", "110")
	move := s.startCall("copy", "qm", "move-disk", "110", "scsi0", "more")
	assert.True(t, s.busy(110))
	s.says(110, "lock:", false)
	s.endCall("copy", move)
	s.says(110, "scsi0: more:vm-110-disk-0", true)
	s.says(110, "unused0: local-zfs:vm-110-disk-0\n", true)
	s.does("qm", "stop", "110")
	s.does("pct", "start", "210")
	s.fails("cannot move volumes of a running container", "pct", "move-volume", "210", "rootfs", "more")
	s.does("pct", "stop", "210")
	move = s.startCall("copy", "pct", "move-volume", "210", "rootfs", "more")
	assert.False(t, s.busy(210))
	s.says(210, "lock: disk\n", true)
	s.endCall("copy", move)
	s.says(210, "rootfs: more:subvol-210-disk-0", true)

	for program, of := range map[string][3]string{"qm": {"110", "111", "vm"}, "pct": {"210", "211", "subvol"}} {
		id, clone, name := of[0], of[1], of[2]
		full := s.startCall("copy", program, "clone", id, clone)
		assert.Equal(t, program == "qm", s.busy(map[string]int{"qm": 110, "pct": 210}[program]), program)
		s.endCall("copy", full)
		s.does(program, "destroy", clone)
		s.does(program, "template", id)
		s.fails("if it's a template", program, "start", id)
		s.does(program, "clone", id, clone)
		linked := "ta/more/" + name + "-" + clone + "-disk-0"
		assert.Contains(t, s.zfs("get", "-H", "-o", "value", "origin", linked), "@__base__")
		s.does(program, "start", clone)
		s.does(program, "stop", clone)
		s.does(program, "destroy", clone)
		s.does(program, "destroy", id)
	}
	assert.NotRegexp(t, "-(110|111|210|211)-", s.zfs("list", "-H", "-o", "name", "-r", "ta"), "all is destroyed")
}

func (s *standins) away() {
	t := s.t
	s.vm(120, "vm-120-disk-0")
	s.container(220, "subvol-220-disk-0")

	// A virtual machine that is off has a QEMU process during its backup.
	backup := s.startCall("copy", "vzdump", "120")
	assert.False(t, s.busy(120))
	s.says(120, "lock: backup\n", true)
	assert.Contains(t, s.pve("pvesh", "get", "/nodes/localhost/qemu/120/status/current", "--output-format", "json").Stdout, `"qmpstatus":"prelaunch"`)
	s.endCall("copy", backup)
	assert.False(t, s.running("qemu"))
	s.does("pct", "start", "220")
	backup = s.startCall("copy", "vzdump", "220")
	s.says(220, "lock: backup\n", true)
	assert.Equal(t, []string{"vzdump"}, s.snapshots("ta/data/subvol-220-disk-0"))
	s.endCall("copy", backup)
	s.says(220, "lock:", false)
	assert.Empty(t, s.snapshots("ta/data/subvol-220-disk-0"))

	// A migration stops a container before it writes the lock word migrate, and holds the lock of
	// the container's configuration from begin to end.
	require.NoError(t, s.a.WriteFile("/run/standin/migrate.to", "tb/data"))
	s.fails("running container can only be migrated in restart mode", "pct", "migrate", "220", "pve-b")
	s.takes("copy", "1h")
	migration := s.startCall("stop", "pct", "migrate", "220", "pve-b", "--restart")
	assert.True(t, s.busy(220))
	s.says(220, "lock:", false)
	s.takes("stop", "")
	require.NoError(t, migration.WaitFor(s.ctx, "copy takes"))
	assert.True(t, s.busy(220))
	s.says(220, "lock: migrate\n", true)
	s.endCall("copy", migration)
	config, err := s.b.Configuration(220)
	require.NoError(t, err)
	assert.NotContains(t, config, "lock:")
	assert.Equal(t, "tb/data/subvol-220-disk-0\n", s.zfs("list", "-H", "-o", "name", "tb/data/subvol-220-disk-0"))

	s.does("qm", "start", "120")
	s.does("qm", "migrate", "120", "pve-b")
	assert.False(t, s.running("qemu"))
	assert.Empty(t, s.snapshots("tb/data/vm-120-disk-0"), "a machine that runs is mirrored")
	assert.NotRegexp(t, "-(120|220)-", s.zfs("list", "-H", "-o", "name", "-r", "ta"), "the disks here are destroyed")
}
