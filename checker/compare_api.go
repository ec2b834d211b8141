package checker

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"snapwatch/internal/text"
	"snapwatch/internal/zfs"
)

// A comparison has limits: the largest request and answer in bytes, and the greatest number of
// disks in a request.
const (
	MaxRequest      = 8 << 20
	MaxAnswer       = 16 << 20
	MaxCompareDisks = 20000
)

const compareVersion = 2

// CompareRequest is the question of a replica to a node that may own its disks, sent by POST to
// /api/v1/compare.
type CompareRequest struct {
	Version int          `json:"version"`
	Disks   CompareDisks `json:"disks"`
}

// CompareDisks are the disks of a [CompareRequest], at most [MaxCompareDisks].
type CompareDisks []CompareDisk

// UnmarshalJSON implements [json.Unmarshaler]. UnmarshalJSON stops at the first disk above
// [MaxCompareDisks], so that a large request cannot use up the memory.
func (c *CompareDisks) UnmarshalJSON(text []byte) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if start, err := d.Token(); err != nil || start != json.Delim('[') {
		return errors.Join(errors.New("disks: a list is needed"), err)
	}
	*c = CompareDisks{}
	for d.More() {
		if len(*c) == MaxCompareDisks {
			return fmt.Errorf("more than %d disks; use --pool, --vmid or --disk", MaxCompareDisks)
		}
		var disk CompareDisk
		if err := d.Decode(&disk); err != nil {
			return err
		}
		*c = append(*c, disk)
	}
	return nil
}

// CompareDisk is one disk of a [CompareRequest].
type CompareDisk struct {
	// Disk is the disk's name on the asked node, for example vm-100-disk-0.
	Disk string `json:"disk"`
	// Dataset is the full name of the disk's dataset on the asked node, "" if the replica does
	// not know this name.
	Dataset string `json:"dataset,omitempty"`
	// Newest is the replica's newest managed snapshot. Newest.Name is "" if the replica has no
	// managed snapshot of the disk.
	Newest SnapshotRef `json:"newest"`
}

// SnapshotRef is a managed snapshot in messages between hosts. The guid is a string in JSON,
// because a JavaScript number cannot represent all guids.
type SnapshotRef struct {
	Name     string    `json:"name"`
	GUID     uint64    `json:"guid,string"`
	Creation time.Time `json:"creation"`
	Class    string    `json:"class,omitempty"`
}

// CompareAnswer is the answer of a node to a [CompareRequest]. The disks in the answer are in the
// order of the disks in the request.
type CompareAnswer struct {
	Version int            `json:"version"`
	Time    time.Time      `json:"time"`
	Disks   []ComparedDisk `json:"disks"`
	// Unregistered is true if the node has guests, but neither a timer nor cron starts snap on
	// the node.
	Unregistered bool `json:"snap_unregistered,omitempty"`
	// Guests has the node's own guests, and of each guest the disks of which snap takes snapshots.
	Guests []OwnedGuest `json:"guests,omitempty"`
	// Unread has the names of the pools that the node has not read since its exporter was started.
	// The field Guests lacks the disks in the pools that Unread names.
	Unread []string `json:"unread,omitempty"`
	// GuestsProblem says why the node does not know its own guests, "" if the node knows them or cannot
	// have any.
	GuestsProblem string `json:"guests_problem,omitempty"`
}

