package checker

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"snapwatch/internal/text"
)

const (
	// ProofsName is the name of the file in the state directory with the records of drills.
	ProofsName = "drills.json"
	// ProofsVersion is the version of the format of this file.
	ProofsVersion = 2
)

// Reach says how far a drill came: nothing, cloned, read, checked or booted.
type Reach string

// ReachedNothing is the Reach of a drill that did not look at the copy because a key was not loaded.
const ReachedNothing Reach = "nothing"

// Part is the part of all blocks of a guest's disks that a drill reads, as shares of each disk: 0 is
// the disk's begin, 1 its end.
type Part struct {
	From float64 `json:"from"`
	To   float64 `json:"to"`
}

// Range returns the first byte of the part in an amount of size bytes, and the first byte after the
// part.
func (p Part) Range(size int64) (from, to int64) {
	at := func(share float64) int64 {
		if share >= 1 {
			return size
		}
		return min(int64(share*float64(size)), size)
	}
	return at(p.From), at(p.To)
}

// Drill is the result of one drill of a guest: its copies were cloned, and somebody looked at the
// clones.
type Drill struct {
	// Point is the time of the restore point, as written in the names of its snapshots.
	Point string    `json:"point"`
	At    time.Time `json:"at"`
	Reach Reach     `json:"reach"`
	// Seconds is the duration of the drill.
	Seconds float64 `json:"seconds"`
	// Part is the part of all blocks that was read, nil if none was asked for, or if the drill ended
	// before it had read the part. ReadBytes is the size of the blocks that the drill read.
	Part      *Part  `json:"part,omitempty"`
	ReadBytes uint64 `json:"read_bytes,omitempty"`
	// FileSystems is the number of file systems that the look found.
	FileSystems int `json:"file_systems,omitempty"`
	// Unknown is the number of contents that the look did not recognise.
	Unknown int `json:"unknown,omitempty"`
	// Faults has the faults of the copy. A drill that found a fault has failed.
	Faults []Fault `json:"faults,omitempty"`
	// Remarks has further results, such as the name of the operating system.
	Remarks []string `json:"remarks,omitempty"`
}

// FaultKind is the kind of a fault. It says what a later drill must look at to end the fault.
type FaultKind string

// The kinds of faults.
const (
	// FaultRead is a block that could not be read.
	FaultRead FaultKind = "read"
	// FaultFiles is a snapshot that could not be cloned, or a file system with a fault.
	FaultFiles FaultKind = "file systems"
	// FaultStart is a guest that did not start.
	FaultStart FaultKind = "start"
)

// Fault is a fault that a drill found.
type Fault struct {
	Kind  FaultKind `json:"kind"`
	Wrong string    `json:"wrong"`
}

// OpenFault has the faults of one kind that no later drill ended.
type OpenFault struct {
	Kind FaultKind `json:"kind"`
	// Point and At are those of the last drill that found a fault of this kind, and Wrong is what this
	// drill found.
	Point string    `json:"point"`
	At    time.Time `json:"at"`
	Wrong []string  `json:"wrong"`
	// Datasets are those that a drill must look at to end the fault, unless they are gone.
	Datasets []string `json:"datasets,omitempty"`
	// Part is the part of all blocks that a drill must read to end a fault of the kind read.
	// FileSystems is the number of file systems that a drill must look at to end a fault of file systems.
	Part        *Part `json:"part,omitempty"`
	FileSystems int   `json:"file_systems,omitempty"`
}

// Proof is the record of a guest's drills on this host.
type Proof struct {
	Cluster string `json:"cluster,omitempty"`
	VMID    int    `json:"vmid"`
	// Last is the last drill. Good is the last drill that looked at the copy and found no fault, nil
	// if there was none.
	Last Drill  `json:"last"`
	Good *Drill `json:"good,omitempty"`
	// Open has the faults that no later drill ended, at most one of each kind.
	Open []OpenFault `json:"open,omitempty"`
	// ReadTo is the end of the part that was read last without a fault, as a share of each disk.
	ReadTo float64 `json:"read_to,omitempty"`
}

// Proofs are the records of all guests' drills on this host.
type Proofs struct {
	Guests []Proof
	// Problem says why the records could not be read, "" if they were read. Then Guests has the
	// records that were read before.
	Problem string
}

// Failed reports whether the drill found a fault in the copy.
func (d Drill) Failed() bool { return len(d.Faults) > 0 }

// Wrong returns what was wrong in the faults of a kind, or in all faults if kind is "".
func (d Drill) Wrong(kind FaultKind) []string {
	var wrong []string
	for _, f := range d.Faults {
		if kind == "" || f.Kind == kind {
			wrong = append(wrong, f.Wrong)
		}
	}
	return wrong
}

// Words returns the result of a drill for people.
func (d Drill) Words() string {
	switch {
	case d.Failed():
		return "failed: " + strings.Join(d.Wrong(""), "; ")
	case d.Reach == ReachedNothing:
		return strings.Join(d.Remarks, "; ")
	}
	words := []string{fmt.Sprintf("%s in %s", d.Reach, d.Duration())}
	if d.Part != nil {
		words = append(words, fmt.Sprintf("%s read, from %.1f%% to %.1f%% of each disk", text.Bytes(d.ReadBytes), 100*d.Part.From, 100*d.Part.To))
	}
	return strings.Join(append(words, d.Remarks...), "; ")
}

