package exporter

import (
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"snapwatch/checker"
	"snapwatch/config"
)

// A disk has two dozen series. The library client_golang creates, checks, sorts and prints each
// series separately, which takes seconds for ten thousand disks. This file prints the series of
// all disks directly: the series of a metric have the same labels, and no two have the same label
// values. A test compares the output with that of client_golang byte by byte.

// textPage prints the metrics of [collector.disk] in Prometheus' text format.
type textPage struct {
	out    io.Writer
	failed error // the first error of out
	block  []byte
	series []textSeries
	labels []byte // of all series; each series refers to its parts
	now    time.Time
	config config.Config
	// value is the number that was printed last, and text is its printed form. If the next number
	// to print is equal to value, text is printed again: many disks have the same limits.
	value float64
	text  []byte
}

// textBlock is the size of one write to the client, in bytes.
const textBlock = 64 << 10

// usualLabels is the size of the labels of most disks in the text format, in bytes.
const usualLabels = 192

// textSeries is one disk with its labels as text. Some series of the disk have additional labels at
// two places in this text, so the text has three parts: before, between and after the two places.
type textSeries struct {
	*checker.Result
	before, after, end []byte
}

// writeDisks prints the metrics of all disks in the text format.
func writeDisks(w io.Writer, report checker.Report, c config.Config) error {
	p := textPage{
		out: w, block: make([]byte, 0, 2*textBlock), now: report.Now, config: c,
		series: make([]textSeries, 0, len(report.Disks)), labels: make([]byte, 0, usualLabels*len(report.Disks)), text: []byte("0"),
	}
	for i := range report.Disks {
		if d := &report.Disks[i]; utf8.ValidString(d.Dataset) {
			p.add(d)
		}
	}
	slices.SortStableFunc(p.series, func(a, b textSeries) int { return strings.Compare(a.Dataset, b.Dataset) })
	p.series = slices.CompactFunc(p.series, func(a, b textSeries) bool { return a.Dataset == b.Dataset })
	if len(p.series) == 0 {
		return nil // client_golang does not name a metric without series either
	}
	// The metrics are printed in the order of their names, as client_golang prints them.
	p.comparisons()
	p.created()
	p.info()
	p.lags()
	p.limits()
	p.printDisks(diskMaxInitialReceive, func(s *textSeries) float64 { return limitSeconds(s.MaxInitialReceive) })
	p.printDisks(diskMaxStoppedAge, func(s *textSeries) float64 { return limitSeconds(s.MaxStoppedAge) })
	p.ages()
	p.suffixes()
	p.timestamps()
	p.owned()
	p.states()
	p.flush()
	return p.failed
}

// add appends a disk and its labels to the page.
func (p *textPage) add(d *checker.Result) {
	pool, _, _ := strings.Cut(d.Dataset, "/")
	p.series = append(p.series, textSeries{
		Result: d,
		before: p.label(`{dataset="`, escape(d.Dataset), `",disk="`, escape(d.Name()), `"`),
		after:  p.label(`,pool="`, escape(pool), `"`),
		end:    p.label(`,vmid="`, strconv.Itoa(d.VMID), `"} `),
	})
}

// label stores the text of a label in the page's buffer, and returns the stored bytes.
func (p *textPage) label(words ...string) []byte {
	from := len(p.labels)
	for _, word := range words {
		p.labels = append(p.labels, word...)
	}
	return p.labels[from:len(p.labels):len(p.labels)]
}

func (p *textPage) flush() {
	if p.failed == nil {
		_, p.failed = p.out.Write(p.block)
	}
	p.block = p.block[:0]
}

var escaper = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)

func escape(value string) string { return escaper.Replace(value) }

