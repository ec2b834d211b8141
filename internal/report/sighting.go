package report

import (
	"maps"
	"time"
)

// Sighting records the first and the last time that runs saw a pool's lock held by a process that
// does not record the time of locking.
type Sighting struct {
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
}

const (
	// sightingFor is the time for which the record that a run found a pool locked is valid: long
	// enough for one run a day.
	sightingFor = 25 * time.Hour
	// loneFor is the time for which the record is valid after only one run found the pool locked.
	// If the next run follows later, the two runs do not prove that the lock was held between them,
	// because a process may have held the lock for a moment each time.
	loneFor = 2 * time.Hour
)

func (s Sighting) counts(now time.Time) bool {
	age := now.Sub(s.Last)
	return age >= 0 && age <= sightingFor
}

// Again returns the record s of a locked pool after a run found the pool locked at the time now,
// and the time since which the lock has been held according to the record.
func (s Sighting) Again(now time.Time) (next Sighting, since time.Time) {
	if !s.counts(now) {
		return Sighting{now, now}, now
	}
	next = Sighting{s.First, now}
	if lone := s.First.Equal(s.Last); lone && now.Sub(s.Last) > loneFor {
		return next, now
	}
	return next, s.First
}

// SightingsAt returns the records of locked pools in the report that are still valid at the time
// now.
func (r *Run) SightingsAt(now time.Time) map[string]Sighting {
	counting := map[string]Sighting{}
	maps.Copy(counting, r.Sightings)
	maps.DeleteFunc(counting, func(_ string, s Sighting) bool { return !s.counts(now) })
	return counting
}
