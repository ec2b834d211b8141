package zfs

import (
	"strings"
	"testing"
)

// FuzzNames checks the functions that parse names of snapshots and disks, because these functions
// decide what may be destroyed. A managed name must consist of its time and class only, a disk's
// name must contain its VMID, and names that zfs would read as more than one name must be refused.
func FuzzNames(f *testing.F) {
	for _, name := range []string{
		"autosnap_2026-01-31_12:00:00_daily", "autosnap_2026-01-31_12:00:00_stopped", "autosnap_2026-01-31_12:00:00_daily_x",
		"vm-100-disk-0", "subvol-200-disk-1", "base-1-disk-0", "vm-100-cloudinit", "vm-0-disk-0", "tank/a@b", "-r", "a,b", "a%b", "../x", "",
	} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if class, managed := ParseSnapshotName(name); managed {
			at, err := ParseSnapshotTime(name)
			if err == nil && FormatSnapshotName(at, class) != name {
				t.Errorf("%q is managed, but not what is written for its time and class", name)
			}
			if strings.ContainsAny(name, "@#/%, \n\t") {
				t.Errorf("%q is managed", name)
			}
		}
		if vmid, _, disk := ParseDiskName(name); disk && (vmid <= 0 || strings.ContainsAny(name, "@#/%, \n\t")) {
			t.Errorf("%q is a disk of guest %d", name, vmid)
		}
		if ValidDataset(name) && strings.ContainsAny(name, "@#%,\n\t") {
			t.Errorf("%q is a valid dataset", name)
		}
		if ValidSnapshot("tank/vm-1-disk-0", name) && (name == "" || strings.ContainsAny(name, "@#/%,\n\t")) {
			t.Errorf("%q is a valid snapshot name", name)
		}
		parseVersions(name)
	})
}
