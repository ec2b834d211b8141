package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"snapwatch/config"
	"snapwatch/drill"
	drillrun "snapwatch/drill/run"
	"snapwatch/internal/note"
	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
	"snapwatch/snapper"
)

// drills returns the options of drills on this machine.
func (e *environment) drills() drillrun.Options {
	return drillrun.Options{
		World: drillrun.Local{
			Kstat: e.Kstat, LockDir: e.RunDir, StateDir: e.StateDir, Dev: e.Dev, Clock: e.Now,
			Self: e.Self, MountDir: filepath.Join(e.RunDir, "drill"),
		},
		Notes: note.Dir(filepath.Join(e.StateDir, "drills")),
	}
}

// bootOf returns how the guest is started after its look, nil if it is not: the configuration names
// no program, or a disk is a container's. The guest's kept configuration is not read yet.
func bootOf(cfg config.Config, g drill.Guest) *drill.Boot {
	if len(cfg.Drill.Boot) == 0 || slices.ContainsFunc(g.Disks, func(d drill.Disk) bool { return d.Filesystem }) {
		return nil
	}
	return &drill.Boot{Argv: cfg.Drill.Boot, Limit: cfg.Drill.BootTime.Std()}
}

// keptConfig returns the guest's configuration that is kept with its restore point, "" if none is
// known.
func (e *environment) keptConfig(ctx context.Context, g drill.Guest) string {
	var disks []diskConfigs
	complain := func(of string, err error) { fmt.Fprintf(e.Stderr, "snapwatch: %s: %v\n", of, err) }
	for _, d := range g.Disks {
		kept, err := zfs.Reader{}.Configs(ctx, d.Dataset)
		if err != nil {
			complain(d.Dataset, err)
		}
		disks = append(disks, diskConfigs{d.Dataset, g.Cluster, kept})
	}
	configs := newGuestConfigs(g.VMID, disks, func(s zfs.KeptConfig, err error) { complain(s.FullName(), err) })
	known, err := configs.configAt(g.Disks[0].At.FullName(), e.Now())
	if err != nil {
		return ""
	}
	return known.text
}

// removeDrillsTime is the longest time that a run of another command spends on the clones that
// drills left.
const removeDrillsTime = 30 * time.Second

// removeDrills destroys the clones that killed drills left. prune and health call it first, because a
// snapshot that has a clone cannot be destroyed; snap calls it after its run.
func (e *environment) removeDrills(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, removeDrillsTime)
	defer cancel()
	if err := drillrun.RemoveLeft(ctx, e.drills(), nil); err != nil {
		fmt.Fprintf(e.Stderr, "snapwatch: %v\n", err)
	}
}

// prunes returns a function with the retentions by which prune may run on this host, for the disks
// of a guest: those that cron has, that of the configuration of a replica, and that of prune's last
// run. If one cannot be read, prunes adds a doubt to the facts.
func (e *environment) prunes(cfg config.Config, f *drill.Facts) func(g drill.Guest) map[string][]snapper.Retention {
	type rule struct {
		cfg  config.Config
		keep config.Keep
	}
	var rules []rule
	doubt := func(err error) {
		f.Doubts = append(f.Doubts, fmt.Sprintf("it is unknown what prune keeps: %v", err))
	}
	runs, unclear := regularRuns(e, pruneJob)
	if len(unclear) > 0 {
		doubt(errors.New(linesText(unclear)))
	}
	for _, r := range runs {
		of, keep, err := r.settings(e)
		if err != nil {
			doubt(err)
			continue
		}
		rules = append(rules, rule{of, keep})
	}
	if cfg.Role == "replica" && cfg.Keep != nil {
		rules = append(rules, rule{cfg, cfg.Keep})
	}
	last, err := report.Last(e.StateDir, report.PruneName)
	if err == nil && last.Retention != "" {
		var keep config.Keep
		if keep, err = config.ParseKeep(strings.Fields(last.Retention)); err == nil {
			rules = append(rules, rule{cfg, keep})
		}
	}
	if err != nil {
		doubt(err)
	}
	return func(g drill.Guest) map[string][]snapper.Retention {
		all := map[string][]snapper.Retention{}
		for _, d := range g.Disks {
			for _, r := range rules {
				keep, _ := r.cfg.KeepFor(d.Dataset, g.VMID, r.keep)
				all[d.Dataset] = append(all[d.Dataset], snapper.RetentionOf(keep))
			}
		}
		return all
	}
}
