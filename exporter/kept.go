package exporter

import (
	"slices"

	"snapwatch/checker"
)

// mergeDisks returns the disks in `read`, a new scan, and the disks that are only in `before`, an
// earlier scan. From the earlier scan, mergeDisks leaves out forgotten disks and the old names of
// renamed disks.
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

// If a disk could not be read, keepNewest gives the disk the newest snapshot that an earlier scan
// found. If a disk had no newest snapshot in the metrics, the alert for the disk's age would end.
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
