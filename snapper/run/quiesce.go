package run

import (
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

// tell says in the report what became of the guests that were to be frozen, and returns those
// whose snapshots are consistent, by VMID. The same of several guests is said once.
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
			q.Faults = before // what is only so for the moment is no fault, and ends none
		} else if slices.ContainsFunc(q.Faults, func(key string) bool { return !slices.Contains(before, key) }) {
			severity = report.Warning // it begins
		}
		f.addQuiesced(q)
		text := fmt.Sprintf("%s\x00%s\x00%s", severity, q.Consistent, q.Reason)
		if said[text] == nil {
			texts = append(texts, text)
		}
		said[text] = append(said[text], strconv.Itoa(z.VMID))
	}
	for _, text := range texts {
		part := strings.Split(text, "\x00")
		who, worth := "guest "+said[text][0]+": its snapshot is ", "only crash-consistent"
		if len(said[text]) > 1 {
			who = "guests " + strings.Join(said[text], ", ") + ": their snapshots are "
		}
		if part[1] == string(report.Torn) {
			worth = "torn"
		}
		f.problem(report.Severity(part[0]), "%s%s: %s", who, worth, part[2])
	}
	for _, id := range slices.SortedFunc(maps.Keys(result.ended.Left), byVMID) {
		f.leftFrozen(id, fmt.Sprintf("guest %d was frozen for its snapshot, and may still be: %s", id.VMID, result.ended.Left[id]))
	}
	if pools := poolsOf(u.Plans); u.Group != "" && len(pools) > 1 {
		f.problem(report.Info, "group %s has disks in several pools (%s): their snapshots have a transaction group each, inside one freeze", u.Group, strings.Join(pools, ", "))
	}
	return consistent
}

func byVMID(a, b pve.ID) int { return a.VMID - b.VMID }

func (j *journal) addQuiesced(q report.Quiesced) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.report.AddQuiesced(q)
}

// leftFrozen tells of a guest that we froze and that may be frozen yet, at each run.
func (j *journal) leftFrozen(id pve.ID, text string) {
	j.problem(report.Warning, "%s", text)
	j.mu.Lock()
	defer j.mu.Unlock()
	if !slices.Contains(j.report.LeftFrozen, id.VMID) {
		j.report.LeftFrozen = append(j.report.LeftFrozen, id.VMID)
	}
}

// TakeOver thaws what earlier runs have left frozen where no run can begin, and tells of it.
func TakeOver(ctx context.Context, world World, tell func([]report.Problem)) {
	r := &run{Options: Options{World: world}, journal: &journal{listener: tell, report: report.Run{Counts: map[report.Event]int{}}}}
	r.takeOver(ctx)
	r.tell()
}

// takeOver thaws what earlier runs have left frozen, and fails aloud while it cannot.
func (r *run) takeOver(ctx context.Context) {
	err := r.World.TakeOver(ctx, func(id pve.ID, taken quiesce.TakenOver) {
		defer r.tell()
		since := "earlier"
		if at := taken.Since; !at.IsZero() {
			since = "at " + at.Local().Format(time.DateTime)
		}
		switch err := taken.Err; {
		case errors.Is(err, quiesce.ErrGone):
			r.problem(report.Warning, "guest %d was frozen for its snapshot %s and was never seen thawed; that is given up: %v", id.VMID, since, err)
		case err != nil:
			r.leftFrozen(id, fmt.Sprintf("guest %d was frozen for its snapshot %s, and may still be; each run tries to thaw it: %v", id.VMID, since, err))
		case taken.Thawed:
			r.problem(report.Warning, "guest %d was frozen for its snapshot %s and left so; it is thawed now", id.VMID, since)
		default:
			r.problem(report.Notice, "guest %d was frozen for its snapshot %s and not seen thawed by that run; it is not frozen", id.VMID, since)
		}
	})
	if err != nil {
		r.problem(report.Warning, "not known which guests earlier runs have left frozen: %v", err)
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

// faultsBefore are the keys of what was wrong with a guest's snapshots in the last run. A fault
// is mailed when it begins, and said at a terminal while it lasts.
func (f *freezer) faultsBefore(vmid int) []string {
	i := slices.IndexFunc(f.previous, func(p report.Quiesced) bool { return p.VMID == vmid })
	if i < 0 {
		return nil
	}
	return f.previous[i].Faults
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
	// lacks says what of a guest has no snapshot as of the time it was frozen, given which disks
	// have one and which guests were frozen.
	lacks func(vmid int, taken func(dataset string) bool, frozen func(vmid int) bool) []snapper.Lack
	// failed are those that could not be frozen, and why.
	failed map[pve.ID]string
	ended  quiesce.Ended
	// at is when the window was opened, zero if none was.
	at time.Time
}

func (f freezeResult) id(vmid int) pve.ID { return f.view.Evidence[vmid].Config.ID }

// guest returns what became of one guest. Its snapshot is consistent if all its disks are in
// it, if it was frozen before the programs of all pools began, and if all of it was still
// frozen when it was thawed, after they had ended. passing is true where what keeps it from
// that is no fault.
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
	case f.failed[id] != "":
		fault, q.Reason = "not frozen", "it could not be frozen: "+f.failed[id]
	case f.at.IsZero():
		fault, q.Reason = "told to end", "the run was told to end"
	case name == "":
		fault, q.Reason = "no snapshot", unmade(err)
	case f.ended.Lapsed[id] != "":
		fault, q.Reason = "lapsed", "it may have continued before the snapshot was made: "+f.ended.Lapsed[id]
	case f.ended.Early != "":
		fault, q.Reason = "early", "it continued before the snapshot was made: "+f.ended.Early
	default:
		passing = f.whole(&q, outcomes)
		return q, passing || freeze.Passing
	}
	q.Faults = []string{fault}
	return q, freeze.Passing
}

// whole says what the snapshots of a guest that was frozen throughout are worth. Disks that get
// theirs at other times are missing by choice.
func (f freezeResult) whole(q *report.Quiesced, outcomes map[string]snapper.Outcome) (byChoice bool) {
	lacks := f.lacks(q.VMID, func(dataset string) bool { return outcomes[dataset].Snapshot != "" }, f.frozen)
	if len(lacks) == 0 {
		q.Consistent = report.Application
		return false
	}
	var names, reasons []string
	byChoice = true
	for _, l := range lacks {
		if byChoice = byChoice && l.NotDue; l.Writer == 0 {
			names = append(names, l.Dataset)
			q.Faults = append(q.Faults, "no snapshot of "+l.Dataset)
		} else {
			reasons = append(reasons, fmt.Sprintf("guest %d, which was not, uses %s", l.Writer, l.Dataset))
			q.Faults = append(q.Faults, fmt.Sprintf("%s written by guest %d", l.Dataset, l.Writer))
		}
	}
	if len(names) > 0 {
		reasons = append([]string{"there is no snapshot of " + strings.Join(names, ", ")}, reasons...)
	}
	q.Consistent, q.Reason = report.Torn, "the guest was frozen, and "+strings.Join(reasons, "; ")
	return byChoice
}

// frozen reports whether a guest was frozen throughout.
func (f freezeResult) frozen(vmid int) bool {
	return slices.ContainsFunc(f.freezes, func(z snapper.Freeze) bool {
		id := f.id(z.VMID)
		return z.VMID == vmid && z.Unfit == "" && f.failed[id] == "" && f.ended.Lapsed[id] == ""
	})
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
