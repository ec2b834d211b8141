package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"snapwatch/internal/zfs"
)

// Play plays the steps of a week for the given number of ticks. Play ends early if a promise is
// broken.
func (w *World) Play(ticks int, plan []Step) {
	defer w.dismiss()
	w.plan = plan
	w.replicateFirst()
	for w.tick = 0; w.tick < ticks && w.Fail == ""; w.tick++ {
		w.play()
	}
}

func (w *World) replicateFirst() {
	for _, n := range w.nodes {
		w.snap(n, func(int) {})
	}
	w.tick = 0
	w.pvesrAll()
	w.replicate()
	w.watch()
	w.lab.Looked()
}

func (w *World) play() {
	w.now = w.Start.Add(time.Duration(w.tick+1) * w.Tick)
	for _, n := range w.nodes {
		n.disturbed = false
	}
	for _, g := range w.guests {
		g.disturbed = false
	}
	all := func(Step) bool { return true }
	w.endFaults()
	w.steps(BeforeRun, all)
	for _, vmid := range w.order {
		if g := w.guests[vmid]; g.alive && !g.paused && !g.gone {
			w.writeAll(g)
		}
	}
	w.sanoid()
	for i, n := range w.nodes {
		w.snap(n, func(phase int) { w.steps(phase, func(s Step) bool { return w.onNode(s) == i }) })
	}
	w.settle()
	w.labels()
	w.afterRun()
	w.lab.TimePasses()
	w.now = w.Start.Add(time.Duration(w.tick+1)*w.Tick + 5*time.Minute)
	w.pvesrAll()
	if w.tick%w.Every == 0 {
		w.replicate()
	}
	if w.tick%4 == 2 {
		w.prune()
	}
	w.steps(AfterReplication, all)
	w.lab.TimePasses()
	w.now = w.Start.Add(time.Duration(w.tick+1)*w.Tick + 10*time.Minute)
	w.watch()
	w.lab.Looked()
}

// afterRun plays the steps that happen after the run of snap, and the steps that waited for a lock.
// afterRun also completes the starts of guests.
func (w *World) afterRun() {
	waited := w.later
	w.later = nil
	for _, s := range waited {
		s.Phase = AfterRun
		w.step(s)
	}
	w.steps(AfterRun, func(Step) bool { return true })
	for _, vmid := range w.order {
		if g := w.guests[vmid]; g.starting {
			g.flocked, g.starting = false, false
			w.start(g)
		}
	}
}

// endFaults removes each simulated fault and lock at the tick at which the fault or lock must end.
func (w *World) endFaults() {
	for i, n := range w.nodes {
		if n.skew != 0 && w.tick >= n.skewEnd {
			n.skew = 0
			w.disturbNode(n)
		}
		if w.tick == n.booting {
			w.disturbNode(n)
			for _, vmid := range w.order {
				if g := w.guests[vmid]; g.home == i && g.autostart && !g.gone {
					w.start(g)
				}
			}
		}
	}
	if w.c.skew != 0 && w.tick >= w.c.skewEnd {
		w.c.skew = 0
	}
	for _, vmid := range w.order {
		g := w.guests[vmid]
		if g.lock != "" && w.tick >= g.lockEnd {
			w.unlock(g)
		}
		if g.flockEnd > 0 && w.tick >= g.flockEnd {
			g.flocked, g.flockEnd = false, 0
			g.disturb()
		}
		if g.rebooting > 0 && w.tick >= g.rebooting {
			g.rebooting = 0
			w.start(g)
		}
		if g.ha && !g.alive && !g.gone && g.lock == "" && w.now.Sub(g.off) > 40*time.Minute {
			w.start(g) // high availability starts the guest in the end
		}
	}
}

// unlock ends the operation of Proxmox for which a guest was locked.
func (w *World) unlock(g *guest) {
	was := g.lock
	g.lock, g.prelaunch = "", false
	g.disturb()
	if was == "migrate" && w.tick >= w.nodes[1-g.home].down && w.tick >= w.nodes[g.home].down {
		if w.deltas(g) && w.move(g) {
			w.say("guest %d is on %s now", g.vmid, w.nodes[g.home].name)
		}
	}
	if was == "suspended" {
		w.start(g)
	}
}

// settle updates, for each guest, the number of undisturbed runs of snap since the guest's last
// event.
func (w *World) settle() {
	for _, vmid := range w.order {
		g := w.guests[vmid]
		n := w.nodes[g.home]
		w.unannounced(g)
		// If channel programs are slow, a run may release the guest's lock before the channel
		// program of the guest's second pool begins, or before the second attempt of a channel
		// program that a busy ZFS refused.
		busy := g.disturbed || n.disturbed || g.lock != "" || g.flocked || w.tick < g.rebooting ||
			w.tick < max(n.down, n.booting, n.cronOff, n.pveshBad, n.ignored, n.unsaved, n.lacking, n.unread, n.slowPrograms, n.unreadable, n.lost) || w.now.Sub(n.booted) < 5*time.Minute
		for _, p := range n.pools {
			busy = busy || w.tick < max(p.full, p.suspended, p.locked)
		}
		if busy {
			g.quiet = 0
		} else {
			g.quiet++
		}
	}
}

