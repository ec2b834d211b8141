package scan

import (
	"time"

	"snapwatch/checker"
	"snapwatch/internal/zfs"
)

// leftFor is the time after which a disk counts as a copy, if its guest has left this node or
// cluster and the disk is still here. If a disk that counts as a copy disappears, check reports the
// disk as missing.
const leftFor = 24 * time.Hour

// Guests says on which nodes of this host's cluster the guests are configured.
type Guests struct {
	// Here (a field) is the name of this host as a node of its cluster.
	Here string
	// Node returns the node on which the guest of a disk is configured. Node returns "" if no
	// node has the guest, or if the disk is a copy from another cluster, where the VMID belongs
	// to another guest.
	Node func(dataset string, vmid int) string
}

// Settled returns s without the disks that disappeared together with their guests: a guest of this
// node was migrated or destroyed, or a guest of another node of this cluster was destroyed. The
// disks that disappeared with their guests are recorded as forgotten, so that other inventories do
// not report these disks either. For each disk that remains in the inventory, Settled stores the
// node on which the disk's guest is configured. The result `changed` is true if anything changed.
// If the inventory changed, Settled returns a changed copy of s. Disks of pools that were not read
// are unchanged.
func (s Inventory) Settled(pools []checker.Pool, g Guests, now time.Time) (settled Inventory, changed bool) {
	disks, forgotten := map[string]KnownDisk{}, map[string]time.Time{}
	read := newReading(pools)
	for name, disk := range s.Disks {
		if !read.looked(name, disk) || read.pools[zfs.Pool(name)].Problem != "" {
			continue
		}
		vmid, _, _ := zfs.ParseDiskName(zfs.Base(name))
		next := disk.follow(g.Node(name, vmid), g.Here, now)
		switch {
		case !read.here[name] && !next.Left.IsZero():
			forgotten[name] = now
		case read.here[name] && next != disk:
			disks[name] = next
		}
	}
	if len(disks)+len(forgotten) == 0 {
		return s, false
	}
	return Inventory{Disks: disks, Forgotten: forgotten, Lost: s.Lost}.With(s, now), true
}

// follow returns the inventory's entry of a disk, with new values of Node and Left. The argument
// node is the node on which the disk's guest is configured now.
func (disk KnownDisk) follow(node, here string, now time.Time) KnownDisk {
	left := disk.Node != "" && node != disk.Node && (disk.Node == here || node == "")
	switch {
	case !left || (!disk.Left.IsZero() && now.Sub(disk.Left).Abs() > leftFor):
		disk.Node, disk.Left = node, time.Time{}
	case disk.Left.IsZero():
		disk.Left = now
	}
	return disk
}
