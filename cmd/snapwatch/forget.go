package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"snapwatch/checker/scan"
	"snapwatch/exporter"
	"snapwatch/internal/lock"
	"snapwatch/internal/zfs"
)

// forgetCmd is `snapwatch forget`: a disk that was removed on purpose is not missed
// any more.
type forgetCmd struct {
	Dataset  []string `arg:"" help:"The disk's dataset, or one that held disks, such as the pool."`
	StateDir string   `default:"/var/lib/snapwatch-exporter" placeholder:"DIR" help:"Where the exporter remembers the disks (default ${default})."`
}

// Run takes the datasets and all below them from what the exporter remembers. A
// disk that is still there is remembered again at the next scan.
func (c *forgetCmd) Run(env *environment) error {
	path := filepath.Join(c.StateDir, exporter.InventoryName)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	l, err := lock.Wait(ctx, path+".lock", env.Now())
	if err != nil {
		return err
	}
	defer func() { _ = l.Release() }()
	seen, err := scan.LoadInventory(path)
	if err != nil {
		return err
	}
	forgotten := 0
	for name := range seen {
		for _, dataset := range c.Dataset {
			if zfs.Within(name, dataset) {
				delete(seen, name)
				forgotten++
				break
			}
		}
	}
	if forgotten == 0 {
		return errors.New("none of these was seen before; snapwatch check names what is missing")
	}
	if err := seen.Save(path); err != nil {
		return err
	}
	_, err = fmt.Fprintf(env.Stdout, "forgot %d disks\n", forgotten)
	return err
}
