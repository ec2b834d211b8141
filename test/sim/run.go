package sim

import (
	"errors"
	"slices"
	"strings"
	"time"

	"snapwatch/internal/pve"
	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
	"snapwatch/snapper"
)

var (
	errHung   = errors.New("pvesh hung")
	errFailed = errors.New("pvesh failed")
	errFlock  = errors.New("locked")
	errEmpty  = errors.New("pvesh lists no guest at all")
)

// The points at which a run may be killed. The channel program itself cannot be.
const (
	killBeforeAll = iota + 1
	killAfterFirstPool
	killBeforeDestroys
	killAmidDestroys
	killBeforeUnmarks
	killBeforeReport
	killPoints
)

// confirmStop is the time between the two looks.
const confirmStop = 20 * time.Second

// look reads the guests of a node, as snap does.
func (w *World) look(n *node) snapper.Guests {
	g := snapper.Guests{
		Cluster: pve.Cluster{
			Node: n.name, Nodes: nodeNames[:], Guests: map[int]pve.Config{}, Elsewhere: map[int]string{}, HAStarted: map[int]bool{},
			Storages: []pve.Storage{{Name: "data", Dataset: "tank/data"}, {Name: "ssd", Dataset: "ssd"}},
		},
		Evidence: map[int]snapper.Evidence{},
		Gate:     snapper.Gate{Uptime: w.now.Sub(n.booted), BootGrace: 5 * time.Minute, BootState: "active"},
	}
	if w.tick < n.booting {
		g.Gate.BootState = "activating"
	}
	if w.tick < n.pveshBad {
		switch n.pvesh {
		case "fails":
			g.ListErr = errFailed
		case "hangs":
			g.ListErr = errHung
		case "lists nothing":
			g.ListErr = errEmpty
		}
	}
	for _, vmid := range w.order {
		k := w.guests[vmid]
		if k.gone {
			continue
		}
		if w.nodes[k.home] != n {
			g.Cluster.Elsewhere[vmid] = w.nodes[k.home].name
			continue
		}
		c := pve.Config{ID: pve.ID{VMID: vmid, Kind: k.kind}, Template: k.template, Lock: k.lock, Volumes: k.volumes()}
		g.Cluster.Guests[vmid] = c
		g.Cluster.HAStarted[vmid] = k.ha
		e := snapper.Evidence{
			Config: c, ListErr: g.ListErr, Process: k.alive || k.prelaunch, Rebooting: w.tick < k.rebooting, HAStarted: k.ha,
			StoppedLastRun: slices.Contains(n.report.seenStopped, vmid),
		}
		switch {
		case g.ListErr != nil:
		case w.tick < n.pveshBad:
			e.Listed = "unknown"
		case k.alive || k.prelaunch:
			e.Listed = "running"
		default:
			e.Listed = "stopped"
		}
		g.Evidence[vmid] = e
	}
	return g
}

// ask asks QEMU of the guests that are not clear.
func (w *World) ask(n *node, g snapper.Guests, disks []snapper.Disk) {
	for _, vmid := range g.Unclear(disks, w.names(n)) {
		e, k := g.Evidence[vmid], w.guests[vmid]
		switch {
		case w.tick < n.pveshBad:
			e.RunStateErr = errFailed
		case k.prelaunch:
			e.RunState = "prelaunch"
		case k.paused:
			e.RunState = "paused"
		default:
			e.RunState = "running"
		}
		g.Evidence[vmid] = e
	}
}

func (w *World) names(n *node) snapper.Names {
	peers := []string{nodeNames[1]}
	if n.name == nodeNames[1] {
		peers = []string{nodeNames[0]}
	}
	return snapper.Names{Node: n.name, Hostname: n.name, Peers: peers}
}

func (w *World) snapPolicy(n *node) snapper.Policy {
	return snapper.Policy{
		Names: w.names(n), Bookmarks: w.Bookmarks, StoppedGrace: w.Grace, AdoptPeerLabels: true, MaxDestroys: 1000, MaxUnmarks: 20,
	}
}

