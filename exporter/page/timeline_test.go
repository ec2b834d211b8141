package page

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/zfs"
)

// year returns a year of hourly and daily snapshots.
func year() []zfs.Snapshot {
	var all []zfs.Snapshot
	for i := range 365 {
		all = append(all, *snapshot(zfs.Daily, time.Duration(i*24+1)*time.Hour))
	}
	for i := range 24 {
		all = append(all, *snapshot(zfs.Hourly, time.Duration(i)*time.Hour))
	}
	return all
}

func TestTimelineNamesWhatItDraws(t *testing.T) {
	d := *renderPage(facts(0, disk(one, 100, zfs.Hourly, 7*time.Hour)), query{}).Rows[0].Guest.Here[0]
	for _, width := range []float64{wide, narrow} {
		line := draw(year(), 400, d, now, width)
		require.Len(t, line.Lanes, 2)
		hourly, daily := line.Lanes[0], line.Lanes[1]
		assert.Len(t, hourly.Marks, 24)
		assert.Equal(t, "autosnap_2026-03-29_11:00:00_hourly, 2026-03-29 11:00:00, 1h ago", hourly.Marks[1].Title)
		assert.Empty(t, daily.Marks, "many are one path")
		assert.NotEmpty(t, daily.Path)
		require.Len(t, line.Limits, 2)
		assert.Equal(t, "warning 2h", line.Limits[0].Label)
		assert.Equal(t, "critical 6h", line.Limits[1].Label)
		assert.Equal(t, "limit 6h, limits.critical", line.Limits[1].Rule)
		assert.NotEqual(t, line.Limits[0].Y, line.Limits[1].Y, "the labels stand below each other")
		last := width
		for _, tick := range line.Ticks {
			assert.LessOrEqual(t, tick.X+labelWidth, last, "%s hides no other", tick.Label)
			last = tick.X
		}
		assert.Equal(t, 389, line.Drawn)
	}
	ticks := draw(year(), 400, d, now, wide).Ticks
	assert.Equal(t, tick{X: ticks[0].X, Label: "1h ago", When: "11:00"}, ticks[0])
	assert.Equal(t, "28 Mar 12:00", ticks[2].When)
}

func TestSinceWords(t *testing.T) {
	for want, ago := range map[string]time.Duration{"04:40": 7*time.Hour + 20*time.Minute, "28 Mar 12:00": 24 * time.Hour, "1 Nov 12:00": 148 * 24 * time.Hour, "2025-03-29": 365 * 24 * time.Hour} {
		assert.Equal(t, want, sinceWords(now, now.Add(-ago)), ago)
	}
}
