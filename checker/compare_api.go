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

// How much a comparison may take: the bytes of a request and of an answer that are read, and
// the disks of a request.
const (
	MaxRequest      = 8 << 20
	MaxAnswer       = 16 << 20
	MaxCompareDisks = 20000
)

const compareVersion = 2

// CompareRequest is what a replica asks a node that may own its disks, by POST to
// /api/v1/compare.
type CompareRequest struct {
	Version int          `json:"version"`
	Disks   CompareDisks `json:"disks"`
}

// CompareDisks are the disks of a [CompareRequest], [MaxCompareDisks] at most.
type CompareDisks []CompareDisk

// UnmarshalJSON implements [json.Unmarshaler]. It ends at the first disk that is too many,
// before there is room for all.
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
	// Disk is the disk's name there: vm-100-disk-0.
	Disk string `json:"disk"`
	// Dataset is its full name there, "" where the replica does not know it.
	Dataset string `json:"dataset,omitempty"`
	// Newest has no name where the replica has no managed snapshot.
	Newest SnapshotRef `json:"newest"`
}

// SnapshotRef is a managed snapshot as hosts tell each other of it. The guid is a
// string in JSON, because a JavaScript number cannot hold one.
type SnapshotRef struct {
	Name     string    `json:"name"`
	GUID     uint64    `json:"guid,string"`
	Creation time.Time `json:"creation"`
	Class    string    `json:"class,omitempty"`
}

// CompareAnswer answers a [CompareRequest], its disks in the order of the request.
type CompareAnswer struct {
	Version int            `json:"version"`
	Time    time.Time      `json:"time"`
	Disks   []ComparedDisk `json:"disks"`
	// Unregistered is true where the node has guests and nothing starts snap.
	Unregistered bool `json:"snap_unregistered,omitempty"`
	// Guests are the node's own, with the disks that snap covers.
	Guests []OwnedGuest `json:"guests,omitempty"`
	// Unread are the pools that the node has not read since it was started: Guests lacks what is
	// there.
	Unread []string `json:"unread,omitempty"`
}

// ComparedDisk is what a node says of one disk.
type ComparedDisk struct {
	Disk string `json:"disk"`
	// Owned reports whether the disk's guest is configured on the node; OwnedProblem
	// is why that is not known.
	Owned        Ownership `json:"owned_here"`
	OwnedProblem string    `json:"owned_problem,omitempty"`
	// ConfiguredOn is the other node of its cluster that has the guest.
	ConfiguredOn string `json:"configured_on,omitempty"`
	// Replica is true where the node itself only receives the disk.
	Replica bool `json:"replica,omitempty"`
	// Dataset is the node's own disk of that name, GUID the dataset's.
	Dataset string       `json:"dataset,omitempty"`
	GUID    uint64       `json:"guid,string,omitempty"`
	Newest  *SnapshotRef `json:"newest,omitempty"`
	// ReadAt is when the node read its disk, where the reading that was asked for is not
	// finished and the one before it still counts.
	ReadAt *time.Time `json:"read_at,omitempty"`
	// Problem is why the node cannot tell about its own disk.
	Problem string `json:"problem,omitempty"`
	// Presence is how the node's disk holds the name that was asked for, PresenceGUID the
	// guid it has there.
	Presence     Presence `json:"presence"`
	PresenceGUID uint64   `json:"presence_guid,string,omitempty"`
	// BehindSince is when the node's first managed snapshot after that one was made,
	// nil where it does not know.
	BehindSince *time.Time `json:"behind_since,omitempty"`
	// Gone is true where the node read all that the disk could be in and has none;
	// Template where the guest is a template there.
	Gone     bool `json:"gone,omitempty"`
	Template bool `json:"guest_is_template,omitempty"`
	// NeverHad is true where the node's snapshots show that it never had the one asked for.
	NeverHad bool `json:"never_had,omitempty"`
	// Excluded is why the node takes no snapshots of the disk.
	Excluded string `json:"excluded,omitempty"`
	// Alive is true where the guest's process lives, AliveSince since when.
	Alive      bool       `json:"alive,omitempty"`
	AliveSince *time.Time `json:"alive_since,omitempty"`
}

// newCompareDisk asks about a disk by its dataset at the owner where that is known.
// A disk that is called otherwise there is asked for by that name.
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

// NewCompareRequest asks about the report's disks that were read, whose datasets here
// it returns, too. originOf tells where a dataset comes from, as [config.Watch.OriginOf].
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

// NewCompareAnswer is an answer of no disks yet.
func NewCompareAnswer(now time.Time) CompareAnswer {
	return CompareAnswer{Version: compareVersion, Time: now, Disks: []ComparedDisk{}}
}

// NewSnapshotRef is the snapshot in its JSON form.
func NewSnapshotRef(s zfs.Snapshot) SnapshotRef {
	ref := SnapshotRef{Name: s.Name, GUID: s.GUID, Creation: s.Creation}
	if class, managed := s.Class(); managed {
		ref.Class = class.String()
	}
	return ref
}

// ReadCompareRequest reads a request of strict JSON. Every name in it is one that
// may stand in a command line of zfs.
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
		return CompareRequest{}, fmt.Errorf("version %d; this snapwatch knows %d", request.Version, compareVersion)
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
		return fmt.Errorf("%q is no name of a disk", text.Clip(c.Disk, 100))
	}
	if c.Dataset != "" && (!zfs.ValidDataset(c.Dataset) || zfs.Base(c.Dataset) != c.Disk) {
		return fmt.Errorf("%q is no dataset of a disk called %s", text.Clip(c.Dataset, 100), c.Disk)
	}
	if c.Newest.Name == "" {
		return nil
	}
	return c.Newest.validate()
}

func (s SnapshotRef) validate() error {
	if !IsManaged(s.Name) {
		return fmt.Errorf("%q is no managed snapshot", text.Clip(s.Name, 100))
	}
	return nil
}

// Evidence is what the answer says of each disk of the request.
func (a CompareAnswer) Evidence(request CompareRequest) ([]Evidence, error) {
	if a.Version != compareVersion {
		return nil, fmt.Errorf("its answer has version %d, this snapwatch knows %d", a.Version, compareVersion)
	}
	if len(a.Disks) != len(request.Disks) {
		return nil, fmt.Errorf("it answers of %d disks, asked of %d", len(a.Disks), len(request.Disks))
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

// evidence is what the answer, given at that time by the node's clock, says of one disk
// of the request.
func (c ComparedDisk) evidence(asked CompareDisk, now time.Time) (Evidence, error) {
	if c.Disk != asked.Disk {
		return Evidence{}, fmt.Errorf("it answers of %q where it was asked of %s", text.Clip(c.Disk, 100), asked.Disk)
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
