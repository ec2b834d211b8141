package scan

import (
	"cmp"
	"slices"
	"time"

	"snapwatch/checker"
	"snapwatch/internal/zfs"
)

// answers is what was found out about the snapshots of a pool's heads.
type answers struct {
	heads  []zfs.Dataset
	readAt time.Time
	// found are the newest managed snapshots, by dataset.
	found map[string]*zfs.Snapshot
	// unanswered says for which datasets zfs gave no complete answer, or none in time, and why.
	unanswered map[string]string
	// unlisted says for which there was no time to list what came after the snapshot that
	// found has, which was the newest managed one before and is still there.
	unlisted map[string]string

	// bounds are those snapshots, list are the heads whose snapshots are to be listed,
	// names are the newest managed snapshots that are to be looked up.
	bounds map[string]*zfs.Snapshot
	list   map[string]zfs.Dataset
	names  map[string]string
	// ofAny are the newest snapshots of whatever kind where a list told them.
	ofAny  map[string]string
	faults zfs.Faults
}

// digests are those of the tokens of receives that are pending, by dataset.
func (a *answers) digests() map[string]string {
	all := map[string]string{}
	for _, h := range a.heads {
		if h.ResumeToken {
			all[h.Name] = digest(h.Token)
		}
	}
	return all
}

// disks joins heads with what was found out about their snapshots.
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

// hostClock is the latest time that this host's clock left on a dataset. When it was made, perhaps
// by a clock that was ahead, matters only while there is no snapshot: the next one mends the rest.
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
