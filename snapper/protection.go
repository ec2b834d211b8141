package snapper

import (
	"fmt"
	"slices"
	"strings"

	"snapwatch/internal/pve"
	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
)

// WhyUnprotected returns the reason why a volume of a running guest gets no snapshots, "" if the
// volume gets snapshots. The argument `known` has the datasets that the run found, and the argument
// `unread` has the pools that the run could not read.
func WhyUnprotected(v pve.Volume, c pve.Cluster, known, unread map[string]bool) (report.Kind, string) {
	if v.Unused() || strings.HasSuffix(v.Name, "-cloudinit") {
		return "", ""
	}
	if v.Storage == "" {
		return whyPathUnprotected(v, c, known, unread)
	}
	i := slices.IndexFunc(c.Storages, func(s pve.Storage) bool { return s.Name == v.Storage })
	if i < 0 {
		return report.OtherStorage, fmt.Sprintf("storage %q is not a ZFS storage of this node", v.Storage)
	}
	_, kind, disk := zfs.ParseDiskName(v.Name)
	switch dataset := c.Storages[i].Dataset; {
	case kind == zfs.TemplateDisk:
		// A person may have turned a template into a normal guest by editing its configuration. The
		// disks of a guest that was a template get snapshots, but their names are still the names
		// of a template's disks, and a replica judges a disk by its name.
		return report.OtherName, "it has the name of a template's disk, and replicas never alarm for templates: rename it"
	case known[dataset+"/"+v.Name] || unread[zfs.Pool(dataset)]:
		return "", ""
	case !disk:
		return report.OtherName, "its name is not that of a disk (vm-N-disk-M, subvol-N-disk-M)"
	}
	return report.NotFound, "the dataset was not found"
}

// volumeIn returns the name of the volume v within the storage s, "" if the storage does not
// contain the volume. If the configuration names the volume by a path, the storage contains the
// volume if the path leads into the storage's dataset.
func volumeIn(v pve.Volume, s pve.Storage) string {
	switch v.Storage {
	case s.Name:
		return v.Name
	case "":
		name, _, _ := strings.Cut(inside(v.Name, s.Dataset), "/")
		return withoutPartition.ReplaceAllString(name, "")
	}
	return ""
}

// whyPathUnprotected returns the reason that WhyUnprotected must return for a volume that the
// configuration names by a path. If the path leads to a dataset of a storage, whyPathUnprotected
// judges the dataset as a volume of this storage.
func whyPathUnprotected(v pve.Volume, c pve.Cluster, known, unread map[string]bool) (report.Kind, string) {
	for dataset := range known {
		if isAt(v.Name, dataset) {
			return "", ""
		}
	}
	for _, s := range c.Storages {
		if name := volumeIn(v, s); name != "" {
			return WhyUnprotected(pve.Volume{Key: v.Key, Storage: s.Name, Name: name}, c, known, unread)
		}
	}
	switch {
	case v.Raw() && !strings.HasPrefix(v.Name, "/dev/zvol/"):
		// No evidence shows that the path in the configuration leads to a disk of a guest.
		return "", ""
	case strings.HasPrefix(v.Name, "/dev/"):
		return report.Device, "it is a device of this node outside all ZFS storages"
	case strings.HasPrefix(v.Key, "mp"), v.Key == "rootfs":
		return report.BindMount, "it is a directory of this node outside all ZFS storages"
	}
	return report.OtherStorage, "it is a file of this node outside all ZFS storages"
}
