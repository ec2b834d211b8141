package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"snapwatch/internal/zfs"
	"snapwatch/snapper"
)

// beginsStop checks the beginning of each channel program that takes a _stopped snapshot: the run
// must hold the lock of the disk's guest, and the guest must be off. A wrong _stopped snapshot would
// silence the alarms about a running guest.
func (m *machine) beginsStop(dataset string) {
	g := m.w.guests[m.w.parse(dataset).vmid]
	switch {
	case m.holds[g.vmid] == 0:
		m.w.recordBroken("%s begins a _stopped snapshot of %s without the lock of guest %d", m.n.name, dataset, g.vmid)
	case g.alive:
		m.w.recordBroken("%s begins a _stopped snapshot of %s, whose guest %d runs", m.n.name, dataset, g.vmid)
	case m.w.tick < g.rebooting:
		m.w.recordBroken("%s begins a _stopped snapshot of %s, whose guest %d reboots", m.n.name, dataset, g.vmid)
	}
}

// stopTaken checks each _stopped snapshot that a run has taken. The guest may run now only if the
// run had to release the guest's lock because the channel program took too long.
func (m *machine) stopTaken(dataset string) {
	m.w.stats.Stops++
	g := m.w.guests[m.w.parse(dataset).vmid]
	switch {
	case m.w.nodes[g.home] != m.n:
		m.w.recordBroken("%s took a _stopped snapshot of %s, whose guest %d is configured on %s", m.n.name, dataset, g.vmid, m.w.nodes[g.home].name)
	case g.alive && m.holds[g.vmid] > 0:
		m.w.recordBroken("%s took a _stopped snapshot of %s, whose guest %d runs", m.n.name, dataset, g.vmid)
	case g.alive:
		m.overtaken[g.vmid] = true
	default:
		m.stopHooked(g.vmid)
	}
}

// noBase handles a replication that finds no common snapshot or bookmark as a base. If the copy has
// received nothing for fewer days than the bookmarks cover, a promise of docs/reliability.md is
// broken.
func (w *World) noBase(src, dst *dataset, site string) {
	p := w.pairs[site+" "+dst.name]
	away := "never replicated"
	if p != nil && p.source == src.guid && p.target == dst.guid {
		away = w.now.Sub(p.last).String()
		// The newest common bookmark may be one day older than the copy's last receive, and each
		// jump of a clock may add a day. Only the first snapshot of each day has a bookmark. If a
		// copy receives some snapshots but never the first snapshot of a day, the newest common
		// bookmark is older than the copy's last receive.
		horizon := time.Duration(w.Bookmarks-2-w.jumps) * 24 * time.Hour
		if w.now.Sub(p.last) < horizon && w.now.Sub(p.based) < horizon+24*time.Hour && !w.turnsOver() && !dst.blocked.After(p.last) {
			w.recordBroken("%s no longer has a common base with %s, which was away for %s", src.name, dst.name, away)
		}
	}
	w.say("no common base for %s (away: %s): a person starts over", dst.name, away)
	w.serial++
	*dst = dataset{name: dst.name, host: dst.host, guid: w.serial, created: w.now}
	w.receive(dst, src.snaps)
}

// turnsOver reports whether the retention keeps so few snapshots that the source may destroy a sent
// snapshot before the next replication. If the sent snapshot was destroyed, syncoid continues from
// an older snapshot, rolls the copy back, and may destroy the first snapshot of the day on the
// copy. If sanoid runs too, one fifth of a disk's newest snapshots are snapshots by sanoid
// (docs/replication.md).
func (w *World) turnsOver() bool {
	newest := w.retention[zfs.Frequently]
	if w.Sanoid {
		newest = newest * 4 / 5
	}
	return len(w.retention) == 1 && newest <= w.Every
}

// bucketName returns a name for the hour, day, week, month or year that contains a time.
// bucketName is written independently of the code under test.
func bucketName(class zfs.Class, t time.Time) string {
	switch class {
	case zfs.Hourly:
		return t.Format("2006-01-02 15 -0700")
	case zfs.Daily:
		return t.Format("2006-01-02")
	case zfs.Weekly:
		year, week := t.ISOWeek()
		return fmt.Sprint(year, "w", week)
	case zfs.Monthly:
		return t.Format("2006-01")
	}
	return t.Format("2006")
}

