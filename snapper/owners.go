package snapper

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"snapwatch/internal/pve"
	"snapwatch/internal/zfs"
)

// pathOf is where a volume's device or a filesystem's mount point lies.
var pathOf = regexp.MustCompile(`^/(dev/zvol/|dev/)?`)

var (
	partition        = regexp.MustCompile(`^-part\d+$`)
	withoutPartition = regexp.MustCompile(`-part\d+$`)
)

// isAt reports whether a path that a configuration names without a storage is that of
// the dataset: its device, a partition of it, or something below its mount point.
func isAt(path, dataset string) bool {
	rest, ok := strings.CutPrefix(path[len(pathOf.FindString(path)):], dataset)
	return ok && (rest == "" || rest[0] == '/' || partition.MatchString(rest))
}

// inside returns what a path has below the device directory or mount point of a dataset, "" if
// it is not below it.
func inside(path, dataset string) string {
	rest, below := strings.CutPrefix(path[len(pathOf.FindString(path)):], dataset+"/")
	if !below {
		return ""
	}
	return rest
}

// claiming returns the guests that use a disk: the one of the number in its name, wherever
// in the cluster it is, and those of this node whose configuration names the volume.
func claiming(c pve.Cluster, number int, named []int) []int {
	claims := map[int]bool{}
	if _, here := c.Guests[number]; here {
		claims[number] = true
	} else if _, elsewhere := c.Elsewhere[number]; elsewhere {
		claims[number] = true
	}
	for _, vmid := range named {
		claims[vmid] = true
	}
	return slices.Sorted(maps.Keys(claims))
}

// referencing returns the guests of this node whose configuration names the volume.
func referencing(c pve.Cluster, storages []string, dataset string) []int {
	var guests []int
	for id, g := range c.Guests {
		if slices.ContainsFunc(g.Volumes, func(v pve.Volume) bool {
			named := v.Name == zfs.Base(dataset) && slices.Contains(storages, v.Storage)
			return named || v.Storage == "" && isAt(v.Name, dataset)
		}) {
			guests = append(guests, id)
		}
	}
	slices.Sort(guests)
	return guests
}
