package snapper

import (
	"slices"

	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
)

// Capture is a guest's configuration that a snapshot must keep.
type Capture struct {
	// Value is the text that is written, and Sum is a checksum by which two configurations are
	// compared.
	Value, Sum string
	// Reference is true if Value has only the checksum of the configuration, which another
	// snapshot keeps.
	Reference bool
}

// CaptureDue reports whether a new snapshot must keep the guest's configuration with this
// checksum. A snapshot keeps the configuration if the configuration changed, and if the snapshot
// is the first of its day or a _stopped one, so that every snapshot has a near one with the
// configuration. A snapshot also keeps the configuration if stays is false, that is, if the
// snapshot that kept it before is gone or is destroyed in this run.
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
