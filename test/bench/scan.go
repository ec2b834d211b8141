package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"snapwatch/test/site"
)

// slowest is the number of snapshots above which bench leaves out the contenders that list all
// snapshots: on the emulated machine each of them would take many minutes.
const slowest = 4000

// many is the number of snapshots of each disk from which bench also measures a scan of disks with
// few snapshots, for comparison.
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

// checkOfFew returns a contender that checks the same number of disks with few snapshots each, on
// the same pool as the disks with many snapshots.
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

// configure configures snapwatch and sanoid to scan the root.
func (r *rig) configure(root string) error {
	if err := os.WriteFile(configurationOf(root), []byte("datasets: ["+root+"]\n"), 0o644); err != nil {
		return err
	}
	return sanoidConfiguration(root)
}

// cacheOf returns the path of check's cache for the root.
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

// loop returns a contender that starts one zfs for each disk, as most scripts do.
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
	// A scan does not cache a disk that changed a moment ago; after this scrape the exporter has
	// the disk's listing in its cache.
	if err := errors.Join(outlive(), r.exporter.scrape()); err != nil {
		return err
	}
	cold := r.coldCheck(root)
	cold.name += " by others" // this check lists disks and starts more programs than the plain one, so it needs a name of its own for the count
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
