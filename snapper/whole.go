package snapper

import (
	"slices"

	"snapwatch/internal/pve"
	"snapwatch/internal/zfs"
)

// Lack is a disk of a guest that its snapshots do not have.
type Lack struct {
	Dataset string
	// NotDue: it was read, and gets its snapshots at other times.
	NotDue bool
}

// Lacks returns the disks of a guest that snap covers and that got no snapshot. disks are
// those that were read, covered says of a parent whether snap covers its children, excluded
// which disks a person left out, and taken which got one.
func (g NodeView) Lacks(vmid int, disks []Disk, covered, excluded, taken func(dataset string) bool) []Lack {
	known := map[string]*Disk{}
	var names []string
	for i := range disks {
		known[disks[i].Name] = &disks[i]
		if slices.Contains(disks[i].Guests, vmid) {
			names = append(names, disks[i].Name)
		}
	}
	for _, v := range g.Cluster.Guests[vmid].Volumes {
		_, kind, isDisk := zfs.ParseDiskName(v.Name)
		i := slices.IndexFunc(g.Cluster.Storages, func(s pve.Storage) bool { return s.Name == v.Storage })
		if i >= 0 && isDisk && kind != zfs.TemplateDisk && !v.Unused() && covered(g.Cluster.Storages[i].Dataset) {
			names = append(names, g.Cluster.Storages[i].Dataset+"/"+v.Name)
		}
	}
	slices.Sort(names)
	var lacks []Lack
	for _, name := range slices.Compact(names) {
		d := known[name]
		if taken(name) || excluded(name) || d != nil && d.NoSnap.Excludes() {
			continue
		}
		lacks = append(lacks, Lack{name, d != nil && d.Problem == "" && d.Unlabelled == ""})
	}
	return lacks
}
