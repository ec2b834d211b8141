package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// server is a running Prometheus server of the measurement.
type server struct {
	cmd     *exec.Cmd
	url     string
	version string
}

// prometheus starts a Prometheus that scrapes every node at the node's own path.
func (f fleet) prometheus(nodes string) (*server, error) {
	var c strings.Builder
	fmt.Fprintf(&c, "global: {scrape_interval: %s, evaluation_interval: %s}\nrule_files: [%s]\nscrape_configs:\n  - job_name: snapwatch\n    static_configs:\n", f.interval, f.interval, f.rules)
	for node := range f.nodes {
		role := "primary"
		copies := ""
		if isReplica(node) {
			role, copies = "replica", cluster(node)
		}
		fmt.Fprintf(&c, "      - {targets: ['%s'], labels: {__metrics_path__: /node/%d/metrics, instance: %s, cluster: %s, site: %s-%s, role: %s, copies_of: '%s'}}\n",
			nodes, node, poolOf(node), cluster(node), role, cluster(node), role, copies)
	}
	file := filepath.Join(f.dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(c.String()), 0o644); err != nil {
		return nil, err
	}
	program, err := exec.LookPath("prometheus")
	if err != nil {
		return nil, err
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	address := free.Addr().String()
	_ = free.Close()
	p := &server{url: "http://" + address}
	p.cmd = exec.Command(program, "--config.file="+file, "--storage.tsdb.path="+filepath.Join(f.dir, "data"), "--web.listen-address="+address, "--log.level=warn")
	p.cmd.Stderr = os.Stderr
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	version, err := exec.Command(program, "--version").Output()
	if first, _, ok := strings.Cut(string(version), " ("); ok && err == nil {
		p.version = strings.TrimPrefix(first, "prometheus, version ")
	}
	return p, nil
}

func (p *server) end() {
	_ = p.cmd.Process.Signal(os.Interrupt)
	_ = p.cmd.Wait()
}

// timeout limits the wait for the first scrapes: within this time plus two scrape intervals,
// Prometheus must scrape every node, and every node must read its pool.
const timeout = 2 * time.Minute

// await waits until every simulated node has read its pool, so that the measurement includes only
// working nodes.
func (p *server) await(f fleet) error {
	for end := time.Now().Add(2*f.interval + timeout); ; time.Sleep(200 * time.Millisecond) {
		read, err := p.query(`sum(snapwatch_pool_scrape_success)`)
		switch {
		case err == nil && read == float64(f.nodes):
			return nil
		case time.Now().After(end):
			return errors.Join(err, fmt.Errorf("only %.0f of %d nodes have read their pool", read, f.nodes))
		}
	}
}

// measure waits for the time of the measurement and prints Prometheus' costs.
func (p *server) measure(f fleet) error {
	if err := p.await(f); err != nil {
		return err
	}
	half := f.lasts / 2
	time.Sleep(half)
	before, err := p.ownMetrics()
	if err != nil {
		return err
	}
	time.Sleep(f.lasts - half)
	after, err := p.ownMetrics()
	if err != nil {
		return err
	}
	series, err := p.query(`count({__name__=~"snapwatch_disk_.*"})`)
	if err != nil {
		return err
	}
	scrape, err := p.query(`avg(scrape_duration_seconds)`)
	if err != nil {
		return err
	}
	cpu := (after["process_cpu_seconds_total"] - before["process_cpu_seconds_total"]) / (f.lasts - half).Seconds()
	fmt.Printf(`Prometheus %s, %d nodes with %d disks each every %s, %s

| | |
|---|---:|
| series from disks | %.0f, %.1f a disk |
| series in the head | %.0f |
| resident memory | %.0f MiB, %.1f KiB a series |
| samples a second | %.0f |
| processor | %.2f of one core, on a machine that is busy otherwise |
| evaluating all rules | %.2f s, every %s |
| a scrape | %.3f s |
`, p.version, f.nodes, f.disks, f.interval, f.lasts,
		series, series/float64(f.nodes*f.disks),
		after["prometheus_tsdb_head_series"],
		after["process_resident_memory_bytes"]/(1<<20), after["process_resident_memory_bytes"]/after["prometheus_tsdb_head_series"]/1024,
		(after["prometheus_tsdb_head_samples_appended_total"]-before["prometheus_tsdb_head_samples_appended_total"])/(f.lasts-half).Seconds(),
		cpu, after["prometheus_rule_group_last_duration_seconds"], f.interval, scrape)
	return nil
}

// ownMetrics returns, by metric name, the sums of the metrics that Prometheus has about itself.
func (p *server) ownMetrics() (map[string]float64, error) {
	text, err := p.get("/metrics")
	if err != nil {
		return nil, err
	}
	sums := map[string]float64{}
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		name, _, _ = strings.Cut(name, "{")
		if n, err := strconv.ParseFloat(value, 64); ok && err == nil {
			sums[name] += n
		}
	}
	return sums, nil
}

// query evaluates a Prometheus expression whose result is one number.
func (p *server) query(expression string) (float64, error) {
	text, err := p.get("/api/v1/query?query=" + url.QueryEscape(expression))
	if err != nil {
		return 0, err
	}
	var answer struct {
		Data struct {
			Result []struct{ Value [2]any }
		}
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil || len(answer.Data.Result) != 1 {
		return 0, fmt.Errorf("%s: no number in %.200s", expression, text)
	}
	return strconv.ParseFloat(fmt.Sprint(answer.Data.Result[0].Value[1]), 64)
}

func (p *server) get(path string) (string, error) {
	answer, err := http.Get(p.url + path)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return string(text), err
}
