package snapper

import (
	"maps"
	"slices"

	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
)

// Abandoned returns the bookmarks of ours that belong to a history which the disk
// no longer has. tip is what the last run left there, the zero Tip if nothing is known.
//
// A node that lost its guest by a failover receives the disk back: zfs receive -F rolls
// it back to the last snapshot that both have and destroys what is newer, but not the
// newer bookmarks. ZFS then sends an increment from such a bookmark without complaint,
// a receiver that has its snapshot takes it, and is left with a mixture of two histories
// (seen on OpenZFS 2.3.9: send and receive exit 0, the contents differ). So these
// bookmarks must go before anybody finds one. Two facts tell together: the newest managed
// snapshot is gone, which nothing of ours ever destroys, and a snapshot is there that came
// after it. Without the second a person may have destroyed it by hand, and its bookmark is
// a good one: zfs rollback takes newer bookmarks with it.
func Abandoned(tip report.Tip, snapshots, bookmarks []zfs.Snapshot) []zfs.Snapshot {
	known := func(name string) bool {
		return slices.ContainsFunc(snapshots, func(s zfs.Snapshot) bool { return s.Name == name })
	}
	received := slices.ContainsFunc(snapshots, func(s zfs.Snapshot) bool { return s.CreateTXG > tip.TXG })
	if tip.Name == "" || known(tip.Name) || !received {
		return nil
	}
	var base uint64 // where the histories part, by txg
	living := map[uint64]bool{}
	for _, s := range snapshots {
		living[s.GUID] = true
		if s.CreateTXG <= tip.TXG {
			base = max(base, s.CreateTXG)
		}
	}
	var abandoned []zfs.Snapshot
	for _, b := range bookmarks {
		if _, ours := b.Class(); ours && b.CreateTXG > base && !living[b.GUID] {
			abandoned = append(abandoned, b)
		}
	}
	return abandoned
}

// abandon plans the end of a disk's abandoned bookmarks and returns the disk without
// them.
func (p *planner) abandon(d Disk) Disk {
	gone := Abandoned(d.Tip, d.Snapshots, d.Bookmarks)
	if len(gone) == 0 || d.Ignored != "" {
		return d
	}
	d.Bookmarks = slices.DeleteFunc(slices.Clone(d.Bookmarks), func(b zfs.Snapshot) bool { return slices.Contains(gone, b) })
	for _, b := range gone {
		b.Dataset = d.Name
		p.plan.Abandoned = append(p.plan.Abandoned, b)
	}
	return d
}

// tips are what this run leaves on each disk, for the next one to compare. A disk whose
// abandoned bookmarks did not all go, or that could not be read, keeps what it had.
func (r *run) tips(pools []*pool) map[string]report.Tip {
	tips := map[string]report.Tip{}
	for dataset, tip := range r.previous.Tips {
		readable := slices.ContainsFunc(pools, func(p *pool) bool { return p.name == zfs.Pool(dataset) && p.err == nil })
		if !readable {
			tips[dataset] = tip
		}
	}
	made := map[string]string{}
	for _, d := range r.report.Disks {
		made[d.Dataset] = d.Snapshot
	}
	for _, d := range r.planned(pools) {
		tip := tipOf(&d)
		if made[d.Name] != "" {
			tip.Name = made[d.Name]
		}
		if r.stuck[d.Name] {
			tip = r.previous.Tips[d.Name]
		}
		if tip.Name != "" {
			tips[d.Name] = tip
		}
	}
	return tips
}

// tipOf is what a disk has now; its name is "" without a managed snapshot.
func tipOf(d *Disk) report.Tip {
	tip := report.Tip{}
	if newest, ok := newestManaged(d); ok {
		tip.Name = newest.Name
	}
	if n := len(d.Snapshots); n > 0 {
		tip.TXG = d.Snapshots[n-1].CreateTXG
	}
	return tip
}

// intend writes down which snapshots are about to be made and bookmarked: if the machine
// dies before the report of this run is kept, and another node takes its guests over,
// the next run must still know of these bookmarks. A name that was not made after all
// does no harm: no bookmark is newer than what was there then.
func (r *run) intend(plan Plan, pools []*pool) {
	if r.intended == nil { // an earlier round's stay
		r.intended = map[string]report.Tip{}
		maps.Copy(r.intended, r.previous.Tips)
	}
	intended := r.previous
	intended.Tips = r.intended
	marked := map[string]string{}
	for _, g := range plan.Guests {
		for _, d := range g.Disks {
			if d.Bookmark {
				marked[d.Dataset] = g.Snapshot
			}
		}
	}
	for _, b := range plan.Abandoned {
		delete(marked, b.Dataset) // what it had is still needed
	}
	for _, d := range r.planned(pools) {
		if name := marked[d.Name]; name != "" {
			intended.Tips[d.Name] = report.Tip{Name: name, TXG: tipOf(&d).TXG}
		}
	}
	if len(marked) == 0 || r.previous.Start.IsZero() {
		return
	}
	if err := intended.Save(r.StateDir, report.Name); err != nil {
		r.problem(Warning, "what this run is about to do is not kept: %v", err)
	}
}
