package snapper

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"snapwatch/config"
	"snapwatch/internal/report"
)

// batch is a set of guests whose disks get their snapshots together: a single guest, or the
// members of a group.
type batch struct {
	group string
	vmids []int
}

// units divides the guests into batches, sorted by the lowest VMID of each batch.
func units(guests map[int][]Disk, groups []config.Group) []batch {
	var all []batch
	grouped := map[int]bool{}
	for _, g := range groups {
		u := batch{group: g.Name}
		for _, vmid := range slices.Sorted(maps.Keys(guests)) {
			if g.VMID.Contains(vmid) && len(guests[vmid]) > 0 {
				u.vmids, grouped[vmid] = append(u.vmids, vmid), true
			}
		}
		if len(u.vmids) > 0 {
			all = append(all, u)
		}
	}
	for _, vmid := range slices.Sorted(maps.Keys(guests)) {
		if !grouped[vmid] {
			all = append(all, batch{vmids: []int{vmid}})
		}
	}
	slices.SortFunc(all, func(a, b batch) int { return cmp.Compare(a.vmids[0], b.vmids[0]) })
	return all
}

// vmid returns the VMID of the guest in a batch of one guest, 0 if the batch is a group.
func (u batch) vmid() int {
	if u.group != "" {
		return 0
	}
	return u.vmids[0]
}

// startsTogether reports whether one member of a group was started, so that all living members of
// the group get a snapshot. A group never gets snapshots of only some of its living members.
func (u batch) startsTogether(tasks []diskTask) bool {
	return u.group != "" && slices.ContainsFunc(tasks, func(t diskTask) bool { return t.action == Start })
}

// unit plans the snapshots of one batch of guests. A member that is stopped, or whose state is
// unknown, does not prevent the snapshots of the other members.
func (p *planner) unit(u batch, guests map[int][]Disk) {
	var live []diskTask
	final := map[int][]diskTask{}
	for _, vmid := range u.vmids {
		alive, stopped := p.tasks(guests[vmid])
		live = append(live, alive...)
		final[vmid] = stopped
	}
	byClasses := sameClasses(live)
	for _, tasks := range byClasses {
		p.takeDue(u, tasks)
	}
	if u.group != "" && len(byClasses) > 1 {
		p.plan.Notes = append(p.plan.Notes, Note{Severity: report.Notice, Reason: fmt.Sprintf(
			"group %s: the retentions of its disks name different classes, so its disks do not get all their snapshots together (%s)", u.group, classSets(byClasses))})
	}
	for _, vmid := range u.vmids {
		if len(final[vmid]) > 0 {
			p.takeFinal(vmid, final[vmid])
		}
	}
}

// classSets returns a text for each set of classes that the retention of at least one disk names:
// the classes, and the name of one such disk.
func classSets(byClasses [][]diskTask) string {
	var sets []string
	for _, tasks := range byClasses {
		sets = append(sets, fmt.Sprintf("%s: %v", tasks[0].disk.Name, tasks[0].disk.Retention.classes()))
	}
	return strings.Join(sets, "; ")
}

// Freeze is a guest that must be frozen while snapshots of its disks are taken.
type Freeze struct {
	VMID int
	How  config.How
	// Unfit is the reason why the guest cannot be frozen, "" if the guest can be frozen. Passing
	// is true if the guest cannot be frozen only because Proxmox works on the guest, which is not
	// a fault.
	Unfit   string
	Passing bool
	// Fault is the key of the fault that Unfit describes, see [report.Quiesced].
	Fault string
	// Takes is the time that the guest's agent took to answer whether the guest can be frozen.
	// Freezing the guest takes about as long as the agent takes to answer.
	Takes time.Duration
}

// TooMany returns the reason why the virtual machines among the guests cannot all be frozen in
// time, "" if there is enough time. A virtual machine needs a processor while it is being frozen,
// and again while it is being thawed. The argument atOnce of TooMany is the number of guests that
// are frozen at the same time. The argument budget is the time within which all guests must be
// frozen, snapshotted and thawed. However large the budget is, the argument `longest` limits the
// time for freezing.
func TooMany(freezes []Freeze, atOnce int, budget, longest time.Duration) string {
	n, sum := 0, time.Duration(0)
	for _, f := range freezes {
		if f.Unfit == "" && f.How == config.Agent {
			n++
			sum += f.Takes
		}
	}
	takes := sum / time.Duration(atOnce)
	needed := (takes*freezeShare + time.Second - 1).Truncate(time.Second)
	what := fmt.Sprintf("freezing %d virtual machines takes about %s here, ", n, takes.Round(time.Second/10))
	switch {
	case n <= atOnce || takes <= min(budget, 2*longest)/freezeShare:
		return ""
	case needed > 2*longest:
		return what + "which is too long whatever max_freeze is: make the group smaller"
	}
	return what + fmt.Sprintf("and thawing them takes as long: set max_freeze to %s, or make the group smaller", needed)
}

// freezeShare divides max_freeze into three equal parts: for freezing, for the snapshots and for
// thawing.
const freezeShare = 3

// freezes returns a [Freeze] for each guest that must be frozen while its snapshots are taken. A
// guest that Proxmox works on must not be frozen by snap, because Proxmox may be freezing the guest
// itself.
func (p *planner) freezes(tasks []diskTask) []Freeze {
	var list []Freeze
	for _, t := range tasks {
		how, _ := p.policy.Quiesced.HowFor(t.disk.VMID)
		if !t.snapshot || how == "" || slices.ContainsFunc(list, func(f Freeze) bool { return f.VMID == t.disk.VMID }) {
			continue
		}
		f := Freeze{VMID: t.disk.VMID, How: how}
		if t.disk.State != Running {
			f.Unfit, f.Passing = cmp.Or(t.disk.Why, t.disk.State.String()), true
		}
		list = append(list, f)
	}
	return list
}
