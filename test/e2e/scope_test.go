//go:build e2e

package e2e

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/test/site"
)

// TestOnlyDisksOfTheStorage: snap never touches a dataset that only looks like a guest's disk.
func TestOnlyDisksOfTheStorage(t *testing.T) {
	w := newWorld(t)
	w.vm(100, "vm-100-disk-0")
	others := []string{"ta/data/xvm-100-disk-0", "ta/backup/vm-100-disk-0", "ta/data/vm-100-cloudinit", "ta/data/vm-100-state-x", "ta/data/sub/vm-100-disk-0", "tb/data/vm-100-disk-0"}
	for _, dataset := range others {
		require.NoError(t, site.CreateZvol(w.ctx, dataset, 8))
	}
	// snap reports a disk that it cannot protect: a volume on another storage.
	require.NoError(t, w.a.SetOption(100, "scsi5", "nfs:100/vm-100-disk-9.qcow2,size=1G"))
	w.start(w.a, 100)
	r := w.run(w.a, "snap", "f4", "-v")
	require.Zero(t, r.Code)
	assert.Contains(t, r.Stdout, `guest 100 runs, and nfs:vm-100-disk-9.qcow2 is not protected: storage "nfs" is not a ZFS storage of this node`)
	w.stop(w.a, 100)
	w.snap(w.a, "f4")
	require.Equal(t, []string{"frequently", "stopped"}, w.classes("ta/data/vm-100-disk-0"))
	for _, dataset := range others {
		assert.Empty(t, w.snapshots(dataset))
		assert.Equal(t, "-", w.label(dataset))
	}
}

// TestLabelThatGarblesTheList: a label, which a received stream may have set, can contain line
// ends. snap leaves a disk with such a label alone and reports the disk; all other disks get their
// snapshots.
func TestLabelThatGarblesTheList(t *testing.T) {
	w := newWorld(t)
	for vmid := 100; vmid <= 102; vmid++ {
		w.vm(vmid, fmt.Sprintf("vm-%d-disk-0", vmid))
		w.start(w.a, vmid)
	}
	garbled := "ta/data/vm-101-disk-0"
	w.zfs("set", "label:running=a\n"+garbled+"\tlabel:nosnap\t-\tlocal", garbled)
	r := w.run(w.a, "snap", "f4")
	assert.Equal(t, 1, r.Code)
	assert.Contains(t, r.Stderr, garbled+" is left alone")
	assert.Empty(t, w.snapshots(garbled))
	for _, disk := range []string{"ta/data/vm-100-disk-0", "ta/data/vm-102-disk-0"} {
		assert.Len(t, w.snapshots(disk), 1)
		assert.Equal(t, "pve-a", w.label(disk))
	}
	w.zfs("inherit", "label:running", garbled)
	w.snap(w.a, "f4")
	assert.Len(t, w.snapshots(garbled), 1)
	assert.Equal(t, "pve-a", w.label(garbled))
}

// TestUnnamedClassesStay: the retention "f4" names only the class frequently, so snap destroys no
// snapshot of any other class.
func TestUnnamedClassesStay(t *testing.T) {
	w := newWorld(t)
	w.vm(100, "vm-100-disk-0")
	w.start(w.a, 100)
	disk := "ta/data/vm-100-disk-0"
	keep := []string{
		"autosnap_2025-01-01_00:00:00_daily", "autosnap_2025-01-02_00:00:00_daily", "autosnap_2025-01-02_01:00:00_hourly",
		"autosnap_2025-01-02_00:00:01_monthly", "autosnap_2025-01-03_00:00:00_frequently-keep", "before-upgrade",
		"syncoid_c_2025-01-01", "__replicate_100-0_1__", "xautosnap_2025-01-01_00:00:00_frequently",
	}
	for _, name := range keep {
		w.zfs("snapshot", disk+"@"+name)
	}
	for range 7 {
		w.snap(w.a, "f4")
	}
	names := w.snapshots(disk)
	for _, name := range keep {
		assert.Contains(t, names, name)
	}
	assert.Len(t, names, len(keep)+4, "the newest 4 are kept: %v", names)
}

// TestDryRunChangesNothing: --dry-run prints the planned changes and their reasons.
func TestDryRunChangesNothing(t *testing.T) {
	w := newWorld(t)
	w.vm(100, "vm-100-disk-0")
	w.start(w.a, 100)
	r := w.run(w.a, "snap", "f4", "--dry-run")
	assert.Zero(t, r.Code)
	assert.Contains(t, r.Stdout, "snapshot ta/data/vm-100-disk-0@autosnap_")
	assert.Contains(t, r.Stdout, "running=pve-a")
	assert.Empty(t, w.snapshots("ta/data/vm-100-disk-0"))
	assert.Equal(t, "-", w.label("ta/data/vm-100-disk-0"))
}
