package run

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
	"snapwatch/snapper"
)

// maxOwed is the time after which a hook is given up that earlier runs had to start and could not
// start.
const maxOwed = 24 * time.Hour

// The reasons for leaving a hook to the next run are "waits" and "retried". A hook that waits is
// given up after maxOwed. An after_stop is retried while runs try to take the _stopped snapshots of
// its guest. A retried hook is never given up: while its snapshots fail, each run reports the
// failed snapshots.
const (
	waits   = "waits"
	retried = "retried"
)

// settle starts the hooks that earlier runs owe: hooks that had to run, and have not run to their
// end. If an owed hook can no longer run, settle reports the hook and removes its note. The
// argument undone is a function that returns the reason why an after_stop hook of an earlier run
// cannot run now, "" if the hook can run.
func (h *hooks) settle(undone func(owedHook) string) {
	if h.Final || h.DryRun {
		return
	}
	notes := h.World.HookNotes()
	names, err := notes.Names()
	if err != nil {
		h.problem(report.Warning, "it is unknown which hooks earlier runs owe: %v", err)
	}
	ready := map[hookEvent][]hookGuest{}
	noted := map[hookEvent]map[int]*turn{}
	for _, name := range names {
		number, _, owed := strings.Cut(name, ".")
		vmid, err := strconv.Atoi(number)
		if err != nil {
			continue
		}
		n, err := notes.Find(name)
		switch {
		case err != nil: // the hook is running, or has just ended
		case owed && n.Left():
			if o, t := h.settleOne(n, vmid, undone); t != nil {
				if noted[o.On] == nil {
					noted[o.On] = map[int]*turn{}
				}
				ready[o.On] = append(ready[o.On], o.Guest)
				noted[o.On][vmid] = t
			}
		default: // the note is the lock of a killed run, not an owed hook
			_ = n.End()
		}
	}
	for _, on := range slices.Sorted(maps.Keys(ready)) {
		slices.SortFunc(ready[on], func(a, b hookGuest) int { return a.VMID - b.VMID })
		h.startAfter(on, ready[on], noted[on])
	}
}

// settleWithoutPlan does the work of [hooks.settle] in a run that cannot begin, such as while
// /etc/pve cannot be read. A guest that a hook prepared for its snapshot must not wait until
// Proxmox works again. settleWithoutPlan starts no after_stop hook, because it is unknown whether
// the hook's guest is off; a later run starts it. settleWithoutPlan waits until the started hooks
// have ended. If ctx has ended, settleWithoutPlan does nothing.
func (h *hooks) settleWithoutPlan(ctx context.Context) {
	if ctx.Err() == nil {
		h.settle(func(owedHook) string { return waits })
		h.end()
	}
}

// settleOne returns an owed hook that can run now, with the guest's turn in which the hook can run.
// The turn is nil if the hook was given up or left to the next run.
func (h *hooks) settleOne(n Note, vmid int, undone func(owedHook) string) (o owedHook, t *turn) {
	if err := n.Read(&o); err != nil {
		h.giveUp(n, "guest %d: the hooks that an earlier run owes it are unknown, and are given up: %v", vmid, err)
		return o, nil
	}
	now := h.World.Now()
	if o.Since.After(now) {
		// The note is dated in the future, because the clock was set back; without a new date, the
		// hook would be owed for ever.
		o.Since = now
		_ = n.Write(o)
	}
	why := ""
	switch {
	case h.callsFor(o.On, []hookGuest{o.Guest}).none():
		why = "the configuration no longer has this hook for the guest"
	case o.On == afterStop:
		why = undone(o)
	}
	t = &turn{vmid: vmid, owed: n, since: o.Since}
	if why == "" {
		var err error
		if t.lock, err = h.World.HookNotes().Take(strconv.Itoa(vmid)); err != nil {
			t.lock, why = nil, waits // other hooks of the guest are running
		}
	}
	switch {
	case why == retried, why == waits && now.Sub(o.Since) < maxOwed:
		n.Leave()
		return o, nil
	case why != "":
		if why == waits {
			why = fmt.Sprintf("it could not run for %s", maxOwed)
		}
		h.giveUp(n, "hook %s, for guest %d: owed since %s, and given up: %s", o.On, vmid, o.Since.Local().Format(time.DateTime), why)
		return o, nil
	case o.On != afterStop:
		o.Guest.Errors = append(o.Guest.Errors, "an earlier run ended before this hook had run to its end")
	}
	return o, t
}