func (w *World) readDisks(n *node) []snapper.Disk {
	var disks []snapper.Disk
	for _, name := range sortedNames(n.sets) {
		if w.tick >= n.pools[zfs.Pool(name)].suspended && isDisk(name) {
			k := w.disk(n.sets[name])
			k.Tip = n.report.tips[name]
			disks = append(disks, k)
		}
	}
	return disks
}

// snap is one run of cron on a node: the edges of snapper.Run, around its core.
func (w *World) snap(n *node, between func(phase int)) {
	if w.tick < n.down || w.tick < n.cronOff {
		between(betweenLooks)
		return
	}
	kill := n.kill
	n.kill = 0
	w.stats.Runs++
	policy := w.snapPolicy(n)
	guests := w.look(n)
	disks := w.readDisks(n)
	w.ask(n, guests, disks)
	now := n.clock(w.now)
	stops := guests.Stops(disks, nil, policy, now)
	if len(stops) > 0 {
		w.now = w.now.Add(confirmStop)
		between(betweenLooks)
		if w.tick < n.down {
			return
		}
		locked := map[int]bool{}
		for _, vmid := range stops {
			locked[vmid] = w.guests[vmid].flocked
			w.held[vmid] = !locked[vmid]
		}
		guests = w.look(n)
		for vmid, e := range guests.Evidence {
			if locked[vmid] {
				e.LockErr = errFlock
			}
			e.SeenStopped = slices.Contains(stops, vmid)
			guests.Evidence[vmid] = e
		}
		w.ask(n, guests, disks)
	} else {
		between(betweenLooks)
	}
	guests.Assign(disks, nil)
	n.planned = n.clock(w.now)
	plan := snapper.MakePlan(disks, policy, n.planned)
	between(beforeProgram)
	if w.tick < n.down {
		clear(w.held)
		return // the host died, and this run with it
	}
	w.intend(n, plan, disks)
	done, made := w.apply(n, plan, disks, kill)
	clear(w.held)
	if kill != 0 {
		w.say("%s: the run was killed at point %d", n.name, kill)
		w.disturbNode(n)
		return
	}
	n.report.seenStopped = guests.SeenStopped()
	w.leave(n, disks, made)
	w.idempotent(n, guests, plan, done)
	success := done
	for _, note := range plan.Notes {
		success = success && note.Result != snapper.Unprotected
	}
	for _, p := range n.pools {
		success = success && w.tick >= p.suspended
	}
	if success {
		n.report.lastSuccess = n.clock(w.now)
	}
}

// tipOf is what a disk had when it was read.
func tipOf(k snapper.Disk) report.Tip {
	tip := report.Tip{}
	for _, s := range slices.Backward(k.Snapshots) {
		tip.TXG = max(tip.TXG, s.CreateTXG)
		if _, ours := s.Class(); ours {
			tip.Name = s.Name
			break
		}
	}
	return tip
}

// intend writes down which bookmarks are about to be made, before they are.
func (w *World) intend(n *node, plan snapper.Plan, disks []snapper.Disk) {
	for _, g := range plan.Guests {
		for _, k := range g.Disks {
			abandoned := slices.ContainsFunc(plan.Abandoned, func(b zfs.Snapshot) bool { return b.Dataset == k.Dataset })
			at := slices.IndexFunc(disks, func(d snapper.Disk) bool { return d.Name == k.Dataset })
			if k.Bookmark && !abandoned {
				n.report.tips[k.Dataset] = report.Tip{Name: g.Snapshot, TXG: tipOf(disks[at]).TXG}
			}
		}
	}
}

// leave writes down what a run left on the disks it read.
func (w *World) leave(n *node, disks []snapper.Disk, made map[string]string) {
	for _, k := range disks {
		tip := tipOf(k)
		if made[k.Name] != "" {
			tip.Name = made[k.Name]
		}
		if delete(n.report.tips, k.Name); tip.Name != "" {
			n.report.tips[k.Name] = tip
		}
	}
}

