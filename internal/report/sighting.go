package report

import (
	"maps"
	"time"
)

// Sighting is when runs saw that somebody held a pool's lock who does not say since when: the
// first, and the last.
type Sighting struct {
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
}

const (
	// sightingFor is how long a sighting counts: until the next run, if there is one a day.
	sightingFor = 25 * time.Hour
	// loneFor is how long it counts alone. Somebody else may have had the lock for a moment
	// each time, and then two runs are no proof.
	loneFor = 2 * time.Hour
)

func (s Sighting) counts(now time.Time) bool {
	age := now.Sub(s.Last)
	return age >= 0 && age <= sightingFor
}

// Again returns the sighting with another one now, and since when that lock has been held as far
// as they show.
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

// SightingsAt returns those of the run's sightings that count for one that begins at a time.
func (r *Run) SightingsAt(now time.Time) map[string]Sighting {
	counting := map[string]Sighting{}
	maps.Copy(counting, r.Sightings)
	maps.DeleteFunc(counting, func(_ string, s Sighting) bool { return !s.counts(now) })
	return counting
}
