package snapper

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
)

// sameClasses splits a guest's disks by the classes their retention names: a disk
// must not get snapshots of a class that would never leave it.
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

// classes are the classes named with more than 0, in order.
func (r Retention) classes() []zfs.Class {
	var named []zfs.Class
	for _, c := range zfs.Rotating() {
		if r[c] > 0 {
			named = append(named, c)
		}
	}
	return named
}

// takeDue snapshots the disks of living guests in the longest class that is due on
// any of them, so that they keep common points in time. A disk whose guest was just
// started is snapshotted in any case: replicas must see at once that it runs.
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

// takeFinal snapshots the disks of a stopped guest for the last time. Where it was
// done before, to renew the snapshot, the one before goes in its time.
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

// take plans one snapshot name for all the disks, pool by pool, and returns it.
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
		if t.snapshot && p.policy.Bookmarks > 0 {
			// Where somebody else's rotation takes a snapshot at once, its bookmark tells of it.
			plan.Bookmark = class == zfs.Stopped || firstOfDay(d.Snapshots, p.now) && firstOfDay(d.Bookmarks, p.now)
		}
		switch {
		case t.snapshot:
			p.note(d, report.Info, Snapshotted, fmt.Sprintf("%s: %s", t.reason, name))
		case d.NoSnap.Excludes():
			p.note(d, report.Info, Excluded, "label:nosnap is "+d.NoSnap.Value)
		case t.action == Final:
			p.note(d, report.Info, Untouched, "stopped, and its last state has its snapshot: only the label follows")
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

// freeName is the name of a snapshot taken now. One that a snapshot or bookmark of a disk has
// already, since the clock or the disk was set back, moves on by seconds.
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

// inPass returns the time that a name made at t has. In an hour that comes twice, in the night
// when clocks are set back, the first pass has the even seconds and the second the odd ones.
// So no name of the first is made again, though it was rotated away meanwhile: a receiver
// that keeps it would refuse the second.
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

// rotate plans what the retention no longer keeps of a running guest's disk, as if
// the new snapshot were there under that name, and beside it as if it were not.
func (p *planner) rotate(t diskTask, name string) {
	d := t.disk
	if d.State != Running || d.BookmarksUnread {
		return // nothing is destroyed while Proxmox works on the guest or can't be asked, or by half of what is there
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

// countStaying counts the snapshots that the disk's retention leaves alone.
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

// afterNew takes the planned snapshot out of the keepers, since its name may yet move
// on, and asks instead that it was made.
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
