package run

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"snapwatch/internal/report"
	"snapwatch/snapper"
)

func (r *run) problem(severity report.Severity, format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Add(severity, format, args...)
}

func (r *run) count(e report.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Counts[e]++
}

func (r *run) reportPool(p *pool) {
	entry := report.Pool{Pool: p.name}
	if busy, ok := p.busy(); ok {
		entry.LockedSince = busy.Since
		if entry.LockedSince.IsZero() || entry.LockedSince.After(r.start) {
			entry.LockedSince = r.start
		}
		r.problem(report.Notice, "pool %s: another run is at work: %v", p.name, busy)
	} else if p.err != nil {
		entry.Error = p.err.Error()
		r.problem(report.Warning, "pool %s: %v", p.name, p.err)
	}
	r.report.Pools = append(r.report.Pools, entry)
}

// reportLate tells of the pools that answered too late, or never, when a later round of
// the run could not be: none of their guests was served.
func (r *run) reportLate(parents map[string][]string, done []*pool, err error) {
	r.problem(report.Warning, "pools that answered late are left to the next run: %v", err)
	served := func(name string) bool { return slices.ContainsFunc(done, func(p *pool) bool { return p.name == name }) }
	r.report.Pools = slices.DeleteFunc(r.report.Pools, func(p report.Pool) bool { return !served(p.Pool) })
	for _, name := range slices.Sorted(maps.Keys(parents)) {
		if !served(name) {
			r.report.Pools = append(r.report.Pools, report.Pool{Pool: name, Error: "left to the next run: " + err.Error()})
		}
	}
}

// reportGuests tells what of running guests no snapshot can cover, and that Proxmox
// could not be asked.
func (r *run) reportGuests(g snapper.NodeView, pools []*pool) {
	r.report.SeenStopped = g.SeenStopped()
	if g.ListErr != nil {
		r.problem(report.Warning, "Proxmox could not be asked which guests run; no stop is believed: %v", g.ListErr)
	}
	for _, vmid := range slices.Sorted(maps.Keys(g.Evidence)) {
		if stuck := snapper.StuckLock(g.Evidence[vmid], r.start); stuck != "" {
			r.problem(report.Notice, "%s", stuck)
		}
	}
	known := map[string]bool{}
	for _, d := range r.planned(pools) {
		known[d.Name] = true
	}
	unread := map[string]bool{} // what is wrong with the pool was told already
	for _, p := range pools {
		unread[p.name] = p.err != nil
	}
	for vmid, config := range g.Cluster.Guests {
		if !g.Evidence[vmid].Alive() {
			continue
		}
		for _, v := range config.Volumes {
			if kind, reason := snapper.WhyUnprotected(v, g.Cluster, known, unread); reason != "" {
				r.report.Unprotected = append(r.report.Unprotected, report.Unprotected{VMID: vmid, Volume: v.Storage + ":" + v.Name, Kind: kind, Reason: reason})
			}
		}
	}
	slices.SortFunc(r.report.Unprotected, func(a, b report.Unprotected) int {
		return strings.Compare(fmt.Sprintf("%9d %s", a.VMID, a.Volume), fmt.Sprintf("%9d %s", b.VMID, b.Volume))
	})
}

func (r *run) reportPlan(plan snapper.Plan) {
	at := map[string]int{}
	for i, d := range r.report.Disks {
		at[d.Dataset] = i
	}
	for _, n := range plan.Notes {
		if n.Dataset == "" {
			r.problem(n.Severity, "%s", n.Reason)
			continue
		}
		// That Proxmox could not be asked is told once, not for every disk.
		if n.Severity == report.Notice || n.Severity == report.Warning && !r.listFailed {
			r.problem(n.Severity, "%s: %s", n.Dataset, n.Reason)
		}
		entry := report.Disk{Dataset: n.Dataset, VMID: n.VMID, Result: string(n.Result), Reason: n.Reason}
		if i, applied := at[n.Dataset]; applied {
			done := &r.report.Disks[i]
			entry.Snapshot, entry.Error = done.Snapshot, done.Error
			if entry.Error != "" {
				entry.Result = string(snapper.Unprotected)
			}
			*done = entry
			continue
		}
		r.report.Disks = append(r.report.Disks, entry)
	}
	slices.SortFunc(r.report.Disks, func(a, b report.Disk) int { return strings.Compare(a.Dataset, b.Dataset) })
}

// reportApplied takes in what became of one pool's disks.
func (r *run) reportApplied(outcomes map[string]snapper.Outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	said := map[string]bool{}
	for dataset, o := range outcomes {
		entry := report.Disk{Dataset: dataset, Snapshot: o.Snapshot}
		if o.Err != nil {
			entry.Error = o.Err.Error()
			if !said[entry.Error] { // one failure undoes all disks of a guest
				said[entry.Error] = true
				r.report.Add(report.Warning, "%s", entry.Error)
			}
		}
		r.report.Disks = append(r.report.Disks, entry)
	}
}

// finish decides whether the run was a success: a pool that could not be read or a
// disk of a running guest without its snapshot makes it none.
func (r *run) finish() {
	r.report.End = r.World.Now()
	success := true
	for _, p := range r.report.Pools {
		success = success && p.Error == "" && p.LockedSince.IsZero()
	}
	for _, d := range r.report.Disks {
		success = success && d.Result != string(snapper.Unprotected) && d.Error == ""
	}
	if r.report.Success = success; success {
		r.report.LastSuccess = r.report.End
	}
}
