package snapper

import (
	"slices"

	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
)

// CaptureDue reports whether a snapshot is to keep the configuration with that sum:
// where it changed; on each day's first and on every _stopped one, so that none is
// far from one that has it; and where the one that has it is gone or goes now, so that some
// snapshot that is kept always has what holds.
func CaptureDue(kept report.Kept, sum, name string, class zfs.Class, stays bool) bool {
	return kept.Sum != sum || class == zfs.Stopped || zfs.DayOf(kept.Snapshot) != zfs.DayOf(name) || !stays
}

// Survives reports which snapshots of the disks are there and stay so.
func Survives(disks []Disk, plan Plan) func(dataset, name string) bool {
	there, goes := map[string]*Disk{}, map[string]bool{}
	for i := range disks {
		there[disks[i].Name] = &disks[i]
	}
	for _, d := range plan.Destroys {
		goes[d.Dataset+"@"+d.Name] = true
	}
	return func(dataset, name string) bool {
		d := there[dataset]
		return d != nil && !goes[dataset+"@"+name] && slices.ContainsFunc(d.Snapshots, func(s zfs.Snapshot) bool { return s.Name == name })
	}
}
