package scan

import (
	"cmp"
	"slices"
	"time"

	"snapwatch/checker"
	"snapwatch/internal/zfs"
)

// answers contains the facts about the snapshots of one pool's heads that a scan found.
type answers struct {
	heads  []zfs.Dataset
	readAt time.Time
	// found contains the newest managed snapshot of each dataset, by the dataset's name.
	found map[string]*zfs.Snapshot
	// unanswered has, by dataset, the reason why zfs gave no complete answer in time.
	unanswered map[string]string
	// unlisted has, by dataset, the reason why no time was left to list newer snapshots. For a
	// dataset in unlisted, the field found has the newest managed snapshot that an earlier scan
	// found and that still exists.
	unlisted map[string]string

	// bounds has, by dataset, the newest managed snapshot that an earlier scan found and that still
	// exists. list has, by dataset, the heads whose snapshots must be listed. names has, by
	// dataset, the name of a newest managed snapshot that must be looked up.
	bounds map[string]*zfs.Snapshot
	list   map[string]zfs.Dataset
	names  map[string]string
	// ofAny has, by dataset, the name of the newest snapshot, managed or not, if the dataset's
	// snapshots were listed.
	ofAny  map[string]string
	faults zfs.Faults
}

// digests returns a digest of the resume token of each pending receive, by dataset.
func (a *answers) digests() map[string]string {
	all := map[string]string{}
	for _, h := range a.heads {
		if h.ResumeToken {
			all[h.Name] = digest(h.Token)
		}
	}
	return all
}

// disks returns a disk for each head, with all known facts about the disk's snapshots.
func (a *answers) disks() []checker.Disk {
	var all []checker.Disk
	for _, h := range a.heads {
		vmid, kind, _ := zfs.ParseDiskName(zfs.Base(h.Name))
		all = append(all, checker.Disk{
			Dataset:         h.Name,
			VMID:            vmid,
			Template:        kind == zfs.TemplateDisk,
			GUID:            h.GUID,
			Origin:          h.Origin,
			Created:         h.Creation,
			Newest:          a.found[h.Name],
			NewestOfAny:     h.NewestSnapshot,
			Receiving:       h.Inconsistent,
			PendingReceive:  h.ResumeToken,
			PendingSnapshot: zfs.ResumedSnapshot(h.Token),
			Running:         h.Running,
			NoSnap:          h.NoSnap,
			Changed:         changed(h),
			ReadAt:          a.readAt,
			HostClock:       a.hostClock(h),
			Problem:         cmp.Or(h.Problem, a.unanswered[h.Name]),
			Unlisted:        a.unlisted[h.Name],
		})
	}
	return all
}

// hostClock returns the latest time that this host's clock wrote into a dataset's properties. The
// dataset's creation time counts only while the dataset has no snapshot, because the clock may have
// been ahead when the dataset was made.
func (a *answers) hostClock(h zfs.Dataset) time.Time {
	clock := latest(a.readAt, time.Unix(h.SnapshotsChanged, 0))
	if a.found[h.Name] == nil {
		clock = latest(clock, h.Creation)
	}
	return clock
}

func changed(h zfs.Dataset) time.Time {
	if h.SnapshotsChanged == 0 {
		return time.Time{}
	}
	return time.Unix(h.SnapshotsChanged, 0)
}

func latest(times ...time.Time) time.Time { return slices.MaxFunc(times, time.Time.Compare) }