// unannounced records the disks of a running guest that no run could label or snapshot since the
// guest's start. [World.labels] checks that two undisturbed runs are enough to label and snapshot
// the disks.
func (w *World) unannounced(g *guest) {
	for _, name := range g.disks {
		if d := w.source(g, name); d != nil && g.alive && (d.running.Own() != w.nodes[g.home].name || w.olderThanStart(g, d)) {
			d.unannounced = w.now
		}
	}
}

// olderThanStart reports whether the disk's newest managed snapshot is older than the start of the
// disk's guest.
func (w *World) olderThanStart(g *guest, d *dataset) bool {
	newest, any := d.newestManaged()
	return !any || w.taken[newest.GUID].at.Before(g.since)
}

// sanoid plays the program sanoid on A, which takes and prunes hourly snapshots under the same
// names as snapwatch.
func (w *World) sanoid() {
	n := w.nodes[0]
	if !w.Sanoid || w.tick%4 != 1 || w.tick < n.down {
		return
	}
	name := zfs.FormatSnapshotName(n.clock(w.now), zfs.Hourly)
	for _, set := range sortedNames(n.sets) {
		d := n.sets[set]
		if p := n.pools[zfs.Pool(set)]; w.tick < max(p.full, p.suspended) || d.token || d.seeding || d.has(name) || w.elsewhere(n, d) {
			continue
		}
		w.snapshot(n, d, name)
		var hourly []string
		for _, s := range d.snaps {
			if class, ours := s.Class(); ours && class == zfs.Hourly {
				hourly = append(hourly, s.Name)
			}
		}
		for _, old := range hourly[:max(0, len(hourly)-12)] {
			d.destroy(old)
		}
	}
}

// elsewhere reports whether a dataset is a copy of a disk whose guest is on the other node. The
// model's sanoid does not snapshot copies, because no administrator would configure sanoid to
// snapshot copies.
func (w *World) elsewhere(n *node, d *dataset) bool {
	g := w.guests[w.parse(d.name).vmid]
	return g == nil || g.gone || w.nodes[g.home] != n
}

// Story describes the week for a person: the steps in words, then the reactions of the runs.
func (w *World) Story() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\nsetup: keep %q, %d bookmarks, grace %s, properties sent: %v, syncoid's own snapshots: %v, sent with -R: %v, records of history: %d, C receives from A only: %v, replication every %d runs, sanoid beside us: %v, frozen: %v, configurations kept: %v, hooks: %q, index kept: %v, ZFS busy: %v, off at first: %v\n\nsteps:\n",
		w.Fail, w.Keep, w.Bookmarks, w.Grace, w.Properties, w.SyncSnaps, w.Whole, w.History, w.Relay, w.Every, w.Sanoid, w.Frozen, w.Configs, w.Hooks, w.Index, w.Again, w.Off)
	plan := slices.DeleteFunc(slices.Clone(w.plan), func(s Step) bool { return s.Tick > w.tick })
	slices.SortStableFunc(plan, func(a, b Step) int { return (a.Tick*phases + a.Phase) - (b.Tick*phases + b.Phase) })
	for _, s := range plan {
		fmt.Fprintf(&b, "  %s\n", s)
	}
	b.WriteString("\nwhat happened:\n")
	for _, line := range w.story[max(0, len(w.story)-25):] {
		fmt.Fprintf(&b, "  %s\n", line)
	}
	return b.String()
}

// Shorten returns a shorter week that still breaks a promise: Shorten leaves out the steps and
// settings that the failure does not need.
func Shorten(ticks int, setup Setup, plan []Step) (Setup, []Step) {
	fails := func(s Setup, p []Step) bool {
		w := NewWorld(s)
		w.Play(ticks, p)
		if w.Fail != "" {
			ticks = min(ticks, w.tick+1)
		}
		return w.Fail != ""
	}
	for _, simpler := range []func(*Setup){
		func(s *Setup) { s.Start = time.Date(2026, 7, 13, 9, 0, 0, 0, time.UTC) }, func(s *Setup) { s.Keep = "f4" },
		func(s *Setup) { s.Bookmarks = 30 }, func(s *Setup) { s.Grace = 24 * time.Hour }, func(s *Setup) { s.Properties = false },
		func(s *Setup) { s.SyncSnaps = false }, func(s *Setup) { s.Whole = false }, func(s *Setup) { s.History = 0 }, func(s *Setup) { s.Relay = false }, func(s *Setup) { s.Every = 1 },
		func(s *Setup) { s.Sanoid = false }, func(s *Setup) { s.Frozen = nil }, func(s *Setup) { s.Configs = false },
		func(s *Setup) { s.Hooks = "" }, func(s *Setup) { s.Index = false }, func(s *Setup) { s.Again = false }, func(s *Setup) { s.Off = nil },
	} {
		tried := setup
		if simpler(&tried); fails(tried, plan) {
			setup = tried
		}
	}
	for again := true; again; {
		again = false
		for i := len(plan) - 1; i >= 0; i-- {
			if fewer := slices.Delete(slices.Clone(plan), i, i+1); fails(setup, fewer) {
				plan, again = fewer, true
			}
		}
	}
	for i := range plan {
		for _, n := range []int{1, 2, 4} {
			if shorter := slices.Clone(plan); n < plan[i].N {
				if shorter[i].N = n; fails(setup, shorter) {
					plan = shorter
					break
				}
			}
		}
	}
	return setup, plan
}
