package report

import (
	"slices"
	"time"
)

// Quiesced is how a guest fared that was to be frozen while its snapshot was taken.
type Quiesced struct {
	VMID int `json:"vmid"`
	// Group is the one it is a member of, "" if it is alone.
	Group string `json:"group,omitempty"`
	// How is agent or cgroup.
	How string `json:"how"`
	// Snapshot is the name of the snapshot, "" if none was made.
	Snapshot string `json:"snapshot,omitempty"`
	// Consistent is application, crash or torn.
	Consistent Consistency `json:"consistent"`
	// Reason is why it is not application.
	Reason string `json:"reason,omitempty"`
	// Faults are the keys of what is wrong: one is the same for as long as the same is. What
	// is only so for the moment is none, and ends none.
	Faults []string `json:"faults,omitempty"`
	// Seconds is for how long it was frozen at most.
	Seconds float64 `json:"frozen_seconds"`
	// At is when that was.
	At time.Time `json:"at"`
}

// Consistency is what a snapshot of a running guest is worth to what runs in it.
type Consistency string

// The consistencies.
const (
	// Application: the guest was frozen until all its disks had their snapshot; what was
	// written is whole.
	Application Consistency = "application"
	// Crash: as after a power cut.
	Crash Consistency = "crash"
	// Torn: some of its disks are not in it, so that the others may not match them.
	Torn Consistency = "torn"
)

// AddQuiesced adds what became of a guest. One whose disks got their snapshots at two moments
// has one entry all the same, and the one that is worth less counts.
func (r *Run) AddQuiesced(q Quiesced) {
	i := slices.IndexFunc(r.Quiesced, func(have Quiesced) bool { return have.VMID == q.VMID })
	if i < 0 {
		r.Quiesced = append(r.Quiesced, q)
		return
	}
	have := &r.Quiesced[i]
	seconds, faults := max(have.Seconds, q.Seconds), slices.Concat(have.Faults, q.Faults)
	if have.Consistent == Application {
		*have = q
	}
	slices.Sort(faults)
	have.Seconds, have.Faults = seconds, slices.Compact(faults)
}

// CarryOver keeps what an earlier run said of guests that were not due in this one.
// wanted reports whether a guest is to be frozen at all.
func (r *Run) CarryOver(earlier []Quiesced, wanted func(vmid int) bool) {
	now := slices.Clone(r.Quiesced)
	for _, q := range earlier {
		if wanted(q.VMID) && !slices.ContainsFunc(now, func(have Quiesced) bool { return have.VMID == q.VMID }) {
			r.AddQuiesced(q)
		}
	}
	slices.SortFunc(r.Quiesced, func(a, b Quiesced) int { return a.VMID - b.VMID })
}
