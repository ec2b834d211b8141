package snapper

import (
	"slices"

	"snapwatch/internal/zfs"
)

// MaxAsked is the largest number of times that a run answers the questions of a plan. After
// MaxAsked rounds of answers, the run carries out the plan, even if the plan has more questions.
// Three rounds of answers suffice: received labels decide which guests get a second look, and
// received labels and second looks decide which bookmarks must be read.
const MaxAsked = 3

// Questions has the facts that [MakePlan] must know before its plan may be carried out. In most
// runs, none of the facts in Questions is needed, so the run reads these facts only when a plan
// asks for them.
type Questions struct {
	// The field Looks has the VMIDs of guests that seem stopped, at which the run must look a
	// second time.
	Looks []int
	// Received has the datasets whose received labels the plan needs. Bookmarks has the datasets
	// whose bookmarks the plan needs but of which the run has only an earlier run's list. Histories
	// has the datasets for which the plan needs the pool's history: a bookmark may belong to a
	// discarded history, or a snapshot may have been received.
	Received, Bookmarks, Histories []string
}

// None reports whether there are no questions, so that the plan may be carried out.
func (q Questions) None() bool {
	return len(q.Looks)+len(q.Received)+len(q.Bookmarks)+len(q.Histories) == 0
}

// askLook asks the run to look a second time at a disk's guests. If the run has only an earlier
// run's list of the disk's bookmarks, askLook also asks for a new list of bookmarks, because the
// plan after the second look will need a new list.
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
// history. If the run has only an earlier run's list of the disk's bookmarks, askHistory first asks
// for a new list. At the shutdown of the host, no bookmark is destroyed, so askHistory asks
// nothing, to save time.
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

// askBookmarks asks for a new list of the bookmarks of each disk for which the plan relies on an
// earlier run's list.
func (p *planner) askBookmarks(disks []Disk) {
	relied := p.plan.reliesOnBookmarks()
	for _, d := range disks {
		if d.Recalled && relied[d.Name] && !slices.Contains(p.plan.Ask.Bookmarks, d.Name) {
			p.plan.Ask.Bookmarks = append(p.plan.Ask.Bookmarks, d.Name)
		}
	}
}

// reliesOnBookmarks returns the disks for which the plan depends on a correct list of bookmarks:
// disks on which the plan destroys bookmarks, creates bookmarks, or destroys a _stopped snapshot. A
// _stopped snapshot may be destroyed only if it has a bookmark.
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

// maskedLabel reports whether the decision about a disk depends on received labels that a local or
// inherited label hides. A local label is replaced only if there is a received label. A stopped
// guest's disk without a local label is not adopted if a label was received and then hidden by zfs
// inherit.
func maskedLabel(d *Disk, names Names) bool {
	switch d.Running.Source {
	case zfs.SourceLocal:
		return Decide(d.State, names.Classify(d.Running)) == InheritReceived
	case zfs.SourceReceived:
		return false
	}
	return d.State == Stopped
}
