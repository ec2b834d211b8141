package run

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"snapwatch/internal/pve"
	"snapwatch/internal/quiesce"
	"snapwatch/internal/report"
	"snapwatch/snapper"
)

// tell says in the report what became of the guests that were to be frozen.
func (f *freezer) tell(u snapper.Frozen, result freezeResult, outcomes map[string]snapper.Outcome) {
	for _, z := range result.freezes {
		q := result.guest(z, u, outcomes)
		if q.At.IsZero() {
			q.At = f.start
		}
		if q.Consistent == report.Crash {
			f.problem(f.crashSeverity(z), "guest %d: its snapshot is only crash-consistent: %s", z.VMID, q.Reason)
		}
		f.mu.Lock()
		f.report.Quiesced = append(f.report.Quiesced, q)
		f.mu.Unlock()
	}
	for _, id := range slices.SortedFunc(maps.Keys(result.ended.Left), func(a, b pve.ID) int { return a.VMID - b.VMID }) {
		f.problem(report.Warning, "guest %d was frozen for its snapshot, and may still be: %s", id.VMID, result.ended.Left[id])
	}
	if pools := poolsOf(u.Plans); u.Group != "" && len(pools) > 1 {
		f.problem(report.Info, "group %s has disks in several pools (%s): their snapshots have a transaction group each, inside one freeze", u.Group, strings.Join(pools, ", "))
	}
}

// poolsOf are the pools that plans are for, in order.
func poolsOf(plans []snapper.GuestPlan) []string {
	var pools []string
	for _, g := range plans {
		pools = append(pools, g.Pool)
	}
	slices.Sort(pools)
	return slices.Compact(pools)
}

// crashSeverity is how loudly to say that a guest could not be frozen: by a mail when
// that begins, and then at a terminal; so, too, where Proxmox works on the guest.
func (f *freezer) crashSeverity(z snapper.Freeze) report.Severity {
	again := slices.ContainsFunc(f.previous, func(q report.Quiesced) bool { return q.VMID == z.VMID && q.Consistent == report.Crash })
	if again || z.Passing {
		return report.Notice
	}
	return report.Warning
}

// unmade is why a snapshot that was to be made is not there.
func unmade(err error) string {
	if err == nil {
		return "no snapshot was made"
	}
	return fmt.Sprintf("no snapshot was made: %v", err)
}

// freezeResult is what became of freezing a guest, or the guests of a group.
type freezeResult struct {
	freezes []snapper.Freeze
	view    snapper.NodeView
	// failed are those that could not be frozen, and why.
	failed map[pve.ID]string
	ended  quiesce.Ended
	// at is when the window was opened, zero if none was.
	at time.Time
}

func (f freezeResult) id(vmid int) pve.ID { return f.view.Evidence[vmid].Config.ID }

// guest returns what became of one guest. Its snapshot is consistent if it was frozen, and
// if nothing thawed before the programs of all pools had ended.
func (f freezeResult) guest(freeze snapper.Freeze, u snapper.Frozen, outcomes map[string]snapper.Outcome) report.Quiesced {
	id := f.id(freeze.VMID)
	q := report.Quiesced{
		VMID: freeze.VMID, Group: u.Group, How: string(freeze.How), At: f.at,
		Consistent: report.Crash, Seconds: f.ended.Frozen[id].Seconds(),
	}
	name, err := made(u, freeze.VMID, outcomes)
	q.Snapshot = name
	switch {
	case freeze.Unfit != "":
		q.Reason = "it is not frozen: " + freeze.Unfit
	case f.failed[id] != "":
		q.Reason = "it could not be frozen: " + f.failed[id]
	case f.at.IsZero():
		q.Reason = "the run was told to end"
	case name == "":
		q.Reason = unmade(err)
	case f.ended.Lapsed[id] != "":
		q.Reason = "it may have continued before the snapshot was made: " + f.ended.Lapsed[id]
	case f.ended.Early != "":
		q.Reason = "it continued before the snapshot was made: " + f.ended.Early
	default:
		q.Consistent = report.Application
	}
	return q
}

// made is the name that a guest's snapshots got, "" and maybe why where one of its disks has
// none.
func made(u snapper.Frozen, vmid int, outcomes map[string]snapper.Outcome) (name string, err error) {
	for _, g := range u.Plans {
		for _, d := range g.Disks {
			if d.VMID != vmid || !d.Snapshot {
				continue
			}
			o := outcomes[d.Dataset]
			if o.Snapshot == "" {
				return "", o.Err
			}
			name = o.Snapshot
		}
	}
	return name, nil
}
