package snapper

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"snapwatch/internal/report"
	"snapwatch/internal/text"
	"snapwatch/internal/zfs"
)

// sameClasses groups a guest's disks by the classes that their retention names. A disk must get
// only snapshots that its retention destroys later.
func sameClasses(tasks []diskTask) [][]diskTask {
	var groups [][]diskTask
	for _, t := range tasks {
		i := slices.IndexFunc(groups, func(g []diskTask) bool {
			return slices.Equal(g[0].disk.Retention.classes(), t.disk.Retention.classes())
		})
		if i < 0 {
			groups = append(groups, nil)
			i = len(groups) - 1
		}
		groups[i] = append(groups[i], t)
	}
	return groups
}

// classes returns the classes of which the retention keeps at least one snapshot, from the shortest
// to the longest.
func (r Retention) classes() []zfs.Class {
	var named []zfs.Class
	for _, c := range zfs.Rotating() {
		if r[c] > 0 {
			named = append(named, c)
		}
	}
	return named
}

// takeDue plans a snapshot of each disk of a batch of living guests. All snapshots of the batch
// have the longest class that is due on at least one of the disks, so that the disks have snapshots
// of the same moments. A disk whose guest was just started gets a snapshot even if no class is due,
// because replicas must soon see that the guest runs.
func (p *planner) takeDue(u batch, tasks []diskTask) {
	class, due := zfs.Class(0), false
	for _, t := range tasks {
		if c, ok := t.disk.Retention.Due(t.disk.Snapshots, p.now); ok && t.snapshot && (!due || c > class) {
			class, due = c, true
		}
	}
	shortest, any := tasks[0].disk.Retention.Shortest()
	if !due {
		class = shortest
	}
	whole := u.startsTogether(tasks)
	for i := range tasks {
		t := &tasks[i]
		started := (whole || t.action == Start) && any
		t.snapshot = t.snapshot && (due || started)
	}
	name := p.take(u, class, tasks)
	for _, t := range tasks {
		p.rotate(t, name)
	}
}

// takeFinal plans the last snapshot of the disks of a stopped guest. If refresh_stopped is set,
// takeFinal also plans to destroy each earlier _stopped snapshot of the guest that may expire now.
func (p *planner) takeFinal(vmid int, tasks []diskTask) {
	name := p.take(batch{vmids: []int{vmid}}, zfs.Stopped, tasks)
	for _, t := range tasks {
		p.bookmark(t.disk)
		if t.snapshot && p.policy.RefreshStopped > 0 {
			marks := Bookmarks{Have: t.disk.Bookmarks, Keep: p.policy.Bookmarks}
			gone := destroys(ExpireStopped(t.disk.Snapshots, marks, p.policy.StoppedGrace, p.now))
			p.plan.Destroys = append(p.plan.Destroys, afterNew(gone, name)...)
		}
	}
}

// take plans a snapshot of each disk of the batch, with the same name on all disks, in one
// GuestPlan for each pool. take returns this name.
func (p *planner) take(u batch, class zfs.Class, tasks []diskTask) string {
	name := freeName(tasks, class, p.now)
	var freezes []Freeze
	if class != zfs.Stopped {
		freezes = p.freezes(tasks)
	}
	byPool := map[string][]DiskPlan{}
	for _, t := range tasks {
		d := t.disk
		plan := DiskPlan{Dataset: d.Name, VMID: d.VMID, Snapshot: t.snapshot, Label: t.label, Reason: t.reason}
		if t.snapshot && d.RefReservation > 0 {
			plan.Takes = "a thick volume: the snapshot reserves " + text.Bytes(d.reserves())
		}
		if t.snapshot && p.policy.Bookmarks > 0 {
			// If another program soon destroys the snapshot, the bookmark still proves that there
			// was a snapshot.
			plan.Bookmark = class == zfs.Stopped || firstOfDay(d.Snapshots, p.now) && firstOfDay(d.Bookmarks, p.now)
		}
		switch {
		case t.snapshot:
			p.note(d, report.Info, Snapshotted, fmt.Sprintf("%s: %s", t.reason, name))
		case d.NoSnap.Excludes():
			p.note(d, report.Info, Excluded, "label:nosnap is "+d.NoSnap.Value)
		case t.action == Final:
			p.note(d, report.Info, Untouched, "stopped, and its last snapshot exists already: only the label is set")
		default:
			p.note(d, report.Info, NotDue, "nothing is due")
		}
		if plan.Snapshot || plan.Label != "" {
			pool := zfs.Pool(d.Name)
			byPool[pool] = append(byPool[pool], plan)
		}
	}
	for _, pool := range slices.Sorted(maps.Keys(byPool)) {
		p.plan.Guests = append(p.plan.Guests, GuestPlan{
			Pool: pool, VMID: u.vmid(), Group: u.group, Freeze: freezes, Snapshot: name, Class: class, RefuseReceiving: class == zfs.Stopped, Disks: byPool[pool],
		})
	}
	return name
}

