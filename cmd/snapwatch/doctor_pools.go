package main

import (
	"context"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"time"

	"snapwatch/checker"
	"snapwatch/checker/scan"
	"snapwatch/config"
	"snapwatch/internal/doctor"
	"snapwatch/internal/zfs"
)

// diskSearch has two functions of doctor: one lists a host's disks, and the other decides whether a
// disk was received.
type diskSearch struct {
	list     func(ctx context.Context, roots ...string) ([]zfs.Dataset, error)
	received func(zfs.Dataset) bool
}

var (
	// nodeSearch finds the disks of a Proxmox node directly below the datasets of its storages.
	nodeSearch = diskSearch{zfs.Reader{}.Children, func(h zfs.Dataset) bool { return h.Running.Received != "" }}
	// siteSearch finds the disks of a replica, at any depth. All disks of a replica were received.
	siteSearch = diskSearch{zfs.Reader{}.Descendants, func(zfs.Dataset) bool { return true }}
)

// readPools reads every imported pool and the guests' disks below the root datasets.
func readPools(ctx context.Context, env *environment, roots []string, search diskSearch) ([]doctor.Pool, []doctor.Disk) {
	names, err := zfs.Pools(env.Kstat)
	if err != nil {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, partTimeout)
	defer cancel()
	pools := make([]doctor.Pool, len(names))
	found := make([][]doctor.Disk, len(names))
	var all sync.WaitGroup
	// All pools are read at the same time, so that a pool that hangs delays no other pool.
	for i, name := range names {
		all.Go(func() { pools[i], found[i] = readPool(ctx, env, name, rootsIn(roots, name), search) })
	}
	all.Wait()
	return pools, slices.Concat(found...)
}

func readPool(ctx context.Context, env *environment, name string, roots []string, search diskSearch) (p doctor.Pool, disks []doctor.Disk) {
	p.Name = name
	if p.Err = zfs.CheckPool(env.Kstat, name); p.Err != nil {
		return p, nil
	}
	disks, p.Lists, p.Err = readDisks(ctx, roots, search)
	if state, err := (zfs.Reader{}).Feature(ctx, name, "bookmarks"); p.Err == nil && err == nil {
		p.Bookmarks = state
	}
	return p, disks
}

// addHealth adds to each pool the verdict of check on the health of the pool. The verdict does not
// use check's memory of earlier scrubs. For each pool, there is a time at which root last searched
// it for permanent errors. addHealth returns the oldest of these times, zero if root never searched
// one of the pools.
func addHealth(ctx context.Context, env *environment, cfg config.Config, pools []doctor.Pool) time.Time {
	ctx, cancel := context.WithTimeout(ctx, partTimeout)
	defer cancel()
	scanner := scan.Scanner{Kstat: env.Kstat, LockDir: env.LockDir, Now: env.Now}
	report := filepath.Join(env.StateDir, scan.DamageName)
	var names []string
	for _, p := range pools {
		names = append(names, p.Name)
	}
	known := scanner.Healths(ctx, scan.HealthFile{Report: report}, names)
	policy := checker.NewPolicy(cfg)
	for i, p := range pools {
		if p.Err != nil {
			continue
		}
		now := env.Now()
		judged := checker.JudgePool(checker.Pool{Name: p.Name, ReadAt: now, Health: known[p.Name]}, policy, now)
		if judged.State != checker.OK {
			pools[i].Unwell, pools[i].Critical, pools[i].Full = judged.Reason, judged.State == checker.Critical, judged.Verdict == checker.PoolFull
		}
	}
	// If the report of permanent errors is unreadable, doctor acts as if there were none.
	damages, _ := scan.LoadDamage(report)
	oldest := time.Time{}
	for i, name := range names {
		d := damages[name]
		if d == nil {
			return time.Time{}
		}
		if i == 0 || d.At.Before(oldest) {
			oldest = d.At
		}
	}
	return oldest
}

// rootsIn returns those of the given root datasets that are in the pool. If roots is empty, rootsIn
// returns the pool itself.
func rootsIn(roots []string, pool string) []string {
	if len(roots) == 0 {
		return []string{pool}
	}
	return slices.DeleteFunc(slices.Clone(roots), func(r string) bool { return zfs.Pool(r) != pool })
}

// autumnName matches the name that sanoid gives to a snapshot in the hour that occurs twice when
// clocks are set back.
var autumnName = regexp.MustCompile(`^autosnap_[0-9-]+_[0-9:]+dst_[a-z]+$`)

// readDisks returns the disks below the roots. The boolean result lists is true if this ZFS does
// not have the property prevsnap, so that the newest snapshot of a disk is found only in a list of
// all its snapshots.
func readDisks(ctx context.Context, roots []string, search diskSearch) (disks []doctor.Disk, lists bool, err error) {
	if len(roots) == 0 {
		return nil, false, nil
	}
	heads, err := search.list(ctx, roots...)
	if err != nil && !zfs.OnlyMissing(err) {
		return nil, false, err
	}
	var names []string
	for _, h := range heads {
		if _, _, disk := zfs.ParseDiskName(zfs.Base(h.Name)); !disk {
			continue
		}
		disks = append(disks, doctor.Disk{
			Dataset: h.Name, Received: search.received(h),
			Labelled: h.Running.Own() != "", ReceivedLabel: h.Running.Received != "",
		})
		lists = lists || h.NewestUnknown
		if h.NewestSnapshot != "" || h.NewestUnknown {
			names = append(names, h.Name)
		}
	}
	if len(names) == 0 {
		return disks, lists, nil
	}
	taken, autumn := map[string][]zfs.Snapshot{}, map[string][]string{}
	if err := (zfs.Reader{}).Snapshots(ctx, names, func(s zfs.Snapshot) error {
		if _, managed := s.Class(); managed {
			taken[s.Dataset] = append(taken[s.Dataset], s)
		}
		if autumnName.MatchString(s.Name) {
			autumn[s.Dataset] = append(autumn[s.Dataset], s.Dataset+"@"+s.Name)
		}
		return nil
	}); err != nil {
		return disks, lists, err
	}
	for i := range disks {
		fillTimes(&disks[i], taken[disks[i].Dataset])
		disks[i].Autumn = autumn[disks[i].Dataset]
	}
	return disks, lists, nil
}

// fillTimes sets the time of the disk's newest snapshot and the longest gap between its
// snapshots.
func fillTimes(d *doctor.Disk, snapshots []zfs.Snapshot) {
	if len(snapshots) == 0 {
		return
	}
	slices.SortStableFunc(snapshots, func(a, b zfs.Snapshot) int { return a.Creation.Compare(b.Creation) })
	var taken []doctor.Taken
	for _, s := range snapshots {
		class, _ := s.Class()
		taken = append(taken, doctor.Taken{At: s.Creation, Stopped: class == zfs.Stopped})
	}
	d.Newest, d.Gap = taken[len(taken)-1].At, doctor.LongestGap(taken)
}
