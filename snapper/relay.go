package snapper

import (
	"fmt"
	"slices"

	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
)

// relayed returns the reason why snap creates bookmarks on a disk that gets no snapshot and no
// label, "" if snap must not create bookmarks there. If host A receives disks from B, and host C
// fetches them from A, the disks on A are copies. zfs send does not send bookmarks, so A creates
// bookmarks of the same snapshots as B does. snap changes only these bookmarks on a received
// dataset. A disk whose first receive has not ended has no snapshots to bookmark.
func relayed(d *Disk) string {
	if d.Inconsistent || d.NoSnap.Excludes() {
		return ""
	}
	switch d.State {
	case Elsewhere, Orphan, Replica:
		return "a copy: bookmarks only"
	case Stopped: // the disk may be a copy, if the guest's configuration was copied here as well
		if d.ResumeToken || wasReceived(d) {
			return "a copy: bookmarks only"
		}
	}
	return ""
}

// Bookmarking reports whether snap on this node bookmarks the received snapshots of a disk. The
// argument parents of Bookmarking has the datasets whose children snap works on.
func Bookmarking(d *Disk, parents []string) bool {
	return slices.Contains(parents, zfs.Parent(d.Name)) && d.Ignored == "" && relayed(d) != ""
}

// wasReceived reports whether the disk has a label:running or label:nosnap that was received and
// that no local value hides.
func wasReceived(d *Disk) bool {
	return d.Running.Source == zfs.SourceReceived || d.NoSnap.Source == zfs.SourceReceived ||
		d.Running.Source != zfs.SourceLocal && (d.Running.Received != "" || d.NoSnap.Received != "")
}

// bookmark plans to create the bookmarks that a disk's snapshots lack, and to destroy the disk's
// bookmarks that no rule keeps any more.
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
		p.plan.Notes = append(p.plan.Notes, Note{Severity: report.Notice, Reason: fmt.Sprintf("%s has %d bookmarks, and each opening of the disk loads all of them (zfs list -t bookmark %s)", d.Name, n, d.Name)})
	}
}
