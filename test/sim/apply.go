package sim

import (
	"slices"
	"strings"
	"time"

	"snapwatch/internal/zfs"
	"snapwatch/snapper"
)

// apply does what a plan says, as the channel programs do, up to where it is killed.
// It reports whether every snapshot was made.
func (w *World) apply(n *node, plan snapper.Plan, kill int) (all bool) {
	made := map[string]string{}
	if kill == killBeforeAll {
		return false
	}
	all = true
	defer w.abandoned(n, plan.Abandoned)
	full, failed := map[string]bool{}, map[string]bool{}
	for _, pool := range []string{"ssd", "tank"} {
		w.unmarkAll(n, pool, snapshotsOf(plan.Abandoned))
		for _, g := range plan.Guests {
			if g.Pool == pool && !w.applyGuest(n, g, made, full, failed) {
				all = false
			}
		}
	}
	for _, m := range plan.CreateBookmarks {
		if d := n.sets[m.Dataset]; d != nil && w.tick >= n.pools[zfs.Pool(m.Dataset)].suspended && d.has(m.Name) {
			d.marks = append(d.marks, m)
		}
	}
	for _, dataset := range plan.InheritReceived {
		d := n.sets[dataset]
		d.running = zfs.Property{Value: d.running.Received, Received: d.running.Received, Source: zfs.SourceReceived}
	}
	var list []snapper.Destroy
	for _, pool := range []string{"ssd", "tank"} {
		list = append(list, snapper.Allowed(plan, pool, outcomesOf(made, full, failed))...)
	}
	w.before = map[string][]zfs.Snapshot{}
	for _, gone := range list {
		if d := n.sets[gone.Dataset]; d != nil && strings.HasSuffix(gone.Name, "_stopped") {
			w.before[d.name] = slices.Concat(d.snaps, d.marks)
		}
	}
	for _, gone := range list {
		w.destroy(n, gone)
	}
	for _, pool := range []string{"ssd", "tank"} {
		w.unmarkAll(n, pool, plan.DestroyBookmarks)
	}
	return all
}

// unmarkAll destroys bookmarks of one pool.
func (w *World) unmarkAll(n *node, pool string, marks []zfs.Snapshot) {
	for _, m := range marks {
		if d := n.sets[m.Dataset]; d != nil && zfs.Pool(m.Dataset) == pool && w.tick >= n.pools[pool].suspended {
			w.unmark(d, m.Name)
		}
	}
}

func (w *World) applyGuest(n *node, g snapper.GuestPlan, made map[string]string, full, failed map[string]bool) bool {
	wanted := slices.ContainsFunc(g.Disks, func(d snapper.DiskPlan) bool { return d.Snapshot })
	state := n.pools[g.Pool]
	broken := w.tick < state.suspended
	for _, k := range g.Disks {
		d := n.sets[k.Dataset]
		broken = broken || d == nil || g.RefuseReceiving && d.token
	}
	noSpace := w.tick < state.full && wanted
	if broken || noSpace {
		for _, k := range g.Disks {
			failed[k.Dataset], full[k.Dataset] = true, noSpace && !broken
		}
		return false
	}
	name := g.Snapshot
	for slices.ContainsFunc(g.Disks, func(k snapper.DiskPlan) bool { return k.Snapshot && n.sets[k.Dataset].has(name) }) {
		t, err := zfs.ParseSnapshotTime(name)
		if err != nil {
			panic(err)
		}
		name = zfs.FormatSnapshotName(t.Add(time.Second), g.Class)
	}
	for _, k := range g.Disks {
		d := n.sets[k.Dataset]
		if k.Snapshot {
			s := w.snapshot(n, d, name)
			made[k.Dataset] = name
			if k.Bookmark {
				d.marks = append(d.marks, s)
			}
			if g.Class == zfs.Stopped {
				w.stopTaken(n, g.VMID, k.Dataset)
			}
		}
		if k.Label != "" {
			w.say("%s: label of %s is %s now, was %s; %s", n.name, k.Dataset, k.Label, orDash(d.running.Own()), snapOrNot(k, name))
			d.running = zfs.Property{Value: k.Label, Received: d.running.Received, Source: zfs.SourceLocal}
		} else if k.Snapshot && g.Class == zfs.Stopped {
			w.say("%s: %s@%s", n.name, k.Dataset, name)
		}
	}
	return true
}

func snapshotsOf(judged []snapper.JudgedBookmark) (list []zfs.Snapshot) {
	for _, j := range judged {
		list = append(list, j.Snapshot)
	}
	return list
}

// outcomesOf is what became of the disks' snapshots, as a run keeps it.
func outcomesOf(made map[string]string, full, failed map[string]bool) map[string]snapper.Outcome {
	outcomes := map[string]snapper.Outcome{}
	for name, snapshot := range made {
		outcomes[name] = snapper.Outcome{Snapshot: snapshot}
	}
	for name := range failed {
		outcomes[name] = snapper.Outcome{Err: errFailed, NoSpace: full[name]}
	}
	return outcomes
}

func snapOrNot(k snapper.DiskPlan, name string) string {
	if k.Snapshot {
		return name
	}
	return "no snapshot"
}

// destroy does what the channel program does: nothing where a keeper is missing.
func (w *World) destroy(n *node, gone snapper.Destroy) {
	d := n.sets[gone.Dataset]
	if d == nil || w.tick < n.pools[zfs.Pool(d.name)].suspended {
		return
	}
	if slices.ContainsFunc(gone.Keepers, func(keeper string) bool { return !d.has(keeper) }) || !d.has(gone.Name) {
		return
	}
	w.mayGo(n, d, gone.Name)
	d.destroy(gone.Name)
	w.stats.Destroyed++
}
