package checker

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"snapwatch/internal/text"
	"snapwatch/internal/zfs"
)

// NodeAnswer is a node's answer about its own guests, without the evidence about single disks.
type NodeAnswer struct {
	Node string
	// At is the time of the node's last answer by this host's clock, zero if the node never
	// answered. Now is the time of this answer by the node's clock.
	At, Now time.Time
	// Failure says why the last request to the node failed, "" if the node answered.
	Failure string
	// Guests has the guests that the node called its own in its last answer.
	Guests []OwnedGuest
	// Unread has the names of the node's pools whose disks are unknown.
	Unread []string
	// Former has the disks that the node had and does not have any more.
	Former []Former
}

// TooOld reports whether the answer is too old to be used at the time now. The age of an answer
// from the future is unknown, because this host's clock was wrong.
func (n NodeAnswer) TooOld(now time.Time, maxAge time.Duration) bool {
	age := now.Sub(n.At)
	return n.At.IsZero() || age > maxAge || age < -clockSlack
}

// OwnedGuest is a guest of a node. OwnedGuest has only those disks of the guest of which snap takes
// snapshots on this node.
type OwnedGuest struct {
	VMID int `json:"vmid"`
	// Name is the guest's name, "" if the node does not know the guest's name.
	Name string `json:"name,omitempty"`
	// Alive is true if the guest's process is running on the node.
	Alive bool        `json:"alive,omitempty"`
	Disks []OwnedDisk `json:"disks"`
}

// OwnedDisk is a disk of an [OwnedGuest].
type OwnedDisk struct {
	Dataset string    `json:"dataset"`
	Created time.Time `json:"created"`
	// Newest is the creation time of the disk's newest managed snapshot.
	Newest time.Time `json:"newest"`
}

// Node returns the part of the answer about the node's own guests.
func (a CompareAnswer) Node(name string) NodeAnswer {
	n := NodeAnswer{Node: name, Now: a.Time}
	for _, g := range a.Guests {
		n.Guests = append(n.Guests, g.plain())
	}
	n.Unread = plainNames(a.Unread)
	return n
}

func plainNames(names []string) (plain []string) {
	for _, name := range names {
		plain = append(plain, text.Clip(text.Plain(name), 100))
	}
	return plain
}

// plain returns the guest without values that are invalid. Only a faulty node sends invalid values.
func (g OwnedGuest) plain() OwnedGuest {
	p := OwnedGuest{VMID: g.VMID, Name: text.Clip(text.Plain(g.Name), 100), Alive: g.Alive}
	for _, d := range g.Disks {
		if _, _, disk := zfs.ParseDiskName(zfs.Base(d.Dataset)); disk && zfs.ValidDataset(d.Dataset) {
			p.Disks = append(p.Disks, d)
		}
	}
	return p
}

// absence is a disk that an owner has and this host lacks.
type absence struct {
	OwnedDisk
	cluster string
	vmid    int
	node    string
	// expected is true if expect: in this host's configuration requires a copy of the disk.
	expected bool
}

// absences returns the disks that owners have had for longer than the warning limit and this host
// lacks. absences returns only disks whose guest is alive or was alive within the critical limit,
// and disks that expect: names.
func absences(disks []Result, p *Policy, nodes []NodeAnswer, clusters map[string]map[string]bool, now time.Time, asked func(vmid int) bool) []absence {
	all := newHoldings(disks, p)
	moved := answering(nodes, p, clusters)
	var absent []absence
	for _, n := range nodes {
		cluster, known := clusterOf(n.Node, p, clusters)
		here := all
		if !known {
			here = p.perhapsFrom(n.Node, disks)
		}
		for _, g := range n.Guests {
			for _, d := range g.Disks {
				stand := Disk{Dataset: d.Dataset, VMID: g.VMID}
				if n.Failure != "" && moved[guestKey{cluster, g.VMID}] {
					continue
				}
				if !asked(g.VMID) || here.holds(cluster, d.Dataset) {
					continue
				}
				if _, ignored := p.exclusion(&stand, now); ignored || !p.expectsCopy(&stand, g, d, n.Now) {
					continue
				}
				absent = append(absent, absence{OwnedDisk: d, cluster: cluster, vmid: g.VMID, node: n.Node, expected: p.expects(&stand)})
			}
		}
	}
	return absent
}

// answering returns the guests of all nodes that answered the last request. If a node that answered
// has a guest, the older answer of a silent node about this guest is outdated, because the guest
// moved.
func answering(nodes []NodeAnswer, p *Policy, clusters map[string]map[string]bool) map[guestKey]bool {
	guests := map[guestKey]bool{}
	for _, n := range nodes {
		if cluster, _ := clusterOf(n.Node, p, clusters); n.Failure == "" {
			for _, g := range n.Guests {
				guests[guestKey{cluster, g.VMID}] = true
			}
		}
	}
	return guests
}

