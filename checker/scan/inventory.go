package scan

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"snapwatch/checker"
	"snapwatch/internal/files"
	"snapwatch/internal/zfs"
)

// Inventory are the disks that were here once, so that one that is gone is missed. The
// exporter writes them, check reads them.
type Inventory map[string]KnownDisk

// KnownDisk is one disk that was here.
type KnownDisk struct {
	// GUID is the dataset's, which a renamed one keeps.
	GUID uint64 `json:"guid,string"`
	// Since is when the disk was first seen.
	Since time.Time `json:"since"`
}

// inventoryFile is the form on disk.
type inventoryFile struct {
	Version int       `json:"version"`
	Disks   Inventory `json:"disks"`
}

const inventoryVersion = 1

// LoadInventory reads the file at path; one that is not there has no disks.
func LoadInventory(path string) (Inventory, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Inventory{}, nil
	}
	if err != nil {
		return Inventory{}, fmt.Errorf("disks seen before: %w", err)
	}
	var file inventoryFile
	if err := json.Unmarshal(text, &file); err != nil {
		return Inventory{}, fmt.Errorf("disks seen before, %s: %w", path, err)
	}
	if file.Version != inventoryVersion {
		return Inventory{}, fmt.Errorf("disks seen before, %s: version %d is not known", path, file.Version)
	}
	for name := range file.Disks {
		if _, _, ok := zfs.ParseDiskName(zfs.Base(name)); !ok || !zfs.ValidDataset(name) {
			return Inventory{}, fmt.Errorf("disks seen before, %s: %q is no disk", path, name)
		}
	}
	if file.Disks == nil {
		file.Disks = Inventory{}
	}
	return file.Disks, nil
}

// Save writes the file at path as one step, readable by all.
func (s Inventory) Save(path string) error {
	text, err := json.MarshalIndent(inventoryFile{inventoryVersion, s}, "", " ")
	if err != nil {
		return fmt.Errorf("disks seen before: %w", err)
	}
	if err := files.Replace(path, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("disks seen before: %w", err)
	}
	return nil
}

// Updated returns s plus the disks just read and minus those renamed, and whether anything
// changed. If so, the result is a copy.
func (s Inventory) Updated(pools []checker.Pool, now time.Time) (updated Inventory, changed bool) {
	updated = s
	change := func() Inventory {
		if !changed {
			updated, changed = maps.Clone(s), true
		}
		return updated
	}
	guids := guidsOf(pools)
	for _, pool := range pools {
		if pool.ReadAt.IsZero() {
			continue
		}
		for i := range pool.Disks {
			d := &pool.Disks[i]
			if old, ok := s[d.Dataset]; !ok || old.GUID != d.GUID {
				change()[d.Dataset] = KnownDisk{GUID: d.GUID, Since: now}
			}
		}
	}
	for name, disk := range s {
		if renamed(name, disk, pools, guids) {
			delete(change(), name)
		}
	}
	return updated, changed
}

// renamed reports whether a disk that is not where it was is read under another name.
func renamed(name string, disk KnownDisk, pools []checker.Pool, guids map[uint64]string) bool {
	to, ok := guids[disk.GUID]
	if !ok || to == name || disk.GUID == 0 {
		return false
	}
	for _, pool := range pools {
		for i := range pool.Disks {
			if pool.Disks[i].Dataset == name {
				return false
			}
		}
	}
	return true
}

func guidsOf(pools []checker.Pool) map[uint64]string {
	guids := map[uint64]string{}
	for _, pool := range pools {
		for i := range pool.Disks {
			guids[pool.Disks[i].GUID] = pool.Disks[i].Dataset
		}
	}
	return guids
}

func (s Inventory) pools() []string {
	pools := map[string]bool{}
	for name := range s {
		pools[zfs.Pool(name)] = true
	}
	return sortedKeys(pools)
}

// Recall adds to the pools' disks those that were here before and are not read now:
// as gone where the pool was read or is missing, and as unreadable where it could
// not be read.
func (s Inventory) Recall(pools []checker.Pool, t Targets) {
	guids := sync.OnceValue(func() map[uint64]string { return guidsOf(pools) })
	for i := range pools {
		pool := &pools[i]
		read := make(map[string]bool, len(pool.Disks))
		for k := range pool.Disks {
			read[pool.Disks[k].Dataset] = true
		}
		var absent []string
		for name := range s {
			if zfs.Pool(name) == pool.Name && !read[name] && t.Covers(name) && !renamed(name, s[name], pools, guids()) {
				absent = append(absent, name)
			}
		}
		slices.Sort(absent)
		for _, name := range absent {
			pool.Disks = append(pool.Disks, s[name].absent(name, *pool))
		}
	}
}

func (disk KnownDisk) absent(name string, pool checker.Pool) checker.Disk {
	vmid, kind, _ := zfs.ParseDiskName(zfs.Base(name))
	d := checker.Disk{Dataset: name, VMID: vmid, Template: kind == zfs.TemplateDisk, GUID: disk.GUID, ReadAt: pool.ReadAt}
	if pool.Problem != "" && !pool.Missing && pool.ReadAt.IsZero() {
		d.Problem = pool.Problem
	} else {
		d.Gone = true
	}
	return d
}
