//go:build deploy

package deploy_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// runMetrics are those of a node where snap runs, and of one where it is late.
const runMetrics = `snapwatch_run_expected 1
snapwatch_run_last_success_timestamp_seconds 1774785600
snapwatch_run_duration_seconds 2
snapwatch_run_actions{action="snapshot"} 3
snapwatch_run_unprotected_disks{reason="storage"} 1
`

// Every query of the dashboard gives an answer from a real Prometheus that scrapes what
// the exporter serves, and reads our rules.
func TestTheDashboardsQueriesAnswer(t *testing.T) {
	metrics, err := os.ReadFile("../exporter/testdata/metrics.prom")
	require.NoError(t, err)
	exporter := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprint(w, string(metrics), runMetrics)
	}))
	defer exporter.Close()
	api := prometheus(t, strings.TrimPrefix(exporter.URL, "http://"))
	for name, q := range queries(t) {
		t.Run(name, func(t *testing.T) {
			var answer reply
			for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
				answer = ask(t, api, q)
				if answer.Status != "success" || len(answer.Data.Result) > 0 {
					break
				}
			}
			assert.Equal(t, "success", answer.Status, answer.Error)
			assert.NotEmpty(t, answer.Data.Result)
		})
	}
}

// reply is what Prometheus answers to a query.
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

// prometheus runs one that scrapes the target as two sites, each second, and returns
// its address.
func prometheus(t *testing.T, target string) string {
	t.Helper()
	config := write(t, t.TempDir()+"/prometheus.yml", fmt.Sprintf(`
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [%q]
scrape_configs:
  - job_name: snapwatch
    static_configs:
      - {targets: [%q], labels: {cluster: east, site: office, role: primary, instance: pve1}}
      - {targets: [%q], labels: {cluster: vault, site: vault, role: replica, instance: backup}}
`, abs(t, "prometheus/snapwatch.rules.yml"), target, target))
	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := free.Addr().String()
	require.NoError(t, free.Close())
	cmd := exec.Command("prometheus", "--config.file="+config, "--storage.tsdb.path="+t.TempDir(), "--web.listen-address="+address)
	var said bytes.Buffer
	cmd.Stderr = &said
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if response, err := http.Get("http://" + address + "/-/ready"); err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return "http://" + address
			}
		}
		require.True(t, time.Now().Before(end), "prometheus is not ready: %s", &said)
	}
}
