package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"snapwatch/internal/pve"
	"snapwatch/internal/quiesce"
	"snapwatch/internal/report"
	"snapwatch/snapper"
)

// tell reports the results of freezing the guests, and returns the guests whose snapshots are
// consistent, by VMID. If several guests have the same result, tell reports the result once for
// all of them.
func (f *freezer) tell(u snapper.Frozen, result freezeResult, outcomes map[string]snapper.Outcome) (consistent map[int]bool) {
	consistent = map[int]bool{}
	said := map[string][]string{}
	var texts []string
	for _, z := range result.freezes {
		q, passing := result.guest(z, u, outcomes)
		if q.At.IsZero() {
			q.At = f.start
		}
		if q.Consistent == report.Application {
			consistent[z.VMID] = true
			f.addQuiesced(q)
			continue
		}
		severity := report.Notice
		if before := f.faultsBefore(q.VMID); passing {
			// Work of Proxmox on the guest prevents a freeze, but is not a fault. The faults of earlier
			// runs remain recorded.
			q.Faults = before
		} else if slices.ContainsFunc(q.Faults, func(key string) bool { return !slices.Contains(before, key) }) {
			severity = report.Warning // a fault that the last run did not report is a warning
		}
		f.addQuiesced(q)
		worth := "only crash-consistent"
		switch {
		case q.Consistent == report.Torn:
			worth = "torn"
		case q.Snapshot == "" && z.Unfit == "":
			worth = "missing"
		}
		text := fmt.Sprintf("%s\x00%s\x00%s", severity, worth, q.Reason)
		if said[text] == nil {
			texts = append(texts, text)
		}
		said[text] = append(said[text], strconv.Itoa(z.VMID))
	}
	for _, text := range texts {
		part := strings.Split(text, "\x00")
		who := "guest " + said[text][0] + ": its snapshot is "
		if len(said[text]) > 1 {
			who = "guests " + strings.Join(said[text], ", ") + ": their snapshots are "
		}
		f.problem(report.Severity(part[0]), "%s%s: %s", who, part[1], part[2])
	}
	for _, id := range slices.SortedFunc(maps.Keys(result.ended.Left), byVMID) {
		f.leftFrozen(id, fmt.Sprintf("guest %d was frozen for its snapshot, and may still be: %s", id.VMID, result.ended.Left[id]))
	}
	if pools := poolsOf(u.Plans); u.Group != "" && len(pools) > 1 {
		f.problem(report.Info, "group %s has disks in several pools (%s): their snapshots are in one transaction group for each pool, all within one freeze", u.Group, strings.Join(pools, ", "))
	}
	return consistent
}

func byVMID(a, b pve.ID) int { return a.VMID - b.VMID }

func (j *journal) addQuiesced(q report.Quiesced) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.report.AddQuiesced(q)
}

// leftFrozen reports a guest that snap froze and that may still be frozen; every run reports the
// guest again.
func (j *journal) leftFrozen(id pve.ID, text string) {
	j.problem(report.Warning, "%s", text)
	j.mu.Lock()
	defer j.mu.Unlock()
	if !slices.Contains(j.report.LeftFrozen, id.VMID) {
		j.report.LeftFrozen = append(j.report.LeftFrozen, id.VMID)
	}
}

// TakeOver thaws the guests that earlier runs left frozen, and reports them. A command calls
// TakeOver if it cannot begin a run, because it is unknown whether a later run will thaw the
// guests.
func TakeOver(ctx context.Context, world World, tell func([]report.Problem)) {
	j := &journal{listener: tell, report: report.Run{Counts: map[report.Event]int{}}}
	j.takeOver(ctx, world)
	j.tell()
}

