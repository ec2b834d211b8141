//go:build e2e

package e2e

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/test/site"
)

// stopped creates a guest on A that ran, has snapshots, and has stopped since the last run of snap.
// stopped returns the dataset of the guest's disk.
func (w *world) stopped(vmid int, disk string) string {
	w.t.Helper()
	w.vm(vmid, disk)
	w.start(w.a, vmid)
	w.snap(w.a, "f100")
	w.stop(w.a, vmid)
	return "ta/data/" + disk
}

// untouched asserts that a run of snap does not change the label and the snapshots of a stopped
// guest's disk.
func (w *world) untouched(t *testing.T, dataset string) {
	t.Helper()
	before, label := w.snapshots(dataset), w.label(dataset)
	w.run(w.a, "snap", "f100")
	assert.Equal(t, before, w.snapshots(dataset))
	assert.Equal(t, label, w.label(dataset))
}

// The method `final` asserts that snap treats the disk's guest as stopped, and takes only one
// _stopped snapshot of the disk.
func (w *world) final(t *testing.T, dataset string) {
	t.Helper()
	for range 2 {
		w.snap(w.a, "f100")
		classes := w.classes(dataset)
		require.NotEmpty(t, classes)
		assert.Equal(t, "stopped", classes[len(classes)-1])
		assert.Equal(t, 1, count(classes, "stopped"))
		assert.Equal(t, "stopped", w.label(dataset))
	}
}

func count(list []string, what string) int {
	n := 0
	for _, s := range list {
		if s == what {
			n++
		}
	}
	return n
}

// TestStops plays real stops, and situations that only look like a stop.
func TestStops(t *testing.T) {
	w := newWorld(t)
	story := func(name string, play func(t *testing.T)) {
		t.Run(name, func(t *testing.T) {
			w.t = t
			play(t)
		})
	}
	story("a backup of a stopped guest runs a process", func(t *testing.T) {
		disk := w.stopped(101, "vm-101-disk-0")
		w.final(t, disk)
		require.NoError(t, w.a.SetLock(101, "backup"))
		w.start(w.a, 101)
		for _, status := range []string{"prelaunch", "shutdown"} {
			require.NoError(t, w.a.SetQMPStatus(101, status))
			w.untouched(t, disk)
		}
		w.stop(w.a, 101)
		require.NoError(t, w.a.SetLock(101, ""))
		w.untouched(t, disk)
	})
	story("a rollback stops the guest before it marks it", func(t *testing.T) {
		disk := w.stopped(102, "vm-102-disk-0")
		release, err := w.a.HoldFlock(102)
		require.NoError(t, err)
		w.untouched(t, disk)
		require.NoError(t, w.a.SetLock(102, "rollback"))
		require.NoError(t, release())
		w.untouched(t, disk)
		require.NoError(t, w.a.SetLock(102, ""))
		w.final(t, disk)
	})
	story("a template gets its last snapshot once", func(t *testing.T) {
		disk := w.stopped(103, "vm-103-disk-0")
		require.NoError(t, w.a.SetTemplate(103))
		w.final(t, disk)
	})
	story("a hibernated guest is stopped", func(t *testing.T) {
		disk := w.stopped(104, "vm-104-disk-0")
		require.NoError(t, w.a.SetLock(104, "suspended"))
		w.final(t, disk)
	})
	story("a container stops like a virtual machine", func(t *testing.T) {
		w.container(105, "subvol-105-disk-0")
		w.start(w.a, 105)
		w.snap(w.a, "f100")
		require.Equal(t, "pve-a", w.label("ta/data/subvol-105-disk-0"))
		w.stop(w.a, 105)
		w.final(t, "ta/data/subvol-105-disk-0")
	})
	story("a guest that ran between two runs gets a new last snapshot", func(t *testing.T) {
		disk := w.stopped(106, "vm-106-disk-0")
		w.final(t, disk)
		w.write(disk)
		w.snap(w.a, "f100")
		assert.Equal(t, 2, count(w.classes(disk), "stopped"))
		w.untouched(t, disk)
		// snap must notice a guest's write to a disk even if the disk's newest snapshot is
		// unmanaged.
		w.zfs("snapshot", disk+"@__replicate_106-0_1__")
		w.untouched(t, disk)
		w.write(disk)
		w.zfs("snapshot", disk+"@__replicate_106-0_2__")
		w.snap(w.a, "f100")
		assert.Equal(t, 3, count(w.classes(disk), "stopped"))
		w.untouched(t, disk)
	})
	story("a disk attached to another guest lives with it", func(t *testing.T) {
		disk := w.stopped(107, "vm-107-disk-0")
		require.NoError(t, w.a.AddVM(108, "vm-107-disk-0"))
		w.start(w.a, 108)
		before := len(w.snapshots(disk))
		w.snap(w.a, "f100")
		assert.Len(t, w.snapshots(disk), before+1)
		w.stop(w.a, 108)
		w.untouched(t, disk)
		require.NoError(t, w.a.RemoveGuest(108))
		w.final(t, disk)
	})
	story("a crashed guest's pid file proves nothing", func(t *testing.T) {
		w.vm(109, "vm-109-disk-0")
		w.start(w.a, 109)
		w.snap(w.a, "f100")
		require.NoError(t, w.a.KillGuest(109))
		w.final(t, "ta/data/vm-109-disk-0")
	})
	story("a disk that is never snapshotted keeps its label true", func(t *testing.T) {
		w.vm(110, "vm-110-disk-0")
		w.zfs("set", "label:nosnap=true", "ta/data/vm-110-disk-0")
		w.start(w.a, 110)
		w.snap(w.a, "f100")
		assert.Equal(t, "pve-a", w.label("ta/data/vm-110-disk-0"))
		w.stop(w.a, 110)
		w.snap(w.a, "f100")
		assert.Equal(t, "stopped", w.label("ta/data/vm-110-disk-0"))
		assert.Empty(t, w.snapshots("ta/data/vm-110-disk-0"))
	})
}

