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

// maxOwed is the time after which runs no longer try to start a hook that an earlier run left to
// them.
const maxOwed = 24 * time.Hour

// waits is the reason for leaving a hook to the next run.
const waits = "waits"

// settle runs the hooks that earlier runs did not run, or gives up hooks that can no longer run,
// and reports these. The argument undone of settle is a function that returns the reason why an
// after_stop hook of an earlier run cannot run now, "" if it can.
func (h *hooks) settle(undone func(owedHook) string) {
	if h.Final || h.DryRun {
		return
	}
	notes := h.World.HookNotes()
	names, err := notes.Names()
	if err != nil {
		h.problem(report.Warning, "it is unknown which hooks earlier runs owe: %v", err)
	}
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
			h.settleOne(n, vmid, undone)
		default: // the note is the lock of a killed run, not an owed hook
			_ = n.End()
		}
	}
}

func (h *hooks) settleOne(n Note, vmid int, undone func(owedHook) string) {
	var o owedHook
	if err := n.Read(&o); err != nil {
		h.giveUp(n, "guest %d: the hooks that an earlier run owes it are unknown, and are given up: %v", vmid, err)
		return
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
	t := &turn{vmid: vmid, owed: n, since: o.Since}
	if why == "" {
		var err error
		if t.lock, err = h.World.HookNotes().Take(strconv.Itoa(vmid)); err != nil {
			t.lock, why = nil, waits // other hooks of the guest are running
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
// if it can. The hook waits until all disks of the guest have the label "stopped": then the guest
// is known to be off, and its _stopped snapshots exist.
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
			return waits // this run tries to take the _stopped snapshots itself
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
