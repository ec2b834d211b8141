package snapper

import (
	"slices"

	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
)

// Lack describes a disk that prevents a common snapshot of all disks of a guest: the disk got no
// snapshot, or a second guest may have written to the disk while the snapshots were taken.
type Lack struct {
	// Dataset is the name of the disk. If no dataset with the disk exists, the field Dataset has
	// the name of the volume in the guest's configuration.
	Dataset string
	// Writer is the VMID of a second guest that uses the disk and was not frozen while the snapshot
	// was taken, 0 if the disk has no snapshot.
	Writer int
	// NotDue is true if the disk has no snapshot only because its retention takes snapshots at
	// other times than the retention of the guest's remaining disks.
	NotDue bool
}

// Lacks returns two kinds of a guest's disks: disks that got no snapshot, and disks to which
// another guest may have written while the snapshots were taken. Lacks does not return disks that a
// person excluded, nor directories and devices that are passed through on purpose. The argument
// disks has the disks that the run read. The function `excluded` reports whether a person excluded
// a disk, the function `taken` reports whether a disk got a snapshot, and the function `frozen`
// reports whether a guest was frozen.
func (g NodeView) Lacks(vmid int, disks []Disk, excluded, taken func(dataset string) bool, frozen func(vmid int) bool) []Lack {
	known := map[string]*Disk{}
	read := map[string]bool{}
	var lacks []Lack
	var names []string
	for i := range disks {
		known[disks[i].Name], read[disks[i].Name] = &disks[i], true
		if slices.Contains(disks[i].Guests, vmid) {
			names = append(names, disks[i].Name)
		}
	}
	for _, v := range g.Cluster.Guests[vmid].Volumes {
		for _, s := range g.Cluster.Storages {
			name := volumeIn(v, s)
			_, kind, isDisk := zfs.ParseDiskName(name)
			if isDisk && kind != zfs.TemplateDisk && !v.Unused() {
				names = append(names, s.Dataset+"/"+name)
			}
		}
		switch kind, _ := WhyUnprotected(v, g.Cluster, read, nil); kind {
		case report.OtherStorage, report.OtherName:
			lacks = append(lacks, Lack{Dataset: v.String()})
		}
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		d := known[name]
		switch {
		case excluded(name) || d != nil && d.NoSnap.Excludes():
		case !taken(name):
			lacks = append(lacks, Lack{Dataset: name, NotDue: d != nil && d.Problem == "" && d.Unlabelled == ""})
		case d != nil:
			writes := func(other int) bool {
				return other != vmid && !frozen(other) && !g.Evidence[other].dead()
			}
			if i := slices.IndexFunc(d.Guests, writes); i >= 0 {
				lacks = append(lacks, Lack{Dataset: name, Writer: d.Guests[i]})
			}
		}
	}
	return lacks
}
