package checker

import (
	"fmt"
	"time"

	"snapwatch/internal/text"
	"snapwatch/internal/zfs"
)

// OwnerDocument is the part of a [Document] about one node that may own guests.
type OwnerDocument struct {
	Node string `json:"node"`
	// Answered is the time of the node's last answer by this host's clock. Time is the time of
	// the node's last answer by the node's clock.
	Answered *time.Time   `json:"answered"`
	Time     *time.Time   `json:"time,omitempty"`
	Failure  string       `json:"failure,omitempty"`
	Guests   []OwnedGuest `json:"guests,omitempty"`
	Unread   []string     `json:"unread,omitempty"`
	Former   []Former     `json:"former,omitempty"`
}

func (n NodeAnswer) document() OwnerDocument {
	return OwnerDocument{Node: valid(n.Node), Answered: optional(n.At), Time: optional(n.Now), Failure: valid(n.Failure), Guests: n.Guests, Unread: n.Unread, Former: n.Former}
}

func (doc OwnerDocument) answer() NodeAnswer {
	n := NodeAnswer{Node: text.Clip(text.Plain(doc.Node), 100), At: instant(doc.Answered), Now: instant(doc.Time), Failure: text.Clip(text.Plain(doc.Failure), 200)}
	for _, g := range doc.Guests {
		n.Guests = append(n.Guests, g.plain())
	}
	n.Unread = plainNames(doc.Unread)
	for _, f := range doc.Former {
		n.Former = append(n.Former, Former{VMID: f.VMID, Guest: text.Clip(text.Plain(f.Guest), 100), Dataset: text.Clip(text.Plain(f.Dataset), 256), Since: f.Since})
	}
	return n
}

// EvidenceDocument is a node's evidence about a disk in a [Document].
type EvidenceDocument struct {
	Node         string    `json:"node"`
	Cluster      string    `json:"cluster,omitempty"`
	Foreign      bool      `json:"other_cluster,omitempty"`
	Failure      string    `json:"failure,omitempty"`
	Unregistered bool      `json:"snap_unregistered,omitempty"`
	Now          time.Time `json:"time"`
	// About is the replica's snapshot that the node was asked about.
	About *SnapshotRef `json:"about,omitempty"`
	ComparedDisk
}

func (e Evidence) document(disk string) EvidenceDocument {
	doc := EvidenceDocument{
		Node: valid(e.Node), Cluster: e.Cluster, Foreign: e.Foreign, Failure: valid(e.Failure), Unregistered: e.Unregistered, Now: e.Now,
		ComparedDisk: ComparedDisk{
			Disk: disk, Owned: e.Owned, OwnedProblem: valid(e.Why), ConfiguredOn: e.ConfiguredOn, Replica: e.Replica, Dataset: e.Dataset, GUID: e.GUID,
			Problem: valid(e.Problem), Presence: e.Presence, PresenceGUID: e.PresenceGUID, BehindSince: optional(e.BehindSince), ReadAt: optional(e.ReadAt),
			Gone: e.Gone, Template: e.Template, NeverHad: e.NeverHad, Excluded: valid(e.Excluded), Alive: e.Alive, AliveSince: optional(e.AliveSince),
		},
	}
	if e.Newest != nil {
		ref := NewSnapshotRef(*e.Newest)
		doc.Newest = &ref
	}
	if e.About != nil {
		ref := NewSnapshotRef(*e.About)
		doc.About = &ref
	}
	return doc
}

// Said returns the nodes' answers that the document contains: the evidence about each disk, by
// dataset, and the answers about guests. A disk's newest snapshot may be newer than the snapshot
// that the nodes were asked about.
func (doc Document) Said() (said map[string][]Evidence, nodes []NodeAnswer, err error) {
	for _, n := range doc.Owners {
		nodes = append(nodes, n.answer())
	}
	said = map[string][]Evidence{}
	for _, d := range doc.Disks {
		for _, of := range d.Owners {
			e, err := of.evidence(CompareDisk{Disk: of.Disk, Dataset: of.Dataset}, of.Now)
			if err != nil {
				return nil, nil, fmt.Errorf("%s: %w", d.Dataset, err)
			}
			e.Node, e.Failure = text.Clip(text.Plain(of.Node), 100), text.Clip(text.Plain(of.Failure), 200)
			e.Cluster, e.Foreign, e.Unregistered = of.Cluster, of.Foreign, of.Unregistered
			if s := of.About; s != nil {
				if err := s.validate(); err != nil {
					return nil, nil, fmt.Errorf("%s: %w", d.Dataset, err)
				}
				e.About = &zfs.Snapshot{Dataset: d.Dataset, Name: s.Name, GUID: s.GUID, Creation: s.Creation}
			}
			said[d.Dataset] = append(said[d.Dataset], e)
		}
	}
	return said, nodes, nil
}
