package checker

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"snapwatch/internal/zfs"
)

// Document is a report as JSON: the output of `check --format json` and of /api/v1/disks. Guids are
// strings, because a JavaScript number cannot represent all guids.
type Document struct {
	Version int            `json:"version"`
	Time    time.Time      `json:"time"`
	State   string         `json:"state"`
	Failure string         `json:"failure,omitempty"`
	Pools   []PoolDocument `json:"pools"`
	Disks   []DiskDocument `json:"disks"`
	// Guests is present in the document if the report has verdicts on guests.
	Guests []GuestDocument `json:"guests,omitempty"`
	// ProofProblem says why the record of drills could not be read, "" if it was read.
	ProofProblem string `json:"proof_problem,omitempty"`
	// Owners has an entry for each node that was asked for evidence about the disks.
	Owners []OwnerDocument `json:"owners,omitempty"`
	Notes  []NoteDocument  `json:"notes"`
}

// PoolDocument is one pool in a [Document].
type PoolDocument struct {
	Pool         string     `json:"pool"`
	State        string     `json:"state"`
	Verdict      string     `json:"verdict"`
	Reason       string     `json:"reason,omitempty"`
	ReadAt       *time.Time `json:"read_at"`
	Missing      bool       `json:"missing"`
	Problem      string     `json:"problem,omitempty"`
	MissingRoots []string   `json:"missing_datasets,omitempty"`
	Remarks      []string   `json:"remarks,omitempty"`
	Seconds      float64    `json:"scan_seconds"`
	// ZFSState is the kernel's word for the pool's state, and Health the pool's health according to
	// zpool.
	ZFSState string  `json:"zfs_state,omitempty"`
	Health   *Health `json:"health,omitempty"`
}

// DiskDocument is one disk in a [Document]: the facts about the disk, then its verdict.
type DiskDocument struct {
	Dataset         string            `json:"dataset"`
	Disk            string            `json:"disk"`
	Pool            string            `json:"pool"`
	VMID            int               `json:"vmid"`
	Template        bool              `json:"template"`
	GUID            string            `json:"guid"`
	Origin          string            `json:"origin,omitempty"`
	Created         *time.Time        `json:"created"`
	Newest          *SnapshotDocument `json:"newest"`
	NewestOfAny     string            `json:"newest_of_any,omitempty"`
	Suffix          string            `json:"suffix"`
	Receiving       bool              `json:"receiving"`
	PendingReceive  bool              `json:"pending_receive"`
	PendingSince    *time.Time        `json:"pending_since,omitempty"`
	PendingSnapshot string            `json:"pending_snapshot,omitempty"`
	Label           LabelDocument     `json:"label"`
	NoSnap          LabelDocument     `json:"nosnap"`
	Owned           Ownership         `json:"owned_here"`
	Changed         *time.Time        `json:"snapshots_changed"`
	ReadAt          *time.Time        `json:"read_at"`
	HostClock       *time.Time        `json:"host_clock"`
	Gone            bool              `json:"gone"`
	WasWhole        bool              `json:"was_whole,omitempty"`
	Problem         string            `json:"problem,omitempty"`
	Unlisted        string            `json:"unlisted,omitempty"`
	Verdict         string            `json:"verdict"`
	State           string            `json:"state"`
	Reason          string            `json:"reason"`
	AgeSeconds      int64             `json:"age_seconds"`
	Limit           string            `json:"limit,omitempty"`
	Rule            string            `json:"rule"`
	Damaged         string            `json:"damaged,omitempty"`
	// Looked is present if snapshots of the disk were looked up to judge its guest.
	Looked *LookedDocument `json:"looked_up,omitempty"`
	// Compared is present if nodes that may own the disk were asked about the disk.
	Compared *ComparisonDocument `json:"compared,omitempty"`
	// Owners has the answers about the disk, one from each node that may own the disk.
	Owners []EvidenceDocument `json:"owners,omitempty"`
}

// ComparisonDocument is a [Comparison] in a [Document].
type ComparisonDocument struct {
	Outcome    string `json:"outcome"`
	State      string `json:"state"`
	Owner      string `json:"owner,omitempty"`
	LagSeconds int64  `json:"lag_seconds"`
	Limit      string `json:"limit,omitempty"`
	Rule       string `json:"rule,omitempty"`
	Proven     bool   `json:"stopped_proven"`
	Reason     string `json:"reason"`
}

