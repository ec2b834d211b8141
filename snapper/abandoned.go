package snapper

import (
	"fmt"
	"slices"
	"strings"

	"snapwatch/internal/report"
	"snapwatch/internal/text"
	"snapwatch/internal/zfs"
)

// When a failover moves a guest to another node, the node that lost the guest receives the disk
// back. To receive the disk, zfs receive -F sets the disk back to the last snapshot that both nodes
// have, and destroys the newer snapshots, but keeps the newer bookmarks. ZFS sends an increment
// from a bookmark of a discarded history without complaint. A receiver that has the bookmark's
// snapshot ends up with a mixture of two histories (seen on OpenZFS 2.1 and 2.3: send and receive
// exit 0, the contents differ). The bookmarks of a discarded history must be destroyed before a
// program uses such a bookmark as a base for sending. A good bookmark must be kept, because a
// receiver may have no other base for an increment. The snapshots of the disk do not show which
// bookmarks are good: a person, a rotation or a receive with -R also destroys snapshots. The pool's
// own history alone shows which bookmarks are good, so only this history is a reason to destroy a
// bookmark.

// Standing is the result of judging a bookmark: good, discarded or unproven.
type Standing int

// The possible standings of a bookmark. Only a discarded bookmark is destroyed because of its
// standing.
const (
	// Good: the snapshot of the bookmark belongs to the disk's present history.
	Good Standing = iota
	// Discarded: the disk was set back to a snapshot that is older than the bookmark.
	Discarded
	// Unproven: it is unknown whether the bookmark is good or discarded.
	Unproven
)

// JudgedBookmark is a bookmark with its standing, and the reason for the standing.
type JudgedBookmark struct {
	zfs.Snapshot
	Standing Standing
	Reason   string
}

// JudgeBookmarks returns the standing of each bookmark of a dataset, judged by the pool's history
// h. The argument snapshots of JudgeBookmarks has all present snapshots of the dataset.
func JudgeBookmarks(dataset string, bookmarks, snapshots []zfs.Snapshot, h zfs.History) []JudgedBookmark {
	var judged []JudgedBookmark
	for _, b := range bookmarks {
		j := JudgedBookmark{Snapshot: b}
		j.Standing, j.Reason = judgeBookmark(dataset, b, snapshots, h)
		judged = append(judged, j)
	}
	return judged
}

func judgeBookmark(dataset string, b zfs.Snapshot, snapshots []zfs.Snapshot, h zfs.History) (Standing, string) {
	lost := h.Breaks[dataset]
	received := func(from uint64) (zfs.Received, bool) {
		i := slices.IndexFunc(h.Received, func(r zfs.Received) bool { return r.Dataset == dataset && r.Name == b.Name && r.TXG >= from })
		if i < 0 {
			return zfs.Received{}, false
		}
		return h.Received[i], true
	}
	for _, s := range h.SetBacks {
		if s.Dataset != dataset || s.TXG <= lost.TXG {
			continue
		}
		again, any := received(s.TXG)
		switch {
		case s.TXG == b.CreateTXG && !any:
			return Unproven, fmt.Sprintf("the disk was set back in the transaction group of the bookmark, %d", s.TXG)
		case !s.Over(b.CreateTXG):
			continue
		case any:
			return Unproven, fmt.Sprintf("the disk was set back to a state before the bookmark (to txg %d, at txg %d), and a snapshot with the bookmark's name was received at txg %d: if the received snapshot is the bookmarked one, the bookmark is good", s.Base, s.TXG, again.TXG)
		}
		// A set-back destroys every snapshot between Base, the transaction group to which the disk
		// returned, and TXG, the transaction group of the set-back.
		if i := slices.IndexFunc(snapshots, func(o zfs.Snapshot) bool { return s.Over(o.CreateTXG) }); i >= 0 {
			return Unproven, fmt.Sprintf("the pool's history has a set-back to txg %d at txg %d, but @%s still exists, which was taken in between", s.Base, s.TXG, snapshots[i].Name)
		}
		return Discarded, fmt.Sprintf("the disk was set back to a state before the bookmark (to txg %d, at txg %d)", s.Base, s.TXG)
	}
	switch {
	case b.CreateTXG < lost.TXG:
		return Unproven, fmt.Sprintf("at txg %d %s", lost.TXG, lost.Why)
	case b.CreateTXG < h.Since:
		return Unproven, fmt.Sprintf("the pool's history reaches back to txg %d only, and the bookmark is of txg %d", h.Since, b.CreateTXG)
	}
	return Good, "the pool's history has no set-back to a state before the bookmark"
}

// InQuestion returns the managed bookmarks that may belong to a discarded history, given d.Checked,
// the record that an earlier run made of the disk. A snapshot that existed at the earlier run and
// exists now proves that the disk was not set back to a state before this snapshot since the
// earlier run. A bookmark may belong to a discarded history if its own snapshot is gone, and if the
// bookmark is newer than all present snapshots that already existed at the earlier run.
func (d *Disk) InQuestion() []zfs.Snapshot {
	if d.Ignored != "" || d.unchanged() {
		return nil
	}
	var sound uint64
	known := d.checkedKnown()
	for _, s := range d.Snapshots {
		if known && s.CreateTXG <= d.Checked.TXG {
			sound = max(sound, s.CreateTXG)
		}
	}
	var list []zfs.Snapshot
	for _, b := range d.Bookmarks {
		if _, ours := b.Class(); ours && b.CreateTXG > sound && !d.hasGUID(b.GUID) {
			list = append(list, b)
		}
	}
	return list
}

// unchanged reports whether the disk's list of snapshots is the same as when an earlier run checked
// the disk's bookmarks. A set-back would change the list of snapshots.
func (d *Disk) unchanged() bool {
	return d.checkedKnown() && d.SnapshotsChanged > 0 && d.Checked.Changed == d.SnapshotsChanged && d.Checked.Newest == d.NewestSnapshot
}

