package snapper

import (
	"slices"

	"snapwatch/internal/zfs"
)

// MaxAsked is the number of times that a run answers questions before it works with what it
// knows. Three times suffice: received labels decide which guests get a second look, and both
// decide which bookmarks count.
const MaxAsked = 3

// Questions are the facts that [MakePlan] must know before its plan may be carried out. In most
// runs none of the facts in Questions is needed, so the run reads them only when a plan asks for
// them.
type Questions struct {
	// Looks are the guests that seem stopped and must be looked at a second time, by VMID.
	Looks []int
	// Received are the datasets whose received labels decide. Bookmarks are the datasets whose
	// bookmarks decide but are only remembered from an earlier run. Histories are the datasets
	// with bookmarks that may be of a discarded history, or with snapshots that may have been
	// received.
	Received, Bookmarks, Histories []string
}

// None reports whether there are no questions.
func (q Questions) None() bool {
	return len(q.Looks)+len(q.Received)+len(q.Bookmarks)+len(q.Histories) == 0
}

// askLook asks for a second look at a disk's guests. If the disk's bookmarks are only remembered,
// askLook also asks for these, because the plan after the second look will need them.
func (p *planner) askLook(d *Disk) {
	for _, vmid := range d.Guests {
		if !slices.Contains(p.plan.Ask.Looks, vmid) {
			p.plan.Ask.Looks = append(p.plan.Ask.Looks, vmid)
		}
	}
	if d.Recalled && !slices.Contains(p.plan.Ask.Bookmarks, d.Name) {
		p.plan.Ask.Bookmarks = append(p.plan.Ask.Bookmarks, d.Name)
	}
}

// askHistory asks for the pool's history if a disk has bookmarks that may be of a discarded
// history. If the disk's bookmarks are only remembered, askHistory first asks for a fresh list of
// bookmarks. At the shutdown of the host nothing is destroyed, so askHistory asks nothing and
// loses no time.
func (p *planner) askHistory(d *Disk) {
	question := len(d.InQuestion()) > 0
	switch {
	case p.policy.Final:
	case d.Recalled && (question || len(d.Checked.Unproven) > 0):
		p.plan.Ask.Bookmarks = append(p.plan.Ask.Bookmarks, d.Name)
	case question && d.History == nil && d.HistoryProblem == "":
		p.plan.Ask.Histories = append(p.plan.Ask.Histories, d.Name)
	}
}

// askBookmarks asks for the bookmarks that the plan relies on but that are only remembered.
func (p *planner) askBookmarks(disks []Disk) {
	relied := p.plan.reliesOnBookmarks()
	for _, d := range disks {
		if d.Recalled && relied[d.Name] && !slices.Contains(p.plan.Ask.Bookmarks, d.Name) {
			p.plan.Ask.Bookmarks = append(p.plan.Ask.Bookmarks, d.Name)
		}
	}
}

// reliesOnBookmarks returns the disks for which the plan depends on a correct list of bookmarks:
// disks whose bookmarks are destroyed, disks that get a bookmark, and disks that lose a _stopped
// snapshot, which may only go if it has its bookmark.
func (p Plan) reliesOnBookmarks() map[string]bool {
	disks := map[string]bool{}
	for _, list := range [][]zfs.Snapshot{p.DestroyBookmarks, p.CreateBookmarks} {
		for _, m := range list {
			disks[m.Dataset] = true
		}
	}
	for _, j := range p.Abandoned {
		disks[j.Dataset] = true
	}
	for _, list := range [][]Destroy{p.Destroys, p.Waiting, p.FullDestroys} {
		for _, d := range list {
			if class, ok := zfs.ParseSnapshotName(d.Name); ok && class == zfs.Stopped {
				disks[d.Dataset] = true
			}
		}
	}
	return disks
}

// maskedLabel reports whether the decision about a disk depends on received labels that a local
// or inherited label hides. A local label is replaced only if there is a received label. A
// stopped guest's disk without a local label is not taken over if a label was received and then
// hidden by zfs inherit.
func maskedLabel(d *Disk, names Names) bool {
	switch d.Running.Source {
	case zfs.SourceLocal:
		return Decide(d.State, names.Classify(d.Running)) == InheritReceived
	case zfs.SourceReceived:
		return false
	}
	return d.State == Stopped
}
