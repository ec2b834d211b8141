package checker

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"snapwatch/config"
)

// Report contains the verdicts on all disks, pools and guests at one time.
type Report struct {
	Now time.Time
	// Failure says why no pool could be read, "" if the pools could be read.
	Failure string
	Pools   []PoolResult
	// Disks are ordered by severity, the worst first, and then by name.
	Disks []Result
	// Guests are the guests of the report's disks with their verdicts, the worst first. Guests is
	// nil before [Report.WithGuests], and if only disks were requested.
	Guests []Guest
	// Questions has questions about the guests' disks. Answers to the questions make the verdicts
	// on the guests more exact.
	Questions []GuestQuestion
	// Nodes has, of each node that may own guests, the answer about the node's guests.
	Nodes []NodeAnswer
	// Runs has, for snap and for prune, the age of the last good run on this host, if these ages
	// were requested.
	Runs []RunAge
	// Notes are remarks about the check itself, for example about a requested disk that does not
	// exist, or a maintenance entry whose time is over.
	Notes []Note

	// Unmet is the number of entries under expect: that match no disk on this host.
	Unmet int

	// absent has the disks that owners have and this host lacks. owners has, by guest, facts from
	// the nodes' answers. filter selects the disks that were requested.
	absent []absence
	owners map[guestKey]guestOwner
	// proofProblem says why the record of drills could not be read, "" if it was read.
	proofProblem string
	filter       Filter
}

// Result is one disk with its judgement.
type Result struct {
	Disk
	Judgement
	// Warning and Critical are the limits for the age of the disk's newest managed snapshot.
	Warning, Critical Limit
	// MaxStoppedAge is the limit for the age of the disk while it is stopped, and
	// MaxInitialReceive for the duration of its first receive.
	MaxStoppedAge, MaxInitialReceive Limit
	// Compared is the comparison with the disk's owner, nil if no node was asked. The State of the
	// judgement is the worse of the verdict's state and the comparison's state.
	Compared *Comparison
	// Evidence has the answers about the disk, one from each asked node.
	Evidence []Evidence
}

// PoolResult is one pool with the verdict on the pool as a whole.
type PoolResult struct {
	Pool
	Verdict PoolVerdict
	Level   limitLevel
	State   State
	// Reason explains the pool's verdict, "" if the pool has no fault.
	Reason string
	// found has all verdicts that apply to the pool, the worst first.
	found []poolMatch
	// FillWarning and FillCritical are the limits for the used part of the pool, in percent, 0
	// for no limit.
	FillWarning, FillCritical int
}

// Note is a remark of a report, with a Nagios state.
type Note struct {
	State State
	Text  string
	// Subject names the fault that the note is about, without the ages and numbers of Text, so
	// that Subject is unchanged while the fault lasts. If Subject is "", Text is used as the
	// subject.
	Subject string
	// kind is a word for the kind of the fault; a changed kind with the same subject is reported
	// as a change.
	kind string
	// unmatched is a VMID that the filter selects and that no disk here has, 0 if the note is about
	// something else.
	unmatched int
	// proofOf is the VMID of the guest whose proof the note is about, 0 for other notes.
	proofOf int
	// whole is true if the note is left out of a report that is filtered by pool, guest or disk.
	whole bool
}

// Assemble judges all disks of the pools at the time now. After Assemble, callers add the owners'
// answers with [Report.WithOwners], and then the guests with [Report.WithGuests].
func Assemble(pools []Pool, p Policy, now time.Time, notes ...Note) Report {
	r := Report{Now: now, Notes: notes}
	all := 0
	for _, pool := range pools {
		all += len(pool.Disks)
	}
	r.Disks = make([]Result, 0, all)
	for _, pool := range pools {
		r.Pools = append(r.Pools, JudgePool(pool, p, now))
		for i := range pool.Disks {
			r.Disks = append(r.Disks, Result{Disk: pool.Disks[i]})
			r.Disks[len(r.Disks)-1].damagedBy(pool.Health)
			r.Disks[len(r.Disks)-1].judge(&p, now)
		}
	}
	r.nameCopies()
	unmet := p.unmet(r.Disks)
	r.Notes, r.Unmet = append(slices.Clip(r.Notes), unmet...), len(unmet)
	for _, m := range p.expired(now) {
		r.Notes = append(r.Notes, Note{State: Warning, Text: expiredText(m)})
	}
	r.sort()
	return r
}

// damagedBy sets the errors that root found in the disk, unless Damaged is set already.
func (d *Result) damagedBy(h *Health) {
	if d.Damaged == "" {
		d.Damaged = h.damageOf(d.Dataset)
	}
}

// judge sets the judgement of the disk at the time now, and the limits for the disk.
func (d *Result) judge(p *Policy, now time.Time) {
	d.Judgement = Judge(&d.Disk, p, now)
	d.Warning, d.Critical = p.Limits(&d.Disk)
	d.MaxStoppedAge, d.MaxInitialReceive = p.LongLimits(&d.Disk)
}

