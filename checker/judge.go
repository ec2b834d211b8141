package checker

import (
	"fmt"
	"time"

	"snapwatch/internal/text"
	"snapwatch/internal/zfs"
)

// Judgement is the verdict on one disk, with all that a person needs to check the verdict.
type Judgement struct {
	Verdict Verdict
	Level   limitLevel
	State   State
	// Reason explains the verdict on the disk in one line.
	Reason string
	// Age is the age of the disk's newest managed snapshot, or of its dataset if the disk has no
	// managed snapshot. Age is compared with Limit, and is never negative.
	Age time.Duration
	// Limit is the age limit that the disk exceeds. If the disk exceeds no limit, Limit is the age
	// limit that the disk will exceed first. If the verdict does not depend on an age, Limit.Range
	// is nil and Limit.Rule names the rule behind the verdict.
	Limit Limit
}

// clockSlack is the time by which a snapshot may be in the future before a clock counts as wrong.
// With NTP, the clocks of two hosts usually differ by far less than clockSlack.
const clockSlack = 5 * time.Minute

// deletedHint is an age: if a stale disk is older, its reason names a deleted guest as a likely
// cause.
const deletedHint = 3 * 24 * time.Hour

// Judge returns the verdict on the disk d by the policy p at the time now. Judge is a pure
// function. If the facts allow several verdicts, Judge returns a verdict that alarms.
func Judge(d *Disk, p *Policy, now time.Time) Judgement {
	c := evaluation{disk: d, policy: p, now: now, snapshot: d.Newest != nil}
	since := d.Created
	if c.snapshot {
		since = d.Newest.Creation
	}
	c.age = max(0, now.Sub(since))
	c.level, c.limit = p.exceeded(d, c.age)
	for v := range Fresh {
		if f, ok := c.holds(v); ok {
			return c.verdict(v, f)
		}
	}
	return c.verdict(Fresh, match{Within, c.limit, c.freshness()})
}

// freshness returns the reason for the verdict fresh. freshness calls no formatting function:
// nearly every disk is fresh, and allocations would slow each scrape.
func (c *evaluation) freshness() string {
	words := append(make([]byte, 0, 96), "newest "...)
	words = append(append(words, c.disk.Newest.Name...), " is "...)
	return string(append(text.AppendAge(words, c.age), " old"...))
}

// holds reports whether the verdict v applies to the disk, given that no verdict of higher
// precedence applies. The verdicts are spelled out as cases because calls through a table would
// make every disk escape to the heap, and every scrape judges every disk.
func (c *evaluation) holds(v Verdict) (match, bool) {
	switch v {
	case Unreadable:
		return c.unreadable()
	case Missing:
		return c.missing()
	case Damaged:
		return c.damaged()
	case Receiving:
		return c.receiving()
	case Excluded:
		return c.excluded()
	case Never:
		return c.never()
	case Future:
		return c.future()
	case Stopped:
		return c.stopped()
	case Stale:
		return c.stale()
	}
	return match{}, false
}

// evaluation contains one disk and the values from which its verdict follows.
type evaluation struct {
	disk     *Disk
	policy   *Policy
	now      time.Time
	snapshot bool // whether the disk has a managed snapshot
	age      time.Duration
	level    limitLevel // the greatest limit that the age exceeds
	limit    Limit      // that limit, or the next one if none is exceeded
}

// match is the reason why a verdict applies.
type match struct {
	level  limitLevel
	limit  Limit
	reason string
}

func (c *evaluation) verdict(v Verdict, f match) Judgement {
	if c.disk.Unlisted != "" && v != Unreadable {
		f.reason += "; it may be younger: " + c.disk.Unlisted
	}
	return Judgement{Verdict: v, Level: f.level, State: table[v].States[f.level], Reason: f.reason, Age: c.age, Limit: f.limit}
}

