package snapper

import (
	"slices"

	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
)

// Capture is the text of a guest's configuration, to be stored in a property of a snapshot.
type Capture struct {
	// Value is the value of the property. Sum is the checksum of the configuration: two
	// configurations with the same checksum count as equal.
	Value, Sum string
	// Reference is true if Value has only the checksum of the configuration, which another
	// snapshot keeps.
	Reference bool
}

// CaptureDue reports whether a new snapshot must keep the guest's configuration, given by its
// checksum. A new snapshot must keep the configuration in four cases: the configuration changed;
// the snapshot is the first of its day; the snapshot is a _stopped snapshot; or the argument
// `stays` is false, because the snapshot that has the configuration is gone or is destroyed in this
// run.
func CaptureDue(kept report.Kept, sum, name string, class zfs.Class, stays bool) bool {
	return kept.Sum != sum || class == zfs.Stopped || zfs.DayOf(kept.Snapshot) != zfs.DayOf(name) || !stays
}

// Survives returns a function that reports whether a snapshot exists now and is not destroyed by
// the plan.
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
