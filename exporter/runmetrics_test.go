package exporter

import (
	"bytes"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"snapwatch/checker"
	"snapwatch/config"
	"snapwatch/internal/report"
)

var lastRun = report.Run{
	Start: time.Unix(1000, 0), End: time.Unix(1012, 0), LastSuccess: time.Unix(900, 0),
	Counts:      map[report.Event]int{report.DidSnapshot: 3, report.DidFail: 1},
	Unprotected: []report.Unprotected{{Kind: report.OtherStorage}, {Kind: report.OtherStorage}},
	Quiesced:    []report.Quiesced{{VMID: 101, Consistent: report.Application, Seconds: 0.5}, {VMID: 102, Consistent: report.Crash}},
	Pools:       []report.Pool{{Pool: "tank"}},
	Rooms:       map[string]report.Room{"tank": {Reserves: 4096, Short: "no room"}, "vault": {}},
	Backlogs:    map[string]report.Backlog{"tank/data": {Due: 7}},
	Locked:      2,
	Disks: []report.Disk{
		{Result: "snapshot"}, {Result: report.ResultUnprotected, Error: "ENOSPC"}, {Result: report.ResultUnprotected},
	},
}

// scrape returns the metrics about the runs of snap, without comment lines.
func scrape(t *testing.T, r Runs) string {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	require.NoError(t, registry.Register(snapCollector(r)))
	problems, err := testutil.GatherAndLint(registry)
	require.NoError(t, err)
	assert.Empty(t, problems)
	path := filepath.Join(t.TempDir(), "run.prom")
	require.NoError(t, prometheus.WriteToTextfile(path, registry))
	return uncommented(t, path)
}

func uncommented(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	var lines []string
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "#") {
			lines = append(lines, strings.TrimPrefix(line, "snapwatch_"))
		}
	}
	return strings.Join(lines, "")
}

// A report of snap with two entries for one guest breaks neither the scrape nor the textfile. If a
// report has two entries for one guest, the worse entry counts.
func TestTwiceInAReport(t *testing.T) {
	said := scrape(t, onlyRun(report.Run{LeftFrozen: []int{101}, Quiesced: []report.Quiesced{
		{VMID: 101, Consistent: report.Application, Seconds: 0.5}, {VMID: 101, Consistent: report.Torn, Seconds: 0.2},
	}}))
	assert.Contains(t, said, "run_quiesced{vmid=\"101\"} 0\n")
	assert.Contains(t, said, "run_frozen_seconds{vmid=\"101\"} 0.5\n")
	assert.Contains(t, said, "run_left_frozen 1\n")
}

// Whatever a run's report contains, the metrics can be scraped, and each series is in them once.
func TestAnyReportCanBeScraped(t *testing.T) {
	policy := checker.NewPolicy(config.Default())
	disk := checker.Assemble([]checker.Pool{{Name: "tank", Disks: []checker.Disk{{Dataset: "tank/vm-1-disk-0", VMID: 1}}}}, policy, time.Unix(1000, 0)).Disks[0]
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SampledFrom([]string{"tank", "ssd", "", "a\"b\n", "\xff", "ж"})
		numbers := rapid.SampledFrom([]int{0, 1, 100, 101, -1, math.MaxInt})
		times := rapid.Custom(func(t *rapid.T) time.Time {
			return time.Unix(rapid.Int64Range(-1<<40, 1<<40).Draw(t, "second"), 0)
		})
		r := report.Run{Backlogs: map[string]report.Backlog{}, Rooms: map[string]report.Room{}}
		r.Start, r.End, r.LastSuccess = times.Draw(t, "start"), times.Draw(t, "end"), times.Draw(t, "success")
		for range rapid.IntRange(0, 6).Draw(t, "entries") {
			r.Pools = append(r.Pools, report.Pool{Pool: names.Draw(t, "pool")})
			r.Rooms[names.Draw(t, "room")] = report.Room{Short: names.Draw(t, "short")}
			r.Backlogs[names.Draw(t, "place")] = report.Backlog{Due: numbers.Draw(t, "due")}
			r.Quiesced = append(r.Quiesced, report.Quiesced{
				VMID: numbers.Draw(t, "vmid"), Consistent: report.Consistency(names.Draw(t, "consistent")),
				Seconds: rapid.SampledFrom([]float64{0, 0.5, -1, math.Inf(1), math.NaN()}).Draw(t, "seconds"),
			})
			r.Disks = append(r.Disks, report.Disk{Dataset: names.Draw(t, "dataset"), Result: report.ResultUnprotected})
			r.Unprotected = append(r.Unprotected, report.Unprotected{Kind: report.Kind(names.Draw(t, "kind"))})
			r.LeftFrozen = append(r.LeftFrozen, numbers.Draw(t, "frozen"))
		}
		c := checker.Report{Now: times.Draw(t, "now")}
		for range rapid.IntRange(0, 4).Draw(t, "results") {
			var p checker.PoolResult
			p.Name = names.Draw(t, "pool")
			c.Pools = append(c.Pools, p)
			c.Guests = append(c.Guests, checker.Guest{VMID: numbers.Draw(t, "guest"), Cluster: names.Draw(t, "cluster"), Name: names.Draw(t, "name")})
			d := disk
			d.Dataset, d.VMID = names.Draw(t, "dataset"), numbers.Draw(t, "of guest")
			c.Disks = append(c.Disks, d)
			var n checker.NodeAnswer
			n.Node, n.At = names.Draw(t, "node"), times.Draw(t, "at")
			c.Nodes = append(c.Nodes, n)
		}
		registry := prometheus.NewRegistry()
		registry.MustRegister(snapCollector(onlyRun(r)), pruneCollector(onlyRun(r)), poolCollector{c}, ownerCollector{c})
		families, err := registry.Gather()
		require.NoError(t, err)
		disks := prometheus.NewRegistry()
		disks.MustRegister(collector{report: func() checker.Report { return c }, config: config.Default})
		_, err = disks.Gather()
		require.NoError(t, err)
		var page bytes.Buffer
		for _, f := range families {
			require.NoError(t, expfmt.NewEncoder(&page, expfmt.NewFormat(expfmt.TypeTextPlain)).Encode(f))
		}
		require.NoError(t, writeDisks(&page, c, config.Default()))
		require.NoError(t, writeGuests(&page, c.Guests))
		seen := map[string]bool{}
		for line := range strings.Lines(page.String()) {
			if series := line[:strings.LastIndexByte(line, ' ')+1]; !strings.HasPrefix(line, "#") {
				require.False(t, seen[series], "twice: %s", line)
				seen[series] = true
			}
		}
		parser := expfmt.NewTextParser(model.UTF8Validation)
		_, err = parser.TextToMetricFamilies(&page)
		require.NoError(t, err)
	})
}

