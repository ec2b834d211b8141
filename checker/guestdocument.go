package checker

import (
	"time"

	"snapwatch/internal/text"
)

// GuestDocument is one guest in a [Document].
type GuestDocument struct {
	ID      string   `json:"id"`
	VMID    int      `json:"vmid"`
	Cluster string   `json:"cluster,omitempty"`
	Name    string   `json:"name,omitempty"`
	Disks   []string `json:"disks"`
	// Lacking are disks that the guest must have and that are not here.
	Lacking []string `json:"lacking,omitempty"`
	Verdict string   `json:"verdict"`
	State   string   `json:"state"`
	Reason  string   `json:"reason"`
	// Point is the restore point's time as written in the snapshots' names. Created is the creation of
	// the first of these snapshots.
	Point      string     `json:"restore_point,omitempty"`
	Created    *time.Time `json:"restore_point_created,omitempty"`
	AgeSeconds int64      `json:"age_seconds"`
}

func (g Guest) document() GuestDocument {
	doc := GuestDocument{
		ID: g.ID, VMID: g.VMID, Cluster: g.Cluster, Name: valid(g.Name), Disks: g.Disks, Lacking: g.Lacking,
		Verdict: g.Verdict.String(), State: g.State.String(), Reason: valid(g.Reason), AgeSeconds: int64(g.Age.Seconds()),
	}
	if doc.Disks == nil {
		doc.Disks = []string{}
	}
	if g.Point != nil {
		doc.Point, doc.Created = g.Point.Time, &g.Point.Created
	}
	return doc
}

// LookedDocument is a [Looked] in a [Document].
type LookedDocument struct {
	Points  []*SnapshotDocument `json:"points"`
	Among   string              `json:"among,omitempty"`
	Ahead   *time.Time          `json:"ahead_since,omitempty"`
	Same    []string            `json:"copies,omitempty"`
	Others  []string            `json:"other_disks,omitempty"`
	Config  *KeptConfig         `json:"config,omitempty"`
	Problem string              `json:"problem,omitempty"`
}

func (l *Looked) document() *LookedDocument {
	if l == nil {
		return nil
	}
	doc := &LookedDocument{Points: []*SnapshotDocument{}, Among: l.Among, Ahead: optional(l.Ahead), Same: l.Same, Others: l.Others, Config: l.Config, Problem: valid(l.Problem)}
	for _, s := range l.Points {
		doc.Points = append(doc.Points, NewSnapshotDocument(s))
	}
	return doc
}

func (doc *LookedDocument) looked(dataset string) (*Looked, error) {
	if doc == nil {
		return nil, nil
	}
	l := &Looked{Among: doc.Among, Ahead: instant(doc.Ahead), Same: doc.Same, Others: doc.Others, Problem: doc.Problem}
	if k := doc.Config; k != nil {
		k.Name = text.Clip(text.Plain(k.Name), 100)
		l.Config = k
	}
	for _, p := range doc.Points {
		s, err := p.Snapshot(dataset)
		if err != nil {
			return nil, err
		}
		l.Points = append(l.Points, *s)
	}
	return l, nil
}
