// Package checker judges disks, guests and pools on a host that has copies: the age of each
// disk's newest snapshot, whether a guest can be started here, and whether a pool can be trusted.
// Package checker is pure: callers pass the facts about disks and pools, and the time.
//
// Package scan reads pools, remote asks other hosts, and format prints reports. The exporter uses
// the verdicts of package checker, so that a metric, a check and a page always agree.
//
// # Verdicts
//
// [Judge] decides on a disk, [Report.WithGuests] on guests, [JudgePool] on pools, each with a
// table of the same form (verdict.go, guestverdict.go, poolverdict.go). [Assemble] makes one
// [Report] of all verdicts.
//
// # Owners
//
// If the nodes that own the guests were asked, compare.go compares their answers with the copies.
// An owner's answer can make the state of a copy worse. An answer makes the state of a copy better
// in only one case: the owner says that its own disk is gone or excluded.
package checker

import (
	"strconv"
	"strings"
	"time"

	"snapwatch/internal/zfs"
)

// Disk contains the facts about a guest's disk, but no verdict.
type Disk struct {
	// Dataset is the full name of the disk.
	Dataset string
	VMID    int
	// Template is true for a disk of a Proxmox template, which does not change any more.
	Template bool
	// GUID is the guid of the dataset, 0 if the guid was not read. A rename of the dataset does not
	// change the guid.
	GUID uint64
	// Origin is the snapshot from which the dataset was cloned, "" if the dataset is not a clone.
	Origin string
	// Created is the time at which the dataset was made here, by this host's clock.
	Created time.Time
	// Newest is the disk's managed snapshot with the highest createtxg, nil if there is none.
	Newest *zfs.Snapshot
	// NewestOfAny is the name of the disk's newest snapshot, managed or not, "" if there is none.
	NewestOfAny string
	// Receiving is true while the dataset's first receive is not finished.
	Receiving bool
	// PendingReceive is true if a receive into the disk is running or waits to be resumed. ZFS
	// shows a pending receive only if the receive is resumable (zfs receive -s).
	PendingReceive bool
	// PendingSince is the time of the first scan that saw the pending receive; zero if unknown.
	PendingSince time.Time
	// PendingSnapshot is the name, on the sending host, of the snapshot that the pending receive
	// transfers; "" if unknown. The receive can be resumed only while the sending host has the
	// snapshot PendingSnapshot.
	PendingSnapshot string
	// Running and NoSnap are the disk's properties label:running and label:nosnap.
	Running, NoSnap zfs.Property
	// Owned says whether the disk's guest is configured on this host. The labels of a disk count only
	// if its guest is configured here.
	Owned Ownership
	// Changed is the time at which a snapshot was last made or destroyed here, by this host's
	// clock; zero if unknown, for example with an OpenZFS before 2.2.
	Changed time.Time
	// ReadAt is the time at which the facts about the disk were read.
	ReadAt time.Time
	// HostClock is the latest time that this host's clock wrote into the dataset's properties.
	HostClock time.Time
	// Gone is true for a disk that was here before and does not exist any more.
	Gone bool
	// WasWhole is true if the disk is a clone that has no snapshot now, but was seen with snapshots
	// of its own before.
	WasWhole bool
	// Problem says why the disk could not be read, "" if the disk was read.
	Problem string
	// Damaged describes the permanent errors that ZFS reports in the disk, "" for none.
	Damaged string
	// Looked is the result of extra lookups of snapshots for judging the disk's guest, nil if no
	// lookup was made.
	Looked *Looked
	// Unlisted says why the disk's snapshots were not listed since their last change, "" if they
	// were listed. If Unlisted is not empty, the disk may have managed snapshots newer than
	// Newest.
	Unlisted string
}

// Name returns the last component of the disk's dataset name, for example vm-100-disk-0.
func (d Disk) Name() string { return zfs.Base(d.Dataset) }

// BareClone reports whether the disk is a clone that was never seen with a snapshot of its own. A
// clone without a snapshot of its own is not a copy: somebody made the clone to try something.
func (d Disk) BareClone() bool { return d.Origin != "" && d.NewestOfAny == "" && !d.WasWhole }

// GuestID returns the id of the disk's guest in Proxmox's API, for example qemu/100.
func (d Disk) GuestID() string {
	kind := "qemu"
	if name := d.Name(); strings.HasPrefix(name, "subvol-") || strings.HasPrefix(name, "basevol-") {
		kind = "lxc"
	}
	return kind + "/" + strconv.Itoa(d.VMID)
}

// Suffix returns the class of the disk's newest managed snapshot. If the disk has no managed
// snapshot, Suffix is "other" if the disk has other snapshots, and "none" if the disk has no
// snapshot.
func (d Disk) Suffix() string {
	switch {
	case d.Newest != nil:
		if class, ok := d.Newest.Class(); ok {
			return class.String()
		}
		return SuffixOther
	case d.NewestOfAny != "":
		return SuffixOther
	}
	return SuffixNone
}

// SuffixOther and SuffixNone are the suffixes of disks without a managed snapshot.
const (
	SuffixOther = "other"
	SuffixNone  = "none"
)

// Suffixes returns all values that [Disk.Suffix] may return.
func Suffixes() []string {
	all := []string{zfs.Stopped.String()}
	for _, c := range zfs.Rotating() {
		all = append(all, c.String())
	}
	return append(all, SuffixOther, SuffixNone)
}

// Pool is the result of one scan of a pool.
type Pool struct {
	Name string
	// GUID is the guid of the pool, which is unchanged under another name; 0 if unknown.
	GUID uint64
	// ReadAt is the time at which the pool's disks were read, zero if never.
	ReadAt time.Time
	// Took is the duration of the scan of the pool.
	Took time.Duration
	// Missing is true if the pool is not imported.
	Missing bool
	// Problem says why the scan of the pool failed, "" if the scan succeeded.
	Problem string
	// ZFSState is the kernel's word for the pool's state, for example ONLINE, DEGRADED or SUSPENDED;
	// "" if unknown.
	ZFSState string
	// Health is the pool's health according to zpool, nil if the health was not read.
	Health *Health
	// Unfinished is true if the last finished scan of the pool succeeded and a new scan is still
	// running.
	Unfinished bool
	// MissingRoots has the datasets in this pool that the configuration names and that do not
	// exist.
	MissingRoots []string
	// Remarks describe faults of the pool that do not prevent a verdict on any of the pool's disks.
	Remarks []string
	Disks   []Disk
}