// expectsCopy reports whether this host should have a copy of the owner's disk. The argument now is
// the time by the clock of the owner's node. A disk that expect: names should be here even if its
// guest is off. A disk with a creation time in the future is not new: its node's clock was wrong
// when the disk was created.
func (p *Policy) expectsCopy(stand *Disk, g OwnedGuest, d OwnedDisk, now time.Time) bool {
	warning, critical := p.Limits(stand)
	lived := p.expects(stand) || g.Alive || !critical.exceeded(max(0, now.Sub(d.Newest)))
	age := now.Sub(d.Created)
	return lived && (age < -clockSlack || warning.exceeded(max(0, age)))
}

// expects reports whether expect: in the configuration requires the disk on this host.
func (p *Policy) expects(d *Disk) bool {
	for _, s := range p.Expect {
		if s.Matches(d.Dataset, d.VMID) {
			return true
		}
	}
	return false
}

// unmet returns a note for each entry under expect: that matches no disk here. Entries with full
// names of the owner's datasets are left out, because the owner's answer decides about them.
func (p *Policy) unmet(disks []Result) []Note {
	var notes []Note
	for _, s := range p.Expect {
		here := slices.ContainsFunc(disks, func(d Result) bool { return s.Matches(d.Dataset, d.VMID) && !d.rest(p) })
		if !here && !strings.Contains(s.Disk, "/") {
			notes = append(notes, Note{State: Critical, Text: fmt.Sprintf("expect: no disk here matches %s: send the disk, or take the entry out of the configuration", s), whole: true})
		}
	}
	return notes
}

// clusterOf returns the cluster of a node. If all disks come from one cluster, the node belongs to
// this cluster. If disks come from several clusters, the node belongs to the cluster of the copies
// here whose newest snapshots the node has. While this host has no copy from the node, the node's
// cluster is unknown.
func clusterOf(node string, p *Policy, clusters map[string]map[string]bool) (cluster string, known bool) {
	switch {
	case p.OriginOf == nil:
		return "", true
	case !p.SeveralClusters:
		return p.Cluster, true
	case len(clusters[node]) == 1:
		for cluster = range clusters[node] {
			return cluster, true
		}
	}
	return "", false
}

// holdings is an index of the disks on this host. A disk is indexed by the owner's dataset, or by
// the disk's own name if the owner's dataset is unknown.
type holdings struct {
	origins map[[2]string]bool // by cluster and dataset on the owner; true if also in names
	names   map[[2]string]int  // by cluster and name, for disks without a known origin
}

func newHoldings(disks []Result, p *Policy) holdings {
	h := holdings{map[[2]string]bool{}, map[[2]string]int{}}
	copies := map[string]bool{} // copies of disks that were counted
	newest := map[uint64]bool{}
	for i := range disks {
		d := &disks[i]
		if d.rest(p) {
			continue
		}
		cluster, origin := "", ""
		if p.OriginOf != nil {
			cluster, origin = p.OriginOf(d.Dataset)
		}
		if _, _, disk := zfs.ParseDiskName(zfs.Base(origin)); disk {
			from := [2]string{cluster, origin}
			h.origins[from] = h.origins[from] || origin == d.Dataset
			if origin != d.Dataset {
				continue
			}
		}
		if copies[d.Dataset] || d.Newest != nil && newest[d.Newest.GUID] {
			continue
		}
		if d.Looked != nil {
			for _, other := range d.Looked.Same {
				copies[other] = true
			}
		}
		if d.Newest != nil {
			newest[d.Newest.GUID] = true
		}
		h.names[[2]string{cluster, d.Name()}]++
	}
	return h
}

// rest returns true if the disk does not count as a guest's disk, because the disk is ignored or is
// a clone that somebody made to try something. If an owner's answer shows that the disk is a copy
// of the owner's disk, rest returns false.
func (d *Result) rest(p *Policy) bool {
	if d.Verdict != Excluded {
		return false
	}
	_, ignored := p.ignores(&d.Disk)
	return (ignored || d.BareClone()) && !slices.ContainsFunc(d.Evidence, func(e Evidence) bool { return e.holds(d.Disk) })
}

// count returns the number of disks here with the given name that come, or may come, from the
// cluster.
func (h holdings) count(cluster, name string) int {
	n := h.names[[2]string{cluster, name}]
	if cluster != "" {
		n += h.names[[2]string{"", name}] // sources: does not name their cluster
	}
	for origin, named := range h.origins {
		if origin[0] == cluster && zfs.Base(origin[1]) == name && !named {
			n++
		}
	}
	return n
}

// holds reports whether this host has a copy of an owner's disk. Each disk on this host counts as
// the copy of only one owner's disk.
func (h holdings) holds(cluster, dataset string) bool {
	if _, here := h.origins[[2]string{cluster, dataset}]; here {
		return true
	}
	name := [2]string{cluster, zfs.Base(dataset)}
	if h.names[name] == 0 && cluster != "" {
		name[0] = "" // sources: does not name their cluster
	}
	if h.names[name] == 0 {
		return false
	}
	h.names[name]--
	return true
}
