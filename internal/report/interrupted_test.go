package report

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// Two runs see the same interrupted receive only if neither the resume token nor the disk's newest
// snapshot has changed between the runs.
func TestInterrupted(t *testing.T) {
	first := time.Unix(1_800_000_000, 0)
	now := first.Add(26 * time.Hour)
	seen := Interrupted{}.Again("1-token", 7, first)
	assert.Equal(t, first, seen.Since)
	assert.NotContains(t, seen.Token, "token", "others may read the report")
	ahead := seen
	ahead.Since, ahead.Seen = now.Add(time.Second), now.Add(time.Second)
	set := seen
	set.Seen = now.Add(time.Second)
	old := seen
	old.Since, old.Seen = now.Add(-100*24*time.Hour), now.Add(-31*24*time.Hour)
	unread := Interrupted{}.Again("1-token", 0, first)
	for name, test := range map[string]struct {
		before Interrupted
		token  string
		newest uint64
		since  time.Time
	}{
		"never seen":                           {Interrupted{}, "1-token", 7, now},
		"as it was":                            {seen, "1-token", 7, first},
		"more has arrived":                     {seen, "1-other", 7, now},
		"a snapshot was received":              {seen, "1-token", 8, now},
		"its list could not be read":           {seen, "1-token", 0, first},
		"its list could not be read before":    {unread, "1-token", 7, first},
		"first seen by a clock that was ahead": {ahead, "1-token", 7, now},
		"last seen by a clock that was ahead":  {set, "1-token", 7, now},
		"not looked at for long":               {old, "1-token", 7, now},
	} {
		next := test.before.Again(test.token, test.newest, now)
		assert.Equal(t, test.since, next.Since, name)
		assert.Equal(t, now, next.Seen, name)
		assert.NotZero(t, next.Newest, name)
	}
	r := Run{Interrupted: map[string]Interrupted{"seen": seen, "ahead": ahead, "old": old}}
	assert.Equal(t, map[string]Interrupted{"seen": seen}, r.InterruptedAt(now))
	assert.Len(t, r.Interrupted, 3)
}
