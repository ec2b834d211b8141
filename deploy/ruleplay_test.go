//go:build deploy

package deploy_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// quicker is the factor by which time is shortened for a real Prometheus: a minute of a test
// world's simulated series passes in one second.
const quicker = 60

var (
	durations = regexp.MustCompile(`(\[|for: |offset )(\d+)([mhd])\b`)
	bounds    = regexp.MustCompile(`\b(300|900|2700|3600|14400|21600)\b`)
)

// quickRules returns the alert rules with all times divided by quicker.
func quickRules(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile("prometheus/snapwatch.rules.yml")
	require.NoError(t, err)
	text := durations.ReplaceAllStringFunc(string(raw), func(word string) string {
		m := durations.FindStringSubmatch(word)
		n, _ := strconv.Atoi(m[2])
		return fmt.Sprintf("%s%ds", m[1], n*map[string]int{"m": 60, "h": 3600, "d": 86400}[m[3]]/quicker)
	})
	return bounds.ReplaceAllStringFunc(text, func(word string) string {
		n, _ := strconv.Atoi(word)
		return strconv.Itoa(n / quicker)
	})
}

// play serves the simulated series of a test world as a Prometheus does for federation, one
// scrape each second.
func (w world) play(t *testing.T) *httptest.Server {
	t.Helper()
	all := map[string][]string{}
	for key, values := range w.joined() {
		for _, word := range strings.Fields(values) {
			value, times, _ := strings.Cut(word, "x")
			n, _ := strconv.Atoi(times)
			all[key] = append(all[key], slices.Repeat([]string{value}, n+truthInt(value != "_" || times == ""))...)
		}
	}
	begin := time.Now().Truncate(time.Second)
	return httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) {
		i := int(time.Since(begin) / time.Second)
		for key, values := range all {
			if i >= len(values) {
				i = len(values) - 1
			}
			value, err := strconv.ParseFloat(values[i], 64)
			if err != nil {
				continue // nothing was scraped from this target
			}
			name, _, _ := strings.Cut(key, "{")
			switch {
			case strings.HasSuffix(name, "_timestamp_seconds"), name == "snapwatch_time_seconds":
				value = float64(begin.Unix()) + value/quicker
			case strings.HasSuffix(name, "_seconds"):
				value /= quicker
			}
			_, _ = fmt.Fprintf(out, "%s %f\n", key, value)
		}
	}))
}

func truthInt(b bool) int { return int(truth(b)) }

// started runs a server program at a free address until the test ends, and waits until the
// program answers.
func started(t *testing.T, program string, argv ...string) (address string) {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address = free.Addr().String()
	require.NoError(t, free.Close())
	cmd := exec.Command(program, append(argv, "--web.listen-address="+address)...)
	var said bytes.Buffer
	cmd.Stderr = &said
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if response, err := http.Get("http://" + address + "/-/ready"); err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return address
			}
		}
		require.True(t, time.Now().Before(end), "%s is not ready: %s", program, &said)
	}
}

// A real Prometheus and a real Alertmanager, in each available version, scrape targets with the
// worst faults of scraping. In spite of the faults, the same alerts must fire as without faults,
// and no warning may inhibit an alert that pages.
func TestTheWorstInARealPrometheus(t *testing.T) {
	if testing.Short() {
		t.Skip("takes minutes: played at night")
	}
	for version, dir := range versions(t) {
		for _, variant := range []string{"at once", "C listed twice"} {
			t.Run(fmt.Sprintf("version %d, %s", version+2, variant), func(t *testing.T) {
				w := variants()[variant](*faults())
				site := w.play(t)
				defer site.Close()
				manager := started(t, dir+"prometheus-alertmanager", "--config.file="+inhibit, "--storage.path="+t.TempDir(), "--cluster.listen-address=")
				config := write(t, t.TempDir()+"/prometheus.yml", fmt.Sprintf(`
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [%q]
alerting: {alertmanagers: [{static_configs: [{targets: [%q]}]}]}
scrape_configs:
  - {job_name: federate, honor_labels: true, static_configs: [{targets: [%q]}]}
`, write(t, t.TempDir()+"/rules.yml", quickRules(t)), manager, strings.TrimPrefix(site.URL, "http://")))
				api := "http://" + started(t, dir+"prometheus", "--config.file="+config, "--storage.tsdb.path="+t.TempDir(), "--query.lookback-delta=5s")
				time.Sleep(time.Duration(w.scrapes) * time.Second)

				var fires, want []string
				for _, raw := range ask(t, api, `count_over_time(ALERTS{alertstate="firing"}[40s]) > 20`).Data.Result {
					var sample struct{ Metric labels }
					require.NoError(t, json.Unmarshal(raw, &sample))
					fires = append(fires, sample.Metric.String())
				}
				for _, l := range w.want {
					want = append(want, l.String())
				}
				slices.Sort(want)
				slices.Sort(fires)
				assert.Equal(t, want, fires)
				noWarningSilencesAPage(t, "http://"+manager+"/api/v2/alerts")
			})
		}
	}
}

// noWarningSilencesAPage checks that each inhibited alert is inhibited by an alert of at least
// the same severity.
func noWarningSilencesAPage(t *testing.T, api string) {
	t.Helper()
	response, err := http.Get(api)
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	var all []struct {
		Labels      labels
		Fingerprint string
		Status      struct{ InhibitedBy []string }
	}
	require.NoError(t, json.NewDecoder(response.Body).Decode(&all))
	by := map[string]labels{}
	for _, a := range all {
		by[a.Fingerprint] = a.Labels
	}
	silent := map[string]bool{}
	for _, a := range all {
		for _, source := range a.Status.InhibitedBy {
			silent[a.Labels["alertname"]] = true
			if a.Labels["severity"] == "critical" {
				assert.Equal(t, "critical", by[source]["severity"], "%s is silenced by %s", a.Labels, by[source])
			}
		}
	}
	assert.Subset(t, slices.Collect(maps.Keys(silent)), []string{"SnapwatchStale", "SnapwatchLag", "SnapwatchExporterDown"})
}
