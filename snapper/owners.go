package snapper

import (
	"regexp"
	"slices"
	"strings"

	"snapwatch/internal/pve"
	"snapwatch/internal/zfs"
)

// pathOf matches the directory of a volume's device, or the root of a filesystem's mount point.
var pathOf = regexp.MustCompile(`^/(dev/zvol/|dev/)?`)

var (
	partition        = regexp.MustCompile(`^-part\d+$`)
	withoutPartition = regexp.MustCompile(`-part\d+$`)
)

// isAt reports whether a path in a guest's configuration belongs to the dataset: it is the path of
// the dataset's device, of a partition of the device, or of a file or directory below the dataset's
// mount point.
func isAt(path, dataset string) bool {
	rest, ok := strings.CutPrefix(path[len(pathOf.FindString(path)):], dataset)
	return ok && (rest == "" || rest[0] == '/' || partition.MatchString(rest))
}

// inside returns the rest of a path after the device directory or the mount point of a dataset, ""
// if the path is not below the device directory or the mount point.
func inside(path, dataset string) string {
	rest, below := strings.CutPrefix(path[len(pathOf.FindString(path)):], dataset+"/")
	if !below {
		return ""
	}
	return rest
}

// configsNaming returns the guests of this node whose configuration names the volume. The result
// `using` has the guests that use the volume, and the result `keeping` has the guests whose
// configuration names the volume merely as unusedN.
func configsNaming(c pve.Cluster, storages []string, dataset string) (using, keeping []int) {
	for id, config := range c.Guests {
		uses, keeps := false, false
		for _, v := range config.Volumes {
			named := v.Name == zfs.Base(dataset) && slices.Contains(storages, v.Storage)
			if named || v.Storage == "" && isAt(v.Name, dataset) {
				uses, keeps = uses || !v.Unused(), true
			}
		}
		switch {
		case uses:
			using = append(using, id)
		case keeps:
			keeping = append(keeping, id)
		}
	}
	slices.Sort(using)
	slices.Sort(keeping)
	return using, keeping
}

func union(a, b []int) []int {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

// VmidOf returns the VMID in a disk's name, 0 if there is none.
func VmidOf(dataset string) int {
	vmid, _, _ := zfs.ParseDiskName(zfs.Base(dataset))
	return vmid
}
