package report

import (
	"maps"
	"time"
)

// Sighting has the first and the last time when a run found a pool's lock taken by a process that
// does not record the time of locking.
type Sighting struct {
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
}

const (
	// A Sighting is valid for the time sightingFor after its field Last: long enough for one run a
	// day.
	sightingFor = 25 * time.Hour
	// If so far only one run found the pool locked, its Sighting is valid for the time loneFor. Two
	// runs that are further apart than loneFor and both find the pool locked do not prove that the
	// lock was held between the two runs: a process may have held the lock for a moment at each run.
	loneFor = 2 * time.Hour
)

func (s Sighting) counts(now time.Time) bool {
	age := now.Sub(s.Last)
	return age >= 0 && age <= sightingFor
}

// Again (a method) returns the Sighting that follows s after one more run found the pool locked, at
// the time `now`. The result `since` is the time since which the lock has been held, as far as runs
// have seen.
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

// SightingsAt returns, by pool, each Sighting in the report that is still valid at the time now.
func (r *Run) SightingsAt(now time.Time) map[string]Sighting {
	counting := map[string]Sighting{}
	maps.Copy(counting, r.Sightings)
	maps.DeleteFunc(counting, func(_ string, s Sighting) bool { return !s.counts(now) })
	return counting
}
