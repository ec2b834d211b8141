package checker

import (
	"strings"
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
	// Lacking has the names of the guest's disks of which this host has no copy.
	Lacking []string `json:"lacking,omitempty"`
	Verdict string   `json:"verdict"`
	State   string   `json:"state"`
	Reason  string   `json:"reason"`
	// Point is the restore point's time as written in the snapshots' names. Created is the
	// creation time of the first snapshot of the restore point.
	Point      string     `json:"restore_point,omitempty"`
	Created    *time.Time `json:"restore_point_created,omitempty"`
	AgeSeconds int64      `json:"age_seconds"`
	// Proof is the verdict on the proof of the guest's copies, nil if no proof was judged.
	Proof *ProofDocument `json:"proof,omitempty"`
	// Explained is the explanation of the guest, nil if no explanation was requested.
	Explained *ExplainedDocument `json:"explained,omitempty"`
}

// ProofDocument is a [GuestProof] in a [Document].
type ProofDocument struct {
	Verdict string `json:"verdict"`
	State   string `json:"state"`
	Reason  string `json:"reason"`
	Limit   string `json:"limit,omitempty"`
	Rule    string `json:"rule,omitempty"`
	// Last, Good and Open are the fields of the guest's [Proof].
	Last *Drill      `json:"last,omitempty"`
	Good *Drill      `json:"good,omitempty"`
	Open []OpenFault `json:"open,omitempty"`
}

func (p *GuestProof) document() *ProofDocument {
	if p == nil {
		return nil
	}
	doc := &ProofDocument{Verdict: p.Verdict.String(), State: p.State.String(), Reason: valid(p.Reason)}
	if p.Limit.Range != nil {
		doc.Limit, doc.Rule = p.Limit.Range.String(), p.Limit.Rule
	}
	if p.Record != nil {
		doc.Last, doc.Good, doc.Open = &p.Record.Last, p.Record.Good, p.Record.Open
	}
	return doc
}

// Proofs returns the records of drills in the document.
func (doc Document) Proofs() Proofs {
	all := Proofs{Problem: doc.ProofProblem}
	for _, g := range doc.Guests {
		if p := g.Proof; p != nil && p.Last != nil {
			all.Guests = append(all.Guests, Proof{Cluster: g.Cluster, VMID: g.VMID, Last: *p.Last, Good: p.Good, Open: p.Open})
		}
	}
	return all
}

// ExplainedDocument is a [GuestExplanation] in a [Document].
type ExplainedDocument struct {
	Own   bool           `json:"own"`
	Words string         `json:"words"`
	Facts []FactDocument `json:"facts"`
	// Config is the command that prints the guest's configuration as of the restore point.
	Config string `json:"config,omitempty"`
	// Start has the commands that make clones of the guest's disks, and Back the commands that
	// remove the clones.
	Start []string `json:"start"`
	Back  []string `json:"back"`
	// Unlock has the commands that load encryption keys, to type before the commands in Start.
	Unlock []string `json:"unlock,omitempty"`
}

// FactDocument is one fact of an [ExplainedDocument].
type FactDocument struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// Document returns the explanation in its JSON form.
func (e GuestExplanation) Document() GuestDocument {
	x := ExplainedDocument{Own: e.Own, Words: valid(strings.Join(e.Words, " ")), Facts: []FactDocument{}, Config: e.Config, Unlock: e.Unlock, Start: append([]string{}, e.Start...), Back: append([]string{}, e.Back...)}
	for _, f := range e.Facts {
		x.Facts = append(x.Facts, FactDocument{f[0], valid(f[1])})
	}
	doc := e.Guest.document()
	doc.Explained = &x
	return doc
}

func (g Guest) document() GuestDocument {
	doc := GuestDocument{
		ID: g.ID, VMID: g.VMID, Cluster: g.Cluster, Name: valid(g.Name), Disks: g.Disks, Lacking: g.Lacking,
		Verdict: g.Verdict.String(), State: g.State.String(), Reason: valid(g.Reason), AgeSeconds: int64(g.Age.Seconds()),
		Proof: g.Proof.document(),
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
