package snapper

import (
	"fmt"
	"slices"

	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
)

// relayed returns why a disk to which nothing else is done may be bookmarked, "" if it
// may not. In B -> A -> C the disks on A are copies that C fetches in turn. Bookmarks
// are not sent, so A makes its own, of the same snapshots as B: the
// one write that a received dataset gets. While its first receive is not finished it
// has no snapshots to speak of.
func relayed(d *Disk) string {
	if d.Inconsistent || d.NoSnap.Excludes() {
		return ""
	}
	switch d.State {
	case Elsewhere, Orphan, Replica:
		return "a copy: bookmarks only"
	case Stopped: // beside a copied configuration
		if d.ResumeToken || received(d) {
			return "a copy: bookmarks only"
		}
	}
	return ""
}

// Bookmarking reports whether snap on this node bookmarks what is received of a copy, given the
// datasets whose children it looks at.
func Bookmarking(d *Disk, parents []string) bool {
	return slices.Contains(parents, zfs.Parent(d.Name)) && d.Ignored == "" && relayed(d) != ""
}

// received reports whether a disk's properties came with a stream and rule here.
func received(d *Disk) bool {
	return d.Running.Source == zfs.SourceReceived || d.NoSnap.Source == zfs.SourceReceived ||
		d.Running.Source != zfs.SourceLocal && (d.Running.Received != "" || d.NoSnap.Received != "")
}

// bookmark plans the bookmarks that a disk's snapshots should have and don't, and
// those that go.
func (p *planner) bookmark(d *Disk) {
	if d.BookmarksUnread {
		return
	}
	marks := Bookmarks{Have: d.Bookmarks, Keep: p.policy.Bookmarks}
	for _, s := range marks.Missing(d.Snapshots, p.now) {
		s.Dataset = d.Name
		p.plan.CreateBookmarks = append(p.plan.CreateBookmarks, s)
	}
	for _, m := range marks.Expire() {
		m.Dataset = d.Name
		p.plan.DestroyBookmarks = append(p.plan.DestroyBookmarks, m)
	}
	if n := len(d.Bookmarks); n > manyBookmarks {
		p.plan.Notes = append(p.plan.Notes, Note{Severity: report.Notice, Reason: fmt.Sprintf("%s has %d bookmarks: opening it loads them all (zfs list -t bookmark %s)", d.Name, n, d.Name)})
	}
}
