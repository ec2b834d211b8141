package format

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"snapwatch/checker"
	"snapwatch/config"
	"snapwatch/internal/zfs"
)

var update = flag.Bool("update", false, "write the golden files again")

// golden compares the text got with a file in testdata; with -update, golden writes the file.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, []byte(got), 0o600))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}

const (
	minute = time.Minute
	hour   = time.Hour
	day    = 24 * time.Hour
)

// now is the present time in all tests of this package.
var now = time.Date(2026, 3, 29, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) time.Time { return now.Add(-d) }

// managed returns a managed snapshot with the given class and age.
func managed(class zfs.Class, age time.Duration) *zfs.Snapshot {
	return &zfs.Snapshot{Name: zfs.FormatSnapshotName(ago(age), class), GUID: 7, CreateTXG: 9, Creation: ago(age)}
}

// aDisk returns a disk whose newest managed snapshot has the given class and age.
func aDisk(vmid string, class zfs.Class, age time.Duration, change ...func(*checker.Disk)) checker.Disk {
	d := checker.Disk{Dataset: "tank/vm-" + vmid + "-disk-0", GUID: 5, Created: ago(100 * day), Newest: managed(class, age), ReadAt: now, HostClock: now}
	d.NewestOfAny = d.Newest.Name
	d.VMID, _, _ = zfs.ParseDiskName(d.Name())
	for _, c := range change {
		c(&d)
	}
	return d
}

func bare(d *checker.Disk) { d.Newest, d.NewestOfAny = nil, "" }

// somePolicy returns the default policy of check with some ignored disks and a limit for the age
// of the facts.
func somePolicy() checker.Policy {
	p := checker.NewPolicy(config.Default())
	p.MaxDataAge = 10 * minute
	p.Ignore = []string{"vm-901-disk-*"}
	return p
}

// someReport returns a report with a disk for nearly every verdict.
func someReport() checker.Report {
	moved := aDisk("5", zfs.Hourly, day)
	target := aDisk("5", zfs.Hourly, minute, func(d *checker.Disk) { d.Dataset = "fast/vm-5-disk-0" })
	pools := []checker.Pool{
		{Name: "fast", ReadAt: now, Disks: []checker.Disk{target}},
		{Name: "gone", Missing: true, Problem: "pool gone is not imported (zpool import gone)", Disks: []checker.Disk{
			{Dataset: "gone/vm-9-disk-0", VMID: 9, Gone: true},
		}},
		{Name: "tank", ReadAt: now, Took: 1500 * time.Millisecond, Disks: []checker.Disk{
			aDisk("1", zfs.Hourly, 3*hour+50*minute),
			aDisk("2", zfs.Stopped, 4*day),
			aDisk("3", zfs.Daily, 10*minute),
			aDisk("4", zfs.Hourly, 7*hour),
			moved,
			aDisk("901", zfs.Hourly, 9*day),
			aDisk("6", zfs.Hourly, 0, bare, func(d *checker.Disk) { d.Created = ago(hour) }),
			aDisk("7", zfs.Hourly, -day),
			aDisk("8", zfs.Stopped, 40*day),
		}, Remarks: []string{"labels not read"}},
		{Name: "weird", Problem: "zfs get: exit status 1: a | b\nc\xff"},
	}
	return checker.Assemble(pools, somePolicy(), now).WithGuests(somePolicy())
}

// namedReport returns a report after owners answered: its guests have names and several disks.
func namedReport() checker.Report {
	on := func(dataset string, vmid int, class zfs.Class, age time.Duration, change ...func(*checker.Disk)) checker.Disk {
		d := aDisk("1", class, age, change...)
		d.Dataset, d.VMID = dataset, vmid
		return d
	}
	backup := "backup/pve/"
	pools := []checker.Pool{{Name: "backup", ReadAt: now, Disks: []checker.Disk{
		on(backup+"vm-100-disk-0", 100, zfs.Hourly, 7*hour), on(backup+"vm-100-disk-1", 100, zfs.Hourly, 7*hour),
		on(backup+"vm-101-disk-0", 101, zfs.Hourly, 20*minute),
		on(backup+"vm-102-disk-0", 102, zfs.Stopped, 4*day),
		on(backup+"subvol-103-disk-0", 103, zfs.Hourly, 20*minute), on(backup+"subvol-103-disk-1", 103, zfs.Hourly, 3*hour+50*minute),
		on(backup+"vm-104-disk-0", 104, zfs.Hourly, 20*minute, func(d *checker.Disk) { d.Damaged = "permanent errors in its newest data" }),
		on(backup+"vm-105-disk-0", 105, zfs.Hourly, 20*minute),
	}}}
	p := checker.NewPolicy(config.Default())
	node := checker.NodeAnswer{Node: "pve1:10191", Now: now}
	for vmid, name := range map[int]string{100: "database", 101: "mail", 102: "old-shop", 103: "monitoring.example.org", 104: "gitlab", 105: "web"} {
		node.Guests = append(node.Guests, checker.OwnedGuest{VMID: vmid, Name: name})
	}
	for i, g := range node.Guests {
		if g.VMID == 105 {
			node.Guests[i].Disks = []checker.OwnedDisk{{Dataset: "rpool/data/vm-105-disk-0"}, {Dataset: "rpool/data/vm-105-disk-1", Created: ago(hour), Newest: ago(hour)}}
		}
	}
	said := map[string][]checker.Evidence{}
	for _, d := range pools[0].Disks {
		said[d.Dataset] = []checker.Evidence{{
			Node: node.Node, Owned: checker.Owned, Dataset: "rpool/data/" + d.Name(), GUID: 99, Newest: d.Newest, Presence: checker.AsSnapshot, PresenceGUID: d.Newest.GUID, Now: now,
		}}
	}
	return checker.Assemble(pools, p, now).WithOwners(p, said, node).WithGuests(p)
}

func goodReport() checker.Report {
	disks := []checker.Disk{aDisk("1", zfs.Hourly, 20*minute), aDisk("2", zfs.Stopped, day)}
	p := checker.NewPolicy(config.Default())
	return checker.Assemble([]checker.Pool{{Name: "tank", ReadAt: now, Disks: disks}}, p, now).WithGuests(p)
}