func TestRunMetrics(t *testing.T) {
	assert.Equal(t, `run_actions{action="bookmark"} 0
run_actions{action="destroy"} 0
run_actions{action="failure"} 1
run_actions{action="label"} 0
run_actions{action="snapshot"} 3
run_due_snapshots{pool="tank"} 7
run_duration_seconds 12
run_expected 1
run_frozen_seconds{vmid="101"} 0.5
run_frozen_seconds{vmid="102"} 0
run_last_completion_timestamp_seconds 1012
run_last_start_timestamp_seconds 1000
run_last_success_timestamp_seconds 900
run_left_frozen 0
run_limit_seconds 3600
run_locked_guests 2
run_quiesced{vmid="101"} 1
run_quiesced{vmid="102"} 0
run_report_readable 1
run_short_of_room{pool="tank"} 1
run_short_of_room{pool="vault"} 0
run_snapshot_reserve_bytes{pool="tank"} 4096
run_snapshot_reserve_bytes{pool="vault"} 0
run_success 0
run_unprotected_disks{reason="failed"} 1
run_unprotected_disks{reason="name"} 0
run_unprotected_disks{reason="not_found"} 0
run_unprotected_disks{reason="state"} 1
run_unprotected_disks{reason="storage"} 2
`, scrape(t, Runs{
		Last:     func() (report.Run, error) { return lastRun, nil },
		Expected: func() bool { return true },
		Limit:    func() time.Duration { return time.Hour },
	}))
}

// A host where snap never ran has no metrics about a run. If the report of the last run is damaged,
// the metric run_report_readable is 0.
func TestRunMetricsWithoutAReport(t *testing.T) {
	none := func() bool { return false }
	assert.Equal(t, "run_expected 0\nrun_report_readable 1\n",
		scrape(t, Runs{Last: func() (report.Run, error) { return report.Run{}, fs.ErrNotExist }, Expected: none}))
	assert.Equal(t, "run_expected 0\nrun_report_readable 0\n",
		scrape(t, Runs{Last: func() (report.Run, error) { return report.Run{}, errors.New("cut off") }, Expected: none}))
}

func TestWriteTextfile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "snapwatch.prom")
	require.NoError(t, WriteTextfile(path, lastRun))
	text := uncommented(t, path)
	assert.Contains(t, text, "run_last_success_timestamp_seconds 900\n")
	assert.NotContains(t, text, "run_expected", "whoever wrote the file is not news")
	assert.Error(t, WriteTextfile(filepath.Join(t.TempDir(), "none", "snapwatch.prom"), lastRun))
}

// The metric of the host's boot time is computed from the host's uptime.
func TestBoot(t *testing.T) {
	r := newRig(t, world(), func(s *Settings) { s.Uptime = func() (time.Duration, error) { return time.Hour, nil } })
	assert.Equal(t, strconv.FormatFloat(seconds(start.Add(-time.Hour)), 'g', -1, 64), line(r.scrape(), "snapwatch_boot_timestamp_seconds"))
	r = newRig(t, world())
	assert.NotContains(t, r.scrape(), "snapwatch_boot_timestamp_seconds")
}
