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
	// Consistent is application or crash.
	Consistent Consistency `json:"consistent"`
	// Reason is why it is but crash-consistent.
	Reason string `json:"reason,omitempty"`
	// Seconds is for how long it was frozen at most.
	Seconds float64 `json:"frozen_seconds"`
	// At is when that was.
	At time.Time `json:"at"`
}

// Consistency is what a snapshot of a running guest is worth to what runs in it.
type Consistency string

// The consistencies.
const (
	// Application: the guest was frozen; what was written is whole.
	Application Consistency = "application"
	// Crash: as after a power cut.
	Crash Consistency = "crash"
)

// CarryOver keeps what an earlier run said of guests that were not due in this one.
// wanted tells of a guest whether it is to be frozen at all.
func (r *Run) CarryOver(earlier []Quiesced, wanted func(vmid int) bool) {
	for _, q := range earlier {
		if wanted(q.VMID) && !slices.ContainsFunc(r.Quiesced, func(have Quiesced) bool { return have.VMID == q.VMID }) {
			r.Quiesced = append(r.Quiesced, q)
		}
	}
	slices.SortFunc(r.Quiesced, func(a, b Quiesced) int { return a.VMID - b.VMID })
}
