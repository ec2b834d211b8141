package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"snapwatch/checker"
	"snapwatch/checker/scan"
	"snapwatch/internal/files"
	"snapwatch/internal/zfs"
)

// healthCmd is `snapwatch health`.
type healthCmd struct{}

// Help implements kong's HelpProvider.
func (healthCmd) Help() string {
	return `Any user sees that a pool has permanent errors; only root can find out where. This leaves a
report, from which check and the exporter see which disks are damaged, and which guests.
It changes nothing on a pool. snapwatch-health.timer starts it hourly.
Exit status: 0 done; 1 a pool could not be asked, and what was known of it before is kept; 2 nothing
could be done.`
}

// healthTime is the longest time that the command health waits for zpool. zpool is asked about all
// pools at the same time.
const healthTime = time.Minute

// Run implements the command.
func (healthCmd) Run(env *environment) error {
	if !env.Root {
		return errors.New("health must be run as root: only root can read where the errors are")
	}
	var stage atomic.Value
	stage.Store("removing the clones of drills")
	return runReading(removeDrillsTime+healthTime+10*time.Second, &stage, func(ctx context.Context) error {
		env.removeDrills(ctx)
		stage.Store("asking zpool")
		ctx, cancel := context.WithTimeout(ctx, healthTime)
		defer cancel()
		found, err := reportDamage(ctx, env)
		printDamage(env.Stdout, found)
		if err != nil {
			return &exit{1, err}
		}
		return nil
	})
}

// reportDamage lists the permanent errors of all pools by zpool status -v, and writes a report
// about them. If the status of pools could not be read, the error has the reason for each of these
// pools.
func reportDamage(ctx context.Context, env *environment) (map[string]*checker.Damage, error) {
	pools, err := zfs.Pools(env.Kstat)
	if err != nil {
		return nil, err
	}
	mounts, err := os.ReadFile(env.Mounts)
	if err != nil {
		return nil, err
	}
	scanner := scan.Scanner{Kstat: env.Kstat, LockDir: env.LockDir, Now: env.Now}
	damages, errs := make([]*checker.Damage, len(pools)), make([]error, len(pools))
	var asking sync.WaitGroup
	for i, pool := range pools {
		asking.Go(func() { damages[i], errs[i] = scanner.FindDamage(ctx, pool, zfs.ParseMounts(string(mounts))) })
	}
	asking.Wait()
	found := map[string]*checker.Damage{}
	for i, pool := range pools {
		if damages[i] != nil {
			found[pool] = damages[i]
		}
	}
	path := filepath.Join(env.StateDir, scan.DamageName)
	last, err := scan.LoadDamage(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		fmt.Fprintf(env.Stderr, "snapwatch: the last report is not used: %v\n", err)
	}
	if err := files.Directory(env.StateDir, 0o755); err != nil {
		return found, err
	}
	return found, errors.Join(append(errs, scan.SaveDamage(path, scan.DamageOf(last, found, pools)))...)
}

const (
	// A run of snap or prune renews the report of permanent errors if the report is older than
	// refreshAfter. A timer also renews the report of permanent errors, once an hour. refreshAfter
	// is a little less than an hour.
	refreshAfter = 50 * time.Minute
	// refreshTime is the longest time that a run of snap or prune spends on renewing the report of
	// permanent errors.
	refreshTime = 30 * time.Second
)

// refreshDamage renews the report of permanent errors if the report is older than refreshAfter.
// snap and prune call refreshDamage at their end. snap and prune ignore an error of refreshDamage,
// because check notices if the report becomes old.
func refreshDamage(ctx context.Context, env *environment) {
	last, err := scan.LoadDamage(filepath.Join(env.StateDir, scan.DamageName))
	pools, poolsErr := zfs.Pools(env.Kstat)
	old := err != nil || slices.ContainsFunc(pools, func(pool string) bool {
		age := refreshAfter
		if d := last[pool]; d != nil {
			age = env.Now().Sub(d.At)
		}
		return age < 0 || age >= refreshAfter
	})
	if poolsErr != nil || !old {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, refreshTime)
	defer cancel()
	_, _ = reportDamage(ctx, env)
}

// printDamage prints the files and datasets with permanent errors, and nothing for a pool without
// errors.
func printDamage(w io.Writer, found map[string]*checker.Damage) {
	for _, pool := range slices.Sorted(maps.Keys(found)) {
		d := found[pool]
		for _, dataset := range slices.Sorted(maps.Keys(d.Snapshots)) {
			var where []string
			for _, name := range d.Snapshots[dataset] {
				if name == "" {
					where = append(where, dataset)
				} else {
					where = append(where, dataset+"@"+name)
				}
			}
			fmt.Fprintf(w, "permanent errors in %s\n", strings.Join(where, ", "))
		}
		if d.Unlisted {
			fmt.Fprintf(w, "pool %s has permanent errors, but ZFS does not say where\n", pool)
		}
		if d.Unresolved > 0 {
			fmt.Fprintf(w, "%d permanent errors of pool %s are in no existing dataset; run: zpool scrub %s\n", d.Unresolved, pool, pool)
		}
	}
}

// askHealths starts asking zpool about the health of the pools, and returns a function that waits
// for the result. zpool gets at most half of the time until ctx ends.
func askHealths(ctx context.Context, s scan.Scanner, f scan.HealthFile, pools []string) func() map[string]*checker.Health {
	cancel := context.CancelFunc(func() {})
	if until, has := ctx.Deadline(); has {
		ctx, cancel = context.WithTimeout(ctx, time.Until(until)/2) //nolint:forbidigo // a deadline is by this clock, too
	}
	answer := make(chan map[string]*checker.Health, 1)
	go func() {
		defer cancel()
		answer <- s.Healths(ctx, f, pools)
	}()
	return func() map[string]*checker.Health { return <-answer }
}
