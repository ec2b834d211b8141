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

// batch is the guests whose disks get their snapshots together: one guest alone, or
// the members of a group.
type batch struct {
	group string
	vmids []int
}

// units puts the guests together, in the order of the lowest VMID of each.
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

// vmid is the guest that the unit is, 0 where it is a group.
func (u batch) vmid() int {
	if u.group != "" {
		return 0
	}
	return u.vmids[0]
}

// startsTogether reports whether all living members are due because one was started: a group
// has no snapshot of a part of it.
func (u batch) startsTogether(tasks []diskTask) bool {
	return u.group != "" && slices.ContainsFunc(tasks, func(t diskTask) bool { return t.action == Start })
}

// unit plans for guests that get their snapshots together. A member that is stopped,
// or of which nothing is known, does not keep the others from theirs.
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
			"group %s: the retentions of its disks name different classes, so that they don't share all their snapshots (%s)", u.group, classSets(byClasses))})
	}
	for _, vmid := range u.vmids {
		if len(final[vmid]) > 0 {
			p.takeFinal(vmid, final[vmid])
		}
	}
}

// classSets names a disk of each set of classes.
func classSets(byClasses [][]diskTask) string {
	var sets []string
	for _, tasks := range byClasses {
		sets = append(sets, fmt.Sprintf("%s: %v", tasks[0].disk.Name, tasks[0].disk.Retention.classes()))
	}
	return strings.Join(sets, "; ")
}

// Freeze is a guest that is to be frozen while its disks get their snapshot.
type Freeze struct {
	VMID int
	How  config.How
	// Unfit is why it can't be, "" if it can. Passing is true where that is because
	// Proxmox works on the guest, and no fault.
	Unfit   string
	Passing bool
	// Fault is the key of that fault, see [report.Quiesced].
	Fault string
	// Takes is how long it took to ask whether it can be: freezing takes as long.
	Takes time.Duration
}

// TooMany returns why the virtual machines among some guests cannot all be frozen in time,
// "" if they can: each takes a processor while it is frozen, and again while it is thawed.
// atOnce are frozen at the same time, and all are to be within budget.
func TooMany(freezes []Freeze, atOnce int, budget time.Duration) string {
	n, sum := 0, time.Duration(0)
	for _, f := range freezes {
		if f.Unfit == "" && f.How == config.Agent {
			n++
			sum += f.Takes
		}
	}
	takes := sum / time.Duration(atOnce)
	if n <= atOnce || takes <= budget/freezeShare {
		return ""
	}
	needed := (takes*freezeShare + time.Second - 1).Truncate(time.Second)
	return fmt.Sprintf("freezing %d virtual machines takes about %s here, and as long again to thaw them: set max_freeze to %s, or make the group smaller", n, takes.Round(time.Second/10), needed)
}

// freezeShare is the part of max_freeze that freezing may take: a third, as thawing may and
// the snapshots.
const freezeShare = 3

// freezes are the guests among those that get a snapshot which are to be frozen.
// One that Proxmox works on is left alone: it may be freezing the guest itself.
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
