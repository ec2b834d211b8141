package report

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// seen has the hours at which a run found the lock held. The field `since` is the hour since which
// the lock counts as held without a break.
func TestSighting(t *testing.T) {
	at := func(hours float64) time.Time {
		return time.Unix(1_800_000_000, 0).Add(time.Duration(hours * float64(time.Hour)))
	}
	for name, test := range map[string]struct {
		seen  []float64
		since float64
	}{
		"the first":                {[]float64{0}, 0},
		"each quarter of an hour":  {[]float64{0, 0.25, 0.5}, 0},
		"each hour":                {[]float64{0, 1.01}, 0},
		"twice, a day apart":       {[]float64{0, 24}, 24},
		"each day":                 {[]float64{0, 24, 48}, 0},
		"long ago, and often":      {[]float64{0, 0.25, 10}, 0},
		"more than a day ago":      {[]float64{0, 0.25, 25.5}, 25.5},
		"and again since":          {[]float64{0, 0.25, 25.5, 26}, 25.5},
		"after a clock went back":  {[]float64{5, 5.25, 1}, 1},
		"and it is right from now": {[]float64{5, 5.25, 1, 1.5}, 1},
	} {
		var s Sighting
		var since time.Time
		for _, hours := range test.seen {
			s, since = s.Again(at(hours))
		}
		assert.Equal(t, at(test.since), since, name)
	}
	r := Run{Sightings: map[string]Sighting{"old": {at(0), at(1)}, "new": {at(0), at(2)}}}
	assert.Equal(t, map[string]Sighting{"new": {at(0), at(2)}}, r.SightingsAt(at(26.5)))
	assert.Len(t, r.Sightings, 2)
}
