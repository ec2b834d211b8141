package scan

import (
	"time"

	"snapwatch/checker"
	"snapwatch/internal/zfs"
)

// leftFor is how long a disk may stay after its guest left this node or its cluster, until it
// counts as a copy that stays, which is missed when it is gone.
const leftFor = 24 * time.Hour

// Guests say on which node of this host's cluster guests are configured.
type Guests struct {
	// Here is this host's own node.
	Here string
	// Node returns the node that has the guest of a disk, "" if none has or if the disk is a
	// copy from elsewhere, whose number says nothing.
	Node func(dataset string, vmid int) string
}

// Settled returns s without the disks that are gone because their guests are: a guest that
// was configured here was migrated or destroyed, or one of a node beside this was destroyed.
// They are forgotten, so that whoever remembers them, too, does not miss them. It keeps with
// each disk where its guest is configured, and reports whether anything changed. If so, the
// result is a copy. Of a pool that was not read now it knows nothing.
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

// follow returns the disk whose guest is now configured on node.
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
