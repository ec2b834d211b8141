package exporter

import (
	"slices"

	"snapwatch/checker"
)

// mergeDisks returns the disks that were just read, and the disks that only the earlier scan has
// read, except forgotten and renamed disks.
func mergeDisks(read, before []checker.Disk, forgotten func(checker.Disk) bool) []checker.Disk {
	all, is, renamed := slices.Clone(read), map[string]bool{}, map[uint64]bool{}
	for i := range read {
		is[read[i].Dataset] = true
		renamed[read[i].GUID] = read[i].GUID != 0
	}
	for i := range before {
		if !is[before[i].Dataset] && !renamed[before[i].GUID] && !forgotten(before[i]) {
			all = append(all, before[i])
		}
	}
	return all
}

// keepNewest gives disks that could not be read the newest snapshot that the earlier scan found.
// If a disk had no newest snapshot in the metrics, the alert for the disk's age would end.
func keepNewest(read, before []checker.Disk) {
	failed := func(d checker.Disk) bool { return d.Problem != "" && d.Newest == nil }
	if !slices.ContainsFunc(read, failed) {
		return
	}
	known := map[string]*checker.Disk{}
	for i := range before {
		known[before[i].Dataset] = &before[i]
	}
	for i := range read {
		d := &read[i]
		was := known[d.Dataset]
		if failed(*d) && was != nil && (d.GUID == was.GUID || d.GUID == 0) {
			d.Newest = was.Newest
		}
	}
}