// write changes a volume's content and waits until the change is on the pool.
func (w *world) write(dataset string) {
	w.t.Helper()
	_, err := w.c.Output(w.ctx, "dd", "if=/dev/urandom", "of=/dev/zvol/"+dataset, "bs=64k", "count=4", "conv=fsync", "status=none")
	require.NoError(w.t, err)
	_, err = w.c.Output(w.ctx, "zpool", "sync", "ta")
	require.NoError(w.t, err)
}

// TestBoot: while the host boots, every guest looks stopped, but snap treats none as stopped.
func TestBoot(t *testing.T) {
	w := newWorld(t)
	disk := w.stopped(100, "vm-100-disk-0")
	require.NoError(t, w.a.WriteFile("/etc/snapwatch/config.yaml", quick+"boot_grace: 2d\n"))
	w.untouched(t, disk)
	require.NoError(t, w.a.WriteFile("/etc/snapwatch/config.yaml", quick))
	w.final(t, disk)
}

// TestFullHostname: labels hold Proxmox's node name; snap also accepts a label with the node's full
// host name as its own.
func TestFullHostname(t *testing.T) {
	w := newWorld(t)
	_, err := w.a.Output(w.ctx, "hostname", "pve-a.example.org")
	require.NoError(t, err)
	w.vm(100, "vm-100-disk-0")
	disk := "ta/data/vm-100-disk-0"
	w.zfs("set", "label:running=pve-a.example.org", disk)
	w.start(w.a, 100)
	w.snap(w.a, "f100")
	require.Len(t, w.snapshots(disk), 1)
	w.stop(w.a, 100)
	w.final(t, disk)
}

// TestMove: after a guest has moved to the second node, snap on the first node leaves the guest
// alone. After the guest has moved back, the label of the guest's disk names the first node again.
func TestMove(t *testing.T) {
	w := newWorld(t)
	w.vm(100, "vm-100-disk-0")
	diskA, diskB := "ta/data/vm-100-disk-0", "tb/data/vm-100-disk-0"
	w.start(w.a, 100)
	w.snap(w.a, "f100")
	w.send(diskA, diskB, "--sendoptions=p")
	require.Equal(t, "pve-a", w.label(diskB))

	w.stop(w.a, 100)
	require.NoError(t, w.a.MoveGuestTo(100, w.b))
	w.start(w.b, 100)
	w.snap(w.b, "f100")
	require.Equal(t, "pve-b", w.label(diskB))
	w.untouched(t, diskA)
	w.send(diskB, diskA, "--sendoptions=p")
	// On A, the disk's local label masks the received label until snap on A runs zfs inherit -S.
	w.snap(w.a, "f100")
	assert.Equal(t, "pve-b", w.label(diskA))

	// The guest moves back to A.
	w.stop(w.b, 100)
	require.NoError(t, w.b.MoveGuestTo(100, w.a))
	w.start(w.a, 100)
	w.snap(w.a, "f100")
	require.Equal(t, "pve-a", w.label(diskA))
	w.send(diskA, diskB, "--sendoptions=p")
	w.snap(w.b, "f100")
	assert.Equal(t, "pve-a", w.label(diskB))
}

// TestMovedWhileOff: the disk of a guest that is off has the label of another node of the cluster;
// snap treats the disk as this node's own only if adopt_peer_labels is set.
func TestMovedWhileOff(t *testing.T) {
	w := newWorld(t)
	w.vm(100, "vm-100-disk-0")
	disk := "ta/data/vm-100-disk-0"
	for _, label := range []string{"pve-b", "elsewhere"} {
		w.zfs("set", "label:running="+label, disk)
		w.untouched(t, disk)
	}
	w.zfs("set", "label:running=pve-b", disk)
	require.NoError(t, w.a.WriteFile("/etc/snapwatch/config.yaml", quick+"adopt_peer_labels: true\n"))
	w.final(t, disk)
}

// TestReceiving: snap leaves alone a disk that is received from elsewhere, whether the receive is
// finished or not.
func TestReceiving(t *testing.T) {
	w := newWorld(t)
	w.vm(100, "vm-100-disk-0")
	disk := "ta/data/vm-100-disk-0"
	w.write(disk)
	w.start(w.a, 100)
	w.snap(w.a, "f100")
	require.NoError(t, w.b.AddVM(101, "vm-101-disk-0"))
	first := disk + "@" + w.snapshots(disk)[0]
	// The first receive is cut off and leaves a token for resuming the receive.
	_, err := w.a.Run(w.ctx, "sh", "-c", "zfs send "+first+" | head -c 100000 | zfs receive -s tb/data/vm-101-disk-0")
	require.NoError(t, err)
	token, _, err := site.Property(w.ctx, "tb/data/vm-101-disk-0", "receive_resume_token")
	require.NoError(t, err)
	require.NotEqual(t, "-", token)
	w.run(w.b, "snap", "f100")
	assert.Empty(t, w.snapshots("tb/data/vm-101-disk-0"))
	assert.Equal(t, "-", w.label("tb/data/vm-101-disk-0"))
}