// mayGo checks that a run of snap was allowed to destroy the named snapshot of a disk.
func (w *World) mayGo(n *node, d *dataset, name string) {
	now := w.planned
	s := d.snaps[d.find(name)]
	class, ours := s.Class()
	newest, _ := d.newestManaged()
	not := w.mustNotRotate(n, d)
	switch {
	case !ours:
		w.recordBroken("%s destroyed the unmanaged %s", n.name, s.FullName())
	case s.GUID == newest.GUID:
		w.recordBroken("%s destroyed %s, the newest", n.name, s.FullName())
	case not != "":
		w.recordBroken("%s destroyed %s while its guest %s", n.name, s.FullName(), not)
	case class == zfs.Stopped && w.Bookmarks > 0 && !hasGUID(d.marks, s.GUID) && w.hasRoom(d, s):
		w.recordBroken("%s destroyed %s, which has no bookmark", n.name, s.FullName())
	case class == zfs.Stopped && !slices.ContainsFunc(w.before[d.name], func(o zfs.Snapshot) bool {
		_, managed := o.Class()
		return managed && o.CreateTXG > s.CreateTXG && now.Sub(o.Creation) > w.Grace
	}):
		w.recordBroken("%s destroyed %s, but no newer snapshot is %s old", n.name, s.FullName(), w.Grace)
	case class == zfs.Stopped:
	case s.Creation.After(now.Add(5 * time.Minute)):
		w.recordBroken("%s destroyed %s of the future", n.name, s.FullName())
	default:
		if keeper := w.keptBy(d, s, now); keeper != "" {
			w.recordBroken("%s destroyed %s, which %s keeps", n.name, s.FullName(), keeper)
		}
	}
}

// mustNotRotate returns the fact about a disk's guest that forbids a node to rotate the disk's
// snapshots, "" if the node may rotate them. If something happens to the guest during the run, the
// model allows every rotation, because the run cannot know of this event.
func (w *World) mustNotRotate(n *node, d *dataset) string {
	g := w.guests[w.parse(d.name).vmid]
	switch {
	case g == nil:
		return "is none"
	case n.disturbed || g.disturbed:
		return ""
	case w.nodes[g.home] != n:
		return "is configured on the other node"
	case !g.alive:
		return "is off"
	case g.lock != "" && g.lock != "backup":
		return "is locked: " + g.lock
	case w.tick < n.pveshBad && n.pvesh != "is slow":
		return "may be anything: pvesh " + n.pvesh
	}
	return ""
}

// hasRoom reports whether the retention of bookmarks would keep a bookmark of a disk's _stopped
// snapshot. The retention keeps the disk's ten newest bookmarks of _stopped snapshots, and the
// first such bookmark of each of the newest days.
func (w *World) hasRoom(d *dataset, s zfs.Snapshot) bool {
	day := func(s zfs.Snapshot) string { return s.Name[:len("autosnap_2006-01-02")] }
	newer, later, first := 0, map[string]bool{}, true
	for _, m := range d.marks {
		if !strings.HasSuffix(m.Name, "_stopped") {
			continue
		}
		if m.CreateTXG > s.CreateTXG {
			newer++
		} else if day(m) == day(s) {
			first = false
		}
		if day(m) > day(s) {
			later[day(m)] = true
		}
	}
	return newer < 10 || first && len(later) < w.Bookmarks
}

// keptBy names the class whose retention keeps a snapshot. keptBy computes the class from the
// user's settings, independently of the code under test.
func (w *World) keptBy(d *dataset, s zfs.Snapshot, now time.Time) string {
	var counted []zfs.Snapshot
	for _, o := range d.snaps {
		if class, ours := o.Class(); ours && class != zfs.Stopped && !o.Creation.After(now.Add(5*time.Minute)) {
			counted = append(counted, o)
		}
	}
	for class, n := range w.retention {
		if class == zfs.Frequently {
			if slices.ContainsFunc(counted[max(0, len(counted)-n):], func(o zfs.Snapshot) bool { return o.GUID == s.GUID }) {
				return fmt.Sprintf("f%d", n)
			}
			continue
		}
		first := map[string]zfs.Snapshot{}
		var order []zfs.Snapshot
		for _, o := range counted {
			c, _ := o.Class()
			bucket := bucketName(class, o.Creation.In(now.Location()))
			if _, have := first[bucket]; !have && c >= class {
				first[bucket] = o
				order = append(order, o)
			}
		}
		slices.SortStableFunc(order, func(a, b zfs.Snapshot) int { return a.Creation.Compare(b.Creation) })
		if slices.ContainsFunc(order[max(0, len(order)-n):], func(o zfs.Snapshot) bool { return o.GUID == s.GUID }) {
			return fmt.Sprintf("%s %d", class, n)
		}
	}
	return ""
}

