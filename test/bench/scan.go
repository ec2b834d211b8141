package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"snapwatch/test/site"
)

// slowest is the number of snapshots above which the ways that list them all are
// not measured: on the emulated machine that takes many minutes each.
const slowest = 4000

// many is the number of snapshots a disk from which a scan is held against one of disks
// that have few.
const many = 1000

// scans measures the ways to find out how old each disk's newest snapshot is.
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

// checkOfFew is a check of as many disks that have few snapshots, beside those that have
// many.
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

// configure says what is scanned.
func (r *rig) configure(root string) error {
	if err := os.WriteFile(configurationOf(root), []byte("datasets: ["+root+"]\n"), 0o644); err != nil {
		return err
	}
	return sanoidConfiguration(root)
}

// cacheOf is where check remembers what it learnt of the root.
func cacheOf(root string) string { return "/tmp/cache-" + filepath.Base(root) }

func (r *rig) check(root string) *contender {
	return command("`snapwatch check`, nothing changed", r.program, "check", "--config", configurationOf(root), "--seen", "/nonexistent", "--cache", cacheOf(root), "-t", "10m")
}

// coldCheck is one that remembers nothing.
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

// loop is what most scripts do: one zfs for each disk.
func loop(root string, disks int) *contender {
	script := "for d in $(zfs list -H -o name -r " + root + "); do zfs list -Hp -d 1 -t snapshot -o name,creation -s creation $d | tail -1; done"
	c := command("a loop with `zfs list -t snapshot` for each disk", "sh", "-c", script)
	c.words, c.processes = nil, 2+2*(disks+1)
	return c
}

// foreign measures a replica on which others' snapshots are the newest.
func (r *rig) foreign(root string, disks int) error {
	names, err := site.Snapshots(r.ctx, disk(root, 0))
	if err != nil {
		return err
	}
	const foreign = "__replicate_100-0_1784116020__"
	if err := r.take(root, disks, foreign); err != nil {
		return err
	}
	// What changed a moment ago is not remembered; the exporter has its listing then.
	if err := errors.Join(outlive(), r.exporter.scrape()); err != nil {
		return err
	}
	cold := r.coldCheck(root)
	cold.name += " by others" // it lists, and starts more than the one whose number is known
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
