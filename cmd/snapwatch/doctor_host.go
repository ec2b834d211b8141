package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"snapwatch/config"
	"snapwatch/internal/crontab"
	"snapwatch/internal/doctor"
	"snapwatch/internal/pve"
	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
)

// read collects the facts about the host that doctor judges. If reading a fact fails, the result
// has the error of reading in place of the fact.
func (c *doctorCmd) read(ctx context.Context, env *environment, stage *atomic.Value) doctor.Facts {
	stage.Store("reading the configuration")
	f := doctor.Facts{Now: env.Now(), Root: env.Root, Clock: doctor.Clock{Synchronized: env.ClockSync(), ZoneErr: zoneErr(os.Getenv("TZ"))}}
	f.LocksErr = locksErr(env.LockDir)
	cfg, err := env.loadConfig(c.Config)
	if err != nil {
		f.ConfigErr, cfg = err, config.Default()
	}
	f.Role, f.WantNode, f.Warning, f.Pools = cfg.Role, cfg.Node, cfg.Limits.Warning.Std(), cfg.Pools
	stage.Store("asking Proxmox")
	f.Node = readNode(ctx, env)
	stage.Store("asking ZFS for its version")
	f.ZFS = readZFS(ctx, env)
	stage.Store("looking at the pools")
	roots := f.Node.Storages
	if len(cfg.Datasets) > 0 {
		roots = cfg.Datasets
	}
	search := siteSearch
	if f.Node.PVE && f.Role != "replica" {
		search = nodeSearch
	}
	f.Found, f.Disks = readPools(ctx, env, roots, search)
	for _, s := range f.Node.Storages {
		if !slices.ContainsFunc(f.Found, func(p doctor.Pool) bool { return p.Name == zfs.Pool(s) }) {
			f.Node.Absent = append(f.Node.Absent, s)
		}
	}
	f.DamageAt = addHealth(ctx, env, cfg, f.Found)
	stage.Store("asking systemd")
	units, cancel := context.WithTimeout(ctx, partTimeout)
	defer cancel()
	f.Starts = readStarts(units, env)
	f.Others = readOthers(units, env)
	stage.Store("reading the last run's report")
	f.LastRun = readLastRun(env, f.Found)
	return f
}

// zoneErr returns an error if Go uses UTC instead of the time zone in TZ. Go knows the names of
// time zones, but not the rules that POSIX also allows in TZ, such as CET-1CEST, and uses UTC
// without an error.
func zoneErr(zone string) error {
	if zone = strings.TrimPrefix(zone, ":"); zone == "" || zone == "UTC" || time.Local.String() != "UTC" {
		return nil
	}
	return fmt.Errorf("no zone has the name %s", zone)
}

// locksErr returns the reason why some users cannot create a lock in dir, nil if all users can.
func locksErr(dir string) error {
	const forAll = 0o003
	info, err := os.Stat(dir)
	if err == nil && info.Mode().Perm()&forAll != forAll {
		err = fmt.Errorf("%s is not for all users: %s", dir, info.Mode())
	}
	return err
}

func readNode(ctx context.Context, env *environment) doctor.Node {
	files, cancel := context.WithTimeout(ctx, partTimeout)
	defer cancel()
	cluster, err := env.PVE.Cluster(files)
	if errors.Is(err, pve.ErrNotPVE) && !env.installed("pvesh") {
		return doctor.Node{}
	}
	n := doctor.Node{PVE: true, Err: err, Name: cluster.Node, Hostname: env.Hostname(), Configured: len(cluster.Guests), Warnings: cluster.Warnings}
	if err != nil {
		return n
	}
	for _, vmid := range cluster.Unread() {
		n.Warnings = append(n.Warnings, fmt.Sprintf("the configuration of guest %d could not be read: %s", vmid, cluster.Guests[vmid].Problem))
	}
	for _, s := range cluster.Storages {
		if !slices.Contains(n.Storages, s.Dataset) {
			n.Storages = append(n.Storages, s.Dataset)
		}
	}
	begin := env.Now()
	listed, err := pve.List(ctx)
	n.Listed, n.PveshErr, n.PveshTook = len(listed), err, env.Now().Sub(begin)
	return n
}

func readZFS(ctx context.Context, env *environment) doctor.ZFS {
	var z doctor.ZFS
	if _, z.Err = zfs.Pools(env.Kstat); z.Err != nil {
		return z
	}
	version, cancel := context.WithTimeout(ctx, partTimeout)
	defer cancel()
	z.Userland, z.Kernel, z.Err = zfs.Versions(version)
	device, err := os.OpenFile(env.ZFSDevice, os.O_RDWR, 0)
	if err != nil {
		z.DeviceErr = err
		return z
	}
	_ = device.Close()
	return z
}

func readStarts(ctx context.Context, env *environment) doctor.Starts {
	s := doctor.Starts{Timer: timerEnabled(env)}
	lines, err := snapJob.lines(env)
	if err != nil && env.Root {
		s.CronErr = err
	}
	for _, line := range lines {
		text := linesText([]crontab.Entry{line})
		if line.Problem != "" {
			s.Unclear = append(s.Unclear, text)
			continue
		}
		if line.Never() != "" {
			s.Idle = append(s.Idle, text)
			continue
		}
		if s.Cron = append(s.Cron, text); s.ProgramErr == nil {
			s.Program, s.ProgramErr = programPath(line)
		}
	}
	if s.CronDaemon, err = unitOrNothing(ctx, env, "cron.service"); err == nil {
		s.Finalize, err = unitOrNothing(ctx, env, "snapwatch-finalize.service")
	}
	s.SystemdErr = err
	return s
}

// unitOrNothing returns systemd's state of a unit, "" on a host without systemd.
func unitOrNothing(ctx context.Context, env *environment, unit string) (string, error) {
	if _, err := os.Stat(env.PVE.Systemd); err != nil {
		return "", nil
	}
	return env.PVE.UnitState(ctx, unit)
}

// readLastRun reads the report of the last run of snap, and adds to each pool the free space that
// the run saw there.
func readLastRun(env *environment, pools []doctor.Pool) doctor.LastRun {
	last, err := env.lastRun(report.Name)
	for i := range pools {
		pools[i].Short = last.Rooms[pools[i].Name].Short
	}
	r := doctor.LastRun{Err: err, End: last.End, Limit: report.SnapLimit(snapPeriod(env)), Success: last.Success}
	for _, p := range last.Problems {
		if p.Severity == report.Warning {
			r.FirstWords = p.Text
			break
		}
	}
	return r
}

func readOthers(ctx context.Context, env *environment) doctor.Others {
	var o doctor.Others
	_, err := os.Stat(env.Sanoid)
	o.Sanoid = err == nil
	_, err = os.Stat(filepath.Join(filepath.Dir(env.CronFile), "sanoid"))
	timer, _ := unitOrNothing(ctx, env, "sanoid.timer") // readStarts has already reported that systemd does not answer
	o.SanoidRuns = err == nil || timer == "active"
	if old := oldCronLines(env); len(old) > 0 {
		o.OldCron = linesText(old)
	}
	return o
}
