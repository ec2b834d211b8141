//go:build e2e

package e2e

import (
	"encoding/json"
	"maps"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v3"

	"snapwatch/deploy"
)

// quicker is the factor by which the test shortens the waiting times in the shipped files for
// Prometheus and Alertmanager.
const quicker = 100

// shipped reads a YAML file of deploy.
func shipped[T any](t *testing.T, name string) T {
	t.Helper()
	text, err := deploy.Files.ReadFile(name)
	require.NoError(t, err)
	var content T
	require.NoError(t, yaml.Unmarshal(text, &content))
	return content
}

type entry = map[string]any

// shorten divides each duration with one of the given keys, at any depth of the YAML file, by the
// constant `quicker`.
func shorten(t *testing.T, below any, keys ...string) {
	t.Helper()
	switch x := below.(type) {
	case entry:
		for key, value := range x {
			text, is := value.(string)
			for _, k := range keys {
				if is && k == key {
					d, err := time.ParseDuration(strings.Replace(text, "1d", "24h", 1))
					if err != nil {
						d = 7 * 24 * time.Hour // the other times are in days, longer than any test
					}
					x[key] = max(d/quicker, time.Second).String()
				}
			}
			shorten(t, value, keys...)
		}
	case []any:
		for _, value := range x {
			shorten(t, value, keys...)
		}
	}
}

// notice is one alert in Alertmanager's message to a webhook.
type notice struct {
	Receiver string
	Status   string
	Labels   map[string]string
}

// webhook listens at an address that the sites can reach, and passes on the notices that arrive.
func (w *world) webhook() (url string, notices <-chan notice) {
	w.t.Helper()
	listener, err := net.Listen("tcp", "192.0.2.254:0")
	require.NoError(w.t, err)
	arrived := make(chan notice, 1000)
	server := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var message struct{ Alerts []notice }
		if err := json.NewDecoder(r.Body).Decode(&message); err != nil {
			return
		}
		for _, n := range message.Alerts {
			n.Receiver = strings.Trim(r.URL.Path, "/")
			arrived <- n
		}
	})}
	go func() { _ = server.Serve(listener) }()
	w.t.Cleanup(func() { _ = server.Close() })
	return "http://" + listener.Addr().String(), arrived
}

// awaitNotice reads notices until the wanted notice arrives, and returns all notices that it has
// read.
func (w *world) awaitNotice(notices <-chan notice, wanted func(notice) bool) (all []notice) {
	w.t.Helper()
	for {
		select {
		case n := <-notices:
			if n.Labels["alertname"] != "SnapwatchWatchdog" {
				w.t.Logf("%s: %s %v", n.Receiver, n.Status, n.Labels)
			}
			all = append(all, n)
			if wanted(n) {
				return all
			}
		case <-w.ctx.Done():
			require.NoError(w.t, w.ctx.Err(), "of all that came none was it")
		}
	}
}

// prometheus starts Prometheus and Alertmanager on B with the shipped files, but with the lab's
// addresses and with shorter times. Prometheus scrapes C twice, because a host with the copies of
// two clusters is listed twice. Although Prometheus scrapes C twice, each alert must fire once and
// not twice.
func (w *world) prometheus(webhook string) {
	w.t.Helper()
	rules := shipped[entry](w.t, "prometheus/snapwatch.rules.yml")
	shorten(w.t, rules, "for")
	scrape := shipped[entry](w.t, "prometheus/scrape-fleet.yml")
	job := scrape["scrape_configs"].([]any)[0].(entry)
	job["scrape_interval"] = "5s"
	for _, key := range []string{"scheme", "basic_auth", "tls_config"} {
		delete(job, key)
	}
	scrape["global"] = entry{"evaluation_interval": "1s"}
	scrape["alerting"] = entry{"alertmanagers": []any{entry{"static_configs": []any{entry{"targets": []string{"127.0.0.1:9093"}}}}}}
	targets := shipped[[]entry](w.t, "prometheus/snapwatch-targets.yml")
	targets[0]["targets"], targets[1]["targets"] = []string{"192.0.2.1:10191"}, []string{"192.0.2.3:10191"}
	twin := maps.Clone(targets[1])
	labels := maps.Clone(twin["labels"].(entry))
	labels["copies_of"] = "elsewhere"
	twin["labels"] = labels
	targets = append(targets, twin)
	routes := shipped[entry](w.t, "alertmanager/snapwatch.inhibit.yml")
	shorten(w.t, routes, "group_wait", "group_interval", "repeat_interval")
	for _, r := range routes["receivers"].([]any) {
		name := r.(entry)["name"].(string)
		r.(entry)["webhook_configs"] = []any{entry{"url": webhook + "/" + name}}
	}
	for name, content := range map[string]any{
		"snapwatch.rules.yml": rules, "prometheus.yml": scrape, "snapwatch-targets.yml": targets, "alertmanager.yml": routes,
	} {
		text, err := yaml.Marshal(content)
		require.NoError(w.t, err)
		require.NoError(w.t, w.b.WriteFile("/etc/prometheus/"+name, string(text)))
	}
	_, err := w.b.Start(w.ctx, "prometheus-alertmanager", "--config.file=/etc/prometheus/alertmanager.yml", "--storage.path=/var/tmp/alertmanager",
		"--web.listen-address=127.0.0.1:9093", "--cluster.listen-address=")
	require.NoError(w.t, err)
	_, err = w.b.Start(w.ctx, "prometheus", "--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/var/tmp/prometheus", "--web.listen-address=127.0.0.1:9090",
		"--rules.alert.resend-delay=5s")
	require.NoError(w.t, err)
}