// family prints the HELP and TYPE lines of a metric.
func (p *textPage) family(m metric) {
	help := strings.NewReplacer(`\`, `\\`, "\n", `\n`).Replace(m.Help)
	p.block = append(p.block, "# HELP "+m.Name+" "+help+"\n# TYPE "+m.Name+" gauge\n"...)
}

// sample prints one line of a metric. The argument `between` contains the additional labels that
// precede the label pool in the alphabet. The argument `last` contains the additional labels that
// follow pool. Each additional label has a comma before it.
func (p *textPage) sample(name string, s *textSeries, between, last []byte, value float64) {
	b := append(p.block, name...)
	b = append(b, s.before...)
	b = append(b, between...)
	b = append(b, s.after...)
	b = append(b, last...)
	b = append(b, s.end...)
	p.block = append(append(b, p.printed(value)...), '\n')
	if len(p.block) >= textBlock {
		p.flush()
	}
}

// printed returns the value as text. The returned bytes are valid until printed is called again.
func (p *textPage) printed(value float64) []byte {
	if value != p.value {
		p.value, p.text = value, appendValue(p.text[:0], value)
	}
	return p.text
}

func appendValue(b []byte, value float64) []byte {
	switch {
	case value == 0:
		return append(b, '0')
	case value == 1:
		return append(b, '1')
	case math.IsInf(value, 1):
		return append(b, "+Inf"...)
	}
	return strconv.AppendFloat(b, value, 'g', -1, 64)
}

func (p *textPage) info() {
	p.family(diskInfo)
	label, on := "", node("") // most disks have one of a few nodes
	var between []byte
	for i := range p.series {
		s := &p.series[i]
		if own := s.Running.Own(); own != label {
			label, on = own, escape(node(own))
		}
		cluster, dataset := p.config.OriginOf(s.Dataset)
		between = between[:0]
		for _, word := range [...]string{`,id="`, s.GuestID(), `",node="`, on, `",origin_cluster="`, escape(cluster), `",origin_dataset="`, escape(dataset), `"`} {
			between = append(between, word...)
		}
		if utf8.Valid(between) {
			p.sample(diskInfo.Name, s, between, nil, 1)
		}
	}
}

func (p *textPage) limits() {
	p.family(diskLimit)
	critical, warning := []byte(`,severity="critical"`), []byte(`,severity="warning"`)
	for i := range p.series {
		s := &p.series[i]
		p.sample(diskLimit.Name, s, nil, critical, limitSeconds(s.Critical))
		p.sample(diskLimit.Name, s, nil, warning, limitSeconds(s.Warning))
	}
}

// printDisks prints a metric with one line for each disk.
func (p *textPage) printDisks(m metric, value func(*textSeries) float64) {
	p.family(m)
	for i := range p.series {
		p.sample(m.Name, &p.series[i], nil, nil, value(&p.series[i]))
	}
}

func (p *textPage) ages() {
	p.printTimes(diskAge, newestOf, func(created time.Time) float64 { return seconds(p.now) - seconds(created) })
}

func (p *textPage) timestamps() { p.printTimes(diskTimestamp, newestOf, seconds) }

func newestOf(s *textSeries) time.Time { return newest(s.Result) }

// owned prints the metric that says which disks belong to guests of this host. Either the exporter
// knows for every disk whether the disk's guest belongs to this host, or it knows this for no disk.
func (p *textPage) owned() {
	begun := false
	for i := range p.series {
		value, known := ownedValue(p.config, &p.series[i].Disk)
		if !known {
			continue
		}
		if !begun {
			p.family(diskOwned)
			begun = true
		}
		p.sample(diskOwned.Name, &p.series[i], nil, nil, value)
	}
}

func (p *textPage) created() {
	p.printTimes(diskCreated, func(s *textSeries) time.Time { return s.Created }, seconds)
}

// newest returns the creation time of the disk's newest known managed snapshot, the
// zero time if there is none. A disk that cannot be read keeps its last known time, because without
// this time the alert for the disk's age would end.
func newest(d *checker.Result) time.Time {
	if d.Newest == nil {
		return time.Time{}
	}
	return d.Newest.Creation
}

// printTimes prints a metric that is a time of each disk. The argument `of` is a function that
// returns the time of a disk. If `of` returns the zero time for a disk, printTimes prints no line
// for the disk.
func (p *textPage) printTimes(m metric, of func(*textSeries) time.Time, value func(time.Time) float64) {
	begun := false
	for i := range p.series {
		s := &p.series[i]
		at := of(s)
		if at.IsZero() {
			continue
		}
		if !begun {
			p.family(m)
			begun = true
		}
		p.sample(m.Name, s, nil, nil, value(at))
	}
}

func (p *textPage) suffixes() {
	all := checker.Suffixes()
	slices.Sort(all)
	labels := make([][]byte, len(all))
	for i, name := range all {
		labels[i] = p.label(`,suffix="`, name, `"`)
	}
	p.family(diskSuffix)
	for i := range p.series {
		suffix := p.series[i].Suffix()
		for k, name := range all {
			p.sample(diskSuffix.Name, &p.series[i], nil, labels[k], boolValue(name == suffix))
		}
	}
}

func (p *textPage) states() {
	rows := checker.Verdicts()
	slices.SortFunc(rows, func(a, b checker.Row) int { return strings.Compare(a.Name, b.Name) })
	labels := make([][]byte, len(rows))
	for i, row := range rows {
		labels[i] = p.label(`,state="`, row.Name, `"`)
	}
	p.family(diskState)
	for i := range p.series {
		for k, row := range rows {
			p.sample(diskState.Name, &p.series[i], nil, labels[k], boolValue(row.Verdict == p.series[i].Verdict))
		}
	}
}