// nameCopies adds to the reason of a stale disk the name of a fresh disk here with the same disk
// name, because the guest's disk may have been moved to the fresh one. The stale disk alarms
// nevertheless, because disks with equal names may be different disks.
func (r Report) nameCopies() {
	var fresh map[string]string // by the disk's name; made only if a disk is stale
	for i := range r.Disks {
		d := &r.Disks[i]
		if d.Verdict != Stale {
			continue
		}
		if fresh == nil {
			fresh = r.fresh()
		}
		if other, ok := fresh[d.Name()]; ok {
			d.Reason += fmt.Sprintf("; %s is fresh: if this one is not needed any more, put it under ignore: or destroy it", other)
		}
	}
}

// fresh returns the datasets of the fresh disks, by the disks' names.
func (r Report) fresh() map[string]string {
	datasets := map[string]string{}
	for i := range r.Disks {
		if d := &r.Disks[i]; d.Verdict == Fresh {
			datasets[d.Name()] = d.Dataset
		}
	}
	return datasets
}

// sort orders the report's disks, the worst first. A [Result] is large, so small keys are sorted
// instead of results.
func (r Report) sort() {
	type key struct {
		severity int
		verdict  Verdict
		dataset  string
		at       int
	}
	keys := make([]key, len(r.Disks))
	for i := range r.Disks {
		d := &r.Disks[i]
		keys[i] = key{d.State.severity(), d.Verdict, d.Dataset, i}
	}
	worstFirst := func(a, b key) int {
		if a.severity != b.severity {
			return b.severity - a.severity
		}
		if a.verdict != b.verdict {
			return cmp.Compare(a.verdict, b.verdict)
		}
		return cmp.Or(strings.Compare(a.dataset, b.dataset), a.at-b.at)
	}
	if slices.IsSortedFunc(keys, worstFirst) {
		return // the usual case: all disks are well, and zfs lists them by name
	}
	slices.SortFunc(keys, worstFirst)
	unsorted := slices.Clone(r.Disks)
	for i, k := range keys {
		r.Disks[i] = unsorted[k.at]
	}
}

func expiredText(m config.Maintenance) string {
	return fmt.Sprintf("the maintenance of %s ended at %s: remove it from the configuration, or extend it",
		m.Selector, m.Until.Format(time.RFC3339))
}

// NoDisk reports whether the report must say that no disk was found. NoDisk is false if a filter
// selects a guest that lacks all its disks, because the guest's verdict already reports the lack.
func (r Report) NoDisk() bool {
	return len(r.Disks) == 0 && (len(r.filter.VMIDs) == 0 || len(r.Guests) == 0)
}

// State returns the worst state of the report. A report without disks is never OK, because its
// configuration may name the wrong pools.
func (r Report) State() State {
	worst := Worst(r.States()...)
	if r.NoDisk() {
		worst = Worst(worst, Unknown)
	}
	return worst
}

// States returns the states of all pools, disks, guests and notes.
func (r Report) States() []State {
	var states []State
	for _, p := range r.Pools {
		states = append(states, p.State)
	}
	for _, d := range r.Disks {
		states = append(states, d.State)
	}
	for i := range r.Guests {
		states = append(states, r.Guests[i].State)
	}
	for _, n := range r.Notes {
		states = append(states, n.State)
	}
	return states
}

// Count returns the number of disks with the verdict.
func (r Report) Count(v Verdict) int {
	return r.countBy(v, func(Result) bool { return true })
}

// Unproven returns the number of stopped disks that are silent although no owner confirms that the
// guest is stopped.
func (r Report) Unproven() int { return r.countBy(Stopped, Result.Unproven) }

func (r Report) countBy(v Verdict, counts func(Result) bool) int {
	n := 0
	for _, d := range r.Disks {
		if d.Verdict == v && counts(d) {
			n++
		}
	}
	return n
}

// Oldest returns the disk with the greatest age among the disks whose age is judged, nil if there
// is none.
func (r Report) Oldest() *Result {
	var found *Result
	for i := range r.Disks {
		d := &r.Disks[i]
		if d.Verdict != Stale && d.Verdict != Fresh && d.Verdict != Never {
			continue
		}
		if found == nil || d.Age > found.Age {
			found = d
		}
	}
	return found
}

// Laggard returns the disk that is furthest behind its owner, nil if no disk was compared.
func (r Report) Laggard() *Result {
	var found *Result
	for i := range r.Disks {
		d := &r.Disks[i]
		if c := d.Compared; c != nil && (c.Outcome == InSync || c.Outcome == Lagging) && (found == nil || c.Lag > found.Compared.Lag) {
			found = d
		}
	}
	return found
}
