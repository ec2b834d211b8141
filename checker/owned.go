package checker

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"snapwatch/internal/text"
	"snapwatch/internal/zfs"
)

// NodeAnswer is what a node that may own guests said, beside its evidence of disks.
type NodeAnswer struct {
	Node string
	// At is when it answered, by this host's clock, zero if it never did; Now is the node's
	// clock then.
	At, Now time.Time
	// Failure is why it could not be asked last, "" if it answered.
	Failure string
	// Guests are those that are its own, or were when it answered last.
	Guests []OwnedGuest
	// Unread are pools of it of which it is not known what is there.
	Unread []string
	// Former are the disks that it had and has not any more.
	Former []Former
}

// OwnedGuest is a guest of a node, with the disks that snap takes snapshots of there.
type OwnedGuest struct {
	VMID int `json:"vmid"`
	// Name is what people call it, "" where the node does not know.
	Name string `json:"name,omitempty"`
	// Alive is true where its process lives.
	Alive bool        `json:"alive,omitempty"`
	Disks []OwnedDisk `json:"disks"`
}

// OwnedDisk is a disk of an [OwnedGuest].
type OwnedDisk struct {
	Dataset string    `json:"dataset"`
	Created time.Time `json:"created"`
	// Newest is when its newest managed snapshot was made.
	Newest time.Time `json:"newest"`
}

// Node is what the answer says of the node's own guests.
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

// plain is the guest without what no node of ours says.
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
	// expected is true where the configuration says that this host must hold it.
	expected bool
}

// absences are the disks that their owners have had for longer than the warning limit and this
// host does not hold: those that are expected, and those of guests that live, or did within the
// critical limit.
func absences(disks []Result, p *Policy, nodes []NodeAnswer, clusters map[string]map[string]bool, now time.Time, asked func(vmid int) bool) []absence {
	here := newHoldings(disks, p)
	moved := answering(nodes, p, clusters)
	var absent []absence
	for _, n := range nodes {
		cluster, known := clusterOf(n.Node, p, clusters)
		if !known {
			continue
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
				if _, ignored := p.exclusion(&stand, now); ignored || !p.due(&stand, g, d, n.Now) {
					continue
				}
				absent = append(absent, absence{OwnedDisk: d, cluster: cluster, vmid: g.VMID, node: n.Node, expected: p.expects(&stand)})
			}
		}
	}
	return absent
}

// answering are the guests of the nodes that answer. What another node said of them last is
// out of date: they moved.
func answering(nodes []NodeAnswer, p *Policy, clusters map[string]map[string]bool) map[guestKey]bool {
	guests := map[guestKey]bool{}
	for _, n := range nodes {
		if cluster, known := clusterOf(n.Node, p, clusters); known && n.Failure == "" {
			for _, g := range n.Guests {
				guests[guestKey{cluster, g.VMID}] = true
			}
		}
	}
	return guests
}

// due reports whether a copy of the disk should be here by now, by the node's clock. What is
// expected should, whether its guest lives or not.
func (p *Policy) due(stand *Disk, g OwnedGuest, d OwnedDisk, now time.Time) bool {
	warning, critical := p.Limits(stand)
	lived := p.expects(stand) || g.Alive || !critical.exceeded(max(0, now.Sub(d.Newest)))
	return lived && warning.exceeded(max(0, now.Sub(d.Created)))
}

// expects reports whether the configuration says that this host must hold the disk.
func (p *Policy) expects(d *Disk) bool {
	for _, s := range p.Expect {
		if s.Matches(d.Dataset, d.VMID) {
			return true
		}
	}
	return false
}

// unmet says of which entries under expect: no disk is here. One for full names at the owner
// is left to what the owner says.
func (p *Policy) unmet(disks []Result) []Note {
	var notes []Note
	for _, s := range p.Expect {
		here := slices.ContainsFunc(disks, func(d Result) bool { return s.Matches(d.Dataset, d.VMID) && !d.rest(p) })
		if !here && !strings.Contains(s.Disk, "/") {
			notes = append(notes, Note{State: Critical, Text: fmt.Sprintf("expect: no disk here is of %s: send it, or take the entry out of the configuration", s), whole: true})
		}
	}
	return notes
}

// clusterOf is the cluster that a node's disks have here. With one it is that; else what it
// holds of the disks here shows it.
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

// holdings are the disks here, by where they come from or what they are called.
type holdings struct {
	origins map[[2]string]bool // cluster and dataset there; true where names has it, too
	names   map[[2]string]int  // cluster and name, of those that come from nowhere by name
}

func newHoldings(disks []Result, p *Policy) holdings {
	h := holdings{map[[2]string]bool{}, map[[2]string]int{}}
	copies := map[string]bool{} // of disks that were counted
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

// rest reports whether the disk is left out of the verdicts and stands for no disk of a guest: it
// is ignored, or a clone that somebody tries something with. One that an owner knows as a copy
// of its disk is that disk all the same.
func (d *Result) rest(p *Policy) bool {
	if d.Verdict != Excluded {
		return false
	}
	_, ignored := p.ignores(&d.Disk)
	return (ignored || d.BareClone()) && !slices.ContainsFunc(d.Evidence, func(e Evidence) bool { return e.holds(d.Disk) })
}

// count is how many disks of a name are here that come from the cluster, or may.
func (h holdings) count(cluster, name string) int {
	n := h.names[[2]string{cluster, name}]
	if cluster != "" {
		n += h.names[[2]string{"", name}] // where sources: does not say
	}
	for origin, named := range h.origins {
		if origin[0] == cluster && zfs.Base(origin[1]) == name && !named {
			n++
		}
	}
	return n
}

// holds reports whether a disk of an owner is here. Each one here is one of them.
func (h holdings) holds(cluster, dataset string) bool {
	if _, here := h.origins[[2]string{cluster, dataset}]; here {
		return true
	}
	name := [2]string{cluster, zfs.Base(dataset)}
	if h.names[name] == 0 && cluster != "" {
		name[0] = "" // where sources: does not say
	}
	if h.names[name] == 0 {
		return false
	}
	h.names[name]--
	return true
}
