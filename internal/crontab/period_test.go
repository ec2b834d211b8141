package crontab

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPeriod(t *testing.T) {
	const hour, day = time.Hour, 24 * time.Hour
	for times, want := range map[string]time.Duration{
		"*/15 * * * *":    15 * time.Minute,
		"* * * * *":       time.Minute,
		"7 * * * *":       hour,
		"7,52 * * * *":    45 * time.Minute,
		"*/40 * * * *":    40 * time.Minute,
		"-*/5 * * * *":    5 * time.Minute,
		"@hourly":         hour,
		"@Daily":          day,
		"0 3 * * *":       day,
		"0 8-18/2 * * *":  14 * hour,
		"*/15 8-18 * * *": 13*hour + 15*time.Minute,
		"0 3 * * Mon":     7 * day,
		"0 3 * * 7":       7 * day,
		"0 3 * * mon-fri": 3 * day,
		"@weekly":         7 * day,
		"0 0 1 * *":       31 * day,
		"0 0 1,15 * 1":    7 * day,
		"0 0 1 jan *":     366 * day,
		"*/15 * 30 2 *":   0,
		"*/15 * * * 1-0":  0,
		"0 0 30 2 *":      0,
		"0 0 * * 1-0":     0,
		"0~30 * * * *":    0,
		"@reboot":         0,
		"*/0 * * * *":     0,
		"61 * * * *":      0,
		"5/20 * * * *":    20 * time.Minute,
	} {
		entries := search.ReadSystem("cron.d/x", times+" root snapwatch snap f48\n")
		require.Len(t, entries, 1, times)
		assert.Equal(t, want, entries[0].Period(), times)
	}
	ignored := search.ReadSystem("cron.d/x", "@hourly root snapwatch snap f48\n")[0]
	ignored.Ignored = "others may write it"
	assert.Zero(t, ignored.Period())
}
