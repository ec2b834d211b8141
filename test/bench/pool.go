package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"snapwatch/internal/zfs"
	"snapwatch/lua"
	"snapwatch/test/site"
)

// pool is the name of the pool for all measurements.
const pool = "tank"

// configurationOf returns the path of the snapwatch configuration that selects the disks below
// root.
func configurationOf(root string) string { return "/tmp/bench-" + filepath.Base(root) + ".yaml" }

func (r *rig) prepare() error {
	if err := site.NewPool(r.ctx, pool, 2048); err != nil {
		return err
	}
	// On a replica, no program opens the volumes, so the volumes of the bench need no devices;
	// without devices, udev does not disturb the measurement.
	if err := r.zfs("set", "volmode=none", pool); err != nil {
		return err
	}
	return r.kernel()
}

func (r *rig) kernel() error {
	version, err := os.ReadFile("/sys/module/zfs/version")
	if err != nil {
		return err
	}
	r.say("OpenZFS %s, closed volumes; a second is 10^9 instructions.\n", strings.TrimSpace(string(version)))
	return nil
}

func (r *rig) zfs(args ...string) error {
	text, err := exec.CommandContext(r.ctx, "zfs", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("zfs %s: %w: %s", strings.Join(args, " "), err, text)
	}
	return nil
}

// disk returns the name of a disk's dataset.
func disk(root string, n int) string { return root + "/vm-100-disk-" + strconv.Itoa(n) }

// fill creates the disks below root, unless they exist, and takes snapshots until each disk has the
// given number. All disks get a snapshot in the same transaction group.
func (r *rig) fill(root string, disks, snapshots int) error {
	began := time.Now()
	have := 0
	if r.zfs("list", root) != nil {
		if err := r.zfs("create", "-u", root); err != nil {
			return err
		}
		for n := range disks {
			if err := r.zfs("create", "-s", "-V", "16M", disk(root, n)); err != nil {
				return err
			}
		}
	} else {
		list, err := site.Snapshots(r.ctx, disk(root, 0))
		if err != nil {
			return err
		}
		have = len(list)
	}
	first := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := have; i < snapshots; i++ {
		if err := r.take(root, disks, zfs.FormatSnapshotName(first.Add(time.Duration(i)*15*time.Minute), zfs.Frequently)); err != nil {
			return err
		}
	}
	fmt.Printf("# %s has %d disks with %d snapshots each after %s\n", root, disks, snapshots, time.Since(began).Round(time.Second))
	return nil
}

// take takes a snapshot of every disk, all in one transaction group.
func (r *rig) take(root string, disks int, name string) error {
	g := lua.Guest{Snapshot: name}
	for n := range disks {
		g.Disks = append(g.Disks, lua.Disk{Dataset: disk(root, n), Snapshot: true})
	}
	got, err := lua.Program{Pool: pool}.Snapshot(r.ctx, []lua.Guest{g}, nil)
	for dataset, o := range got {
		if o.Snapshot == nil || *o.Snapshot != 0 {
			err = errors.Join(err, fmt.Errorf("snapshot %s@%s was not made", dataset, name))
		}
	}
	return err
}
