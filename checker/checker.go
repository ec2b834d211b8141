// Package checker judges disks, guests and pools on a host that has copies: how old the
// newest snapshot of each disk is, whether a guest can be started here, and whether a pool can
// be trusted. It is pure: it gets what was read and the time.
//
// Package scan reads, remote asks other hosts, and format prints. The exporter uses the same
// verdicts, so that a metric, a check and a page cannot disagree.
//
// # Verdicts
//
// [Judge] decides on a disk, [Report.WithGuests] on guests, [JudgePool] on pools, each from a
// table of one form (verdict.go, guestverdict.go, poolverdict.go). [Assemble] puts all into one
// [Report].
//
// # Owners
//
// Where the owners of guests were asked, compare.go holds their answers against the copies. An
// answer can make a state worse. It makes one better only where the owner says that its disk is
// gone or left out.
package checker

import (
	"strconv"
	"strings"
	"time"

	"snapwatch/internal/zfs"
)

// Disk is what is known of a guest's disk, without an opinion.
type Disk struct {
	// Dataset is the disk's full name.
	Dataset string
	VMID    int
	// Template is true for a disk of a template: it does not change any more.
	Template bool
	// GUID is that of the dataset, 0 if it was not read. A renamed dataset keeps it.
	GUID uint64
	// Origin is the snapshot that the dataset was cloned from, "" if it was not.
	Origin string
	// Created is when the dataset was made here, by this host's clock.
	Created time.Time
	// Newest is the managed snapshot with the highest createtxg, nil if there is none.
	Newest *zfs.Snapshot
	// NewestOfAny is the name of the newest snapshot of whatever kind, "" if none.
	NewestOfAny string
	// Receiving is true while the dataset's first receive is not finished.
	Receiving bool
	// PendingReceive is true when a receive is under way or waits to be resumed, as
	// far as ZFS tells: it does so only for resumable ones.
	PendingReceive bool
	// PendingSince is when that was first seen of this newest snapshot; zero where nothing
	// remembers.
	PendingSince time.Time
	// PendingSnapshot is what is received then, with the name that the source gives it: the
	// source must still have it. "" where ZFS does not tell.
	PendingSnapshot string
	// Running and NoSnap are the labels.
	Running, NoSnap zfs.Property
	// Owned is whether the disk's guest is configured on this host: only then its labels
	// decide anything.
	Owned Ownership
	// Changed is when a snapshot last came or went here, by this host's clock; zero
	// where ZFS does not tell (before 2.2).
	Changed time.Time
	// ReadAt is when these facts were read.
	ReadAt time.Time
	// HostClock is the latest time this host's own clock left on the dataset.
	HostClock time.Time
	// Gone is true for a disk that was here once and is not any more.
	Gone bool
	// WasWhole is true for a clone without a snapshot that had its own before.
	WasWhole bool
	// Problem says why the disk could not be read, "" if it could.
	Problem string
	// Damaged says what permanent errors ZFS reports in it, "" for none.
	Damaged string
	// Looked is what was looked up to judge its guest, nil where nothing was.
	Looked *Looked
	// Unlisted says why its snapshots were not listed since they changed, "" if Newest is the
	// newest managed one. Else it was, and is still there, and others may have come.
	Unlisted string
}

// Name is the last component of the dataset's name: vm-100-disk-0.
func (d Disk) Name() string { return zfs.Base(d.Dataset) }

// BareClone reports whether the disk is a clone that never had a snapshot of its own, as far
// as is known, and is no copy of anything: somebody tries something with it.
func (d Disk) BareClone() bool { return d.Origin != "" && d.NewestOfAny == "" && !d.WasWhole }

// GuestID is the guest as Proxmox's own API calls it: qemu/100.
func (d Disk) GuestID() string {
	kind := "qemu"
	if name := d.Name(); strings.HasPrefix(name, "subvol-") || strings.HasPrefix(name, "basevol-") {
		kind = "lxc"
	}
	return kind + "/" + strconv.Itoa(d.VMID)
}

// Suffix is the class of the newest managed snapshot, "none" if there is none and
// "other" if there are only snapshots of others.
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

// The suffixes of disks without a managed snapshot.
const (
	SuffixOther = "other"
	SuffixNone  = "none"
)

// Suffixes is the closed set that [Disk.Suffix] is from.
func Suffixes() []string {
	all := []string{zfs.Stopped.String()}
	for _, c := range zfs.Rotating() {
		all = append(all, c.String())
	}
	return append(all, SuffixOther, SuffixNone)
}

// Pool is what one scan of a pool gave.
type Pool struct {
	Name string
	// GUID is the pool's own, which it keeps under another name; 0 where ZFS does not tell.
	GUID uint64
	// ReadAt is when Disks was read, zero if it never was.
	ReadAt time.Time
	// Took is how long the scan took.
	Took time.Duration
	// Missing is true when the pool is not imported.
	Missing bool
	// Problem says why this scan did not succeed, "" if it did.
	Problem string
	// ZFSState is what ZFS calls the pool: ONLINE, DEGRADED, SUSPENDED or another word of its
	// own; "" where the kernel does not say.
	ZFSState string
	// Health is what zpool says of it, nil where that was not read.
	Health *Health
	// Unfinished: the scan before this one succeeded, and this one is only not at its end.
	Unfinished bool
	// MissingRoots are datasets to be searched that are not there.
	MissingRoots []string
	// Remarks are faults that cost no disk its verdict, for people.
	Remarks []string
	Disks   []Disk
}