// apply does what a plan says, as the channel programs do, up to where it is killed.
// It tells whether every snapshot was made, and their names.
func (w *World) apply(n *node, plan snapper.Plan, disks []snapper.Disk, kill int) (all bool, made map[string]string) {
	made = map[string]string{}
	if kill == killBeforeAll {
		return false, made
	}
	all = true
	full, failed := map[string]bool{}, map[string]bool{}
	for i, pool := range []string{"ssd", "tank"} {
		if i == 1 && kill == killAfterFirstPool {
			return false, made
		}
		w.unmark(n, pool, plan.Abandoned)
		for _, g := range plan.Guests {
			if g.Pool == pool && !w.applyGuest(n, g, made, full, failed) {
				all = false
			}
		}
	}
	for _, m := range plan.Marks {
		if d := n.sets[m.Dataset]; d != nil && w.tick >= n.pools[zfs.Pool(m.Dataset)].suspended && d.has(m.Name) {
			d.marks = append(d.marks, m)
		}
	}
	if kill == killBeforeDestroys {
		return false, made
	}
	for _, dataset := range plan.GiveBack {
		d := n.sets[dataset]
		d.running = zfs.Property{Value: d.running.Received, Received: d.running.Received, Source: zfs.SourceReceived}
	}
	list := allowed(plan, made, full, failed)
	w.before = map[string][]zfs.Snapshot{}
	for _, gone := range list {
		if d := n.sets[gone.Dataset]; d != nil && strings.HasSuffix(gone.Name, "_stopped") {
			w.before[d.name] = slices.Concat(d.snaps, d.marks)
		}
	}
	for i, gone := range list {
		if kill == killAmidDestroys && i > 0 {
			return false, made
		}
		w.destroy(n, gone, disks)
	}
	if kill == killBeforeUnmarks {
		return false, made
	}
	for _, pool := range []string{"ssd", "tank"} {
		w.unmark(n, pool, plan.Unmark)
	}
	return all, made
}

// unmark destroys bookmarks of one pool.
func (w *World) unmark(n *node, pool string, marks []zfs.Snapshot) {
	for _, m := range marks {
		if d := n.sets[m.Dataset]; d != nil && zfs.Pool(m.Dataset) == pool && w.tick >= n.pools[pool].suspended {
			d.marks = slices.DeleteFunc(d.marks, func(b zfs.Snapshot) bool { return b.Name == m.Name })
		}
	}
}

func (w *World) applyGuest(n *node, g snapper.GuestPlan, made map[string]string, full, failed map[string]bool) bool {
	wanted := slices.ContainsFunc(g.Disks, func(d snapper.DiskPlan) bool { return d.Snapshot })
	state := n.pools[g.Pool]
	broken := w.tick < state.suspended
	for _, k := range g.Disks {
		d := n.sets[k.Dataset]
		broken = broken || d == nil || g.Guard && d.token
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

func snapOrNot(k snapper.DiskPlan, name string) string {
	if k.Snapshot {
		return name
	}
	return "no snapshot"
}

// allowed is what may be destroyed after the snapshots were tried.
func allowed(plan snapper.Plan, made map[string]string, full, failed map[string]bool) []snapper.Destroy {
	var list []snapper.Destroy
	for _, d := range plan.Destroys {
		name := made[d.Dataset]
		if failed[d.Dataset] || d.AfterNew && name == "" {
			continue
		}
		if d.AfterNew {
			d.Keepers = append(slices.Clone(d.Keepers), name)
		}
		list = append(list, d)
	}
	for _, d := range plan.FullDestroys {
		if full[d.Dataset] {
			list = append(list, d)
		}
	}
	return list
}

// destroy does what the channel program does: nothing where a keeper is missing.
func (w *World) destroy(n *node, gone snapper.Destroy, disks []snapper.Disk) {
	d := n.sets[gone.Dataset]
	if d == nil || w.tick < n.pools[zfs.Pool(d.name)].suspended {
		return
	}
	if slices.ContainsFunc(gone.Keepers, func(keeper string) bool { return !d.has(keeper) }) || !d.has(gone.Name) {
		return
	}
	w.mayGo(n, d, gone.Name, disks)
	d.destroy(gone.Name)
	w.stats.Destroyed++
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func splitWords(s string) []string { return strings.Fields(s) }

func isDisk(name string) bool {
	_, _, ok := zfs.ParseDiskName(zfs.Base(name))
	return ok
}
