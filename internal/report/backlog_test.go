package report

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestBacklog(t *testing.T) {
	start := time.Date(2026, 7, 15, 12, 0, 0, 0, time.UTC)
	// The field due has the number of expired snapshots that each run left. The runs are six hours
	// apart. The field `from` is the index of the first run whose backlog counts as growing, -1 if
	// there is no such run.
	for _, test := range []struct {
		name string
		due  []int
		from int
	}{
		{"nothing", []int{0, 0, 0, 0, 0, 0, 0, 0, 0}, -1},
		{"as much each night as the days destroy", []int{9, 6, 3, 1, 9, 6, 3, 1, 9, 6, 3, 1, 9, 6, 3, 1}, -1},
		{"more each night than the days destroy", []int{9, 6, 3, 1, 10, 7, 4, 2, 11, 8, 5, 3, 12, 9, 6, 4}, 8},
		{"from nothing on", []int{0, 0, 0, 0, 4, 3, 2, 1, 5, 4, 3, 2, 6, 5, 4, 3}, 12},
		{"much at once", []int{0, 0, 0, 0, 99, 90, 80, 70, 60, 50, 40, 30, 20, 10, 0, 0, 0}, -1},
		{"steadily", []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, 8},
	} {
		var b Backlog
		from := -1
		for i, due := range test.due {
			b = b.With(due, start.Add(time.Duration(i)*6*time.Hour))
			if b.Grows() && from < 0 {
				from = i
			}
			assert.Equal(t, from >= 0, b.Grows(), "%s: %d", test.name, i)
		}
		assert.Equal(t, test.from, from, test.name)
	}
	mended := Backlog{Since: start, Least: 12, Yesterday: 8, Before: 4}
	assert.True(t, mended.Grows())
	assert.False(t, mended.With(3, start.Add(time.Hour)).Grows(), "more is destroyed now")
	back := start.Add(-time.Hour)
	assert.Equal(t, Backlog{Due: 5, At: back, Since: back, Least: 5}, mended.With(5, back), "the clock was set back")
}

// A report keeps the backlog of a dataset for about a week after the last run that counted it.
func TestBacklogsAt(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	at := func(ago time.Duration) Backlog { return Backlog{}.With(3, now.Add(-ago)) }
	r := Run{Backlogs: map[string]Backlog{"now": at(0), "week": at(7 * 24 * time.Hour), "old": at(9 * 24 * time.Hour), "ahead": at(-time.Second)}}
	assert.Equal(t, map[string]Backlog{"now": at(0), "week": at(7 * 24 * time.Hour)}, r.BacklogsAt(now))
	assert.Len(t, r.Backlogs, 4)
}
