package report

import (
	"slices"
	"time"
)

// Quiesced is the outcome for a guest that the run should freeze for its snapshots: whether the
// guest was frozen, and how consistent the snapshots are.
type Quiesced struct {
	VMID int `json:"vmid"`
	// Group is the name of the guest's group, "" if the guest is not in a group.
	Group string `json:"group,omitempty"`
	// How is the configured way to freeze the guest: "agent" or "cgroup".
	How string `json:"how"`
	// Snapshot is the name of the guest's snapshots, "" if the run took none.
	Snapshot string `json:"snapshot,omitempty"`
	// Consistent is the consistency of the guest's snapshots: application, crash or torn.
	Consistent Consistency `json:"consistent"`
	// Reason is the reason why Consistent is not Application.
	Reason string `json:"reason,omitempty"`
	// Faults has the keys of the lasting faults that prevented a consistent snapshot of the guest.
	// A lasting fault has the same key in each run. A momentary fault, such as a running backup,
	// has no key. While a momentary fault exists, Faults still has the keys of the lasting faults of
	// earlier runs.
	Faults []string `json:"faults,omitempty"`
	// Seconds is the longest time for which the guest may have been frozen.
	Seconds float64 `json:"frozen_seconds"`
	// At is the time when the guest was frozen.
	At time.Time `json:"at"`
}

// Consistency says how consistent a snapshot of a running guest is for the programs in the guest.
type Consistency string

// The consistencies of the snapshots of a running guest.
const (
	// Application means that the guest was frozen until all its disks had their snapshots, so all
	// data written before the freeze is complete.
	Application Consistency = "application"
	// Crash means that the snapshots have the state of the disks after a power cut.
	Crash Consistency = "crash"
	// Torn means that at least one of the guest's disks has no snapshot of this time, so the
	// snapshots of the other disks may not match this disk.
	Torn Consistency = "torn"
)

// AddQuiesced adds to the report the outcome of freezing a guest. If the guest was frozen twice,
// because its disks got their snapshots at two times, the report has only the worse outcome.
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

// CarryOver copies the outcome of a guest's freeze from an earlier report, if the guest got no
// snapshots in this run. The argument `wanted` is a function that reports whether the configuration
// still asks for freezing a guest.
func (r *Run) CarryOver(earlier []Quiesced, wanted func(vmid int) bool) {
	now := slices.Clone(r.Quiesced)
	for _, q := range earlier {
		if wanted(q.VMID) && !slices.ContainsFunc(now, func(have Quiesced) bool { return have.VMID == q.VMID }) {
			r.AddQuiesced(q)
		}
	}
	slices.SortFunc(r.Quiesced, func(a, b Quiesced) int { return a.VMID - b.VMID })
}
