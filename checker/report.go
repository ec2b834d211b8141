package checker

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"snapwatch/config"
)

// Report is what is said of all disks at one time.
type Report struct {
	Now time.Time
	// Failure says why nothing could be found out at all, "" otherwise.
	Failure string
	Pools   []PoolResult
	// Disks are the worst first, and by name where they are equal.
	Disks []Result
	// Guests are those of the disks, the worst first; nil where disks alone were asked for,
	// and before [Report.WithGuests].
	Guests []Guest
	// Questions are what must be looked up to judge them well.
	Questions []GuestQuestion
	// Nodes are those that were asked and may own guests.
	Nodes []NodeAnswer
	// Runs are the ages of this host's own runs, where those were asked for.
	Runs []RunAge
	// Notes are about the check itself: what was asked for and is not there, an
	// entry of the configuration whose time is over.
	Notes []Note

	// absent is what owners have and this host lacks, names what they call guests; filter is
	// what was asked for.
	absent []absence
	names  map[guestKey]string
	filter Filter
}

// Result is one disk with its judgement.
type Result struct {
	Disk
	Judgement
	// Warning and Critical are the limits that hold for the disk.
	Warning, Critical Limit
	// MaxStoppedAge and MaxInitialReceive likewise.
	MaxStoppedAge, MaxInitialReceive Limit
	// Compared is what the disk's owner says, nil where no node was asked. The
	// judgement's State is the worse of the verdict's and the comparison's.
	Compared *Comparison
	// Evidence is what the nodes said that were asked.
	Evidence []Evidence
}

// PoolResult is one pool with what is wrong with it as a whole.
type PoolResult struct {
	Pool
	Verdict PoolVerdict
	Level   limitLevel
	State   State
	// Reason is "" where all is well.
	Reason string
	// FillWarning and FillCritical are the limits in percent, 0 for none.
	FillWarning, FillCritical int
}

// Note is a remark with the state it asks for.
type Note struct {
	State State
	Text  string
	// whole is true for one that says nothing where only some disks are asked for.
	whole bool
}

// Assemble judges all disks of the pools at a time. What owners say of them comes next, by
// [Report.WithOwners], and then the guests that they make, by [Report.WithGuests].
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
	r.Notes = append(slices.Clip(r.Notes), p.unmet(r.Disks)...)
	for _, m := range p.expired(now) {
		r.Notes = append(r.Notes, Note{State: Warning, Text: expiredText(m)})
	}
	r.sort()
	return r
}

// damagedBy notes what root found of the disk, unless that is known already.
func (d *Result) damagedBy(h *Health) {
	if d.Damaged == "" {
		d.Damaged = h.damageOf(d.Dataset)
	}
}

// judge fills in the judgement of the disk, and the limits that hold for it.
func (d *Result) judge(p *Policy, now time.Time) {
	d.Judgement = Judge(&d.Disk, p, now)
	d.Warning, d.Critical = p.Limits(&d.Disk)
	d.MaxStoppedAge, d.MaxInitialReceive = p.LongLimits(&d.Disk)
}

// nameCopies adds to the reasons of stale disks that another disk of that name here is
// fresh: the disk may have moved. It excuses nothing, as the name proves nothing.
func (r Report) nameCopies() {
	var fresh map[string]string // the dataset by the disk's name, made where a disk is stale
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

// fresh are the datasets of the disks that are, by the disks' names.
func (r Report) fresh() map[string]string {
	datasets := map[string]string{}
	for i := range r.Disks {
		if d := &r.Disks[i]; d.Verdict == Fresh {
			datasets[d.Name()] = d.Dataset
		}
	}
	return datasets
}

// sort puts the worst disks first. A result is large: only what it is sorted by is
// moved about.
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
		return // as zfs lists them, where all are well
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

// State is the worst of all there is. A report of no disks at all is never OK: the
// check may look in the wrong place.
func (r Report) State() State {
	worst := Worst(r.States()...)
	if len(r.Disks) == 0 {
		worst = Worst(worst, Unknown)
	}
	return worst
}

// States are those of all pools, disks, guests and notes.
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

// Count is how many disks have the verdict.
func (r Report) Count(v Verdict) int {
	return r.countBy(v, func(Result) bool { return true })
}

// Unproven is how many stopped disks are silent without an owner that confirms it.
func (r Report) Unproven() int { return r.countBy(Stopped, Result.unproven) }

func (r Report) countBy(v Verdict, counts func(Result) bool) int {
	n := 0
	for _, d := range r.Disks {
		if d.Verdict == v && counts(d) {
			n++
		}
	}
	return n
}

// Oldest is the disk with the greatest age among those whose age is judged, nil if
// there is none.
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

// Laggard is the disk that is most behind its owner, nil where none was compared
// with one.
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