// ComparedDisk is a node's answer about one disk.
type ComparedDisk struct {
	Disk string `json:"disk"`
	// Owned says whether the disk's guest is configured on the node. OwnedProblem says why Owned
	// is unknown.
	Owned        Ownership `json:"owned_here"`
	OwnedProblem string    `json:"owned_problem,omitempty"`
	// ConfiguredOn is the node on which the guest is configured, if this is another node of the
	// answering node's cluster.
	ConfiguredOn string `json:"configured_on,omitempty"`
	// Replica is true if the node itself only receives the disk.
	Replica bool `json:"replica,omitempty"`
	// Dataset is the answering node's own disk with the requested name, and GUID the guid of this
	// dataset.
	Dataset string       `json:"dataset,omitempty"`
	GUID    uint64       `json:"guid,string,omitempty"`
	Newest  *SnapshotRef `json:"newest,omitempty"`
	// ReadAt is the time at which the node read its disk. ReadAt is set only if the node answered
	// from an earlier scan, because a newer scan is not finished.
	ReadAt *time.Time `json:"read_at,omitempty"`
	// Problem says why the node knows nothing about its own disk.
	Problem string `json:"problem,omitempty"`
	// Presence says whether the node's disk has the requested name as a snapshot or a bookmark.
	// PresenceGUID is the guid of the node's snapshot or bookmark with the requested name.
	Presence     Presence `json:"presence"`
	PresenceGUID uint64   `json:"presence_guid,string,omitempty"`
	// BehindSince is the creation time of the node's first managed snapshot after the requested
	// snapshot, nil if unknown.
	BehindSince *time.Time `json:"behind_since,omitempty"`
	// Gone is true if the node read all places where the disk could be, and did not find the disk.
	// Template is true if the guest is a template on the node.
	Gone     bool `json:"gone,omitempty"`
	Template bool `json:"guest_is_template,omitempty"`
	// NeverHad is true if the node's snapshots show that the node never had the requested snapshot.
	NeverHad bool `json:"never_had,omitempty"`
	// Excluded says why the node takes no snapshots of the disk.
	Excluded string `json:"excluded,omitempty"`
	// Alive is true if the guest's process is running on the node. AliveSince is the start time
	// of the guest's process.
	Alive      bool       `json:"alive,omitempty"`
	AliveSince *time.Time `json:"alive_since,omitempty"`
}

// newCompareDisk returns the part of a [CompareRequest] about one disk. If the owner's dataset is
// known, the request names this dataset, whose name may differ from the name of the copy.
func newCompareDisk(d Disk, origin string) CompareDisk {
	c := CompareDisk{Disk: d.Name()}
	if d.Newest != nil {
		c.Newest = NewSnapshotRef(*d.Newest)
	}
	if _, _, isDisk := zfs.ParseDiskName(zfs.Base(origin)); isDisk {
		c.Disk, c.Dataset = zfs.Base(origin), origin
	}
	return c
}

// NewCompareRequest returns a request about all disks of the report that could be read. The result
// datasets has the datasets of these disks on this host, in the same order. The argument originOf
// is a function like [config.Watch.OriginOf].
func NewCompareRequest(r Report, originOf func(dataset string) (cluster, origin string)) (request CompareRequest, datasets []string) {
	request = CompareRequest{Version: compareVersion, Disks: CompareDisks{}}
	for _, d := range r.Disks {
		if d.Newest != nil || d.Verdict == Never {
			_, origin := originOf(d.Dataset)
			datasets = append(datasets, d.Dataset)
			request.Disks = append(request.Disks, newCompareDisk(d.Disk, origin))
		}
	}
	return request, datasets
}

// NewCompareAnswer returns an empty answer to a [CompareRequest], without disks.
func NewCompareAnswer(now time.Time) CompareAnswer {
	return CompareAnswer{Version: compareVersion, Time: now, Disks: []ComparedDisk{}}
}

// NewSnapshotRef returns a snapshot's name and guid in JSON form.
func NewSnapshotRef(s zfs.Snapshot) SnapshotRef {
	ref := SnapshotRef{Name: s.Name, GUID: s.GUID, Creation: s.Creation}
	if class, managed := s.Class(); managed {
		ref.Class = class.String()
	}
	return ref
}

