package sim

import (
	"slices"
	"strings"
	"time"

	"snapwatch/snapper"
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

// snap is one run of cron on a node: the edges of snapper.Run, around its core.
func (w *World) snap(n *node, between func(phase int)) {
	if w.tick < n.down || w.tick < n.cronOff {
		between(betweenLooks)
		return
	}
	kill := n.kill
	n.kill = 0
	if kill == killBeforeAll {
		w.lab.Killed(w.siteOf(n))
	} else {
		w.lab.Run(w.siteOf(n))
	}
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
	w.readHistories(n, disks)
	n.planned = n.clock(w.now)
	plan := snapper.MakePlan(disks, policy, n.planned)
	between(beforeProgram)
	if w.tick < n.down {
		clear(w.held)
		return // the host died, and this run with it
	}
	done := w.apply(n, plan, disks, kill)
	clear(w.held)
	if kill != 0 {
		w.say("%s: the run was killed at point %d", n.name, kill)
		w.disturbNode(n)
		return
	}
	n.report.seenStopped = guests.SeenStopped()
	w.leave(n, disks)
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

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func splitWords(s string) []string { return strings.Fields(s) }
