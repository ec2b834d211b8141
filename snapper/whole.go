package snapper

import (
	"slices"

	"snapwatch/internal/zfs"
)

// Lack is a disk of a guest that its snapshots do not have, or not as of the time of the others.
type Lack struct {
	Dataset string
	// Writer is another guest that uses the disk and was not frozen, 0 where there is no
	// snapshot of it.
	Writer int
	// NotDue: it was read, and gets its snapshots at other times.
	NotDue bool
}

// Lacks returns the disks of a guest that snap covers and that got no snapshot, or that another
// guest may have written to meanwhile. disks are those that were read, covered says of a parent
// whether snap covers its children, excluded which disks a person left out, taken which got a
// snapshot, and frozen which guests were frozen.
func (g NodeView) Lacks(vmid int, disks []Disk, covered, excluded, taken func(dataset string) bool, frozen func(vmid int) bool) []Lack {
	known := map[string]*Disk{}
	var names []string
	for i := range disks {
		known[disks[i].Name] = &disks[i]
		if slices.Contains(disks[i].Guests, vmid) {
			names = append(names, disks[i].Name)
		}
	}
	for _, v := range g.Cluster.Guests[vmid].Volumes {
		for _, s := range g.Cluster.Storages {
			name := volumeIn(v, s)
			_, kind, isDisk := zfs.ParseDiskName(name)
			if isDisk && kind != zfs.TemplateDisk && !v.Unused() && covered(s.Dataset) {
				names = append(names, s.Dataset+"/"+name)
			}
		}
	}
	slices.Sort(names)
	var lacks []Lack
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
