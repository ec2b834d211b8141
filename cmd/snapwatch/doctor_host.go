package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"snapwatch/config"
	"snapwatch/internal/doctor"
	"snapwatch/internal/pve"
	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
)

// read reads all that doctor judges. What can't be read is a fact, too.
func (c *doctorCmd) read(ctx context.Context, env *environment) doctor.Facts {
	f := doctor.Facts{Now: env.Now(), Root: env.Root, Clock: doctor.Clock{Synchronized: env.ClockSync()}}
	cfg, err := env.loadConfig(c.Config)
	if err != nil {
		f.ConfigErr, cfg = err, config.Default()
	}
	f.Role, f.WantNode, f.Warning, f.Pools = cfg.Role, cfg.Node, cfg.Limits.Warning.Std(), cfg.Pools
	f.Node = readNode(ctx, env)
	f.ZFS = readZFS(ctx, env)
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
	f.Starts = readStarts(ctx, env)
	f.LastRun = readLastRun(env)
	f.Others = readOthers(ctx, env)
	return f
}

func readNode(ctx context.Context, env *environment) doctor.Node {
	cluster, err := env.PVE.Cluster(ctx)
	if errors.Is(err, pve.ErrNotPVE) && !env.installed("pvesh") {
		return doctor.Node{}
	}
	n := doctor.Node{PVE: true, Err: err, Name: cluster.Node, Hostname: env.Hostname(), Configured: len(cluster.Guests), Warnings: cluster.Warnings}
	if err != nil {
		return n
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
	z.Userland, z.Kernel, z.Err = zfs.Versions(ctx)
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
	lines, err := cronLines(env.CronFile)
	if err != nil {
		return s
	}
	if i := slices.IndexFunc(lines, snapJob.wrote); i >= 0 {
		s.Cron = lines[i]
		s.Program = strings.Trim(programLine.FindStringSubmatch(lines[i])[1], "'")
		_, s.ProgramErr = os.Stat(s.Program)
	}
	s.CronDaemon = unitOrNothing(ctx, env, "cron.service")
	s.Finalize = unitOrNothing(ctx, env, "snapwatch-finalize.service")
	return s
}

// unitOrNothing is a unit's state, "" where systemd can't be asked.
func unitOrNothing(ctx context.Context, env *environment, unit string) string {
	if _, err := os.Stat(env.PVE.Systemd); err != nil {
		return ""
	}
	state, err := env.PVE.UnitState(ctx, unit)
	if err != nil {
		return ""
	}
	return state
}

func readLastRun(env *environment) doctor.LastRun {
	last, err := report.Load(env.StateDir)
	r := doctor.LastRun{Err: err, End: last.End, Success: last.Success}
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
	o.SanoidRuns = err == nil || unitOrNothing(ctx, env, "sanoid.timer") == "active"
	o.OldCron = oldCronLine(env)
	return o
}
