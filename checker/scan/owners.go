package scan

import (
	"maps"
	"time"

	"snapwatch/checker"
)

// OwnerDisk is a disk of a guest on a node that the exporter or check asks.
type OwnerDisk struct {
	VMID  int    `json:"vmid"`
	Guest string `json:"guest,omitempty"`
	// Left is the time of the node's first answer without the disk, zero while the node has the disk.
	Left time.Time `json:"left,omitzero"`
}

// ownerLeftFor is the time for which the inventory keeps a disk that a node no longer has.
// ownerLeftFor is longer than the time for which reports mention the disk.
const ownerLeftFor = 48 * time.Hour

// Heard returns s with the disks of the guests that the nodes own, and whether anything changed. If
// the inventory changed, Heard returns a changed copy of s. The disks of a node that did not answer
// are unchanged; a node that is no longer configured is forgotten.
func (s Inventory) Heard(nodes []checker.NodeAnswer, now time.Time) (heard Inventory, changed bool) {
	owners := map[string]map[string]OwnerDisk{}
	for _, n := range nodes {
		before := s.Owners[n.Node]
		if n.Failure != "" || n.At.IsZero() {
			if before != nil {
				owners[n.Node] = before
			}
			continue
		}
		has := map[string]OwnerDisk{}
		for _, g := range n.Guests {
			for _, d := range g.Disks {
				has[d.Dataset] = OwnerDisk{VMID: g.VMID, Guest: g.Name}
			}
		}
		for dataset, d := range before {
			if _, still := has[dataset]; still {
				continue
			}
			if len(n.Unread) > 0 && d.Left.IsZero() { // the disk may be in a pool that the node could not read
				has[dataset] = d
				continue
			}
			if d.Left.IsZero() || d.Left.After(now) {
				d.Left = now
			}
			if now.Sub(d.Left) < ownerLeftFor {
				has[dataset] = d
			}
		}
		owners[n.Node] = has
	}
	if maps.EqualFunc(owners, s.Owners, func(a, b map[string]OwnerDisk) bool { return maps.EqualFunc(a, b, OwnerDisk.same) }) {
		return s, false
	}
	s.Owners = owners
	return s, true
}

func (d OwnerDisk) same(o OwnerDisk) bool {
	return d.VMID == o.VMID && d.Guest == o.Guest && d.Left.Equal(o.Left)
}

// Former returns the nodes' answers, and adds to each the disks that the node had and no longer
// has.
func (s Inventory) Former(nodes []checker.NodeAnswer) []checker.NodeAnswer {
	var all []checker.NodeAnswer
	for _, n := range nodes {
		n.Former = nil
		for _, dataset := range sortedKeys(s.Owners[n.Node]) {
			if d := s.Owners[n.Node][dataset]; !d.Left.IsZero() {
				n.Former = append(n.Former, checker.Former{VMID: d.VMID, Guest: d.Guest, Dataset: dataset, Since: d.Left})
			}
		}
		all = append(all, n)
	}
	return all
}