// Duration returns the duration of the drill for people.
func (d Drill) Duration() string {
	return time.Duration(d.Seconds * float64(time.Second)).Round(100 * time.Millisecond).String()
}

// work returns the duration of the drill, and how much it read.
func (d Drill) work() string {
	words := d.Duration()
	if d.ReadBytes > 0 {
		words += ", " + text.Bytes(d.ReadBytes) + " read"
	}
	return words
}

// words returns the faults for people, and the drill that ends them. age is the time since they were
// found. others are the guest's datasets that a drill does not look at now.
func (f OpenFault) words(vmid int, age time.Duration, others []string) string {
	end := fmt.Sprintf("snapwatch drill %d", vmid)
	switch {
	case f.Kind == FaultRead:
		end += " --read 1/1"
	case f.Kind == FaultStart:
		end += " (with drill.boot)"
	case f.FileSystems > 0:
		end += " (which must find at least " + text.Count(f.FileSystems, "file system") + ")"
	}
	if unseen := both(f.Datasets, others); len(unseen) > 0 {
		end += ", once the restore point includes " + strings.Join(unseen, " and ") + " (if removed: snapwatch forget)"
	}
	return fmt.Sprintf("the drill of %s failed, %s: %s; to end this warning: %s", Point{Time: f.Point}.Words(), when(age), strings.Join(f.Wrong, "; "), end)
}

// Find returns the record of a guest, nil if there is none. own is true if the record has the guest's
// cluster. The cluster of a guest is unknown until sources: in the configuration names it, and other
// configurations may not name it. So a guest inherits the records that may be its own: those with its
// VMID, if their cluster or that of the guest is unknown. If the guest has a record of its own, it
// inherits only the faults of its datasets here that were found after its own last drill.
func (p Proofs) Find(cluster string, vmid int, here []string) (record *Proof, own bool) {
	var inherited []*Proof
	for i := range p.Guests {
		switch r := &p.Guests[i]; {
		case r.VMID != vmid:
		case r.Cluster == cluster:
			record, own = r, true
		case r.Cluster == "" || cluster == "":
			inherited = append(inherited, r)
		}
	}
	if len(inherited) == 0 {
		return record, own
	}
	if !own {
		record, inherited = inherited[0], inherited[1:]
	}
	found := *record
	found.Cluster, found.Open = cluster, slices.Clone(record.Open)
	for _, r := range inherited {
		if !own {
			found.join(r)
			continue
		}
		for _, f := range r.Open {
			if f.At.After(record.Last.At) && (len(f.Datasets) == 0 || len(both(f.Datasets, here)) > 0) {
				found.Add(f)
			}
		}
	}
	return &found, own
}

// both returns the datasets that both lists have.
func both(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(dataset string) bool { return !slices.Contains(b, dataset) })
}

// join adds another record of the guest.
func (p *Proof) join(o *Proof) {
	if o.Last.At.After(p.Last.At) {
		p.Last, p.ReadTo = o.Last, o.ReadTo
	}
	if o.Good != nil && (p.Good == nil || o.Good.At.After(p.Good.At)) {
		p.Good = o.Good
	}
	for _, f := range o.Open {
		p.Add(f)
	}
}

// Add adds an open fault to the record. Of two faults of one kind the record keeps the later one,
// which ends only with a drill that ends both.
func (p *Proof) Add(f OpenFault) {
	i := slices.IndexFunc(p.Open, func(o OpenFault) bool { return o.Kind == f.Kind })
	if i < 0 {
		p.Open = append(p.Open, f)
		return
	}
	o := p.Open[i]
	if o.At.After(f.At) {
		o, f = f, o
	}
	if o.Part != nil && f.Part != nil {
		f.Part = &Part{From: min(o.Part.From, f.Part.From), To: max(o.Part.To, f.Part.To)}
	}
	f.FileSystems = max(o.FileSystems, f.FileSystems)
	f.Datasets = slices.Clone(f.Datasets)
	for _, dataset := range o.Datasets {
		if !slices.Contains(f.Datasets, dataset) {
			f.Datasets = append(f.Datasets, dataset)
		}
	}
	p.Open[i] = f
}

// Since returns the record without the drills from before the guest's first dataset was made here: its
// VMID was another guest's then, or the copies were others. Since returns nil if no drill remains.
// All drills count if arrived is zero.
func (p *Proof) Since(arrived time.Time) *Proof {
	if p == nil {
		return nil
	}
	since := *p
	since.Open = slices.DeleteFunc(slices.Clone(p.Open), func(f OpenFault) bool { return f.At.Before(arrived) })
	if p.Last.At.Before(arrived) && len(since.Open) == 0 { // a fault may be of another record, and later than Last
		return nil
	}
	if p.Good != nil && p.Good.At.Before(arrived) {
		since.Good = nil
	}
	return &since
}
