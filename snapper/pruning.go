package snapper

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
)

// Whatever the retention says, prune keeps on a copy the first snapshot of each of the newest
// keepOnCopy days, and the newest keepOnCopy _stopped snapshots. The source has bookmarks of the
// kept snapshots, from which it can send.
const keepOnCopy = 3

// If a receive was interrupted and does not resume within oldToken, prune warns.
const oldToken = 24 * time.Hour

// pvesrPrefix is the beginning of the name of each snapshot that Proxmox's own replication takes.
const pvesrPrefix = "__replicate_"

// PrunePolicy holds the settings of prune, except the retention of each disk.
type PrunePolicy struct {
	// Node is true on a Proxmox node that runs both snap and prune. On a node that runs snap, a
	// disk without a guest may remain from a guest that was removed.
	Node bool
	// Bookmarks is the number of days for which snap on this node keeps bookmarks.
	Bookmarks    int
	StoppedGrace time.Duration
	MaxDestroys  int
}

// PlanPrune decides which snapshots of copies may be destroyed. The argument `interrupted` of
// PlanPrune has, by dataset, the time at which a run first found that a receive was interrupted.
func PlanPrune(disks []Disk, policy PrunePolicy, interrupted map[string]report.Interrupted, now time.Time) Plan {
	p := planner{policy: Policy{MaxDestroys: policy.MaxDestroys}, now: now, unnamed: map[zfs.Class]int{}}
	for i := range disks {
		d := &disks[i]
		if why := policy.notPruned(d); why != "" {
			severity := report.Info
			if seen, known := interrupted[d.Name]; known && d.ResumeToken && now.Sub(seen.Since) >= oldToken {
				severity = report.Warning
				why += fmt.Sprintf(" since %s or longer: resume it, or abort it (zfs receive -A %s)", seen.Since.Format(time.DateTime), d.Name)
			}
			if of := zfs.ResumedSnapshot(d.Token); of != "" {
				why += "; it can be resumed as long as its source has " + of
			}
			p.note(d, severity, Untouched, why)
			continue
		}
		p.countStaying(d)
		list := managedOf(d.Snapshots, now)
		gone := policy.expire(d, list, now)
		for i := range gone {
			gone[i].Snapshot.Dataset = d.Name
		}
		p.plan.Destroys = append(p.plan.Destroys, destroys(gone)...)
		why := fmt.Sprintf("%s: %d of %d managed snapshots may be destroyed", d.Why, len(gone), len(list))
		if name := pvesrs(d); name != "" {
			why += fmt.Sprintf("; @%s and other snapshots of pvesr are not managed and are kept", name)
		}
		p.note(d, report.Info, Pruned, why)
	}
	p.cap()
	p.noteStaying()
	p.noteStandIns(disks)
	return p.plan
}

// noteStandIns adds a note about the classes of the retention that have no snapshot on any copy.
// If no copy has snapshots of a class, the source takes none, and prune keeps snapshots of a
// shorter class in place of this class.
func (p *planner) noteStandIns(disks []Disk) {
	var lacking []string
	for _, class := range zfs.Rotating() {
		named, comes := false, false
		for i := range disks {
			d := &disks[i]
			named = named || d.Retention[class] > 0 && len(d.Snapshots) > 0
			comes = comes || slices.ContainsFunc(d.Snapshots, func(s zfs.Snapshot) bool {
				c, ours := s.Class()
				return ours && c >= class
			})
		}
		if named && !comes {
			lacking = append(lacking, class.String())
		}
	}
	if len(lacking) > 0 {
		p.plan.Notes = append(p.plan.Notes, Note{Severity: report.Notice, Reason: fmt.Sprintf(
			"no copy has a %s snapshot or one of a longer class: the oldest of each period is kept instead, whatever its class", strings.Join(lacking, " or "))})
	}
}

