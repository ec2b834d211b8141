package checker

import (
	"fmt"
	"strings"
	"time"

	"snapwatch/internal/text"
	"snapwatch/internal/zfs"
)

// judge returns the guest with its verdict.
func (c *guestEvaluation) judge() Guest {
	disks := c.guestDisks
	g := Guest{Cluster: disks.cluster, VMID: disks.vmid}
	for _, a := range disks.absent {
		g.Lacking = append(g.Lacking, a.Dataset)
		g.ID = Disk{Dataset: a.Dataset, VMID: a.vmid}.GuestID()
	}
	if len(disks.serving) > 0 {
		g.Disks = make([]string, 0, len(disks.serving))
	}
	for _, d := range disks.serving {
		g.Disks = append(g.Disks, d.Dataset)
	}
	for _, d := range disks.others {
		g.Others, g.ID = append(g.Others, d.Dataset), d.GuestID()
	}
	if len(disks.serving) > 0 {
		g.ID = disks.serving[0].GuestID()
	}
	if g.Point = c.found; g.Point != nil {
		g.Age = c.age
	}
	for v := range GuestWhole {
		if f, ok := c.holds(v); ok {
			g.Because = c.cause
			return g.become(v, f.level, f.reason)
		}
	}
	if c.found == nil {
		return g.become(GuestUnreadable, Within, "the newest snapshots that its disks have in common are not known")
	}
	return g.become(GuestWhole, Within, c.wholeness())
}

// wholeness returns the reason for the verdict whole. wholeness calls no formatting function:
// nearly every guest is whole, and allocations would slow each scrape.
func (c *guestEvaluation) wholeness() string {
	words := append(make([]byte, 0, 64), "restore point "...)
	words = append(append(words, c.found.Time...), " is "...)
	return string(append(text.AppendAge(words, c.age), " old"...))
}

func (g Guest) become(v GuestVerdict, level limitLevel, reason string) Guest {
	g.Verdict, g.Level, g.State, g.Reason = v, level, guestTable[v].States[level], reason
	return g
}

// guestEvaluation contains one guest and the values from which its verdict follows.
type guestEvaluation struct {
	*guestDisks
	policy *Policy
	now    time.Time
	// snapshots is true if each disk of the guest has a managed snapshot. agreed is true if the
	// names of the newest snapshots of all disks have the same time.
	snapshots, agreed bool
	found             *Point
	age               time.Duration
	// owned is true if an owner's answer names all disks of the guest, and this answer is not too
	// old.
	owned bool
	// cause is the dataset of the disk whose verdict is the reason for the guest's verdict, "" if
	// there is none.
	cause string
}

func (c *guestEvaluation) look() {
	c.snapshots = len(c.serving) > 0
	for _, d := range c.serving {
		c.snapshots = c.snapshots && d.Newest != nil && !d.Gone && d.Disk.Problem == ""
	}
	if !c.snapshots {
		return
	}
	if p, agreed := c.agree(); agreed {
		point := p // only a point that counts is a piece of the heap
		c.agreed, c.found = true, &point
	} else {
		c.found = c.olderPoint()
	}
	if c.found != nil {
		c.age = max(0, c.now.Sub(c.found.Created))
	}
}

func (c *guestEvaluation) holds(v GuestVerdict) (match, bool) {
	switch v {
	case GuestUnreadable:
		return c.unreadable()
	case GuestIncomplete:
		return c.incomplete()
	case GuestTorn:
		return c.torn()
	case GuestDamaged:
		return c.damaged()
	case GuestStale:
		return c.stale()
	case GuestReceiving:
		return c.receiving()
	case GuestStopped:
		return c.stopped()
	case GuestExcluded:
		return c.excludedAll()
	}
	return match{}, false
}

// because returns a match that applies to the guest because of the verdict on one of the guest's
// disks.
func (c *guestEvaluation) because(d *Result, level limitLevel, reason string) match {
	c.cause = d.Dataset
	return match{level: level, reason: d.Dataset + ": " + reason}
}

func (c *guestEvaluation) unreadable() (match, bool) {
	if d := c.firstWith(Unreadable); d != nil {
		return c.because(d, 0, d.Reason), true
	}
	if two := c.uncompared; two != nil {
		return match{reason: fmt.Sprintf("it is not known whether %s and %s are copies of one disk%s", two[0].Dataset, two[1].Dataset, after(": ", problem(two)))}, true
	}
	if c.snapshots && !c.agreed && !c.commonKnown() {
		return match{reason: "it is not known which snapshots its disks have in common" + after(": ", problem(c.serving))}, true
	}
	return match{}, false
}

