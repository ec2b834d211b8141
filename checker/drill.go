package checker

import (
	"time"

	"snapwatch/internal/text"
)

const (
	// ProofsName is the name of the file in the state directory with the records of drills.
	ProofsName = "drills.json"
	// ProofsVersion is the version of the format of this file.
	ProofsVersion = 1
)

// Reach says how far a drill came: nothing, cloned, read, checked or booted.
type Reach string

// ReachedNothing is the Reach of a drill that did not look at the copy because a key was not loaded.
const ReachedNothing Reach = "nothing"

// Drill is the result of one drill of a guest: its copies were cloned, and somebody looked at the
// clones.
type Drill struct {
	// Point is the time of the restore point, as written in the names of its snapshots.
	Point string    `json:"point"`
	At    time.Time `json:"at"`
	Reach Reach     `json:"reach"`
	// Seconds is the duration of the drill.
	Seconds float64 `json:"seconds"`
	// ReadBytes is the size of the blocks that the drill read, 0 if it was not asked to read any.
	ReadBytes uint64 `json:"read_bytes,omitempty"`
	// Wrong has the faults of the copy. A drill that found a fault has failed.
	Wrong []string `json:"wrong,omitempty"`
	// Remarks has further results, such as the name of the operating system.
	Remarks []string `json:"remarks,omitempty"`
}

// Proof is the record of a guest's drills on this host.
type Proof struct {
	Cluster string `json:"cluster,omitempty"`
	VMID    int    `json:"vmid"`
	// Last is the last drill. Good is the last drill that looked at the copy and found no fault, nil
	// if there was none. Failed is the last drill that found a fault, nil if a later drill is good.
	Last   Drill  `json:"last"`
	Good   *Drill `json:"good,omitempty"`
	Failed *Drill `json:"failed,omitempty"`
}

// Proofs are the records of all guests' drills on this host.
type Proofs struct {
	Guests []Proof
	// Problem says why the records could not be read, "" if they were read. Then Guests has the
	// records that were read before.
	Problem string
}

// Failed reports whether the drill found a fault in the copy.
func (d Drill) Failed() bool { return len(d.Wrong) > 0 }

func (p *Proof) failed() *Drill {
	switch {
	case p == nil:
		return nil
	case p.Last.Failed():
		return &p.Last
	}
	return p.Failed
}

func (p *Proof) good() *Drill {
	if p == nil {
		return nil
	}
	return p.Good
}

func (d Drill) pointWords() string { return Point{Time: d.Point}.Words() }

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
