package drill

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"snapwatch/checker"
	"snapwatch/internal/text"
)

// The steps of a drill. Each of them includes the steps before it, except that blocks are only read
// where a part was asked for.
const (
	// Nothing was looked at, because the disks are encrypted and a key is not loaded.
	Nothing = checker.ReachedNothing
	// Cloned means that each disk of the restore point was cloned.
	Cloned checker.Reach = "cloned"
	// Read means that blocks of the clones were read.
	Read checker.Reach = "read"
	// Checked means that the file systems on all disks were checked and mounted.
	Checked checker.Reach = "checked"
	// Booted means that the guest was started from the clones.
	Booted checker.Reach = "booted"
)

// Proof is the result of one drill of a guest, in the form in which it is kept.
type Proof struct {
	checker.Drill
	// Part is the part of all blocks that was read, nil if none was asked for.
	Part *Part `json:"part,omitempty"`
}

// Record has the proofs of one guest.
type Record struct {
	Cluster string `json:"cluster,omitempty"`
	VMID    int    `json:"vmid"`
	// Last is the result of the last drill. Good is the result of the last drill that looked at the
	// copy and found no fault, nil if there was none.
	Last Proof  `json:"last"`
	Good *Proof `json:"good,omitempty"`
	// Failed is the result of the last drill that found a fault, nil if a later drill passed.
	Failed *Proof `json:"failed,omitempty"`
	// ReadTo is the end of the part that was read last without a fault, as a share of each disk.
	ReadTo float64 `json:"read_to,omitempty"`
}

// Records has the records of all guests, ordered by cluster and VMID.
type Records []Record

type recordsFile struct {
	Version int     `json:"version"`
	Guests  Records `json:"guests"`
}

// ParseRecords reads the text that [Records.Text] returned.
func ParseRecords(from []byte) (Records, error) {
	var file recordsFile
	if err := json.Unmarshal(from, &file); err != nil {
		return nil, err
	}
	if file.Version != checker.ProofsVersion {
		return nil, fmt.Errorf("version %d, not %d", file.Version, checker.ProofsVersion)
	}
	return file.Guests, nil
}

// Text returns the records as text for a file.
func (r Records) Text() ([]byte, error) {
	text, err := json.MarshalIndent(recordsFile{checker.ProofsVersion, r}, "", "  ")
	return append(text, '\n'), err
}

// Of returns the record of a guest, false if there is none.
func (r Records) Of(g Guest) (Record, bool) {
	i, found := slices.BinarySearchFunc(r, g, compare)
	if !found {
		return Record{}, false
	}
	return r[i], true
}

func compare(r Record, g Guest) int {
	return cmp.Or(strings.Compare(r.Cluster, g.Cluster), r.VMID-g.VMID)
}

// With returns the records with one more proof.
func (r Records) With(g Guest, p Proof) Records {
	i, found := slices.BinarySearchFunc(r, g, compare)
	r = slices.Clone(r)
	if !found {
		r = slices.Insert(r, i, Record{Cluster: g.Cluster, VMID: g.VMID})
	}
	r[i].Last = p
	if p.Part != nil && !p.Failed() { // a part with a fault is read again
		r[i].ReadTo = p.Part.To
	}
	switch {
	case p.Failed():
		r[i].Failed = &p
	case p.Reach != Nothing:
		r[i].Good = &p
		// A guest that did not start must start, and blocks that could not be read must be read.
		if f := r[i].Failed; f != nil && (f.Reach != Checked || p.Reach == Booted) && (f.Part == nil || p.Part != nil) {
			r[i].Failed = nil
		}
	}
	return r
}

// Order returns the guests in the order in which drills are due: first the guests without a drill,
// then those whose last drill is oldest. A drill that failed, and one that found its key not
// loaded, counts as a drill, so that it does not keep the other guests from their turn. A drill
// from the future does not count: its guest would have no turn until then.
func Order(guests []Guest, r Records, now time.Time) []Guest {
	last := func(g Guest) time.Time {
		record, _ := r.Of(g)
		if record.Last.At.After(now) {
			return time.Time{}
		}
		return record.Last.At
	}
	guests = slices.Clone(guests)
	slices.SortStableFunc(guests, func(a, b Guest) int {
		return cmp.Or(last(a).Compare(last(b)), strings.Compare(a.Cluster, b.Cluster), a.VMID-b.VMID)
	})
	return guests
}

// Words returns the result of a drill for people.
func (p Proof) Words() string {
	switch {
	case p.Failed():
		return "failed: " + strings.Join(p.Wrong, "; ")
	case p.Reach == Nothing:
		return strings.Join(p.Remarks, "; ")
	}
	words := []string{fmt.Sprintf("%s in %s", p.Reach, p.Duration())}
	if p.Part != nil {
		words = append(words, fmt.Sprintf("%s read, from %.1f%% to %.1f%% of each disk", text.Bytes(p.ReadBytes), 100*p.Part.From, 100*p.Part.To))
	}
	return strings.Join(append(words, p.Remarks...), "; ")
}
