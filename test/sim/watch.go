package sim

import (
	"time"

	"snapwatch/checker"
	"snapwatch/checker/scan"
	"snapwatch/internal/zfs"
)

// runLate is the time since the last good run of snap after which an alarm about the node is due,
// including the time "for" of the alert rule.
const runLate = 50 * time.Minute

// slack is the longest allowed time from the moment when a disk's age passes the limit to the
// alarm. slack covers the wait for the run that notices the guest's start, the wait for the next
// check on C, and the greatest difference of clocks that does not count as skew.
func (w *World) slack() time.Duration { return 2*w.Tick + 5*time.Minute }

// maxSkew is the greatest difference between the sites' clocks for which the promises hold.
const maxSkew = 5 * time.Minute

// assemble returns the report of a check on C that does not ask the disks' owners.
func (w *World) assemble() checker.Report {
	now := w.c.clock(w.now)
	pool := checker.Pool{Name: "vault", ReadAt: now}
	for _, name := range sortedNames(w.c.sets) {
		d := w.c.sets[name]
		k := checker.Disk{
			Dataset: name, VMID: w.parse(name).vmid, Template: w.parse(name).kind == zfs.TemplateDisk, GUID: d.guid, Created: d.created,
			Receiving: d.seeding, PendingReceive: d.token, Running: d.running, ReadAt: now, HostClock: later(now, d.created, d.changed),
		}
		if s, any := d.newest(); any {
			k.NewestOfAny = s.Name
		}
		if s, any := d.newestManaged(); any {
			k.Newest = &s
		}
		pool.Disks = append(pool.Disks, k)
	}
	pools := []checker.Pool{pool}
	w.c.seen, _ = w.c.seen.Updated(pools, now)
	w.c.seen.Recall(pools, nil)
	return checker.Assemble(pools, w.policy, now)
}

// lookAtC returns the report on C if check or the exporter asks the disks' owners.
func (w *World) lookAtC() checker.Report {
	report := w.assemble()
	said := map[string][]checker.Evidence{}
	for _, k := range report.Disks {
		for i := range w.nodes {
			said[k.Dataset] = append(said[k.Dataset], w.answer(i, k.Disk))
		}
	}
	return report.WithOwners(w.policy, said).WithGuests(w.policy)
}

func later(times ...time.Time) time.Time {
	last := times[0]
	for _, t := range times[1:] {
		if t.After(last) {
			last = t
		}
	}
	return last
}

// answer returns the answer that a node's exporter gives about a disk.
func (w *World) answer(i int, asked checker.Disk) checker.Evidence {
	n := w.nodes[i]
	e := evidence{checker.Evidence{Node: n.name, Owned: checker.NotOwned}}
	if w.tick < n.down {
		e.Failure = "no route to host"
		return e.Evidence
	}
	if g := w.guests[asked.VMID]; g != nil && !g.gone {
		if g.home == i {
			e.Owned = checker.Owned
		} else {
			e.ConfiguredOn = w.nodes[g.home].name
		}
	}
	name := asked.Dataset[len("vault/"):]
	d := n.sets[name]
	switch {
	case w.tick < n.pools[zfs.Pool(name)].suspended:
		e.Problem = "the pool is suspended"
		return e.Evidence
	case d == nil:
		e.Problem = "there is no disk " + asked.Name() + " here"
		return e.Evidence
	}
	e.Dataset, e.GUID = d.name, d.guid
	if s, any := d.newestManaged(); any {
		e.Newest = &s
	}
	e.Presence, e.Now = checker.Absent, n.clock(w.now)
	if asked.Newest != nil {
		e.hold(d, *asked.Newest)
	}
	return e.Evidence
}

// evidence is a node's answer about a disk; the model adds one fact after another to the answer.
type evidence struct{ checker.Evidence }

