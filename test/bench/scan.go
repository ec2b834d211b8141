package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"snapwatch/test/site"
)

// slowest is the greatest number of snapshots, on all disks together, at which bench measures the
// contenders that list all snapshots: at higher numbers, each of these contenders would take many
// minutes on the emulated machine.
const slowest = 4000

// If each disk has at least `many` snapshots, bench also measures a scan of disks with few
// snapshots, for comparison.
const many = 1000

// scans compares the ways to find the age of each disk's newest snapshot.
func (r *rig) scans(root string, disks, snapshots int) error {
	if err := r.configure(root); err != nil {
		return err
	}
	if err := r.startExporter(root); err != nil {
		return err
	}
	contenders := []*contender{
		command("`zfs list -H -o name` of the disks, the floor", "zfs", "list", "-H", "-o", "name", "-r", root),
		r.coldCheck(root),
		r.check(root),
		r.scrape(),
		command("`zfs get` of one property", "zfs", "get", "-Hp", "-r", "-t", "filesystem,volume", "-o", "value", "written", root),
	}
	if all := disks * snapshots; all <= slowest {
		contenders = append(contenders, listing(root), sanoidMonitor(root), loop(root, disks))
	}
	if snapshots >= many {
		few, err := r.checkOfFew(disks)
		if err != nil {
			return err
		}
		contenders = append(contenders, few)
	}
	if err := race(contenders); err != nil {
		return err
	}
	return r.table(disks, fmt.Sprintf("%d disks, %d snapshots each", disks, snapshots), contenders)
}

// checkOfFew returns a measurement of check on disks with only 10 snapshots each, for comparison
// with disks that have many snapshots. The disks with few snapshots are on the same pool as the
// disks with many snapshots, and there are as many of them.
func (r *rig) checkOfFew(disks int) (*contender, error) {
	const few = 10
	root := pool + "/few"
	if err := r.fill(root, disks, few); err != nil {
		return nil, err
	}
	if err := r.configure(root); err != nil {
		return nil, err
	}
	c := r.coldCheck(root)
	c.name += fmt.Sprintf(", of as many disks with %d snapshots each", few)
	return c, nil
}

// configure configures snapwatch and sanoid to scan the disks below root.
func (r *rig) configure(root string) error {
	if err := os.WriteFile(configurationOf(root), []byte("datasets: ["+root+"]\n"), 0o644); err != nil {
		return err
	}
	return sanoidConfiguration(root)
}

// cacheOf returns the path of the cache file of a check of the disks below root.
func cacheOf(root string) string { return "/tmp/cache-" + filepath.Base(root) }

func (r *rig) check(root string) *contender {
	return command("`snapwatch check`, nothing changed", r.program, "check", "--config", configurationOf(root), "--seen", "/nonexistent", "--cache", cacheOf(root), "-t", "10m")
}

// coldCheck returns a check without a cache.
func (r *rig) coldCheck(root string) *contender {
	c := r.check(root)
	c.name = "`snapwatch check`, after a change"
	c.before = func() error { return os.RemoveAll(cacheOf(root)) }
	return c
}

func (r *rig) scrape() *contender {
	return &contender{name: "scrape of `snapwatch exporter`, steady", run: r.exporter.scrape, before: outlive, processes: r.exporter.programs}
}

func listing(root string) *contender {
	return command("`zfs list -t snapshot -o name,creation`", "zfs", "list", "-Hp", "-t", "snapshot", "-o", "name,creation", "-r", root)
}

// loop returns a measurement of a script that starts one zfs for each disk, as most scripts do.
func loop(root string, disks int) *contender {
	script := "for d in $(zfs list -H -o name -r " + root + "); do zfs list -Hp -d 1 -t snapshot -o name,creation -s creation $d | tail -1; done"
	c := command("a loop with `zfs list -t snapshot` for each disk", "sh", "-c", script)
	c.words, c.processes = nil, 2+2*(disks+1)
	return c
}

// foreign measures the scans of a replica whose newest snapshots are unmanaged.
func (r *rig) foreign(root string, disks int) error {
	names, err := site.Snapshots(r.ctx, disk(root, 0))
	if err != nil {
		return err
	}
	const foreign = "__replicate_100-0_1784116020__"
	if err := r.take(root, disks, foreign); err != nil {
		return err
	}
	// If a disk changed a moment ago, a scan does not cache the disk's list of snapshots. bench
	// therefore waits before the scrape, so that the exporter caches the lists of all disks.
	if err := errors.Join(outlive(), r.exporter.scrape()); err != nil {
		return err
	}
	cold := r.coldCheck(root)
	cold.name += " by others" // this check starts more programs than the check without foreign snapshots, so it needs a name of its own in counted
	contenders := []*contender{
		command("`zfs list -H -o name` of the disks, the floor", "zfs", "list", "-H", "-o", "name", "-r", root),
		cold, r.check(root), r.scrape(), listing(root), sanoidMonitor(root),
	}
	if err := race(contenders); err != nil {
		return err
	}
	if err := r.table(disks, fmt.Sprintf("%d disks, %d snapshots each, `__replicate_` the newest", disks, len(names)), contenders); err != nil {
		return err
	}
	for n := range disks {
		if err := r.zfs("destroy", disk(root, n)+"@"+foreign); err != nil {
			return fmt.Errorf("disk %s: %w", strconv.Itoa(n), err)
		}
	}
	return nil
}