// SnapshotDocument is a snapshot in a [Document].
type SnapshotDocument struct {
	Name      string    `json:"name"`
	GUID      string    `json:"guid"`
	CreateTXG string    `json:"createtxg"`
	Creation  time.Time `json:"creation"`
}

// NewSnapshotDocument returns a snapshot in the JSON form of a [Document].
func NewSnapshotDocument(s zfs.Snapshot) *SnapshotDocument {
	return &SnapshotDocument{Name: s.Name, GUID: guidText(s.GUID), CreateTXG: guidText(s.CreateTXG), Creation: s.Creation}
}

// LabelDocument is a user property in a [Document].
type LabelDocument struct {
	Value  string `json:"value,omitempty"`
	Source string `json:"source,omitempty"`
}

// NoteDocument is a note in a [Document].
type NoteDocument struct {
	State string `json:"state"`
	Text  string `json:"text"`
}

const documentVersion = 1

// Document returns the report in the form that is printed as JSON.
func (r Report) Document() Document {
	doc := Document{
		Version: documentVersion, Time: r.Now, State: r.State().String(), Failure: valid(r.Failure), ProofProblem: valid(r.proofProblem),
		Pools: []PoolDocument{}, Disks: []DiskDocument{}, Notes: []NoteDocument{},
	}
	for _, p := range r.Pools {
		doc.Pools = append(doc.Pools, PoolDocument{
			Pool: p.Name, State: p.State.String(), Verdict: p.Verdict.String(), ZFSState: p.ZFSState, Health: p.Health, Reason: valid(p.Reason), ReadAt: optional(p.ReadAt), Missing: p.Missing,
			Problem: valid(p.Problem), MissingRoots: p.MissingRoots, Remarks: p.Remarks, Seconds: p.Took.Seconds(),
		})
	}
	for _, d := range r.Disks {
		doc.Disks = append(doc.Disks, d.document())
	}
	for _, n := range r.Nodes {
		doc.Owners = append(doc.Owners, n.document())
	}
	for i := range r.Guests {
		doc.Guests = append(doc.Guests, r.Guests[i].document())
	}
	for _, n := range r.Notes {
		doc.Notes = append(doc.Notes, NoteDocument{n.State.String(), valid(n.Text)})
	}
	return doc
}

func (d Result) document() DiskDocument {
	doc := DiskDocument{
		Dataset: d.Dataset, Disk: d.Name(), Pool: poolOf(d.Disk), VMID: d.VMID, Template: d.Template,
		GUID: guidText(d.GUID), Origin: d.Origin, Created: optional(d.Created), NewestOfAny: valid(d.NewestOfAny), Suffix: d.Suffix(),
		Receiving: d.Receiving, PendingReceive: d.PendingReceive, PendingSince: optional(d.PendingSince), PendingSnapshot: d.PendingSnapshot,
		Label: label(d.Running), NoSnap: label(d.NoSnap), Owned: d.Owned,
		Changed: optional(d.Changed), ReadAt: optional(d.ReadAt), HostClock: optional(d.HostClock), Gone: d.Gone, WasWhole: d.WasWhole, Problem: valid(d.Disk.Problem), Unlisted: valid(d.Unlisted),
		Verdict: d.Verdict.String(), State: d.State.String(), Reason: valid(d.Reason),
		AgeSeconds: int64(d.Age.Seconds()), Rule: d.Limit.Rule, Damaged: valid(d.Damaged), Looked: d.Looked.document(),
	}
	if d.Limit.Range != nil {
		doc.Limit = d.Limit.Range.String()
	}
	if c := d.Compared; c != nil {
		doc.Compared = c.document()
	}
	for _, e := range d.Evidence {
		doc.Owners = append(doc.Owners, e.document(d.Name()))
	}
	if s := d.Newest; s != nil {
		doc.Newest = NewSnapshotDocument(*s)
	}
	return doc
}

func (c Comparison) document() *ComparisonDocument {
	doc := &ComparisonDocument{
		Outcome: c.Outcome.String(), State: c.State.String(), Owner: c.Owner, LagSeconds: int64(c.Lag.Seconds()),
		Rule: c.Limit.Rule, Proven: c.Proven, Reason: valid(c.Reason),
	}
	if c.Limit.Range != nil {
		doc.Limit = c.Limit.Range.String()
	}
	return doc
}

