package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"snapwatch/test/site"
)

const (
	sanoidDir   = "/tmp/sanoid"
	sanoidCache = "/tmp/sanoid-cache"
)

// sanoidConfiguration configures sanoid for the disks below root. sanoid keeps all snapshots that
// the measured runs take of these disks.
func sanoidConfiguration(root string) error {
	if err := os.MkdirAll(sanoidDir, 0o755); err != nil {
		return err
	}
	defaults, err := os.ReadFile("/usr/share/sanoid/sanoid.defaults.conf")
	if err != nil {
		return err
	}
	if err := os.WriteFile(sanoidDir+"/sanoid.defaults.conf", defaults, 0o644); err != nil {
		return err
	}
	text := "[template_bench]\nfrequently = 100\nfrequent_period = 15\nhourly = 0\ndaily = 0\nweekly = 0\nmonthly = 0\nyearly = 0\nautosnap = yes\nautoprune = yes\nmonitor = yes\nfrequently_warn = 60m\nfrequently_crit = 120m\n"
	text += "[" + root + "]\nuse_template = bench\nrecursive = yes\nprocess_children_only = yes\n"
	return os.WriteFile(sanoidDir+"/sanoid.conf", []byte(text), 0o644)
}

func sanoid(name string, words ...string) *contender {
	return command(name, append([]string{"sanoid", "--configdir", sanoidDir, "--cache-dir", sanoidCache, "--run-dir", sanoidCache}, words...)...)
}

// sanoidMonitor returns a measurement of sanoid without a cache: before each turn the cache is
// removed, so sanoid lists every snapshot.
func sanoidMonitor(string) *contender {
	c := sanoid("`sanoid --monitor-snapshots`, cold", "--monitor-snapshots")
	c.before = func() error { return freshCache() }
	return c
}

func freshCache() error {
	if err := os.RemoveAll(sanoidCache); err != nil {
		return err
	}
	return os.MkdirAll(sanoidCache, 0o755)
}

// runs compares a run of snap with a run of sanoid in the steady state: snap takes one snapshot and
// destroys one snapshot of each disk, and sanoid takes one snapshot of each disk.
func (r *rig) runs(disks, snapshots int) error {
	if err := freshCache(); err != nil {
		return err
	}
	node, err := site.Start(r.ctx, site.Config{Name: "A", Node: "pve-a", Cluster: "pve", Pool: pool})
	if err != nil {
		return err
	}
	defer func() { _ = node.Close() }()
	root := fmt.Sprintf("%s/%d", pool, disks)
	var names []string
	for n := range disks {
		names = append(names, filepath.Base(disk(root, n)))
	}
	steps := []func() error{
		func() error { return node.WriteFile("/etc/pve/storage.cfg", "zfspool: local-zfs\n\tpool "+root+"\n") },
		func() error { return node.AddContainer(100, names...) },
		func() error { return node.StartGuest(r.ctx, 100) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	snap := func() error {
		got, err := node.Run(r.ctx, r.program, "snap", fmt.Sprintf("f%d", snapshots))
		if err == nil && got.Code != 0 {
			err = fmt.Errorf("snap: %s%s", got.Stdout, got.Stderr)
		}
		return err
	}
	steady := &contender{name: "`snapwatch snap`, steady", run: snap, before: func() error { return advanceClock(15 * time.Minute) }}
	changed := &contender{name: "`snapwatch snap`, after sanoid changed every disk", run: snap, before: steady.before}
	cron := sanoid("`sanoid --cron`", "--cron")
	cron.before = steady.before
	// Two runs before the measurement fill snapwatch's index and bring each disk to the number of
	// snapshots that the retention keeps. The second run is needed because a run lists a disk's
	// snapshots again if the disk changed a moment before the previous run.
	for range 2 {
		if err := errors.Join(steady.before(), snap()); err != nil {
			return err
		}
	}
	if err := race([]*contender{steady, cron, changed}); err != nil {
		return err
	}
	if steady.processes, err = r.zfsPrograms(node, snap); err != nil {
		return err
	}
	if err = r.table(disks, fmt.Sprintf("A run on a primary, %d disks, %d snapshots each", disks, snapshots), []*contender{steady, changed, cron}); err != nil {
		return err
	}
	r.say("\nFor `snap` the table counts the zfs processes, but not the processes that ask Proxmox.")
	return nil
}

// zfsPrograms returns the number of zfs processes that a run starts.
func (r *rig) zfsPrograms(node *site.Site, snap func() error) (int, error) {
	if err := node.Install("zfs", "#!/bin/sh\necho 'execve( = 0' >>/run/zfs-calls\nexec /usr/sbin/zfs \"$@\"\n"); err != nil {
		return 0, err
	}
	if err := advanceClock(15 * time.Minute); err != nil {
		return 0, err
	}
	if err := snap(); err != nil {
		return 0, err
	}
	n := 0
	err := node.Inside(func() (err error) {
		n, err = execs("/run/zfs-calls")
		return err
	})
	return n, err
}

// advanceClock moves the machine's clock forward by d.
func advanceClock(d time.Duration) error {
	to := syscall.NsecToTimeval(time.Now().Add(d).UnixNano())
	return syscall.Settimeofday(&to)
}
