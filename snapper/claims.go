package snapper

import (
	"maps"
	"slices"

	"snapwatch/internal/pve"
	"snapwatch/internal/zfs"
)

// Claims returns the guests that use a disk: the one of its VMID, wherever in the
// cluster it is, and every guest of this node whose configuration names the volume.
func Claims(c pve.Cluster, storages []string, dataset string, vmid int) []int {
	claims := map[int]bool{}
	if _, here := c.Guests[vmid]; here {
		claims[vmid] = true
	} else if _, elsewhere := c.Elsewhere[vmid]; elsewhere {
		claims[vmid] = true
	}
	for id, g := range c.Guests {
		for _, v := range g.Volumes {
			if v.Name == zfs.Base(dataset) && slices.Contains(storages, v.Storage) {
				claims[id] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(claims))
}
