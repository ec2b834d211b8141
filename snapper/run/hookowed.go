package run

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
	"snapwatch/snapper"
)

// maxOwed is how long a hook is owed that cannot run.
const maxOwed = 24 * time.Hour

// waits is why an owed hook stays owed.
const waits = "waits"

// settle runs the hooks that earlier runs owe, or gives them up aloud. undone returns why an
// after_stop cannot run now, "" if it can.
func (h *hooks) settle(undone func(owedHook) string) {
	if h.Final || h.DryRun {
		return
	}
	notes := h.World.HookNotes()
	names, err := notes.Names()
	if err != nil {
		h.problem(report.Warning, "which hooks earlier runs owe is not known: %v", err)
	}
	for _, name := range names {
		number, _, owed := strings.Cut(name, ".")
		vmid, err := strconv.Atoi(number)
		if err != nil {
			continue
		}
		n, err := notes.Find(name)
		switch {
		case err != nil: // at work, or it has just ended
		case owed && n.Left():
			h.settleOne(n, vmid, undone)
		default: // the lock of a run that was killed
			_ = n.End()
		}
	}
}

func (h *hooks) settleOne(n Note, vmid int, undone func(owedHook) string) {
	var o owedHook
	if err := n.Read(&o); err != nil {
		h.giveUp(n, "which hooks an earlier run owes guest %d is not known, and given up: %v", vmid, err)
		return
	}
	now := h.World.Now()
	if o.Since.After(now) { // the clock was set back: it must not be owed for ever
		o.Since = now
		_ = n.Write(o)
	}
	why := ""
	switch {
	case h.callsFor(o.On, []hookGuest{o.Guest}).none():
		why = "the configuration has none for the guest any more"
	case o.On == afterStop:
		why = undone(o)
	}
	t := &turn{vmid: vmid, owed: n, since: o.Since}
	if why == "" {
		var err error
		if t.lock, err = h.World.HookNotes().Take(strconv.Itoa(vmid)); err != nil {
			t.lock, why = nil, waits // hooks of it are at work
		}
	}
	switch {
	case why == waits && now.Sub(o.Since) < maxOwed:
		n.Leave()
	case why != "":
		if why == waits {
			why = fmt.Sprintf("it could not run for %s", maxOwed)
		}
		h.giveUp(n, "hook %s, for guest %d: owed since %s, and given up: %s", o.On, vmid, o.Since.Local().Format(time.DateTime), why)
	default:
		if o.On != afterStop {
			o.Guest.Errors = append(o.Guest.Errors, "the run that began this ended before this hook did")
		}
		h.after(o.On, []hookGuest{o.Guest}, map[int]*turn{vmid: t})
	}
}

// giveUp reports that a hook is not owed any more, and only then forgets it.
func (h *hooks) giveUp(n Note, format string, args ...any) {
	h.problem(report.Warning, format, args...)
	h.tell()
	if n.End() != nil {
		n.Leave()
	}
}

// stopUndone returns why an after_stop that is owed cannot run now, "" if it can. It waits
// until all disks have their label: then the guest is known to be off, and its _stopped
// snapshot is there.
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
			return waits // for this run's own attempt
		}
	}
	for _, s := range o.Guest.Snapshots {
		i := slices.IndexFunc(disks, func(d snapper.Disk) bool { return d.Name == s.Dataset })
		if i < 0 || disks[i].Running.Own() != zfs.Stopped.String() || !slices.ContainsFunc(disks[i].Snapshots, func(have zfs.Snapshot) bool { return have.Name == s.Name }) {
			return waits
		}
	}
	return ""
}
