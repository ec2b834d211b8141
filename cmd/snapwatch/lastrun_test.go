package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/report"
)

// If the last report of snap has a success that is dated in the future, the exporter omits the time
// of the success: with this time, no alert about old runs would ever fire.
func TestNoSuccessOfTheFuture(t *testing.T) {
	now := time.Date(2026, 7, 15, 12, 0, 0, 0, time.UTC)
	env := &environment{StateDir: t.TempDir(), Now: func() time.Time { return now }}
	for success, want := range map[time.Time]time.Time{now.Add(-time.Minute): now.Add(-time.Minute), now.Add(time.Hour): {}} {
		run := report.Run{LastSuccess: success}
		require.NoError(t, run.Save(env.StateDir, report.PruneName))
		last, err := env.lastRun(report.PruneName)
		require.NoError(t, err)
		assert.Equal(t, want, last.LastSuccess)
	}
}
