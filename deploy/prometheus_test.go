//go:build deploy

package deploy_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// runMetrics has the metrics of two nodes about their runs of snap: snap runs in time on one node,
// and is late on the other.
const runMetrics = `snapwatch_run_expected 1
snapwatch_run_last_success_timestamp_seconds 1774785600
snapwatch_run_duration_seconds 2
snapwatch_run_actions{action="snapshot"} 3
snapwatch_run_unprotected_disks{reason="storage"} 1
`

// A real Prometheus that scrapes the exporter's metrics and reads our rules must answer every
// query of the dashboard. Prometheus must give the same answers whether it scrapes C once or twice.
func TestTheDashboardsQueriesAnswer(t *testing.T) {
	metrics, err := os.ReadFile("../exporter/testdata/metrics.prom")
	require.NoError(t, err)
	exporter := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprint(w, string(metrics), runMetrics)
	}))
	defer exporter.Close()
	target := strings.TrimPrefix(exporter.URL, "http://")
	once, twice := prometheus(t, target), prometheus(t, target, "copies_of: east", "copies_of: west")
	for name, q := range queries(t) {
		t.Run(name, func(t *testing.T) {
			answer := answers(t, once, q)
			assert.NotEmpty(t, answer)
			assert.Equal(t, answer, answers(t, twice, q))
		})
	}
}

// answers returns the number of series that a query finds, and their labels, as soon as all
// targets were scraped and the query finds a series. answers leaves out the values of the series,
// because ages change every second.
func answers(t *testing.T, api, query string) (all []string) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		scraped := ask(t, api, `count(up) == count(count_over_time(up[1m]) >= 3)`)
		answer := ask(t, api, query)
		require.Equal(t, "success", answer.Status, answer.Error)
		if len(scraped.Data.Result) == 0 || len(answer.Data.Result) == 0 {
			continue
		}
		for _, raw := range answer.Data.Result {
			var sample struct {
				Metric labels
				Value  [2]any
			}
			require.NoError(t, json.Unmarshal(raw, &sample))
			line := sample.Metric.String()
			if !strings.Contains(query, "time()") || strings.HasPrefix(query, "count(") {
				line += fmt.Sprint(sample.Value[1])
			}
			all = append(all, line)
		}
		slices.Sort(all)
		return all
	}
	return nil
}

// reply is the JSON answer of Prometheus to a query.
type reply struct {
	Status, Error string
	Data          struct{ Result []json.RawMessage }
}

func ask(t *testing.T, api, query string) (answer reply) {
	t.Helper()
	response, err := http.Get(api + "/api/v1/query?query=" + url.QueryEscape(query))
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	require.NoError(t, json.NewDecoder(response.Body).Decode(&answer))
	return answer
}

// prometheus starts a Prometheus and returns its address. Prometheus scrapes the target twice every
// second: with the labels of a primary and with the labels of a replica. For each element of the
// argument others, Prometheus scrapes the replica once more, with the labels in this element added.
func prometheus(t *testing.T, target string, others ...string) string {
	t.Helper()
	twice := ""
	for _, other := range others {
		twice += fmt.Sprintf("      - {targets: [%q], labels: {cluster: vault, site: vault, role: replica, instance: pve1, %s}}\n", target, other)
	}
	config := write(t, t.TempDir()+"/prometheus.yml", fmt.Sprintf(`
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [%q]
scrape_configs:
  - job_name: snapwatch
    static_configs:
      - {targets: [%q], labels: {cluster: east, site: office, role: primary, instance: pve1}}
      - {targets: [%q], labels: {cluster: vault, site: vault, role: replica, instance: pve1}}
%s`, abs(t, "prometheus/snapwatch.rules.yml"), target, target, twice))
	return "http://" + started(t, "prometheus", "--config.file="+config, "--storage.tsdb.path="+t.TempDir())
}
