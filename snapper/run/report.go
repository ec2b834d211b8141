package run

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"snapwatch/internal/pve"
	"snapwatch/internal/report"
	"snapwatch/snapper"
)

// reportPool returns the result for a pool that was read, and reports its errors. If another run
// holds the pool's lock, and the lock file does not say since when, reportPool records the time at
// which a run first found the pool locked.
func (j *journal) reportPool(p *pool, start time.Time) report.Pool {
	entry := report.Pool{Pool: p.name}
	busy, locked := p.busy()
	noted := locked && !busy.Since.IsZero() && !busy.Since.After(start)
	if noted || p.err == nil {
		delete(j.report.Sightings, p.name)
	}
	if locked {
		if entry.LockedSince = busy.Since; !noted {
			j.report.Sightings[p.name], entry.LockedSince = j.report.Sightings[p.name].Again(start)
		}
		j.problem(report.Notice, "pool %s: another run is at work: %v", p.name, busy)
	} else if p.err != nil {
		entry.Error = p.err.Error()
		j.problem(report.Warning, "pool %s: %v", p.name, p.err)
	}
	return entry
}

// reportLate reports the late pools after their round has failed: these pools answered too late or
// never, and their guests got no snapshots.
func (j *journal) reportLate(parents map[string][]string, done []*pool, err error) {
	j.problem(report.Warning, "pools that answered late are left to the next run: %v", err)
	served := func(name string) bool { return slices.ContainsFunc(done, func(p *pool) bool { return p.name == name }) }
	for _, name := range slices.Sorted(maps.Keys(parents)) {
		if !served(name) {
			j.report.Pools = append(j.report.Pools, report.Pool{Pool: name, Error: "left to the next run: " + err.Error()})
		}
	}
}

// reportGuests records the names of the guests and the volumes of running guests that get no
// snapshots. reportGuests also reports guests that have been locked for long, and the error of
// reading Proxmox's live list.
func (j *journal) reportGuests(g snapper.NodeView, atWork func(pve.ID) bool, pools []*pool, start time.Time) {
	for _, warning := range g.Cluster.Warnings {
		// A contradiction in Proxmox's files gets only a notice, because a warning would make cron
		// send a mail at every run.
		j.problem(report.Notice, "%s", warning)
	}
	j.reportUnread(g.Cluster)
	if g.ListErr != nil {
		j.report.Unlisted = true
		j.problem(report.Warning, "Proxmox could not be asked which guests run, so no guest counts as stopped: %v", g.ListErr)
	}
	for _, vmid := range slices.Sorted(maps.Keys(g.Evidence)) {
		severity, stuck := snapper.StuckLock(g.Evidence[vmid], atWork, start)
		if stuck != "" {
			j.problem(severity, "%s", stuck)
		}
		if severity == report.Warning {
			j.report.Locked++
		}
	}
	known := map[string]bool{}
	for _, d := range plannedDisks(pools) {
		known[d.Name] = true
	}
	unread := map[string]bool{} // the error of a pool that could not be read was already reported
	for _, p := range pools {
		unread[p.name] = p.err != nil
	}
	j.report.Names = map[int]string{}
	for vmid, config := range g.Cluster.Guests {
		if config.Name != "" {
			j.report.Names[vmid] = config.Name
		}
		if !g.Evidence[vmid].Alive() {
			continue
		}
		for _, v := range config.Volumes {
			if kind, reason := snapper.WhyUnprotected(v, g.Cluster, known, unread); reason != "" {
				j.report.Unprotected = append(j.report.Unprotected, report.Unprotected{VMID: vmid, Volume: v.String(), Kind: kind, Reason: reason})
			}
		}
	}
	slices.SortFunc(j.report.Unprotected, func(a, b report.Unprotected) int {
		return strings.Compare(fmt.Sprintf("%9d %s", a.VMID, a.Volume), fmt.Sprintf("%9d %s", b.VMID, b.Volume))
	})
}

// reportUnread reports the guests whose configuration could not be read. If the configuration of a
// guest could not be read, the run does not know the guest's disks, so the run is not a success.
func (j *journal) reportUnread(c pve.Cluster) {
	for _, vmid := range c.Unread() {
		j.incomplete = true
		j.problem(report.Warning, "guest %d: its configuration could not be read, so its disks are left alone: %s", vmid, c.Guests[vmid].Problem)
	}
}

// succeeded completes the report and decides whether the run was a success. A run is not a success
// if a pool or a configuration could not be read, if a disk of a running guest has no snapshot, or
// if the number of snapshots that should be destroyed grows from day to day.
func (j *journal) succeeded(end time.Time) {
	j.report.End = end
	success := !j.incomplete
	for _, p := range j.report.Pools {
		success = success && p.Error == "" && p.LockedSince.IsZero()
	}
	for _, b := range j.report.Backlogs {
		success = success && !b.Grows()
	}
	for _, d := range j.report.Disks {
		success = success && d.Result != string(snapper.Unprotected) && d.Error == ""
	}
	if j.report.Success = success; success {
		j.report.LastSuccess = j.report.End
	}
}