// hold adds to a node's answer whether the node's disk has the requested snapshot, as a snapshot or
// as a bookmark. hold also adds the time since which the asker's copy has lagged.
func (e *evidence) hold(d *dataset, asked zfs.Snapshot) {
	var txg uint64
	for _, m := range d.marks {
		if m.Name == asked.Name {
			e.Presence, e.PresenceGUID, txg = checker.AsBookmark, m.GUID, m.CreateTXG
		}
	}
	if at := d.find(asked.Name); at >= 0 {
		e.Presence, e.PresenceGUID, txg = checker.AsSnapshot, d.snaps[at].GUID, d.snaps[at].CreateTXG
	}
	if e.Presence == checker.Absent || e.PresenceGUID != asked.GUID || e.Newest == nil || e.Newest.Creation.Sub(asked.Creation) < scan.BehindFrom {
		return
	}
	var list []zfs.SnapshotName
	for _, s := range d.snaps {
		list = append(list, zfs.SnapshotName{Dataset: s.Dataset, Name: s.Name, GUID: s.GUID, CreateTXG: s.CreateTXG})
	}
	if first, _, found := scan.FirstAfter(list, txg); found {
		e.BehindSince = d.snaps[d.find(first.Name)].Creation
	}
}

// watch compares the report of check on C with the true state of the guests and disks.
func (w *World) watch() {
	report := w.lookAtC()
	if w.observe != nil {
		w.observe(report)
	}
	results := map[string]checker.Result{}
	for _, r := range report.Disks {
		results[r.Dataset] = r
	}
	for _, vmid := range w.order {
		g := w.guests[vmid]
		if g.gone || g.template || g.prelaunch {
			continue
		}
		for _, name := range g.disks {
			src, copied := w.source(g, name), w.c.sets[vaultOf(name)]
			r, known := results[vaultOf(name)]
			if src == nil || copied == nil || !known {
				continue
			}
			w.mustAlarm(g, src, copied, r)
			w.mustBeSilent(g, src, copied, r)
		}
	}
}

func (w *World) mustAlarm(g *guest, src, copied *dataset, r checker.Result) {
	if !g.alive || copied.seeding {
		return
	}
	since := later(g.since, src.created)
	for _, n := range w.nodes { // the guest may have started on the other node, and moved away before a run there announced the start
		if d := n.sets[src.name]; d != nil {
			since = later(since, d.unannounced)
		}
	}
	if s, any := copied.newestManaged(); any {
		since = later(since, w.taken[s.GUID].at, s.Creation)
	} else {
		since = later(since, copied.created) // the age of a copy without snapshots counts from its creation
	}
	over := w.now.Sub(since) - 2*time.Hour - w.slack() - max(0, -w.c.skew)
	if w.retention[zfs.Frequently] == 0 {
		over -= time.Hour // the owner's own snapshots are an hour apart
	}
	if over <= 0 {
		return
	}
	w.stats.MustAlarm++
	n := w.nodes[g.home]
	node := w.tick < n.down || n.clock(w.now).Sub(n.report.last.LastSuccess) > runLate || n.skew.Abs() > maxSkew
	if r.State == checker.OK && !node {
		w.recordBroken("guest %d runs since %s and its copy %s is older than the limit for %s, and nothing alarms: %s (%s; %s)",
			g.vmid, g.since.In(zone).Format("Mon 15:04"), copied.name, over, r.Verdict, r.Reason, compared(r))
	}
}

func compared(r checker.Result) string {
	return r.Compared.Outcome.String() + ": " + r.Compared.Reason
}

func (w *World) mustBeSilent(g *guest, src, copied *dataset, r checker.Result) {
	n := w.nodes[g.home]
	mine, any := src.newestManaged()
	theirs, there := copied.newestManaged()
	inStep := any && there && mine.GUID == theirs.GUID && !copied.token && !copied.seeding
	trouble := w.tick < n.down || w.tick < n.pools[zfs.Pool(src.name)].suspended
	at := w.taken[theirs.GUID].at
	skewed := w.c.skew.Abs() > maxSkew/2 || copied.changed.After(w.now.Add(maxSkew/2)) || copied.created.After(w.now.Add(maxSkew/2)) || theirs.Creation.Sub(at).Abs() > maxSkew/2
	if !inStep || trouble || skewed {
		return
	}
	if g.alive && w.now.Sub(later(at)) > 2*time.Hour-maxSkew || !g.alive && (g.quiet < 2 || w.stranger(src)) {
		return
	}
	w.stats.MustBeSilent++
	if r.State != checker.OK {
		is := "off and proven so"
		if g.alive {
			is = "running"
		}
		w.recordBroken("guest %d is %s and its last state is on C, but %s alarms: %s %s (%s; %s)", g.vmid, is, copied.name, r.State, r.Verdict, r.Reason, compared(r))
	}
}
