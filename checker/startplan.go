package checker

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"snapwatch/internal/zfs"
)

// StartNames returns the datasets of a pool below which the guest's clones may be made, the first
// choice first. A name with one of the numbers from 2 to 9 at its end is never the first name of
// another guest, because a VMID is greater than 9.
func (g Guest) StartNames(pool string) []string {
	name := fmt.Sprintf("start-%d", g.VMID)
	if g.Cluster != "" {
		cluster := strings.Map(func(r rune) rune {
			if zfs.ValidDataset("a" + string(r)) {
				return r
			}
			return '-'
		}, g.Cluster)
		name = fmt.Sprintf("start-%s-%d", cluster, g.VMID)
	}
	names := []string{path.Join(pool, name)}
	for n := 2; n < 10; n++ {
		names = append(names, path.Join(pool, fmt.Sprintf("%s-%d", name, n)))
	}
	return names
}

// plan sets the commands that clone the guest's disks, and the commands that remove the clones. The
// clones are below a separate dataset, so that this dataset can be a storage of Proxmox. The
// dataset must not exist yet: an existing dataset may contain clones that are in use, and the
// commands that remove the clones destroy the dataset. The replication of the copies is not
// disturbed.
func (e *GuestExplanation) plan(r Report, v Volumes) {
	var start, back, clones []string
	made := map[string]bool{}
	for _, pool := range e.pools() {
		switch first := e.StartNames(pool)[0]; {
		case exists(first, r, v):
			e.Words = append(e.Words, fmt.Sprintf("%s exists already: the guest may have been started from this dataset. The commands leave the dataset as it is.", first))
		case !known(pool, v):
			e.Words = append(e.Words, fmt.Sprintf("Whether %s exists is not known: if zfs create fails, type none of the other commands.", first))
		}
	}
	for _, d := range e.Disks {
		// two storages may each have a disk with the same name
		names := slices.DeleteFunc(e.StartNames(zfs.Pool(d.Dataset)), func(name string) bool { return exists(name, r, v) || made[path.Join(name, d.Name())] })
		if len(names) == 0 {
			e.Words = append(e.Words, "There are no commands: all names for the dataset of the clones are taken; destroy those datasets that are not in use any more.")
			return
		}
		parent := names[0]
		if !made[parent] {
			start = append(start, "zfs create "+quote(parent))
			back = append(back, "zfs destroy -r "+quote(parent))
		}
		clone := path.Join(parent, d.Name())
		made[parent], made[clone] = true, true
		clones = append(clones, "zfs clone "+quote(d.Dataset+"@"+d.At.Name)+" "+quote(clone))
	}
	e.Start, e.Back = append(start, clones...), back
	for _, root := range e.rootsToUnlock(v) {
		e.Unlock = append(e.Unlock, "zfs load-key "+quote(root))
		e.Back = append(e.Back, "zfs unload-key "+quote(root))
	}
}

// rootsToUnlock returns the datasets whose encryption keys must be loaded for the plan: the
// encryption roots of the disks, and those of the pools in which the plan creates datasets.
func (e *GuestExplanation) rootsToUnlock(v Volumes) []string {
	_, locked := e.keys(v)
	for _, pool := range e.pools() {
		if root := v.Found[pool]; root.Locked {
			locked = append(locked, root.EncryptionRoot)
		}
	}
	slices.Sort(locked)
	return slices.Compact(locked)
}

// exists reports whether a dataset of this name, or a disk below it, is known to be here.
func exists(dataset string, r Report, v Volumes) bool {
	return known(dataset, v) || slices.ContainsFunc(r.Disks, func(d Result) bool { return zfs.Within(d.Dataset, dataset) })
}

func known(dataset string, v Volumes) bool {
	_, known := v.Found[dataset]
	return known
}
