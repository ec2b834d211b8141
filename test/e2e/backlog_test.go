//go:build e2e

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/zfs"
	"snapwatch/test/site"
)

// expired takes n snapshots of each of the given disks on A, under names of the last n minutes; one
// zfs command takes the snapshots of all disks under one name.
func (w *world) expired(n int, disks ...string) (names []string) {
	w.t.Helper()
	now := time.Now().UTC()
	for i := range n {
		name := zfs.FormatSnapshotName(now.Add(time.Duration(i-n-1)*time.Minute), zfs.Frequently)
		argv := []string{"snapshot"}
		for _, d := range disks {
			argv = append(argv, "ta/data/"+d+"@"+name)
		}
		w.zfs(argv...)
		names = append(names, name)
	}
	return names
}

// TestHeldTakeNobodysTurn: each run tries to destroy expired snapshots that have holds. ZFS refuses
// to destroy snapshots with holds, and a refused destroy does not count towards max_destroys.
func TestHeldTakeNobodysTurn(t *testing.T) {
	const each, most = heldSnapshots / heldDisks, 20
	w := newWorld(t)
	var disks []string
	for i := range heldDisks {
		disks = append(disks, fmt.Sprintf("subvol-100-disk-%d", i))
		require.NoError(t, site.CreateFilesystem(w.ctx, "ta/data/"+disks[i]))
	}
	require.NoError(t, w.a.AddContainer(100, disks...))
	w.container(101, "subvol-101-disk-0")
	w.start(w.a, 100)
	w.start(w.a, 101)
	hold := []string{"hold", "keep"}
	for _, name := range w.expired(each, disks...) {
		for _, disk := range disks {
			hold = append(hold, "ta/data/"+disk+"@"+name)
		}
	}
	w.zfs(hold...)
	w.expired(12, "subvol-101-disk-0")
	require.NoError(t, w.a.WriteFile("/etc/snapwatch/config.yaml", fmt.Sprintf("%smax_destroys: %d\n", quick, most)))
	begun := time.Now()
	r := w.run(w.a, "snap", "f1", "--no-cron", "-v")
	t.Logf("%d held, in %s", len(hold)-2, time.Since(begun))
	assert.Zero(t, r.Code)
	assert.Equal(t, heldDisks, strings.Count(r.Stderr, " more are kept: it has a hold"), "once for each disk")
	assert.Len(t, w.snapshots("ta/data/subvol-101-disk-0"), 1)
	for _, disk := range disks {
		assert.Len(t, w.snapshots("ta/data/"+disk), each+1)
	}
}

// TestPruneOnANode: if Proxmox replicates a guest to this node, prune leaves the guest's copy
// alone. If Proxmox replicates the guest to a different node, prune rotates the copy. prune
// destroys a snapshot of a copy in a storage of the node only after snap has bookmarked the
// snapshot. If the copy is in no storage, prune does not wait for bookmarks.
func TestPruneOnANode(t *testing.T) {
	w := newWorld(t)
	w.zfs("create", "tb/in")
	require.NoError(t, w.b.WriteFile("/etc/snapwatch/config.yaml", quick+"datasets: [tb/data]\nreplicas: [tb/in]\n"))
	w.container(100, "subvol-100-disk-0")
	w.start(w.a, 100)
	a, b, in := "ta/data/subvol-100-disk-0", "tb/data/subvol-100-disk-0", "tb/in/subvol-100-disk-0"
	w.days(w.a, 5, 2, "f100")
	carried := "__replicate_100-0_1784000000__"
	w.zfs("snapshot", a+"@"+carried)
	w.snap(w.a, "f100")
	w.send(a, b)
	w.send(a, in)
	had := w.snapshots(b)
	require.Len(t, had, 12)

	replicate := func(to string) {
		require.NoError(t, w.b.WriteFile("/etc/pve/replication.cfg", "local: 100-0\n\ttarget "+to+"\n\tschedule */15\n"))
	}
	prune := func() site.Result {
		r := w.run(w.b, "prune", "f1", "-v")
		require.Zero(t, r.Code)
		return r
	}
	replicate("pve-b")
	r := prune()
	assert.Contains(t, r.Stdout, b+": untouched: Proxmox replicates it ("+carried+")")
	assert.Equal(t, had, w.snapshots(b))
	left := w.snapshots(in)
	assert.Less(t, len(left), 6, "nobody makes bookmarks there, so that none is waited for")
	assert.Contains(t, left, carried)
	assert.Empty(t, w.bookmarks(in))

	replicate("pve-a")
	prune()
	waits := w.snapshots(b)
	assert.Less(t, len(waits), len(had))
	for _, day := range firstsOfDays(had) {
		assert.Contains(t, waits, day, "it waits for its bookmark")
	}
	w.snap(w.b, "f100")
	require.NotEmpty(t, w.bookmarks(b))
	prune()
	assert.Equal(t, left, w.snapshots(b))
	w.send(a, in)
	w.send(a, b)
}

// TestDisksInArgs: a volume that a guest's configuration names only in args, among QEMU's own
// options, belongs to the guest. prune leaves such a volume alone, even if it was received, and
// snap gives it the guest's snapshots and label.
func TestDisksInArgs(t *testing.T) {
	w := newWorld(t)
	w.zfs("create", "tb/in")
	w.vm(100, "vm-100-disk-0")
	w.start(w.a, 100)
	own, copied := "ta/data/vm-100-disk-0", "tb/in/vm-300-disk-0"
	w.days(w.a, 5, 2, "f100")
	w.send(own, copied)
	w.send(own, "tb/in/vm-301-disk-0")
	require.NoError(t, w.b.WriteFile("/etc/snapwatch/config.yaml", quick+"datasets: [tb/in]\n"))
	require.NoError(t, w.b.WriteFile("/etc/pve/nodes/pve-b/qemu-server/200.conf", "name: raw\nargs: -drive file=/dev/zvol/"+copied+",if=virtio,format=raw\n"))
	had := w.snapshots(copied)
	r := w.run(w.b, "prune", "f1", "-v")
	require.Zero(t, r.Code)
	assert.Contains(t, r.Stdout, copied+": untouched: not a copy: it belongs to guest 200 of this node")
	assert.Equal(t, had, w.snapshots(copied))

	// No guest has the number 900 of the volume's name, and the guest's configuration names the
	// volume only in args, not as a disk.
	require.NoError(t, site.CreateZvol(w.ctx, "ta/data/vm-900-disk-0", 16))
	text, err := w.a.Output(w.ctx, "cat", "/etc/pve/nodes/pve-a/qemu-server/100.conf")
	require.NoError(t, err)
	require.NoError(t, w.a.WriteFile("/etc/pve/nodes/pve-a/qemu-server/100.conf", text+"args: -drive file=/dev/zvol/ta/data/vm-900-disk-0,if=virtio\n"))
	w.snap(w.a, "f100")
	assert.Len(t, w.snapshots("ta/data/vm-900-disk-0"), 1)
	assert.Equal(t, "pve-a", strings.TrimSpace(w.zfs("get", "-H", "-o", "value", "label:running", "ta/data/vm-900-disk-0")))
}

// firstsOfDays returns the first managed snapshot name of each day.
func firstsOfDays(names []string) (firsts []string) {
	for _, name := range names {
		if day, _, ours := strings.Cut(strings.TrimPrefix(name, "autosnap_"), "_"); ours && strings.HasPrefix(name, "autosnap_") &&
			!slices.ContainsFunc(firsts, func(f string) bool { return strings.HasPrefix(f, "autosnap_"+day) }) {
			firsts = append(firsts, name)
		}
	}
	return firsts
}
