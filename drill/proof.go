package drill

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"snapwatch/checker"
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

// Record has the results of one guest's drills.
type Record = checker.Proof

// Records has the records of all guests, ordered by cluster and VMID.
type Records []Record

// Of returns the record of a guest, false if there is none. Of a record that may also be another
// guest's only the faults and the time of the last drill count.
func (r Records) Of(g Guest) (Record, bool) {
	found, own := checker.Proofs{Guests: r}.Find(g.Cluster, g.VMID, slices.Concat(g.Datasets(), g.Others))
	if found = found.Since(g.Arrived); found == nil {
		return Record{Cluster: g.Cluster, VMID: g.VMID}, false
	}
	if !own {
		found.Good, found.ReadTo = nil, 0
	}
	return *found, true
}

// With returns the records with one more drill.
func (r Records) With(g Guest, d checker.Drill) Records {
	record, _ := r.Of(g)
	record.Last = d
	var open []checker.OpenFault
	for _, f := range record.Open {
		if ends(d, f) {
			f.Datasets = slices.DeleteFunc(slices.Clone(f.Datasets), func(dataset string) bool { return !slices.Contains(g.Others, dataset) })
			if len(f.Datasets) == 0 {
				continue
			}
		}
		open = append(open, f)
	}
	record.Open = open
	lost := d.Reach != Nothing && Lost(record.Good, d) != ""
	for _, kind := range []checker.FaultKind{checker.FaultRead, checker.FaultFiles, checker.FaultStart} {
		if wrong := d.Wrong(kind); wrong != nil {
			f := opened(g, d, kind, wrong)
			if lost && kind == checker.FaultFiles {
				f.FileSystems = record.Good.FileSystems
			}
			record.Add(f)
		}
	}
	if !d.Failed() && d.Reach != Nothing {
		record.Good = &d
	}
	if d.Part != nil && d.Wrong(checker.FaultRead) == nil { // a part with a fault is read again
		record.ReadTo = d.Part.To
	}
	i, found := slices.BinarySearchFunc(r, record, func(a, b Record) int {
		return cmp.Or(strings.Compare(a.Cluster, b.Cluster), a.VMID-b.VMID)
	})
	r = slices.Clone(r)
	if found {
		r[i] = record
		return r
	}
	return slices.Insert(r, i, record)
}

// opened returns the faults of a kind that a drill found, with all that a later drill must look at to
// end them.
func opened(g Guest, d checker.Drill, kind checker.FaultKind, wrong []string) checker.OpenFault {
	f := checker.OpenFault{Kind: kind, Point: d.Point, At: d.At, Wrong: wrong, Datasets: g.Datasets()}
	switch kind {
	case checker.FaultRead:
		f.Part = d.Part
		// The next drill's part of a container may have other files.
		if f.Part == nil || slices.ContainsFunc(g.Disks, func(d Disk) bool { return d.Filesystem }) {
			f.Part = &checker.Part{To: 1}
		}
	case checker.FaultFiles:
		f.FileSystems = d.FileSystems
	}
	return f
}

// ends reports whether a drill ends a fault, as far as the drill looked at its datasets: the drill
// looked at as much as the one that found the fault, and found no fault of the kind.
func ends(d checker.Drill, f checker.OpenFault) bool {
	if d.Reach == Nothing || d.Wrong(f.Kind) != nil {
		return false
	}
	switch f.Kind {
	case checker.FaultRead:
		return d.Part != nil && f.Part != nil && d.Part.From <= f.Part.From && f.Part.To <= d.Part.To
	case checker.FaultFiles:
		return d.FileSystems >= f.FileSystems
	case checker.FaultStart:
		return d.Reach == Booted
	}
	return false
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
