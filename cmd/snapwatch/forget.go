package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"snapwatch/checker/scan"
	"snapwatch/exporter"
	"snapwatch/internal/files"
	"snapwatch/internal/lock"
	"snapwatch/internal/text"
	"snapwatch/internal/zfs"
)

// forgetCmd is `snapwatch forget`. A person types `snapwatch forget` for a disk that was removed on
// purpose, so that check no longer reports the disk as missing.
type forgetCmd struct {
	Dataset  []string `arg:"" help:"The disk's dataset, or a dataset that held disks, such as the pool."`
	StateDir string   `default:"/var/lib/snapwatch-exporter" placeholder:"DIR" help:"Where the exporter remembers the disks (default ${default})."`
}

// Help returns the long help text of `snapwatch forget`.
func (forgetCmd) Help() string {
	return `A disk that was here and is gone is reported as missing. After you removed one on purpose, run
this as root: it takes the disk out of what the exporter remembers, and each user's check then
forgets it, too. It changes nothing on a pool. A disk that is still there is remembered again.
Exit status: 0 done; 1 the exporter never saw such a disk; 2 it failed.

EXAMPLES
  snapwatch forget tank/vm-100-disk-0
  snapwatch forget oldpool                all disks that were on it`
}

// Run removes the datasets and all datasets below them from the exporter's inventory of disks. The
// user who runs check has an inventory, too. The next check that reads the exporter's inventory
// removes the same datasets from the user's inventory. A disk that still exists returns to the
// inventories at the next scan.
func (c *forgetCmd) Run(env *environment) error {
	var invalid []error
	for _, dataset := range c.Dataset {
		if !zfs.ValidDataset(dataset) {
			invalid = append(invalid, fmt.Errorf("%q is not the name of a dataset", dataset))
		}
	}
	if len(invalid) > 0 {
		return errors.Join(invalid...)
	}
	if err := files.Directory(c.StateDir, 0o755); err != nil {
		return asRoot(err)
	}
	path := filepath.Join(c.StateDir, exporter.InventoryName)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	l, err := lock.Wait(ctx, path+".lock", env.Now())
	if err != nil {
		return asRoot(err)
	}
	defer func() { _ = l.Release() }()
	seen, err := scan.LoadInventory(path)
	if err != nil {
		return asRoot(err)
	}
	var unknown []string
	for _, dataset := range c.Dataset {
		_, again := seen.Forgotten[dataset]
		var forgotten int
		if seen, forgotten = seen.Forget(dataset, env.Now()); forgotten > 0 {
			fmt.Fprintf(env.Stdout, "%s: forgot %s\n", dataset, text.Count(forgotten, "disk"))
			continue
		}
		fmt.Fprintf(env.Stdout, "%s: no exporter remembers this dataset; a check that remembers the dataset forgets it at the next run\n", dataset)
		// The exporter has an inventory, and no disk in the inventory is at or below this dataset.
		if !again && seen.Disks != nil {
			unknown = append(unknown, dataset)
		}
	}
	if err := seen.Save(path); err != nil {
		return asRoot(err)
	}
	if len(unknown) > 0 {
		return &exit{1, fmt.Errorf("the exporter here never saw %s: is this the full name?", strings.Join(unknown, ", "))}
	}
	return nil
}

// If err is a permission error, asRoot adds to its text that the command must be run as root.
func asRoot(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("run it as root: %w", err)
	}
	return err
}
