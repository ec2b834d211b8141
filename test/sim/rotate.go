package sim

import (
	"slices"
	"strings"

	"snapwatch/config"
	"snapwatch/internal/zfs"
	"snapwatch/snapper"
)

// rotated is the rotation of others on a site that receives: on a node the newest
// snapshots and the first of each day stay, and nowhere those of syncoid's runs to other
// sites. It returns the names of those that go.
func rotated(d *dataset, to int) (gone []string) {
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
		if !goes(s) {
			return false
		}
		gone = append(gone, s.Name)
		return true
	})
	return gone
}

// prune is one run of snapwatch prune on C.
func (w *World) prune() {
	w.lab.Prune()
	var disks []snapper.Disk
	for _, name := range sortedNames(w.c.sets) {
		if !w.parse(name).disk {
			continue
		}
		k := w.disk(w.c.sets[name])
		k.State, k.Retention = snapper.Orphan, w.vaultKeeps
		disks = append(disks, k)
	}
	plan := snapper.PlanPrune(disks, snapper.PrunePolicy{StoppedGrace: w.Grace, MaxDestroys: config.Default().MaxDestroys}, nil, w.c.clock(w.now))
	for _, gone := range plan.Destroys {
		d := w.c.sets[gone.Dataset]
		if s, any := d.newestManaged(); any && s.Name == gone.Name {
			w.broken("prune destroyed %s, the newest", s.FullName())
		}
		if _, ours := zfs.ParseSnapshotName(gone.Name); !ours {
			w.broken("prune destroyed the foreign %s@%s", gone.Dataset, gone.Name)
		}
		for _, keeper := range gone.Keepers {
			if !d.has(keeper) {
				w.broken("prune destroyed %s@%s for %s, which is not there", gone.Dataset, gone.Name, keeper)
			}
		}
		d.destroy(gone.Name)
		d.changed = w.c.clock(w.now)
		w.stats.Pruned++
	}
}

// dropSyncs leaves the newest of syncoid's own snapshots.
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
