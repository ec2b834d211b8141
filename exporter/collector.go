package exporter

import (
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"snapwatch/checker"
	"snapwatch/config"
)

// collector turns a report into metrics. All series are created for each scrape, so that no
// series of a removed disk remains.
type collector struct {
	report func() checker.Report
	config func() config.Config
}

// Describe implements [prometheus.Collector].
func (c collector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range catalogue {
		ch <- m.desc
	}
}

// Collect implements [prometheus.Collector].
func (c collector) Collect(ch chan<- prometheus.Metric) {
	report, cfg := c.report(), c.config()
	out := newSink(ch)
	collectPools(out, report)
	collectOwners(out, report)
	for _, d := range report.Disks {
		c.disk(out, cfg, report.Now, d)
	}
	for _, g := range report.Guests {
		c.guest(out, g)
	}
}

// poolCollector sends the part of [collector]'s metrics that is not about disks.
type poolCollector struct{ report checker.Report }

// Describe implements [prometheus.Collector].
func (poolCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range slices.Concat(poolCatalogue, healthCatalogue) {
		ch <- m.desc
	}
}

// Collect implements [prometheus.Collector].
func (c poolCollector) Collect(ch chan<- prometheus.Metric) { collectPools(newSink(ch), c.report) }

func collectPools(out sink, report checker.Report) {
	out.send(timeSeconds, seconds(report.Now))
	out.send(expectUnmet, float64(report.Unmet))
	for _, p := range report.Pools {
		collectPool(out, p)
	}
}

func collectPool(out sink, p checker.PoolResult) {
	for _, row := range checker.PoolVerdicts() {
		state, holds := p.Holds(row.Verdict)
		out.send(poolState, boolValue(holds), p.Name, row.Name)
		out.send(poolStatus, float64(state), p.Name, row.Name)
	}
	collectHealth(out, p)
	out.send(poolScrapeSuccess, boolValue(p.Problem == ""), p.Name)
	out.send(poolScrapeDuration, p.Took.Seconds(), p.Name)
	if !p.ReadAt.IsZero() {
		out.send(poolLastSuccess, seconds(p.ReadAt), p.Name)
	}
	disks := 0
	for _, d := range p.Disks {
		if !d.Gone {
			disks++
		}
	}
	out.send(poolDisks, float64(disks), p.Name)
}

func (c collector) disk(out sink, cfg config.Config, now time.Time, d checker.Result) {
	labels := diskLabels(d.Disk)
	if at := newest(&d); !at.IsZero() {
		out.send(diskTimestamp, seconds(at), labels...)
		out.send(diskAge, seconds(now)-seconds(at), labels...)
	}
	suffix := d.Suffix()
	for _, s := range checker.Suffixes() {
		out.send(diskSuffix, boolValue(s == suffix), append(labels, s)...)
	}
	for _, row := range checker.Verdicts() {
		out.send(diskState, boolValue(row.Verdict == d.Verdict), append(labels, row.Name)...)
	}
	out.send(diskLimit, limitSeconds(d.Warning), append(labels, "warning")...)
	out.send(diskLimit, limitSeconds(d.Critical), append(labels, "critical")...)
	out.send(diskMaxStoppedAge, limitSeconds(d.MaxStoppedAge), labels...)
	out.send(diskMaxInitialReceive, limitSeconds(d.MaxInitialReceive), labels...)
	if !d.Created.IsZero() {
		out.send(diskCreated, seconds(d.Created), labels...)
	}
	if owned, known := ownedValue(cfg, &d.Disk); known {
		out.send(diskOwned, owned, labels...)
	}
	c.compared(out, d, labels)
	cluster, dataset := cfg.OriginOf(d.Dataset)
	out.send(diskInfo, 1, append(labels, d.GuestID(), node(d.Running.Own()), cluster, dataset)...)
}

// ownedValue returns the value of the metric diskOwned for a disk. known is false if the guests of
// this host are unknown.
func ownedValue(c config.Config, d *checker.Disk) (value float64, known bool) {
	return boolValue(checker.IsOwn(c, d)), d.Owned != checker.OwnershipUnknown
}

// sink sends metrics to Prometheus' library, but omits series that would make the whole scrape
// fail: duplicates, and invalid series, for example a series with a label that is not UTF-8.
type sink struct {
	ch   chan<- prometheus.Metric
	sent map[string]bool
}

func newSink(ch chan<- prometheus.Metric) sink { return sink{ch, map[string]bool{}} }

func (s sink) send(m metric, value float64, labels ...string) {
	series := m.Name + "\x00" + strings.Join(labels, "\x00")
	if s.sent[series] {
		return
	}
	s.sent[series] = true
	if made, err := prometheus.NewConstMetric(m.desc, prometheus.GaugeValue, value, labels...); err == nil {
		s.ch <- made
	}
}

func seconds(t time.Time) float64 { return float64(t.Unix()) }

func boolValue(b bool) float64 { //nolint:revive // a value, which steers nothing
	if b {
		return 1
	}
	return 0
}
