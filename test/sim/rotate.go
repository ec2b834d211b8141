package sim

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"snapwatch/config"
	"snapwatch/internal/zfs"
	"snapwatch/snapper/run"
	"snapwatch/test/retention"
)

// rotated plays another program's rotation on a receiving site and returns the names of the
// destroyed snapshots. On a node, rotated keeps the newest snapshots and the first snapshot of each
// day. On all sites, the rotation destroys the snapshots that syncoid made for sending to other
// sites. The rotation keeps the base, on top of which the next increment is received.
func rotated(d *dataset, to int, base uint64) (gone []string) {
	const newest = 6
	days := map[string]bool{}
	ours := 0
	for _, s := range d.snaps {
		if _, managed := s.Class(); managed {
			ours++
		}
	}
	goes := func(s zfs.Snapshot) bool {
		if _, managed := s.Class(); !managed {
			return strings.HasPrefix(s.Name, "syncoid_") && !strings.HasPrefix(s.Name, "syncoid_"+siteNames[to]+"_")
		}
		day := s.Creation.In(zone).Format("2006-01-02")
		first := !days[day]
		days[day] = true
		ours--
		return to != SiteC && !first && ours >= newest
	}
	d.snaps = slices.DeleteFunc(d.snaps, func(s zfs.Snapshot) bool {
		if !goes(s) || s.GUID == base {
			return false
		}
		gone = append(gone, s.Name)
		return true
	})
	return gone
}

// prune plays one run of snapwatch prune on C.
func (w *World) prune() {
	w.lab.Prune()
	c := &node{name: siteNames[SiteC], skew: w.c.skew, sets: w.c.sets, pools: map[string]*poolState{"vault": {}}, report: w.c.report, hooks: w.c.hooks}
	m := w.machineOn(c)
	m.replica, m.reached = true, AfterRun
	options := w.options(c, m, w.VaultKeeps())
	options.Config.Datasets = []string{"vault"}
	other := w.underway
	w.underway = underway{drops: map[string]map[string]bool{}, pruneBegan: c.clock(w.now)}
	defer func() { w.underway = other }()
	if _, done, err := run.Prune(context.Background(), options); err != nil || !done.Success {
		w.recordBroken("prune on C failed: %v %v", err, done.Problems)
	}
	m.ended = true
	w.c.report = c.report
	if len(c.hooks.notes) > 0 {
		w.recordBroken("prune on C leaves notes of hooks: %v", slices.Sorted(maps.Keys(c.hooks.notes)))
	}
}

// mayPrune checks that prune on C was allowed to destroy the named snapshot of a disk.
func (w *World) mayPrune(d *dataset, name string) {
	w.stats.Pruned++
	s, any := d.newestManaged()
	switch _, ours := zfs.ParseSnapshotName(name); {
	case any && s.Name == name:
		w.recordBroken("prune destroyed %s, the newest", s.FullName())
	case !ours:
		w.recordBroken("prune destroyed the unmanaged %s@%s", d.name, name)
	case !w.prunable(d)[name]:
		w.recordBroken("prune destroyed %s@%s, which it must keep", d.name, name)
	}
}

// prunable returns the snapshots of a copy that this run of prune may destroy, by an independent
// implementation of the rules in docs/replication.md.
func (w *World) prunable(d *dataset) map[string]bool {
	if drops := w.drops[d.name]; drops != nil { // this run has destroyed some of them
		return drops
	}
	drops := map[string]bool{}
	w.drops[d.name] = drops
	keep, err := config.ParseKeep(strings.Fields(w.VaultKeeps()))
	if err != nil {
		panic(err)
	}
	// The run made its plan at an unknown time between the beginning of the run and now.
	for _, now := range slices.Compact([]time.Time{w.pruneBegan, w.c.clock(w.now)}) {
		stays := retention.Always(d.snaps, now)
		grace := false // true once a newer managed snapshot is older than the grace
		for _, s := range slices.Backward(d.snaps) {
			class, ours := s.Class()
			if ours && class == zfs.Stopped && grace && !stays[s.Name] && !s.Creation.After(now.Add(maxSkew)) {
				drops[s.Name] = true
			}
			grace = grace || ours && now.Sub(s.Creation) > w.Grace
		}
		for _, name := range retention.Drops(keep, d.snaps, now) {
			if !stays[name] {
				drops[name] = true
			}
		}
	}
	return drops
}

// dropSyncs destroys the snapshots of a dataset that syncoid made for sending to a site, except the
// newest of them.
func dropSyncs(d *dataset, site string) {
	newest := true
	for i := len(d.snaps) - 1; i >= 0; i-- {
		if !strings.HasPrefix(d.snaps[i].Name, "syncoid_"+site+"_") {
			continue
		}
		if !newest {
			d.snaps = slices.Delete(d.snaps, i, i+1)
		}
		newest = false
	}
}
