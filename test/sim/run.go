package sim

import (
	"slices"

	"snapwatch/snapper"
)

// snapByModel is one run of cron on a node: the edges of snapper.Run, around its core.
func (w *World) snapByModel(n *node, between func(phase int)) {
	if w.tick < n.down || w.tick < n.cronOff {
		between(betweenLooks)
		return
	}
	w.planMade, w.unmarked = false, map[string]bool{}
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
	}
	guests.Assign(disks, nil)
	w.readHistories(n, disks)
	n.planned = n.clock(w.now)
	plan := snapper.MakePlan(disks, policy, n.planned)
	if w.planMade = true; len(stops) == 0 {
		between(betweenLooks)
	}
	if w.tick >= n.down {
		between(beforeProgram)
	}
	if w.tick < n.down {
		clear(w.held)
		return // the host died, and this run with it
	}
	done := w.apply(n, plan, kill)
	clear(w.held)
	if kill != 0 {
		w.say("%s: the run was killed at point %d", n.name, kill)
		w.disturbNode(n)
		return
	}
	n.report.last.SeenStopped = guests.SeenStopped()
	w.leave(n, disks)
	w.idempotent(n, plan, done, func() (snapper.Plan, error) {
		disks := w.readDisks(n)
		guests.Assign(disks, nil)
		return snapper.MakePlan(disks, w.snapPolicy(n), n.planned), nil
	})
	success := done
	for _, note := range plan.Notes {
		success = success && note.Result != snapper.Unprotected
	}
	for _, p := range n.pools {
		success = success && w.tick >= p.suspended
	}
	if success {
		n.report.last.LastSuccess = n.clock(w.now)
	}
}