// takeOver thaws the guests that earlier runs left frozen, and reports each guest that cannot be
// thawed.
func (j *journal) takeOver(ctx context.Context, w World) {
	err := w.TakeOver(ctx, func(id pve.ID, taken quiesce.TakenOver) {
		defer j.tell()
		since := "earlier"
		if at := taken.Since; !at.IsZero() {
			since = "at " + at.Local().Format(time.DateTime)
		}
		switch err := taken.Err; {
		case errors.Is(err, quiesce.ErrGone):
			j.problem(report.Warning, "guest %d was frozen for its snapshot %s and no run saw it thawed; no run tries any more: %v", id.VMID, since, err)
		case err != nil:
			j.leftFrozen(id, fmt.Sprintf("guest %d was frozen for its snapshot %s, and may still be; each run tries to thaw it: %v", id.VMID, since, err))
		case taken.Thawed:
			j.problem(report.Warning, "guest %d was frozen for its snapshot %s and left frozen; it is thawed now", id.VMID, since)
		default:
			j.problem(report.Notice, "guest %d was frozen for its snapshot %s, and that run did not see it thawed; it is not frozen now", id.VMID, since)
		}
	})
	if err != nil {
		j.problem(report.Warning, "it is unknown which guests earlier runs left frozen: %v", err)
	}
}

// poolsOf returns the names of the pools of the plans, sorted.
func poolsOf(plans []snapper.GuestPlan) []string {
	var pools []string
	for _, g := range plans {
		pools = append(pools, g.Pool)
	}
	slices.Sort(pools)
	return slices.Compact(pools)
}

// faultsBefore returns the keys of the faults that a guest's snapshots had in the last run. Only a
// fault that the last run did not have is a warning, for which cron sends a mail. At a terminal,
// every run prints each fault of a guest's snapshots.
func (f *freezer) faultsBefore(vmid int) []string {
	i := slices.IndexFunc(f.previous, func(p report.Quiesced) bool { return p.VMID == vmid })
	if i < 0 {
		return nil
	}
	return f.previous[i].Faults
}

// unmade returns the reason why a planned snapshot of a frozen guest does not exist, as a text for
// the report.
func unmade(err error) string {
	if err == nil {
		return "no snapshot was made"
	}
	return fmt.Sprintf("no snapshot was made: %v", err)
}

// freezeResult is the result of freezing a guest, or the guests of a group.
type freezeResult struct {
	freezes []snapper.Freeze
	view    snapper.NodeView
	// lacks returns those disks of a guest that got no snapshot while the guest was frozen. The
	// argument taken is a function that reports whether a disk got a snapshot. The argument frozen is
	// a function that reports whether a guest was frozen.
	lacks func(vmid int, taken func(dataset string) bool, frozen func(vmid int) bool) []snapper.Lack
	// failed has, by VMID, the reason why a guest could not be frozen.
	failed map[pve.ID]string
	ended  quiesce.Ended
	// at is the time at which freezing began, zero if no guest was frozen.
	at time.Time
}

func (f freezeResult) id(vmid int) pve.ID { return f.view.Evidence[vmid].Config.ID }

