package sim

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"snapwatch/config"
	"snapwatch/internal/zfs"
	"snapwatch/snapper"
	"snapwatch/snapper/run"
)

// shutdown plays an orderly shutdown of a node: the node's guests are stopped, then snapwatch
// finalize runs.
func (w *World) shutdown(i, ticks int) {
	n := w.nodes[i]
	if w.tick < max(n.down, n.booting) {
		return
	}
	for _, vmid := range w.order {
		if g := w.guests[vmid]; g.home == i && g.lock == "" && !g.flocked && w.held[vmid] == 0 {
			autostart := g.autostart
			w.stop(g)
			g.autostart = autostart
		}
	}
	m := w.machineOn(n)
	m.late, m.reached, m.final = false, AfterRun, true
	if m.chance.IntN(4) == 0 {
		m.otherUntil = w.now.Add(10 * time.Second) // a run of cron ends soon
	}
	options := w.options(n, m, w.Keep)
	options.Keep, options.Final = config.Keep{}, true
	other := w.underway
	w.underway = underway{planned: n.clock(w.now), before: map[string][]zfs.Snapshot{}, unmarked: map[string]bool{}}
	_, done, err := run.Run(context.Background(), options)
	w.underway = other
	// After a run was killed, only the pool's history proves which disks this run changed, and a
	// short history proves nothing. If nothing proves which disks the killed run changed, finalize
	// leaves the disks unchanged and reports them.
	switch clean := w.tick >= max(n.pveshBad, n.ignored, n.lacking, n.unreadable) && n.skew == 0 && !n.disturbed; {
	case err != nil && w.tick < n.unreadable:
	case err != nil:
		w.recordBroken("finalize on %s could not begin: %v", n.name, err)
	case clean && done.Success:
		w.checkLabelled(i)
	case clean:
		w.excused(n, m, done)
	}
	w.die(i, ticks)
}

// checkLabelled checks that finalize labelled the disks of every guest that stopped because its
// node was shut down.
func (w *World) checkLabelled(i int) {
	n := w.nodes[i]
	for _, vmid := range w.order {
		g := w.guests[vmid]
		if g.home != i || g.gone || g.alive || g.template || g.lock != "" || g.flocked || g.prelaunch || w.tick < g.rebooting {
			continue
		}
		for _, name := range g.disks {
			d := n.sets[name]
			p := n.pools[zfs.Pool(name)]
			if d == nil || d.token || d.seeding || d.running.Own() != n.name || w.tick < max(p.full, p.suspended, p.locked) {
				continue
			}
			w.recordBroken("finalize on %s left %s labelled %s", n.name, name, d.running.Own())
		}
	}
}

// unblock plays a person who runs snapwatch unblock, to make room for a rollback of a guest to one
// of its snapshots.
func (w *World) unblock(g *guest, back int) {
	n := w.nodes[g.home]
	d := n.sets[g.disks[0]]
	if d == nil || !w.changeable(g) || w.tick < max(n.pveshBad, n.unreadable) || len(d.snaps) <= back {
		return
	}
	to := d.snaps[len(d.snaps)-1-back].Name
	type had struct{ snaps, marks []zfs.Snapshot }
	before := map[string]had{}
	for name, d := range n.sets {
		before[name] = had{slices.Clone(d.snaps), slices.Clone(d.marks)}
	}
	m := w.machineOn(n)
	m.late, m.reached, m.unblocks = false, AfterRun, true
	m.send = []string{"", "", "tank", "ssd"}[m.chance.IntN(4)]
	other := w.underway
	w.underway = underway{planned: n.clock(w.now), before: map[string][]zfs.Snapshot{}}
	u, _, err := run.Unblock(context.Background(), w.options(n, m, w.Keep), run.UnblockRequest{VMID: g.vmid, Snapshot: to, Remove: true})
	w.underway = other
	refused := err != nil || len(u.Refusals) > 0 || len(u.Baseless()) > 0
	for name, was := range before {
		d := n.sets[name]
		at := slices.IndexFunc(was.snaps, func(s zfs.Snapshot) bool { return s.Name == to })
		its := !refused && at >= 0 && slices.Contains(g.disks, name) && slices.ContainsFunc(u.Disks, func(k snapper.UnblockDisk) bool { return k.Dataset == name })
		if !its {
			if !slices.Equal(d.snaps, was.snaps) || !slices.Equal(d.marks, was.marks) {
				w.recordBroken("unblock of guest %d to %s changed %s (refused: %v %v)", g.vmid, to, name, refused, errors.Join(err))
			}
			continue
		}
		if m.sent { // the rollback remains impossible, so unblock must not go on
			if later := m.send < zfs.Pool(name); !slices.Equal(d.marks, was.marks) || later && !slices.Equal(d.snaps, was.snaps) {
				w.recordBroken("unblock of guest %d to %s could not destroy the snapshots on %s, and went on with %s", g.vmid, to, m.send, name)
			}
			continue
		}
		// Proxmox itself removes its replication snapshots before a rollback.
		remain := slices.DeleteFunc(slices.Clone(was.snaps), func(s zfs.Snapshot) bool {
			return s.CreateTXG > was.snaps[at].CreateTXG && !strings.HasPrefix(s.Name, "__replicate_")
		})
		if !slices.Equal(d.snaps, remain) {
			w.recordBroken("unblock of guest %d to %s left %d snapshots of %s, not %d", g.vmid, to, len(d.snaps), name, len(remain))
		}
		for _, b := range d.marks {
			if b.CreateTXG > was.snaps[at].CreateTXG {
				w.recordBroken("unblock of guest %d to %s left the bookmark %s#%s", g.vmid, to, name, b.Name)
			}
		}
		w.stats.Unblocked++
		// A person requested the rollback of this disk, so the model no longer requires that the
		// disk and its copy have a snapshot in common.
		for key, p := range w.pairs {
			if p.source == d.guid {
				delete(w.pairs, key)
			}
		}
	}
}
