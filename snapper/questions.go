package snapper

import (
	"slices"

	"snapwatch/internal/zfs"
)

// MaxAsked is how often a run asks before it makes do with what it knows: received labels
// decide who is looked at twice, and both whose bookmarks count.
const MaxAsked = 3

// Questions are what [MakePlan] must know before its plan may be carried out. What reading
// it costs in the steady state is nothing, so it is not read before it is asked for.
type Questions struct {
	// Looks are the guests that seem stopped and must be looked at a second time, by VMID.
	Looks []int
	// Received are the datasets whose received labels decide, Bookmarks those whose
	// bookmarks decide and are only remembered, and Histories those with bookmarks that
	// may be of a discarded history, or snapshots that may have been received.
	Received, Bookmarks, Histories []string
}

// None reports whether nothing is asked.
func (q Questions) None() bool {
	return len(q.Looks)+len(q.Received)+len(q.Bookmarks)+len(q.Histories) == 0
}

// askLook asks for a second look at a disk's guests. What the plan will say of the disk's
// bookmarks then is asked for now.
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

// askHistory asks for the pool's history where a disk's bookmarks may be of a discarded
// one, and for a fresh list of them before. At the end of the host nothing is destroyed, and
// it would wait.
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

// askBookmarks asks for the bookmarks that the plan relies on and that are only remembered.
func (p *planner) askBookmarks(disks []Disk) {
	relied := p.plan.reliesOnBookmarks()
	for _, d := range disks {
		if d.Recalled && relied[d.Name] && !slices.Contains(p.plan.Ask.Bookmarks, d.Name) {
			p.plan.Ask.Bookmarks = append(p.plan.Ask.Bookmarks, d.Name)
		}
	}
}

// reliesOnBookmarks are the disks of which bookmarks are to go, or one is missing, or a
// _stopped snapshot goes only because it has its bookmark.
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

// maskedLabel reports whether what is done to a disk depends on labels that came with a
// stream and that its listing does not show: a local label is given up only for a received
// one, and a disk of a stopped guest without a label of its own is not taken over if
// one was received and then hidden by zfs inherit.
func maskedLabel(d *Disk, names Names) bool {
	switch d.Running.Source {
	case zfs.SourceLocal:
		return Decide(d.State, names.Classify(d.Running)) == InheritReceived
	case zfs.SourceReceived:
		return false
	}
	return d.State == Stopped
}
