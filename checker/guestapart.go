package checker

import (
	"fmt"
	"time"

	"snapwatch/internal/text"
)

// apartLevel returns the limit level of the time for which a guest's disks have had no newer
// snapshot in common. If one of the disks is stale, apartLevel returns Within, because the stale
// disk is the actual fault.
func (c *guestEvaluation) apartLevel() (limitLevel, Limit) {
	if !c.snapshots || c.agreed || c.firstWith(Stale) != nil || c.firstWith(Future) != nil {
		return Within, Limit{}
	}
	return c.level(c.timeApart())
}

// torn applies to a guest whose disks have had no newer snapshot in common for longer than a limit.
func (c *guestEvaluation) torn() (match, bool) {
	level, limit := c.apartLevel()
	if level == Within {
		return match{}, false
	}
	if c.found == nil {
		return match{level: BeyondCritical, limit: limit, reason: "its disks have no snapshot in common: " + c.newest()}, true
	}
	return match{level, limit, fmt.Sprintf("its disks have nothing newer in common than %s, %s old, and have been apart for %s (%s): %s",
		c.found.Time, text.Age(c.age), text.Age(c.timeApart()), limit, c.newest())}, true
}

// timeApart returns the time for which a guest's disks have had no newer snapshot in common
// although one of the disks had newer snapshots. A guest that was off for a week is not torn
// immediately when the first of its disks gets a new snapshot. If the disks have no snapshot in
// common, timeApart returns the time for which all disks have existed here. If the duration is
// unknown, timeApart returns the longest possible duration.
func (c *guestEvaluation) timeApart() time.Duration {
	if c.found == nil {
		last := c.serving[0].Created
		for _, d := range c.serving {
			if d.Created.After(last) {
				last = d.Created
			}
		}
		return max(0, c.now.Sub(last))
	}
	var since time.Time
	for _, d := range c.serving {
		if d.snapshotAt(c.found) == d.Newest {
			continue
		}
		if d.Looked == nil || d.Looked.Ahead.IsZero() {
			return c.age
		}
		if since.IsZero() || d.Looked.Ahead.Before(since) {
			since = d.Looked.Ahead
		}
	}
	return min(c.age, max(0, c.now.Sub(since)))
}

// newest names two disks of the guest and their newest snapshots: the disk whose newest snapshot is
// the oldest, and the disk whose newest snapshot is the youngest.
func (c *guestEvaluation) newest() string {
	oldest, newest := c.serving[0], c.serving[0]
	for _, d := range c.serving {
		if d.Newest.Creation.Before(oldest.Newest.Creation) {
			oldest = d
		}
		if d.Newest.Creation.After(newest.Newest.Creation) {
			newest = d
		}
	}
	return fmt.Sprintf("%s has %s, %s has %s", oldest.Dataset, oldest.Newest.Name, newest.Dataset, newest.Newest.Name)
}