// freeName returns an unused name for snapshots of the disks that are taken now. A snapshot or
// bookmark of a disk may already have the name with the present time, because the clock or the disk
// was set back. If the name is taken, freeName moves the time in the name forward, second by
// second.
func freeName(tasks []diskTask, class zfs.Class, now time.Time) string {
	for t := now; ; t = t.Add(time.Second) {
		name := zfs.FormatSnapshotName(inPass(t), class)
		named := func(s zfs.Snapshot) bool { return s.Name == name }
		taken := slices.ContainsFunc(tasks, func(t diskTask) bool {
			return slices.ContainsFunc(t.disk.Snapshots, named) || slices.ContainsFunc(t.disk.Bookmarks, named)
		})
		if !taken {
			return name
		}
	}
}

// inPass returns the time for the name of a snapshot that is taken at t. In the night when clocks
// are set back, an hour occurs twice. When the hour occurs for the first time, names have even
// seconds, and when the hour occurs for the second time, names have odd seconds, so a name never
// occurs twice, even if the first snapshot of that name was already destroyed. A receiver that
// still has the first snapshot would refuse a second snapshot of the same name.
func inPass(t time.Time) time.Time {
	begin, end := t.ZoneBounds()
	_, offset := t.Zone()
	_, before := begin.Add(-time.Second).In(t.Location()).Zone()
	_, after := end.In(t.Location()).Zone()
	again := func(to, from int) time.Duration { return time.Duration(max(0, from-to)) * time.Second }
	switch odd := t.Second()%2 == 1; {
	case !end.IsZero() && odd && end.Sub(t) <= again(after, offset):
		return t.Add(-time.Second)
	case !begin.IsZero() && !odd && t.Sub(begin) < again(offset, before):
		return t.Add(time.Second)
	}
	return t
}

// rotate plans the destruction of the snapshots that the retention no longer keeps on a running
// guest's disk. rotate also plans FullDestroys, the snapshots to destroy if the disk's new snapshot
// fails for lack of space.
func (p *planner) rotate(t diskTask, name string) {
	d := t.disk
	if d.State != Running || d.BookmarksUnread {
		// A run destroys nothing on the disk while Proxmox works on the guest or does not answer
		// about the guest, or if the disk's bookmarks could not be listed.
		return
	}
	p.countStaying(d)
	marks := Bookmarks{Have: d.Bookmarks, Keep: p.policy.Bookmarks}
	expire := func(snapshots []zfs.Snapshot) []Destroy {
		gone := d.Retention.Expire(snapshots, p.now)
		return destroys(append(gone, ExpireStopped(snapshots, marks, p.policy.StoppedGrace, p.now)...))
	}
	without := expire(d.Snapshots)
	p.plan.FullDestroys = append(p.plan.FullDestroys, without...)
	if !t.snapshot {
		p.plan.Destroys = append(p.plan.Destroys, without...)
	} else {
		made := zfs.Snapshot{Dataset: d.Name, Name: name, CreateTXG: ^uint64(0), Creation: p.now}
		with := expire(append(slices.Clone(d.Snapshots), made))
		p.plan.Destroys = append(p.plan.Destroys, afterNew(with, name)...)
	}
	p.bookmark(d)
}

// countStaying counts the disk's snapshots that snap does not destroy for one of two reasons: the
// retention does not name the snapshot's class, or the snapshot is dated in the future.
func (p *planner) countStaying(d *Disk) {
	for _, s := range d.Snapshots {
		class, ours := s.Class()
		_, named := d.Retention[class]
		switch {
		case !ours:
		case s.Creation.After(p.now.Add(futureSlack)):
			p.future++
			if s.Creation.After(p.until) {
				p.until = s.Creation
			}
		case class != zfs.Stopped && !named:
			p.unnamed[class]++
		}
	}
}

// afterNew removes the planned snapshot from the Keepers of each destroy, because the name of the
// planned snapshot may still change. Instead, afterNew sets the field AfterNew, which demands that
// the disk's new snapshot exists, under whatever name.
func afterNew(list []Destroy, name string) []Destroy {
	for i := range list {
		list[i].AfterNew = true
		list[i].Keepers = slices.DeleteFunc(list[i].Keepers, func(k string) bool { return k == name })
	}
	return list
}

func destroys(expired []Expired) []Destroy {
	var list []Destroy
	for _, e := range expired {
		list = append(list, Destroy{Dataset: e.Snapshot.Dataset, Name: e.Snapshot.Name, Creation: e.Snapshot.Creation, Reason: e.Reason, Keepers: e.Keepers})
	}
	return list
}