// guest returns the result of freezing one guest. The guest's snapshot is consistent under three
// conditions: the snapshot has all disks of the guest, the guest was frozen before the first
// channel program of any pool began, and the thaw after the last channel program found the whole
// guest still frozen. The result passing is true if the snapshot is not consistent for a reason
// that is not a fault.
func (f freezeResult) guest(freeze snapper.Freeze, u snapper.Frozen, outcomes map[string]snapper.Outcome) (q report.Quiesced, passing bool) {
	id := f.id(freeze.VMID)
	q = report.Quiesced{
		VMID: freeze.VMID, Group: u.Group, How: string(freeze.How), At: f.at,
		Consistent: report.Crash, Seconds: f.ended.Frozen[id].Seconds(),
	}
	name, err := made(u, freeze.VMID, outcomes)
	q.Snapshot = name
	fault := ""
	switch {
	case freeze.Unfit != "":
		fault, q.Reason = freeze.Fault, "it is not frozen: "+freeze.Unfit
	case name == "":
		fault, q.Reason = "no snapshot", unmade(err)
		if why := f.failed[id]; why != "" {
			q.Reason += "; it could not be frozen: " + why
		}
	case f.failed[id] != "":
		fault, q.Reason = "not frozen", "it could not be frozen: "+f.failed[id]
	case f.at.IsZero():
		fault, q.Reason = "told to end", "the run was told to end"
	case f.ended.Lapsed[id] != "":
		fault, q.Reason = "lapsed", "it may have continued before the snapshot was made: "+f.ended.Lapsed[id]
	case f.ended.Left[id] != "":
		fault, q.Reason = leftFrozenKey, "it was not seen thawed: "+f.ended.Left[id]
	case f.ended.Early != "":
		fault, q.Reason = "early", "it continued before the snapshot was made: "+f.ended.Early
	default:
		passing = f.recordConsistency(&q, u, outcomes)
		return q, passing || freeze.Passing
	}
	q.Faults = []string{fault}
	return q, freeze.Passing
}

// recordConsistency records whether the snapshots of a guest that remained frozen are consistent,
// or torn because the snapshot of a disk is missing. The result byChoice is true if the retention
// alone explains each missing snapshot: no class of the disk is due, while a class of another disk
// of the guest is due.
func (f freezeResult) recordConsistency(q *report.Quiesced, u snapper.Frozen, outcomes map[string]snapper.Outcome) (byChoice bool) {
	lacks := f.lacks(q.VMID, func(dataset string) bool { return outcomes[dataset].Snapshot != "" }, f.frozen)
	if len(lacks) == 0 {
		q.Consistent = report.Application
		return false
	}
	var names, reasons []string
	byChoice = true
	for _, l := range lacks {
		if byChoice = byChoice && l.NotDue && !due(u, l.Dataset); l.Writer == 0 {
			names = append(names, l.Dataset)
			q.Faults = append(q.Faults, "no snapshot of "+l.Dataset)
		} else {
			reasons = append(reasons, fmt.Sprintf("guest %d, which was not frozen, uses %s", l.Writer, l.Dataset))
			q.Faults = append(q.Faults, fmt.Sprintf("%s written by guest %d", l.Dataset, l.Writer))
		}
	}
	if len(names) > 0 {
		reasons = append([]string{"there is no snapshot of " + strings.Join(names, ", ")}, reasons...)
	}
	q.Consistent, q.Reason = report.Torn, "the guest was frozen, and "+strings.Join(reasons, "; ")
	return byChoice
}

// due reports whether the plans take a snapshot of a disk.
func due(u snapper.Frozen, dataset string) bool {
	return slices.ContainsFunc(u.Plans, func(g snapper.GuestPlan) bool {
		return slices.ContainsFunc(g.Disks, func(d snapper.DiskPlan) bool { return d.Snapshot && d.Dataset == dataset })
	})
}

// frozen reports whether a guest remained frozen until all its snapshots were taken.
func (f freezeResult) frozen(vmid int) bool {
	return slices.ContainsFunc(f.freezes, func(z snapper.Freeze) bool {
		id := f.id(z.VMID)
		return z.VMID == vmid && z.Unfit == "" && f.failed[id] == "" && f.ended.Lapsed[id] == "" && f.ended.Left[id] == ""
	})
}

// made returns the common name of the snapshots that the run took of a guest's disks, "" if the run
// took none. If taking one of the snapshots failed, err is the error of taking this snapshot.
func made(u snapper.Frozen, vmid int, outcomes map[string]snapper.Outcome) (name string, err error) {
	for _, g := range u.Plans {
		for _, d := range g.Disks {
			if d.VMID != vmid || !d.Snapshot {
				continue
			}
			o := outcomes[d.Dataset]
			name, err = cmp.Or(o.Snapshot, name), cmp.Or(err, o.Err)
		}
	}
	return name, err
}