func (c *evaluation) unreadable() (match, bool) {
	if c.disk.Problem != "" {
		return match{reason: c.disk.Problem}, true
	}
	if c.disk.Unlisted != "" && !c.boundSuffices() {
		return match{reason: fmt.Sprintf("%s is %s old, and newer snapshots are unknown: %s", c.disk.Newest.Name, text.Age(c.age), c.disk.Unlisted)}, true
	}
	age := c.now.Sub(c.disk.ReadAt)
	if limit := c.policy.MaxDataAge; !c.disk.Gone && limit > 0 && age > limit {
		return match{limit: atMost(limit, "two intervals"), reason: fmt.Sprintf("last read %s ago, limit %s", text.Age(age), text.Age(limit))}, true
	}
	return match{}, false
}

// boundSuffices reports whether the newest known snapshot is so young that the disk is fresh
// whatever newer snapshots exist. The limits for running guests also apply to a disk whose newest
// snapshot is a _stopped one, because the guest may have been started after this snapshot. If a
// limit of the disk alarms for low ages, boundSuffices returns false.
func (c *evaluation) boundSuffices() bool {
	d := c.disk
	if !c.snapshot || c.level != Within || d.Newest.Creation.After(c.now) || c.policy.maxStoppedAge(d).exceeded(c.age) {
		return false
	}
	warning, critical := c.policy.Limits(d)
	return warning.onlyMost() && critical.onlyMost()
}

// The verdict missing does not apply to a disk that the configuration excludes, so that an admin
// can take out a pool for maintenance.
func (c *evaluation) missing() (match, bool) {
	if _, excluded := c.policy.exclusion(c.disk, c.now); !c.disk.Gone || excluded {
		return match{}, false
	}
	return match{
		limit:  Limit{Rule: "seen before"},
		reason: "was here and is gone; if that is right: snapwatch forget " + c.disk.Dataset,
	}, true
}

// The verdict damaged does not apply to a disk that the configuration excludes.
func (c *evaluation) damaged() (match, bool) {
	if _, excluded := c.policy.exclusion(c.disk, c.now); c.disk.Damaged == "" || excluded {
		return match{}, false
	}
	return match{limit: Limit{Rule: "zpool status"}, reason: c.disk.Damaged}, true
}

func (c *evaluation) receiving() (match, bool) {
	if !c.disk.Receiving || c.disk.Gone || c.snapshot {
		return match{}, false
	}
	limit := c.policy.maxInitialReceive(c.disk)
	if limit.exceeded(c.age) {
		return match{BeyondWarning, limit, fmt.Sprintf("its first receive is not finished after %s (%s)", text.Age(c.age), limit)}, true
	}
	return match{Within, limit, fmt.Sprintf("its first receive is not finished, begun %s ago", text.Age(c.age))}, true
}

func (c *evaluation) excluded() (match, bool) {
	if rule, ok := c.policy.exclusion(c.disk, c.now); ok {
		return match{limit: Limit{Rule: rule}, reason: rule}, true
	}
	if c.disk.Template {
		return match{limit: Limit{Rule: "template"}, reason: "a template's disk does not change"}, true
	}
	if c.disk.BareClone() && c.disk.Owned == NotOwned {
		return match{limit: Limit{Rule: "clone"}, reason: "a clone of " + c.disk.Origin + ", no copy"}, true
	}
	if c.disk.NoSnap.Excludes() && c.disk.Owned == Owned {
		rule := zfs.LabelNoSnap + "=" + c.disk.NoSnap.Value
		return match{limit: Limit{Rule: rule}, reason: rule}, true
	}
	return match{}, false
}

// nosnap returns a hint for a copy with label:nosnap: on a copy, this label prevents no alarm.
// nosnap returns "" if the label is not set.
func (c *evaluation) nosnap() string {
	if !c.disk.NoSnap.Excludes() {
		return ""
	}
	return fmt.Sprintf("; %s=%s silences nothing on a copy: ask its owner (--owners), or put it under ignore:", zfs.LabelNoSnap, c.disk.NoSnap.Value)
}

