package checker

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Former is a disk of a node's own guest that the node had and does not have any more.
type Former struct {
	VMID int `json:"vmid"`
	// Guest is the guest's name, "" if unknown.
	Guest   string `json:"guest,omitempty"`
	Dataset string `json:"dataset"`
	// Since is the time of the node's first answer without the disk.
	Since time.Time `json:"since"`
}

const (
	// formerAfter is the time for which a disk must be absent from all nodes before a note reports
	// the disk. A disk is absent from all nodes for a short time while the disk moves to another
	// node with its guest, and after an exporter was started.
	formerAfter = 15 * time.Minute
	// formerFor is the time for which a note reports a disk after the last node lost the disk: long
	// enough for the person on duty to see the note.
	formerFor = 24 * time.Hour
	// maxFormer is the greatest number of disks that the note about former disks names.
	maxFormer = 10
)

// former returns a note about disks that a node had before and that no node has now. Only this note
// reports former disks, because check expects a copy of a disk only while a node has the disk.
// Somebody may have removed the disks on purpose, so the note disappears after a day. If a node
// does not answer, or has not read a pool, the disks may exist on that node, and former returns no
// note.
func (p *Policy) former(nodes []NodeAnswer, asked func(vmid int) bool, now time.Time) []Note {
	has := map[string]bool{}
	for _, n := range nodes {
		if n.Failure != "" || len(n.Unread) > 0 {
			return nil
		}
		for _, g := range n.Guests {
			for _, d := range g.Disks {
				has[diskOf(g.VMID, d.Dataset)] = true
			}
		}
	}
	var names, gone []string
	for _, n := range nodes {
		for _, f := range n.Former {
			stand := Disk{Dataset: f.Dataset, VMID: f.VMID}
			_, ignored := p.exclusion(&stand, now)
			ago := now.Sub(f.Since)
			if ignored || has[diskOf(f.VMID, f.Dataset)] || !asked(f.VMID) || ago < formerAfter || ago >= formerFor {
				continue
			}
			names = append(names, fmt.Sprintf("%s of guest %s on %s", f.Dataset, Guest{VMID: f.VMID, Name: f.Guest}.Number(), n.Node))
			gone = append(gone, f.Dataset+" on "+n.Node)
		}
	}
	if len(names) == 0 {
		return nil
	}
	slices.Sort(gone)
	more := ""
	if n := len(names) - maxFormer; n > 0 {
		names, more = names[:maxFormer], fmt.Sprintf(", and %d more", n)
	}
	return []Note{{State: Warning, Subject: "about disks that no owner has any more", kind: strings.Join(gone, ", "), Text: "no owner has these disks any more, so a missing copy of them will not be reported: " + strings.Join(names, ", ") + more + "; if that is right, wait: this note ends after a day"}}
}

// diskOf returns a key for a guest's disk that does not depend on the node or the pool of the
// disk.
func diskOf(vmid int, dataset string) string {
	return fmt.Sprint(vmid, " ", Disk{Dataset: dataset}.Name())
}
