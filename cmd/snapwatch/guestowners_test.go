package main

import (
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/checker"
	"snapwatch/internal/pve"
	"snapwatch/internal/zfstest"
)

// diskWith returns a disk that has an hourly snapshot of each of the given ages. Two disks with
// different seeds have different snapshots.
func diskWith(name string, seed uint64, ages ...time.Duration) zfstest.Dataset {
	d := zfstest.Dataset{Name: name, GUID: seed, Creation: 1, Changed: 1}
	for i, age := range ages {
		at := noon.Add(-age)
		d.Snapshots = append(d.Snapshots, zfstest.Snapshot{Name: "autosnap_" + at.Format("2006-01-02_15:04:05") + "_hourly",
			GUID: seed*1000 + uint64(i) + 1, TXG: uint64(1e6) - uint64(age/time.Second), Creation: at.Unix()})
	}
	return d
}

// nodeOf plays the node that has the given guests. The node has all disks that it is asked about,
// with no newer snapshots than the asking host. The node takes no snapshots of the disk whose name
// is the argument `excluded`.
func nodeOf(t *testing.T, excluded string, guests ...checker.OwnedGuest) *httptest.Server {
	return node(t, guests, func(d checker.CompareDisk) checker.ComparedDisk {
		c := checker.ComparedDisk{Owned: checker.Owned, Dataset: "rpool/data/" + d.Disk, GUID: 99, Newest: &d.Newest, Presence: checker.AsSnapshot, PresenceGUID: d.Newest.GUID}
		if d.Disk == excluded {
			c.Excluded = "label:nosnap=true"
		}
		return c
	})
}

// If the owner no longer takes snapshots of one disk of a guest, this disk does not count for the
// restore point of the guest's remaining disks.
func TestADiskThatItsOwnerExcludesIsNoPartOfThePoint(t *testing.T) {
	const h, m = time.Hour, time.Minute
	for name, c := range map[string]struct{ one, two, excluded []time.Duration }{
		"it has an older time in common": {[]time.Duration{8 * h, 7 * h, 35 * m, 20 * m, 5 * m}, []time.Duration{8 * h, 7 * h, 35 * m, 20 * m}, []time.Duration{8 * h}},
		"it has none in common":          {[]time.Duration{35 * m, 20 * m, 5 * m}, []time.Duration{35 * m, 20 * m}, []time.Duration{800 * h}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, diskWith("tank/vm-100-disk-0", 10, c.one...), diskWith("tank/vm-100-disk-1", 11, c.two...), diskWith("tank/vm-100-disk-2", 12, c.excluded...))
			node := nodeOf(t, "vm-100-disk-2")
			status, first := s.check("--owners", node.URL, "-vv")
			assert.Zero(t, status, first)
			assert.Contains(t, s.out.String(), "guest 100 whole: restore point 2026-03-29_11:40:00 is 20m old")
			s.look("explain", "100", "--owners", node.URL)
			assert.Contains(t, s.out.String(), "can be started here as of 2026-03-29 11:40:00, 20m ago")
		})
	}
}

// If check is called for a guest that has no disk on this host, check prints the disks that the
// guest has on its owner.
func TestCheckOfAGuestThatIsAbsent(t *testing.T) {
	s := newSite(t, diskWith("tank/vm-100-disk-0", 10, 5*time.Minute))
	day := noon.Add(-24 * time.Hour)
	disk := func(name string) []checker.OwnedDisk {
		return []checker.OwnedDisk{{Dataset: "rpool/data/" + name, Created: day, Newest: noon}}
	}
	node := nodeOf(t, "", checker.OwnedGuest{VMID: 100, Name: "web", Alive: true, Disks: disk("vm-100-disk-0")}, checker.OwnedGuest{VMID: 300, Name: "db", Alive: true, Disks: disk("vm-300-disk-0")})
	for _, args := range [][]string{{"--vmid", "300"}, {"--guest", "300"}, {"--guest", "db"}, {"--vmid", "300", "--guest", "db"}} {
		status, first := s.check(append(args, "--owners", node.URL)...)
		assert.Equal(t, 1, status, args)
		assert.Contains(t, first, "WARNING: 1 of 1 guests incomplete | ", args)
		assert.NotContains(t, s.out.String(), "no disk", args)
	}
	for _, args := range [][]string{{"--vmid", "300"}, {"--vmid", "301", "--owners", node.URL}, {"--vmid", "300", "--guest", "web", "--owners", node.URL}, {"--vmid", "300", "--pool", "tank", "--owners", node.URL}} {
		status, first := s.check(args...)
		assert.Equal(t, 3, status, "%s %s", args, first)
	}
}

// On the node that has the guest, the present configuration in /etc/pve says which disks the guest
// has. A disk was removed from the present configuration today, so the configuration that the day's
// first snapshot stores is outdated. check still takes the guest's name from the stored
// configuration.
func TestTheConfigurationOfAGuestOfThisHost(t *testing.T) {
	kept := pve.Capture(pve.ID{Kind: pve.QEMU, VMID: 100}, "a", "name: web\nscsi0: zfs:vm-100-disk-0\nscsi1: zfs:vm-100-disk-1\n", []pve.Storage{{Name: "zfs"}})
	value, err := kept.Value()
	require.NoError(t, err)
	d := diskWith("tank/vm-100-disk-0", 10, 9*time.Hour, 5*time.Minute)
	d.Snapshots[0].Config, d.Snapshots[1].Config = value, kept.Reference()
	s := newSite(t, d)
	status, _ := s.check()
	assert.Equal(t, 1, status, "the copy lacks disk 1")
	s.PVE.Etc = s.fake.Path("pve")
	require.NoError(t, os.MkdirAll(s.PVE.Etc+"/nodes/a/qemu-server", 0o755))
	require.NoError(t, os.Symlink("nodes/a", s.PVE.Etc+"/local"))
	require.NoError(t, os.WriteFile(s.PVE.Etc+"/nodes/a/qemu-server/100.conf", []byte("name: web\nscsi0: zfs:vm-100-disk-0\n"), 0o600))
	status, first := s.check("-vv", "--guest", "web")
	assert.Zero(t, status, first)
	assert.Contains(t, s.out.String(), "OK guest 100 (web) whole: ")
	s.look("status")
	assert.Contains(t, s.out.String(), "whole    100 (web)  1  ")
}