// firing returns Prometheus' alerts in the state firing that are about disks.
func (w *world) firing() []string {
	w.t.Helper()
	out, err := w.b.Output(w.ctx, "curl", "-sf", "http://127.0.0.1:9090/api/v1/alerts")
	require.NoError(w.t, err)
	var answer struct {
		Data struct {
			Alerts []struct {
				State  string
				Labels map[string]string
			}
		}
	}
	require.NoError(w.t, json.Unmarshal([]byte(out), &answer))
	var names []string
	for _, a := range answer.Data.Alerts {
		if a.State == "firing" && a.Labels["dataset"] != "" {
			names = append(names, a.Labels["alertname"]+" "+a.Labels["dataset"]+" "+a.Labels["severity"])
		}
	}
	return names
}

// nrpe starts the NRPE daemon on C with the shipped definition, and returns a function that runs a
// check from the monitoring host.
func (w *world) nrpe() (check func() (string, int)) {
	w.t.Helper()
	definition, err := deploy.Files.ReadFile("nrpe/snapwatch.cfg")
	require.NoError(w.t, err)
	require.NoError(w.t, w.c.WriteFile("/etc/nagios/nrpe.d/snapwatch.cfg", string(definition)))
	require.NoError(w.t, w.c.WriteFile("/etc/nagios/nrpe_local.cfg", "allowed_hosts=192.0.2.2\n"))
	w.pipe("install -m 755 " + program(w.t) + " /usr/bin/snapwatch && mkdir -p /run/nagios && chown nagios /run/nagios")
	_, err = w.c.Start(w.ctx, "/usr/sbin/nrpe", "-c", "/etc/nagios/nrpe.cfg", "-f")
	require.NoError(w.t, err)
	w.waitUntil(func() bool {
		r, err := w.b.Run(w.ctx, "/usr/lib/nagios/plugins/check_nrpe", "-H", "192.0.2.3")
		require.NoError(w.t, err)
		return r.Code == 0
	})
	return func() (string, int) {
		r, err := w.b.Run(w.ctx, "/usr/lib/nagios/plugins/check_nrpe", "-H", "192.0.2.3", "-t", "15", "-c", "check_snapwatch")
		require.NoError(w.t, err)
		w.t.Logf("B# check_nrpe\n%s%s-> %d", r.Stdout, r.Stderr, r.Code)
		return r.Stdout, r.Code
	}
}

// TestMonitoring: the programs of Nagios and the programs of Prometheus each deliver one alarm,
// about the guest whose copy lags. Neither Nagios nor Prometheus delivers an alarm about the guest
// that is off.
func TestMonitoring(t *testing.T) {
	w := newNetwork(t)
	w.vm(100, "vm-100-disk-0")
	w.vm(200, "vm-200-disk-0")
	for _, vmid := range []int{100, 200} {
		w.start(w.a, vmid)
	}
	w.snap(w.a, "f4")
	w.stop(w.a, 200)
	w.snap(w.a, "f4")
	w.replicate("vm-100-disk-0", "vm-200-disk-0")
	check := w.nrpe()
	text, code := check()
	assert.Zero(t, code)
	assert.Contains(t, text, "1 of 2 disks fresh")
	owner, err := w.c.Output(w.ctx, "stat", "-c", "%U", "/run/lock/snapwatch-list-tc.lock")
	require.NoError(t, err)
	assert.Equal(t, "nagios\n", owner, "it ran as NRPE's user")

	w.advanceClock(3 * time.Hour)
	w.snap(w.a, "f4")
	text, code = check()
	assert.Equal(t, 1, code)
	assert.Contains(t, text, "1 of 2 disks stale")
	assert.Contains(t, text, "vm-100-disk-0")

	require.NoError(t, w.a.WriteFile("/etc/snapwatch/owner.yaml", "datasets: [ta]\n"))
	require.NoError(t, w.c.WriteFile("/etc/snapwatch/config.yaml", "datasets: [tc]\nsources: [{dataset: tc, origin: ta/data, cluster: east}]\n"))
	w.exporter(w.a, "--config=/etc/snapwatch/owner.yaml")
	w.exporter(w.c)
	url, notices := w.webhook()
	w.prometheus(url)
	lag := func(status string) func(notice) bool {
		return func(n notice) bool {
			return n.Status == status && n.Labels["alertname"] == "SnapwatchLag" && n.Labels["dataset"] == "tc/vm-100-disk-0"
		}
	}
	came := w.awaitNotice(notices, lag("firing"))
	last := came[len(came)-1]
	assert.Equal(t, "default", last.Receiver)
	assert.Equal(t, "warning", last.Labels["severity"])
	// In Prometheus, the alert about the stale copy fires, too, but Alertmanager sends no second
	// message about the guest.
	var fire []string
	w.waitUntil(func() bool { fire = w.firing(); return len(fire) >= 2 })
	assert.ElementsMatch(t, []string{"SnapwatchLag tc/vm-100-disk-0 warning", "SnapwatchStale tc/vm-100-disk-0 warning"}, fire)

	w.replicate("vm-100-disk-0")
	came = append(came, w.awaitNotice(notices, lag("resolved"))...)
	w.waitUntil(func() bool { return len(w.firing()) == 0 })
	watched := false
	for _, n := range came {
		watched = watched || n.Labels["alertname"] == "SnapwatchWatchdog" && n.Receiver == "watchdog"
		if n.Labels["disk"] != "" {
			assert.Equal(t, "SnapwatchLag tc/vm-100-disk-0", n.Labels["alertname"]+" "+n.Labels["dataset"])
		}
	}
	assert.True(t, watched, "the dead man's switch is fed")
	_, code = check()
	assert.Zero(t, code)
}