// giveUp reports that no run will start an owed hook any more, and only then removes the hook's
// note.
func (h *hooks) giveUp(n Note, format string, args ...any) {
	h.problem(report.Warning, format, args...)
	h.tell()
	if n.End() != nil {
		n.Leave()
	}
}

// stopUndone returns the reason why an after_stop hook that an earlier run left cannot run now, ""
// if the hook can run. An after_stop waits until all disks of the guest have the label "stopped",
// because this label proves that the guest is off and that its _stopped snapshots exist.
func stopUndone(o owedHook, view snapper.NodeView, disks []snapper.Disk, plan snapper.Plan) string {
	vmid := o.Guest.VMID
	_, here := view.Cluster.Guests[vmid]
	switch {
	case !here:
		return "the guest is not configured on this node any more"
	case view.Evidence[vmid].Alive():
		return "the guest runs again"
	}
	for _, s := range plan.Stops() {
		if s.VMID == vmid {
			return retried
		}
	}
	if !allStopped(o.Guest.Snapshots, disks) {
		return waits
	}
	return ""
}

// allStopped reports whether all the given _stopped snapshots exist, on disks that have the label
// "stopped".
func allStopped(snapshots []hookSnapshot, disks []snapper.Disk) bool {
	return !slices.ContainsFunc(snapshots, func(s hookSnapshot) bool {
		i := slices.IndexFunc(disks, func(d snapper.Disk) bool { return d.Name == s.Dataset })
		return i < 0 || disks[i].Running.Own() != zfs.Stopped.String() || !slices.ContainsFunc(disks[i].Snapshots, func(have zfs.Snapshot) bool { return have.Name == s.Name })
	})
}

// oweStops writes notes about the after_stop hooks of guests that stop, before any _stopped
// snapshot exists. If earlier runs left notes about the after_stop of a guest, oweStops writes into
// one of these notes and removes the remaining ones: the notes of earlier runs name _stopped
// snapshots that this run takes again under new names.
func (h *hooks) oweStops(plan snapper.Plan) map[int]*turn {
	noted := map[int]*turn{}
	guests := stoppingIn(plan)
	if h.callsFor(afterStop, guests).none() {
		return noted
	}
	var others []Note
	for i := range guests {
		g := &guests[i]
		t := &turn{vmid: g.VMID}
		for _, n := range h.leftNotes(g.VMID, afterStop) {
			var o owedHook
			if n.Read(&o) != nil {
				n.Leave() // settle gives the hook up
				continue
			}
			for _, s := range o.Guest.Snapshots {
				if !slices.ContainsFunc(g.Snapshots, func(planned hookSnapshot) bool { return planned.Dataset == s.Dataset }) {
					t.earlier, g.Snapshots = append(t.earlier, s), append(g.Snapshots, s)
				}
			}
			if t.owed == nil {
				t.owed, t.since = n, o.Since
			} else {
				others = append(others, n)
			}
		}
		noted[g.VMID] = t
	}
	h.oweAll(afterStop, guests, noted)
	for _, n := range others {
		if n.End() != nil {
			n.Leave()
		}
	}
	return noted
}

// followStops starts the after_stop hooks of each guest whose disks have all their _stopped
// snapshots, from this run and earlier runs, and the label "stopped". The argument `noted` has the
// turns that oweStops returned, and the argument `disks` has the disks that this run read. If a
// disk of a guest lacks its _stopped snapshot or the label, the guest's after_stop remains owed. If
// this run left the guest to the next run, and the guest has no _stopped snapshot at all, no hook
// is owed: the next run decides again whether the guest stopped.
func (h *hooks) followStops(plan snapper.Plan, outcomes map[string]snapper.Outcome, noted map[int]*turn, disks []snapper.Disk) {
	_, stopped := takenOf(plan, outcomes)
	var ready []hookGuest
	for _, g := range stopped {
		t := noted[g.VMID]
		done := len(g.Errors) == 0 && len(g.Snapshots) > 0
		if t != nil {
			g.Snapshots = append(g.Snapshots, t.earlier...)
			done = done && allStopped(t.earlier, disks)
		}
		switch {
		case done:
			ready = append(ready, g)
		case t != nil && (g.failed || len(g.Snapshots) > 0):
			t.late = true
			h.endTurn(t)
			delete(noted, g.VMID)
		}
	}
	h.startAfter(afterStop, ready, noted)
}