// commonKnown reports whether the newest snapshots that the guest's disks have in common are known.
// A restore point may be outdated: it was looked up for other disks than those on which the verdict
// now depends. commonKnown accepts an outdated restore point only if its age is within the limits.
// If the last lookup failed, commonKnown accepts the last known restore point.
func (c *guestEvaluation) commonKnown() bool {
	if level, _ := c.apartLevel(); c.found != nil && level == Within {
		return true
	}
	disks := make([]Disk, 0, len(c.serving))
	for _, d := range c.serving {
		disks = append(disks, d.Disk)
	}
	return (GuestQuestion{Common: disks}).Answered() && (c.found != nil || problem(c.serving) == "")
}

// problem returns why a lookup of the disks' snapshots failed, "" if no lookup failed.
func problem(disks []*Result) string {
	for _, d := range disks {
		if d.Looked != nil && d.Looked.Problem != "" {
			return d.Looked.Problem
		}
	}
	return ""
}

// firstWith returns the first of the guest's disks with the verdict v, nil if there is none.
func (c *guestEvaluation) firstWith(v Verdict) *Result {
	for _, d := range c.serving {
		if d.Verdict == v {
			return d
		}
	}
	return nil
}

func (c *guestEvaluation) incomplete() (match, bool) {
	if d := c.firstWith(Missing); d != nil {
		c.cause = d.Dataset
		return match{level: BeyondCritical, reason: d.Dataset + " is gone"}, true
	}
	var worst *absence
	for i := range c.absent {
		if a := &c.absent[i]; worst == nil || a.expected && !worst.expected {
			worst = a
		}
	}
	switch {
	case worst == nil:
		return match{}, false
	case worst.expected:
		return match{level: BeyondCritical, reason: fmt.Sprintf("%s has %s, which is not here%s; expect: names the disk", worst.node, worst.Dataset, andMore(len(c.absent)))}, true
	}
	return match{reason: fmt.Sprintf("%s has %s, which is not here%s: send it, or list it under ignore: [%s]; expect: [{vmid: %d}] makes this critical",
		worst.node, worst.Dataset, andMore(len(c.absent)), zfs.Base(worst.Dataset), worst.vmid)}, true
}

// andMore returns a text with the number of all disks except the first one, "" if there is only one
// disk.
func andMore(all int) string {
	if all < 2 {
		return ""
	}
	if all == 2 {
		return ", nor is another"
	}
	return fmt.Sprintf(", nor are %d others", all-1)
}

// level returns the limit level of an age for a guest: the lowest of the levels that the age has by
// the limits of the guest's disks. If the limits allow one disk old snapshots, the newest snapshots
// that all disks have in common may be equally old.
func (c *guestEvaluation) level(age time.Duration) (limitLevel, Limit) {
	var least limitLevel
	var limit Limit
	for i, d := range c.serving {
		if level, by := c.policy.exceeded(&d.Disk, age); i == 0 || level < least {
			least, limit = level, by
		}
	}
	return least, limit
}

func (c *guestEvaluation) damaged() (match, bool) {
	for _, d := range c.serving {
		if d.Damaged != "" {
			return c.because(d, 0, d.Damaged), true
		}
	}
	return match{}, false
}

func (c *guestEvaluation) stale() (match, bool) {
	var worst *Result
	level := BeyondWarning
	for _, d := range c.serving {
		if (d.Verdict == Stale || d.Verdict == Future) && (worst == nil || d.Level > worst.Level) {
			worst = d
			level = max(level, d.Level)
		}
	}
	switch {
	case worst != nil:
		return c.because(worst, level, worst.Reason), true
	case len(c.serving) == 0 && c.unwanted != nil:
		return c.because(c.unwanted, BeyondWarning, c.unwanted.Reason), true
	}
	return match{}, false
}

func (c *guestEvaluation) receiving() (match, bool) {
	var worst *Result
	for _, d := range c.serving {
		if (d.Verdict == Receiving || d.Verdict == Never) && (worst == nil || d.Level > worst.Level) {
			worst = d
		}
	}
	switch {
	case worst != nil:
		return c.because(worst, worst.Level, worst.Reason), true
	case c.snapshots && c.found == nil:
		return match{reason: "its disks have no snapshot in common yet: " + c.newest()}, true
	}
	return match{}, false
}

// The verdict stopped requires that the newest snapshot of each disk is a _stopped snapshot of the
// same time. If a disk has a snapshot that is newer than its _stopped snapshot, the guest ran after
// the stop.
func (c *guestEvaluation) stopped() (match, bool) {
	if !c.snapshots || !c.agreed {
		return match{}, false
	}
	level := Within
	for _, d := range c.serving {
		if d.Verdict != Stopped {
			return match{}, false
		}
		level = max(level, d.Level)
	}
	return match{level: level, reason: fmt.Sprintf("restore point %s, %s, is %s old", c.found.Time, zfs.Stopped, text.Age(c.age))}, true
}

func (c *guestEvaluation) excludedAll() (match, bool) {
	if len(c.serving) > 0 || c.excluded == nil {
		return match{}, false
	}
	return match{reason: strings.TrimPrefix(c.excluded.Reason, "excluded: ")}, true
}