// notPruned returns the reason why no snapshot of a disk may be destroyed, "" if the disk is a
// copy that is not being received.
func (policy PrunePolicy) notPruned(d *Disk) string {
	if d.Ignored != "" {
		return d.Ignored
	}
	switch d.State {
	case Replica, Elsewhere:
	case Orphan:
		if policy.Node && !wasReceived(d) && !d.ResumeToken {
			return "no guest uses it, and no sign shows that it is a copy: if it is one, list it under replicas in the configuration"
		}
	default:
		return "not a copy: " + d.Why
	}
	if d.Inconsistent {
		return "its first receive is not finished"
	}
	if d.ResumeToken {
		return "a receive is running, or was interrupted and waits to be resumed"
	}
	if name := pvesrs(d); name != "" && d.Replicated {
		return "Proxmox replicates it (" + name + ") and makes it equal to its source at each run: prune there"
	}
	return ""
}

// pvesrs returns the name of a snapshot of Proxmox's own replication that the disk has, "" if the
// disk has none. A snapshot of pvesr alone does not prove that Proxmox replicates the disk, because
// syncoid and zrepl also send the snapshots of pvesr.
func pvesrs(d *Disk) string {
	i := slices.IndexFunc(d.Snapshots, func(s zfs.Snapshot) bool { return strings.HasPrefix(s.Name, pvesrPrefix) })
	if i < 0 {
		return ""
	}
	return d.Snapshots[i].Name
}

// expire returns the snapshots of a copy that its retention drops, except the snapshots that prune
// always keeps. The argument `list` has the copy's managed snapshots.
func (policy PrunePolicy) expire(d *Disk, list []managed, now time.Time) []Expired {
	gone := append(d.Retention.Expire(d.Snapshots, now), policy.expireStopped(list, now)...)
	stays := policy.staying(d, list, now)
	return slices.DeleteFunc(gone, func(e Expired) bool { return stays[e.Snapshot.Name] })
}

// expireStopped returns the _stopped snapshots of a copy that prune may destroy. A _stopped
// snapshot may be destroyed once the copy has a newer managed snapshot with an age above
// stopped_grace.
func (policy PrunePolicy) expireStopped(list []managed, now time.Time) []Expired {
	var expired []Expired
	for i, m := range list {
		if m.class != zfs.Stopped || m.future {
			continue
		}
		later := slices.IndexFunc(list[i+1:], func(s managed) bool {
			return !s.future && s.Creation.Before(now.Add(-policy.StoppedGrace))
		})
		if later >= 0 {
			reason := fmt.Sprintf("older than the newest %d _stopped snapshots, which are kept, and older than %s", keepOnCopy, list[i+1+later].Name)
			expired = append(expired, Expired{Snapshot: m.Snapshot, Reason: reason, Keepers: []string{list[len(list)-1].Name}})
		}
	}
	return expired
}

// staying returns the names of the managed snapshots of a copy that prune keeps whatever the
// retention says. A copy always keeps its newest snapshot, the first regular snapshot of each of
// the newest keepOnCopy days, and the newest keepOnCopy _stopped snapshots. If snap on this node
// makes bookmarks of received snapshots, a copy also keeps the snapshots that must get a bookmark
// but have none.
func (policy PrunePolicy) staying(d *Disk, list []managed, now time.Time) map[string]bool {
	stays := map[string]bool{}
	var regular, stopped []zfs.Snapshot
	for i, m := range list {
		stays[m.Name] = i == len(list)-1
		if m.future { // kept, but does not count as one of the keepOnCopy snapshots
			continue
		}
		if m.class == zfs.Stopped { // the source counts bookmarks of _stopped snapshots separately
			stopped = append(stopped, m.Snapshot)
		} else {
			regular = append(regular, m.Snapshot)
		}
	}
	days := byDay(regular)
	for _, d := range days[max(0, len(days)-keepOnCopy):] {
		stays[d.first.Name] = true
	}
	for _, s := range stopped[max(0, len(stopped)-keepOnCopy):] {
		stays[s.Name] = true
	}
	if d.Bookmarking {
		for _, s := range (Bookmarks{Have: d.Bookmarks, Keep: policy.Bookmarks}).Missing(d.Snapshots, now) {
			stays[s.Name] = true
		}
	}
	return stays
}