// idempotent checks that a second run directly after a run would only take the snapshot that every
// run takes.
func (w *World) idempotent(n *node, plan snapper.Plan, complete bool, plansAgain func() (snapper.Plan, error)) {
	labels := len(plan.InheritReceived) > 0 || slices.ContainsFunc(plan.Guests, func(g snapper.GuestPlan) bool { return g.Class == zfs.Stopped })
	if !complete || n.disturbed || !labels && w.tick%16 != 0 {
		return
	}
	w.stats.Idempotent++
	again, err := plansAgain()
	if err != nil {
		w.recordBroken("a second run immediately afterwards on %s: %v", n.name, err)
	}
	for _, g := range again.Guests {
		for _, d := range g.Disks {
			if d.Label != "" || g.Class != zfs.Frequently {
				w.recordBroken("a second run immediately afterwards on %s would change %s: label %q, snapshot %s", n.name, d.Dataset, d.Label, g.Snapshot)
			}
		}
	}
	// If a clock was set back, the days in the snapshots' names are not in the order in which the
	// snapshots were taken. After the first run has destroyed a bookmark, the second run may make a
	// bookmark of the same day.
	if w.jumps > 0 && len(plan.DestroyBookmarks) > 0 {
		again.CreateBookmarks = nil
	}
	// If a pool is late, or hooks run, or ZFS is busy, some time passes between a run's plan and
	// the run's end. The second run destroys the snapshots that expire between the first run's plan
	// and the end of the first run.
	if w.tick < n.slow || w.Hooks != "" || w.Again {
		again.FullDestroys = nil
	}
	if len(again.InheritReceived)+len(again.FullDestroys)+len(again.CreateBookmarks)+len(again.Abandoned) > 0 {
		w.recordBroken("a second run immediately afterwards on %s would inherit received labels of %v, destroy %v, bookmark %v, and call %v abandoned", n.name, again.InheritReceived, again.FullDestroys, again.CreateBookmarks, again.Abandoned)
	}
}

// stranger reports whether snap may label a stopped guest's disk only with the consent of a person
// (snap --adopt): the disk was received without a label, or a receive of the disk is pending. The
// node's saved state may prove that the disk was received, even if no snapshot of the disk is a
// proof.
func (w *World) stranger(d *dataset) bool {
	newest, any := d.newestManaged()
	label := d.running.Own()
	if class, _ := newest.Class(); label == "stopped" && d.running.Source == zfs.SourceReceived && class != zfs.Stopped {
		return true // sanoid took a snapshot after snap's _stopped one, and then the guest moved
	}
	if d.running.Source == zfs.SourceLocal && d.received {
		return true // nothing proves that the label is newer than the receive
	}
	return d.token || d.seeding || label == "" && (d.ever || any || len(d.snaps) > 0 || d.running.Received != "")
}

// The method `labels` compares label:running of a guest's disks with the true state of the guest,
// after two undisturbed runs.
func (w *World) labels() {
	for _, vmid := range w.order {
		g := w.guests[vmid]
		if g.gone || g.quiet < 2 {
			continue
		}
		for _, name := range g.disks {
			d := w.source(g, name)
			if d == nil {
				continue
			}
			label, want := d.running.Own(), "stopped"
			if g.alive {
				want = w.nodes[g.home].name
			} else if w.stranger(d) || g.template && label != w.nodes[g.home].name {
				continue // a template can never run: snap changes only the label of the template's own node
			}
			w.stats.Labels++
			if label != want {
				w.recordBroken("two runs after the last event the label of %s on %s is %s, not %s", name, w.nodes[g.home].name, orDash(label), want)
			}
			w.announced(g, d)
		}
	}
}

// announced compares a disk's newest snapshot with the true state of the disk's guest. The newest
// snapshot of a stopped guest's disk must be a _stopped snapshot with the disk's present data; the
// newest snapshot of a running guest's disk must not be a _stopped one.
func (w *World) announced(g *guest, d *dataset) {
	newest, any := d.newestManaged()
	class, _ := newest.Class()
	switch {
	case !any && g.alive:
		w.recordBroken("%s of the running guest %d has no snapshot", d.name, g.vmid)
	case g.alive && w.retention[zfs.Frequently] > 0 && w.olderThanStart(g, d):
		w.recordBroken("%s has no snapshot since its guest %d was started", d.name, g.vmid)
	case g.alive && class == zfs.Stopped:
		w.recordBroken("the newest snapshot of %s is %s, but its guest runs", d.name, newest.Name)
	case g.alive || g.template || d.running.Source == zfs.SourceReceived:
	case class != zfs.Stopped:
		w.recordBroken("the newest snapshot of %s is %s, but its guest is off", d.name, newest.Name)
	case w.taken[newest.GUID].content != d.content:
		w.recordBroken("%s was written after %s, but its guest is off", d.name, newest.Name)
	}
}
