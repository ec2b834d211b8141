package exporter

import (
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"snapwatch/checker"
)

var (
	diskComparison = newMetric("disk_comparison",
		"1 for the outcome of comparing the disk with the node that owns it, else 0. Absent where no node is asked (owners: in the configuration).", byDisk("outcome")...)
	diskLag = newMetric("disk_lag_seconds",
		"For how long the disk's owner has had a snapshot that is not here. Absent if the disk could not be compared.", byDisk()...)
	absentDisks = newMetric("absent_disks",
		"Number of disks that owners take snapshots of and that are not here: severity critical for those under expect: in the configuration, else warning. While a node does not answer, its last answer counts. Absent if no node is asked, or if no node answers completely and no missing disk is known.", "severity")
	ownerAnswer = newMetric("owner_last_answer_timestamp_seconds",
		"When a node that may own disks answered last. Absent if it never did.", "node")
	ownerUp = newMetric("owner_answers",
		"1 if the node that may own disks answered when it was asked last, else 0.", "node")
)

// ownerCatalogue lists the metrics about the owners' answers, without those that have a series
// for each disk.
var ownerCatalogue = []metric{absentDisks, ownerAnswer, ownerUp}

// ownerCollector sends the metrics of the nodes that may own disks.
type ownerCollector struct{ report checker.Report }

// Describe implements [prometheus.Collector].
func (ownerCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range ownerCatalogue {
		ch <- m.desc
	}
}

// Collect implements [prometheus.Collector].
func (c ownerCollector) Collect(ch chan<- prometheus.Metric) { collectOwners(newSink(ch), c.report) }

func collectOwners(out sink, report checker.Report) {
	if len(report.Nodes) == 0 {
		return
	}
	expected, others := report.Absent()
	answers := slices.ContainsFunc(report.Nodes, func(n checker.NodeAnswer) bool { return n.Failure == "" && len(n.Unread) == 0 })
	if answers || expected+others > 0 {
		out.send(absentDisks, float64(expected), "critical")
		out.send(absentDisks, float64(others), "warning")
	}
	for _, n := range report.Nodes {
		out.send(ownerUp, boolValue(n.Failure == ""), n.Node)
		if !n.At.IsZero() {
			out.send(ownerAnswer, seconds(n.At), n.Node)
		}
	}
}

// compared sends the result of comparing the disk with its owner.
func (collector) compared(out sink, d checker.Result, labels []string) {
	if d.Compared == nil {
		return
	}
	for _, row := range checker.Outcomes() {
		out.send(diskComparison, boolValue(row.Outcome == d.Compared.Outcome), append(labels, row.Name)...)
	}
	if lag, known := lagOf(&d); known {
		out.send(diskLag, lag, labels...)
	}
}

func lagOf(d *checker.Result) (seconds float64, known bool) {
	if d.Compared == nil || d.Compared.Outcome != checker.InSync && d.Compared.Outcome != checker.Lagging {
		return 0, false
	}
	return float64(int64(d.Compared.Lag.Seconds())), true
}

// comparisons prints the outcomes that [collector.compared] sends.
func (p *textPage) comparisons() {
	if !slices.ContainsFunc(p.series, func(s textSeries) bool { return s.Compared != nil }) {
		return
	}
	rows := checker.Outcomes()
	slices.SortFunc(rows, func(a, b checker.OutcomeRow) int { return strings.Compare(a.Name, b.Name) })
	labels := make([][]byte, len(rows))
	for i, row := range rows {
		labels[i] = p.label(`,outcome="`, row.Name, `"`)
	}
	p.family(diskComparison)
	for i := range p.series {
		for k, row := range rows {
			if c := p.series[i].Compared; c != nil {
				p.sample(diskComparison.Name, &p.series[i], labels[k], nil, boolValue(row.Outcome == c.Outcome))
			}
		}
	}
}

// lags prints the lags that [collector.compared] sends.
func (p *textPage) lags() {
	begun := false
	for i := range p.series {
		lag, known := lagOf(p.series[i].Result)
		if !known {
			continue
		}
		if !begun {
			p.family(diskLag)
			begun = true
		}
		p.sample(diskLag.Name, &p.series[i], nil, nil, lag)
	}
}
