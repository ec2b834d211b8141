package snapper

import (
	"fmt"
	"slices"
	"strings"

	"snapwatch/internal/pve"
	"snapwatch/internal/zfs"
)

// Unblocking lists the snapshots and bookmarks that must be destroyed on a guest's disks before
// Proxmox can roll the disks back to a snapshot.
type Unblocking struct {
	Kind  pve.Kind
	Disks []UnblockDisk
	// Refusals are the reasons why nothing may be destroyed, whatever the user asks for.
	Refusals []string
}

// UnblockDisk lists the snapshots and bookmarks that must be destroyed on one disk.
type UnblockDisk struct {
	Dataset string
	// Snapshots and Bookmarks are the managed snapshots and bookmarks of the disk that are newer
	// than the snapshot to roll back to.
	Snapshots, Bookmarks []zfs.Snapshot
	// Base is the newest managed snapshot or bookmark that remains on the disk after unblock. After
	// unblock, a receiver can continue the replication of the disk from Base. If no managed
	// snapshot or bookmark remains, Base.Name is "".
	Base zfs.Snapshot
	// BaseIsBookmark is true if Base is a bookmark, and false if Base is a snapshot.
	BaseIsBookmark bool
}

// PlanUnblock lists, for each disk that has the snapshot, the newer snapshots and bookmarks that
// may be destroyed. Proxmox refuses a rollback to a snapshot if the disk has a newer snapshot.
// Proxmox does not check for newer bookmarks, which make zfs rollback fail half way.
func PlanUnblock(disks []Disk, snapshot string) Unblocking {
	var u Unblocking
	for i := range disks {
		d := &disks[i]
		if d.Problem != "" { // the snapshots and bookmarks of this disk are unknown
			u.Refusals = append(u.Refusals, d.Name+" could not be read: "+d.Problem)
			continue
		}
		at := slices.IndexFunc(d.Snapshots, func(s zfs.Snapshot) bool { return s.Name == snapshot })
		if at < 0 {
			continue
		}
		if d.State == Disputed {
			u.Refusals = append(u.Refusals, d.Name+" may be another guest's: "+d.Why)
		}
		if d.Inconsistent || d.ResumeToken {
			u.Refusals = append(u.Refusals, d.Name+": a receive is not finished: this is a copy")
		}
		u.Disks = append(u.Disks, u.disk(d, d.Snapshots[at]))
	}
	if len(u.Disks) == 0 {
		u.Refusals = append(u.Refusals, fmt.Sprintf("no disk of the guest has a snapshot %q", snapshot))
	}
	return u
}

// disk divides the snapshots and bookmarks of one disk into two sets: those older than the snapshot
// to roll back to, and those newer than it. unblock does not refuse to work because of a newer
// snapshot of Proxmox's own replication, which Proxmox itself removes.
func (u *Unblocking) disk(d *Disk, to zfs.Snapshot) UnblockDisk {
	result := UnblockDisk{Dataset: d.Name}
	for _, s := range d.Snapshots {
		_, ours := s.Class()
		s.Dataset = d.Name
		switch {
		case ours && s.CreateTXG <= to.CreateTXG:
			result.Base = s
		case s.CreateTXG <= to.CreateTXG, strings.HasPrefix(s.Name, pvesrPrefix):
		case ours:
			result.Snapshots = append(result.Snapshots, s)
		default:
			u.Refusals = append(u.Refusals, fmt.Sprintf("%s is newer and not managed: destroy it yourself, if nothing needs it", s.FullName()))
		}
	}
	for _, b := range d.Bookmarks {
		_, ours := b.Class()
		b.Dataset = d.Name
		switch {
		case ours && b.CreateTXG <= to.CreateTXG:
			if b.CreateTXG > result.Base.CreateTXG {
				result.Base, result.BaseIsBookmark = b, true
			}
		case b.CreateTXG <= to.CreateTXG:
		case ours:
			result.Bookmarks = append(result.Bookmarks, b)
		default:
			u.Refusals = append(u.Refusals, fmt.Sprintf("%s#%s is newer and not managed: zfs rollback would fail because of it", b.Dataset, b.Name))
		}
	}
	return result
}

// Names returns the full names of the snapshots that must be destroyed in one pool.
func (u Unblocking) Names(pool string) []string {
	var names []string
	for _, d := range u.Disks {
		for _, s := range d.Snapshots {
			if zfs.Pool(d.Dataset) == pool {
				names = append(names, s.FullName())
			}
		}
	}
	return names
}

// Marks returns those bookmarks on a pool that must be destroyed before the rollback.
func (u Unblocking) Marks(pool string) []zfs.Snapshot {
	var marks []zfs.Snapshot
	for _, d := range u.Disks {
		if zfs.Pool(d.Dataset) == pool {
			marks = append(marks, d.Bookmarks...)
		}
	}
	return marks
}

// RefusePinned adds a refusal for each snapshot that must be destroyed but has a hold or a clone.
// If one snapshot cannot be destroyed, the rollback is impossible, so destroying the remaining
// snapshots would be useless.
func (u *Unblocking) RefusePinned(pins map[string]zfs.Pin) {
	for _, d := range u.Disks {
		for _, s := range d.Snapshots {
			name, pin := s.FullName(), pins[s.FullName()]
			if pin.Held {
				u.Refusals = append(u.Refusals, fmt.Sprintf("%s has a hold (zfs holds %s lists its tags; zfs release TAG %s ends that)", name, name, name))
			}
			if len(pin.Clones) > 0 {
				u.Refusals = append(u.Refusals, fmt.Sprintf("%s has a clone, which must be destroyed or promoted first: %s", name, strings.Join(pin.Clones, ", ")))
			}
		}
	}
}

// Baseless returns the disks on which unblock would leave no managed snapshot or bookmark.
func (u Unblocking) Baseless() []string {
	var names []string
	for _, d := range u.Disks {
		if d.Base.Name == "" {
			names = append(names, d.Dataset)
		}
	}
	return names
}

// Empty reports whether no snapshot or bookmark must be destroyed before the rollback.
func (u Unblocking) Empty() bool {
	return !slices.ContainsFunc(u.Disks, func(d UnblockDisk) bool { return len(d.Snapshots)+len(d.Bookmarks) > 0 })
}
