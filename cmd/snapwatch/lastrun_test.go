package main

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/doctor"
	"snapwatch/internal/report"
)

// If the last success in the report of snap is dated in the future, the exporter omits its time.
// If the exporter served a time in the future, the alert about old runs could not fire before that
// time.
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

// The exporter omits the last run's facts about a pool's free space and backlog when they are too
// old, because snap or the pool may have been removed from this host.
func TestAnOldReportSaysNothingOfRoomAndBacklogs(t *testing.T) {
	now := time.Date(2026, 7, 15, 12, 0, 0, 0, time.UTC)
	env := &environment{StateDir: t.TempDir(), Now: func() time.Time { return now }}
	old := now.Add(-9 * 24 * time.Hour)
	run := report.Run{
		Rooms:    map[string]report.Room{"old": {At: old, Short: "no room"}, "new": {At: now, Short: "no room"}},
		Backlogs: map[string]report.Backlog{"old": {At: old, Due: 7}, "new": {At: now, Due: 7}},
	}
	require.NoError(t, run.Save(env.StateDir, report.Name))
	last, err := env.lastRun(report.Name)
	require.NoError(t, err)
	assert.Equal(t, []string{"new"}, slices.Collect(maps.Keys(last.Rooms)))
	assert.Equal(t, []string{"new"}, slices.Collect(maps.Keys(last.Backlogs)))
	pools := []doctor.Pool{{Name: "old"}, {Name: "new"}}
	readLastRun(env, pools)
	assert.Equal(t, []string{"", "no room"}, []string{pools[0].Short, pools[1].Short})
}
