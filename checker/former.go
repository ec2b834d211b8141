package checker

import (
	"fmt"
	"strings"
	"time"
)

// Former is a disk that a node had of its own guests, and that it has not any more.
type Former struct {
	VMID int `json:"vmid"`
	// Guest is what people call the guest, "" where that was not known.
	Guest   string `json:"guest,omitempty"`
	Dataset string `json:"dataset"`
	// Since is when the node first answered without it.
	Since time.Time `json:"since"`
}

const (
	// formerAfter is how long a disk may be nowhere before that is told: its guest may be on
	// its way to another node, and an exporter that has just been started knows little.
	formerAfter = 15 * time.Minute
	// formerFor is for how long it is told: whoever is on duty then must have seen it.
	formerFor = 24 * time.Hour
	// maxFormer is how many are named.
	maxFormer = 10
)

// former says which disks were expected here, since a node had them, and are not any more,
// as no node has them: from then on nobody alarms when there is no copy. That may be right, so
// it is told for a day. While a node does not answer, or has not
// read a pool, they may be there.
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
	var names []string
	for _, n := range nodes {
		for _, f := range n.Former {
			stand := Disk{Dataset: f.Dataset, VMID: f.VMID}
			_, ignored := p.exclusion(&stand, now)
			gone := now.Sub(f.Since)
			if ignored || has[diskOf(f.VMID, f.Dataset)] || !asked(f.VMID) || gone < formerAfter || gone >= formerFor {
				continue
			}
			names = append(names, fmt.Sprintf("%s of guest %s on %s", f.Dataset, Guest{VMID: f.VMID, Name: f.Guest}.Number(), n.Node))
		}
	}
	if len(names) == 0 {
		return nil
	}
	more := ""
	if n := len(names) - maxFormer; n > 0 {
		names, more = names[:maxFormer], fmt.Sprintf(", and %d more", n)
	}
	return []Note{{State: Warning, Text: "no owner has these disks any more, so that nobody will miss a copy: " + strings.Join(names, ", ") + more + "; if that is right, wait: it is told for a day"}}
}

// diskOf names a disk of a guest wherever it is: it may have moved.
func diskOf(vmid int, dataset string) string {
	return fmt.Sprint(vmid, " ", Disk{Dataset: dataset}.Name())
}