// ReadCompareRequest reads a [CompareRequest] as strict JSON and refuses names that are not safe
// in a command line of zfs.
func ReadCompareRequest(r io.Reader) (CompareRequest, error) {
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	var request CompareRequest
	if err := d.Decode(&request); err != nil {
		return CompareRequest{}, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return CompareRequest{}, errors.New("more than one JSON value")
	}
	if request.Version != compareVersion {
		return CompareRequest{}, fmt.Errorf("the request has version %d, this snapwatch knows %d", request.Version, compareVersion)
	}
	for i, disk := range request.Disks {
		if err := disk.validate(); err != nil {
			return CompareRequest{}, fmt.Errorf("disk %d: %w", i, err)
		}
	}
	return request, nil
}

func (c CompareDisk) validate() error {
	if _, _, ok := zfs.ParseDiskName(c.Disk); !ok {
		return fmt.Errorf("%q is not the name of a disk", text.Clip(c.Disk, 100))
	}
	if c.Dataset != "" && (!zfs.ValidDataset(c.Dataset) || zfs.Base(c.Dataset) != c.Disk) {
		return fmt.Errorf("%q is not the dataset of a disk called %s", text.Clip(c.Dataset, 100), c.Disk)
	}
	if c.Newest.Name == "" {
		return nil
	}
	return c.Newest.validate()
}

func (s SnapshotRef) validate() error {
	if !IsManaged(s.Name) {
		return fmt.Errorf("%q is not a managed snapshot", text.Clip(s.Name, 100))
	}
	return nil
}

// Evidence returns the answer's evidence about each disk of the request. If the node does not know
// its own guests, Evidence returns an error, so that the node counts as a node that did not answer.
// Otherwise the evidence would say that the node has no guests, although the node may have some.
func (a CompareAnswer) Evidence(request CompareRequest) ([]Evidence, error) {
	if a.Version != compareVersion {
		return nil, fmt.Errorf("its answer has version %d, this snapwatch knows %d", a.Version, compareVersion)
	}
	if len(a.Disks) != len(request.Disks) {
		return nil, fmt.Errorf("the answer is about %d disks, but the request was about %d", len(a.Disks), len(request.Disks))
	}
	if a.GuestsProblem != "" {
		return nil, fmt.Errorf("it does not know its guests: %s", text.Clip(text.Plain(a.GuestsProblem), 150))
	}
	var all []Evidence
	for i, d := range a.Disks {
		e, err := d.evidence(request.Disks[i], a.Time)
		if err != nil {
			return nil, err
		}
		e.Unregistered = a.Unregistered
		all = append(all, e)
	}
	return all, nil
}

// evidence returns a node's evidence about one disk of the request. now is the time of the node's
// answer by the node's clock.
func (c ComparedDisk) evidence(asked CompareDisk, now time.Time) (Evidence, error) {
	if c.Disk != asked.Disk {
		return Evidence{}, fmt.Errorf("the answer is about %q, but the request was about %s", text.Clip(c.Disk, 100), asked.Disk)
	}
	e := Evidence{
		Owned: c.Owned, Why: text.Clip(text.Plain(c.OwnedProblem), 200), ConfiguredOn: text.Clip(text.Plain(c.ConfiguredOn), 64), Replica: c.Replica,
		Dataset: text.Clip(text.Plain(c.Dataset), 255), GUID: c.GUID, Problem: text.Clip(text.Plain(c.Problem), 200), Presence: c.Presence, PresenceGUID: c.PresenceGUID,
		BehindSince: instant(c.BehindSince), Now: now, ReadAt: instant(c.ReadAt),
		Gone: c.Gone, Template: c.Template, NeverHad: c.NeverHad, Excluded: text.Clip(text.Plain(c.Excluded), 100), Alive: c.Alive, AliveSince: instant(c.AliveSince),
	}
	if c.Gone {
		e.Dataset = cmp.Or(asked.Dataset, asked.Disk)
	}
	if s := c.Newest; s != nil {
		if err := s.validate(); err != nil {
			return Evidence{}, fmt.Errorf("%s: %w", c.Disk, err)
		}
		e.Newest = &zfs.Snapshot{Dataset: c.Dataset, Name: s.Name, GUID: s.GUID, Creation: s.Creation}
	}
	return e, nil
}