// checkedKnown reports whether Checked, the record of an earlier run, describes the present
// dataset. Checked may describe an earlier dataset of the same name. If the record names another
// origin than the disk has now, zfs promote has brought bookmarks of a different dataset. If the
// transaction group in the record is above the pool's present transaction group, the pool was
// rewound to an older state, and uses the same transaction groups a second time.
func (d *Disk) checkedKnown() bool {
	return d.Checked.GUID == d.GUID && d.Checked.Origin == d.Origin && d.Checked.TXG <= d.PoolTXG
}

func (d *Disk) hasGUID(guid uint64) bool {
	return slices.ContainsFunc(d.Snapshots, func(s zfs.Snapshot) bool { return s.GUID == guid })
}

// judgeBookmarks returns the disk's bookmarks whose standing is Discarded or Unproven.
func (d *Disk) judgeBookmarks() []JudgedBookmark {
	var bad []JudgedBookmark
	question := d.InQuestion()
	switch {
	case len(question) == 0:
	case d.History == nil:
		for _, b := range question {
			bad = append(bad, JudgedBookmark{b, Unproven, "the pool's history could not be read: " + d.HistoryProblem})
		}
	default:
		bad = slices.DeleteFunc(JudgeBookmarks(d.Name, question, d.Snapshots, *d.History), func(j JudgedBookmark) bool { return j.Standing == Good })
	}
	for _, b := range d.Bookmarks {
		if _, ours := b.Class(); !ours || d.Checked.GUID != d.GUID || slices.ContainsFunc(question, func(q zfs.Snapshot) bool { return q == b }) || d.Ignored != "" {
			continue
		}
		known := slices.IndexFunc(d.Checked.Unproven, func(u report.Unproven) bool { return u.GUID == b.GUID })
		if known >= 0 && !d.hasGUID(b.GUID) {
			bad = append(bad, JudgedBookmark{b, Unproven, d.Checked.Unproven[known].Reason})
		}
	}
	return bad
}

// abandon plans the destruction of a disk's bookmarks of a discarded history, and returns the disk
// without these bookmarks. abandon keeps a bookmark with the standing Unproven, and reports the
// bookmark in a note.
func (p *planner) abandon(d Disk) Disk {
	p.askHistory(&d)
	bad := d.judgeBookmarks()
	if len(bad) == 0 {
		return d
	}
	var unproven []JudgedBookmark
	for _, j := range bad {
		if j.Standing == Unproven {
			unproven = append(unproven, j)
			continue
		}
		b := j.Snapshot
		d.Bookmarks = slices.DeleteFunc(slices.Clone(d.Bookmarks), func(o zfs.Snapshot) bool { return o == b })
		j.Dataset = d.Name
		p.plan.Abandoned = append(p.plan.Abandoned, j)
	}
	if len(unproven) > 0 {
		p.plan.Notes = append(p.plan.Notes, Note{Severity: report.Warning, Reason: unprovenText(d.Name, unproven)})
	}
	return d
}

// unprovenText returns the message about a disk's unproven bookmarks, with the zfs commands by
// which a person can destroy them.
func unprovenText(dataset string, list []JudgedBookmark) string {
	const named = 3
	var commands []string
	for _, j := range list[:min(len(list), named)] {
		commands = append(commands, fmt.Sprintf("zfs destroy '%s#%s'", dataset, j.Name))
	}
	words := strings.Join(commands, "; ")
	if more := len(list) - named; more > 0 {
		words += fmt.Sprintf("; and %d more (zfs list -t bookmark %s)", more, dataset)
	}
	return fmt.Sprintf("%s: %s may be of a discarded history, from which nothing must be sent: %s; left alone; if the disk was set back since (zfs rollback, or zfs receive -F over newer snapshots of its own), type: %s",
		dataset, text.Count(len(list), "bookmark"), list[0].Reason, words)
}

// NextChecked returns the record about the disk's bookmarks that the next run gets. The argument
// `made` is the transaction group of the snapshot that this run took of the disk, 0 if the run took
// none. If this run could not read the disk's bookmarks, or did not finish its work on them,
// NextChecked returns false, and the caller must keep the record of earlier runs.
func (d *Disk) NextChecked(made uint64, unfinished bool) (report.Checked, bool) { //nolint:revive // what became of the plan
	if d.Ignored != "" {
		return d.Checked, false
	}
	own := d.nextOwn(made)
	if unfinished || d.BookmarksUnread || d.History == nil && len(d.InQuestion()) > 0 {
		next := d.Checked
		if next.GUID != d.GUID { // the record is of another dataset that had the same name
			next = report.Checked{GUID: d.GUID, Origin: d.Origin}
		}
		next.Own, next.Foreign, next.Elsewhere = own, own == 0, d.State == Elsewhere
		return next, false
	}
	next := report.Checked{GUID: d.GUID, Origin: d.Origin, TXG: NewestTXG(d.Snapshots), Newest: d.NewestSnapshot, Changed: d.SnapshotsChanged, Own: own, Foreign: own == 0, Elsewhere: d.State == Elsewhere}
	for _, j := range d.judgeBookmarks() {
		if j.Standing == Unproven {
			next.Unproven = append(next.Unproven, report.Unproven{Name: j.Name, GUID: j.GUID, Reason: j.Reason})
		}
	}
	return next, true
}

// NewestTXG returns the transaction group of the newest snapshot in the list, managed or not, and 0
// for an empty list.
func NewestTXG(snapshots []zfs.Snapshot) uint64 {
	var txg uint64
	for _, s := range snapshots {
		txg = max(txg, s.CreateTXG)
	}
	return txg
}