func label(p zfs.Property) LabelDocument {
	return LabelDocument{Value: valid(p.Value), Source: p.Source.String()}
}

func guidText(n uint64) string { return strconv.FormatUint(n, 10) }

// optional returns a pointer to the time t, nil if t is zero.
func optional(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// valid replaces invalid UTF-8 in text, because a received property can contain any bytes.
func valid(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }

func poolOf(d Disk) string { return zfs.Pool(d.Dataset) }

// Facts returns the pools and disks of a document without the document's verdicts.
func (doc Document) Facts() ([]Pool, error) {
	if doc.Version != documentVersion {
		return nil, fmt.Errorf("its answer has version %d, this snapwatch knows %d", doc.Version, documentVersion)
	}
	var pools []Pool
	at := map[string]int{}
	for i, p := range doc.Pools {
		at[p.Pool] = i
		pools = append(pools, Pool{
			Name: p.Pool, ReadAt: instant(p.ReadAt), Took: time.Duration(p.Seconds * float64(time.Second)),
			Missing: p.Missing, Problem: p.Problem, MissingRoots: p.MissingRoots, Remarks: p.Remarks, ZFSState: p.ZFSState, Health: p.Health,
		})
	}
	for _, d := range doc.Disks {
		disk, err := d.facts()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", d.Dataset, err)
		}
		i, ok := at[poolOf(disk)]
		if !ok {
			return nil, fmt.Errorf("%s: its pool is not in the answer", d.Dataset)
		}
		pools[i].Disks = append(pools[i].Disks, disk)
	}
	return pools, nil
}

func (doc DiskDocument) facts() (Disk, error) {
	vmid, kind, ok := zfs.ParseDiskName(zfs.Base(doc.Dataset))
	if !ok || !zfs.ValidDataset(doc.Dataset) {
		return Disk{}, errors.New("is not a disk")
	}
	guid, err := strconv.ParseUint(doc.GUID, 10, 64)
	if err != nil {
		return Disk{}, err
	}
	disk := Disk{
		Dataset: doc.Dataset, VMID: vmid, Template: kind == zfs.TemplateDisk, GUID: guid,
		Origin: doc.Origin, Created: instant(doc.Created), NewestOfAny: doc.NewestOfAny,
		Receiving: doc.Receiving, PendingReceive: doc.PendingReceive, PendingSince: instant(doc.PendingSince), PendingSnapshot: doc.PendingSnapshot,
		Running: doc.Label.property(), NoSnap: doc.NoSnap.property(), Owned: doc.Owned,
		Changed: instant(doc.Changed), ReadAt: instant(doc.ReadAt), HostClock: instant(doc.HostClock),
		Gone: doc.Gone, WasWhole: doc.WasWhole, Problem: doc.Problem, Unlisted: doc.Unlisted, Damaged: doc.Damaged,
	}
	if disk.Looked, err = doc.Looked.looked(doc.Dataset); err != nil {
		return Disk{}, err
	}
	if s := doc.Newest; s != nil {
		disk.Newest, err = s.Snapshot(doc.Dataset)
	}
	return disk, err
}

// Snapshot returns s, read from JSON, as a snapshot of the given dataset.
func (s SnapshotDocument) Snapshot(dataset string) (*zfs.Snapshot, error) {
	guid, guidErr := strconv.ParseUint(s.GUID, 10, 64)
	txg, txgErr := strconv.ParseUint(s.CreateTXG, 10, 64)
	if !IsManaged(s.Name) {
		return nil, fmt.Errorf("%q is not a managed snapshot", s.Name)
	}
	return &zfs.Snapshot{Dataset: dataset, Name: s.Name, GUID: guid, CreateTXG: txg, Creation: s.Creation}, errors.Join(guidErr, txgErr)
}

func (l LabelDocument) property() zfs.Property {
	p := zfs.Property{Value: l.Value}
	for s := zfs.SourceNone; s <= zfs.SourceDefault; s++ {
		if s.String() == l.Source {
			p.Source = s
		}
	}
	return p
}

func instant(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}

// IsManaged reports whether a snapshot's name has the form autosnap_DATE_TIME_CLASS.
func IsManaged(snapshot string) bool {
	_, managed := zfs.ParseSnapshotName(snapshot)
	return managed
}