func (c *evaluation) never() (match, bool) {
	if c.snapshot {
		return match{}, false
	}
	what := "no snapshot at all"
	if c.disk.NewestOfAny != "" {
		what = fmt.Sprintf("no managed snapshot (the newest of any kind is %s)", c.disk.NewestOfAny)
	}
	if c.level == Within && c.clockWentBack() {
		return match{BeyondWarning, c.limit, what + ", and its age is unknown: the clock here went back"}, true
	}
	return match{c.level, c.limit, fmt.Sprintf("%s since the dataset was made %s ago (%s)", what, text.Age(c.age), c.limit) + c.nosnap()}, true
}

func (c *evaluation) future() (match, bool) {
	if ahead := c.disk.Newest.Creation.Sub(c.now); ahead > clockSlack {
		return match{
			limit:  atMost(clockSlack, "clock skew"),
			reason: fmt.Sprintf("newest %s is %s in the future: a clock is wrong, here or where it was taken", c.disk.Newest.Name, text.Age(ahead)),
		}, true
	}
	// If this host's clock is slow, every snapshot looks too young. A disk that looks stale
	// although the clock is slow is certainly stale. A disk that does not look stale may be stale
	// nevertheless.
	if c.level == Within && c.clockWentBack() {
		return match{
			limit:  atMost(clockSlack, "clock skew"),
			reason: fmt.Sprintf("the clock here went back by at least %s: no age can be believed", text.Age(c.disk.HostClock.Sub(c.now))),
		}, true
	}
	return match{}, false
}

// clockWentBack reports whether this host's clock once showed a later time than now.
func (c *evaluation) clockWentBack() bool { return c.disk.HostClock.After(c.now.Add(clockSlack)) }

func (c *evaluation) stopped() (match, bool) {
	class, ok := c.disk.Newest.Class()
	if !ok || class != zfs.Stopped || c.pendingLong() || c.labelledRunning() {
		return match{}, false
	}
	limit := c.policy.maxStoppedAge(c.disk)
	if limit.exceeded(c.age) {
		return match{BeyondWarning, limit, fmt.Sprintf("for %s (%s): is its replication still alive?", text.Age(c.age), limit)}, true
	}
	return match{Within, limit, fmt.Sprintf("newest %s is %s old", c.disk.Newest.Name, text.Age(c.age))}, true
}

// pendingLong reports whether a receive has been pending for longer than the warning limit. A
// receive that is pending for a shorter time than the limit is normal, because a running zfs
// receive -s looks pending. If the start of a pending receive is unknown, pendingLong returns true.
func (c *evaluation) pendingLong() bool {
	d := c.disk
	if !d.PendingReceive || d.PendingSince.IsZero() {
		return d.PendingReceive
	}
	warning, _ := c.policy.Limits(d)
	return warning.exceeded(max(0, c.now.Sub(d.PendingSince)))
}

// labelledRunning reports whether the disk's own label contradicts its newest snapshot, if the
// configuration trusts labels on a replica. A label can make a stopped disk alarm, but can never
// make a disk silent.
func (c *evaluation) labelledRunning() bool {
	label := c.disk.Running.Own()
	return c.policy.TrustLabel && label != "" && label != zfs.LabelStopped
}

func (c *evaluation) stale() (match, bool) {
	if c.level == Within {
		return match{}, false
	}
	reason := fmt.Sprintf("newest %s is %s old (%s)", c.disk.Newest.Name, text.Age(c.age), c.limit)
	switch {
	case c.disk.PendingReceive:
		reason += ", a receive is pending"
		if of := c.disk.PendingSnapshot; of != "" {
			reason += " (of " + of + ")"
		}
		if since := c.disk.PendingSince; !since.IsZero() {
			reason += " for " + text.Age(max(0, c.now.Sub(since)))
		}
	case c.age > deletedHint:
		reason += ", perhaps its guest was deleted"
	}
	return match{c.level, c.limit, reason + c.nosnap()}, true
}
