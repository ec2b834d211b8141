package snapper

import (
	"fmt"
	"slices"
	"strings"

	"snapwatch/internal/pve"
	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
)

// WhyUnprotected returns why a volume of a running guest is not protected, "" if it is.
func WhyUnprotected(v pve.Volume, c pve.Cluster, known, unread map[string]bool) (report.Kind, string) {
	if v.Unused() || strings.HasSuffix(v.Name, "-cloudinit") {
		return "", ""
	}
	for dataset := range known {
		if v.Storage == "" && isAt(v.Name, dataset) {
			return "", ""
		}
	}
	i := slices.IndexFunc(c.Storages, func(s pve.Storage) bool { return s.Name == v.Storage })
	if i < 0 {
		return report.OtherStorage, fmt.Sprintf("storage %q is no ZFS storage of this node", v.Storage)
	}
	_, kind, disk := zfs.ParseDiskName(v.Name)
	switch dataset := c.Storages[i].Dataset; {
	case kind == zfs.TemplateDisk:
		// A template that was made a guest again by hand. Its disks get their snapshots,
		// but a replica knows only the name.
		return report.OtherName, "its name is that of a template's disk, for which no replica alarms: rename it"
	case known[dataset+"/"+v.Name] || unread[zfs.Pool(dataset)]:
		return "", ""
	case !disk:
		return report.OtherName, "its name is not that of a disk (vm-N-disk-M, subvol-N-disk-M)"
	}
	return report.NotFound, "the dataset was not found"
}
