package exporter

import (
	"io/fs"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/report"
)

func TestPruneMetrics(t *testing.T) {
	last := report.Run{
		Start: time.Unix(1000, 0), End: time.Unix(1012, 0), LastSuccess: time.Unix(900, 0),
		Counts:   map[report.Event]int{report.DidDestroy: 7, report.DidFail: 1},
		Pools:    []report.Pool{{Pool: "tank"}},
		Backlogs: map[string]report.Backlog{"tank/a,tank/c": {Due: 7}, "tank/b": {Due: 5}, "ssd": {}},
	}
	gathered := func(c runCollector) string {
		t.Helper()
		registry := prometheus.NewPedanticRegistry()
		require.NoError(t, registry.Register(c))
		problems, err := testutil.GatherAndLint(registry)
		require.NoError(t, err)
		assert.Empty(t, problems)
		path := filepath.Join(t.TempDir(), "prune.prom")
		require.NoError(t, prometheus.WriteToTextfile(path, registry))
		return uncommented(t, path)
	}
	of := func(run report.Run, err error) Runs {
		return Runs{Last: func() (report.Run, error) { return run, err }, Expected: func() bool { return true }, Limit: func() time.Duration { return 24 * time.Hour }}
	}
	assert.Equal(t, `prune_destroyed_snapshots 7
prune_due_snapshots{pool="ssd"} 0
prune_due_snapshots{pool="tank"} 12
prune_expected 1
prune_failures 1
prune_last_completion_timestamp_seconds 1012
prune_last_success_timestamp_seconds 900
prune_limit_seconds 86400
prune_report_readable 1
`, gathered(pruneCollector(of(last, nil))))
	assert.Equal(t, "prune_expected 1\nprune_limit_seconds 86400\nprune_report_readable 1\n", gathered(pruneCollector(of(report.Run{}, fs.ErrNotExist))))
	assert.Equal(t, "prune_expected 1\nprune_limit_seconds 86400\nprune_report_readable 0\n", gathered(pruneCollector(of(report.Run{}, fs.ErrPermission))))

	path := filepath.Join(t.TempDir(), "x.prom")
	require.NoError(t, WritePruneTextfile(path, last))
	assert.Contains(t, uncommented(t, path), "prune_destroyed_snapshots 7\n")
}
