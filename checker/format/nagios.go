// Package format prints a report: for Nagios and compatible systems, for Checkmk, as a table for
// people, and as JSON.
package format

import (
	"fmt"
	"io"
	"strings"

	"snapwatch/checker"
	"snapwatch/internal/text"
)

// Nagios prints a report for Nagios, Icinga and NRPE.
type Nagios struct {
	// Verbosity is the number of -v options. With verbosity 0, the output fits in an NRPE packet.
	// With verbosity 1, the output has every disk that alarms, with its reason; with verbosity 2,
	// the output has every disk.
	Verbosity int
	// DiskPerfdata adds the age of every disk to the performance data.
	DiskPerfdata bool
}

// packet is the greatest length of the Nagios output in bytes. The oldest NRPE transfers at most
// 1023 bytes, and a wrapper may add text.
const packet = 1000

// Write prints the report: the state and a summary on the first line, performance data after a bar,
// then one line for each fault.
func (n Nagios) Write(w io.Writer, r checker.Report) error {
	first := text.Clip(fmt.Sprintf("%s: %s", r.State(), text.Plain(r.Summary())), 300)
	if r.Failure == "" {
		first += " | " + perfdata(n.metrics(r))
	}
	first += "\n"
	lines := n.lines(r)
	room := packet - len(first)
	if n.Verbosity > 0 {
		room = int(^uint(0) >> 1)
	}
	_, err := io.WriteString(w, first+fit(lines, room))
	return err
}

// fit joins as many lines as fit into room bytes, and says how many lines are left out.
func fit(lines []string, room int) string {
	const more = len("… and 1000000 more\n")
	var b strings.Builder
	for i, line := range lines {
		line = text.Plain(line) + "\n"
		reserve := more
		if i == len(lines)-1 {
			reserve = 0
		}
		if b.Len()+len(line)+reserve > room {
			if b.Len()+more <= room {
				fmt.Fprintf(&b, "… and %d more\n", len(lines)-i)
			}
			break
		}
		b.WriteString(line)
	}
	return b.String()
}

// lines returns the lines of the Nagios output after the first line, the worst fault first.
func (n Nagios) lines(r checker.Report) []string {
	var lines []string
	for _, p := range r.Pools {
		if p.State != checker.OK {
			lines = append(lines, fmt.Sprintf("%s pool %s: %s", p.State, p.Name, n.text(p.Reason)))
		}
		if n.Verbosity > 0 {
			for _, remark := range p.Remarks {
				lines = append(lines, fmt.Sprintf("note: pool %s: %s", p.Name, remark))
			}
		}
	}
	var proofs []string // the last lines: they must not take the packet's room from other faults
	for _, note := range r.Notes {
		prefix := "note"
		if note.State != checker.OK {
			prefix = note.State.String()
		}
		line := prefix + ": " + n.text(note.Text)
		if note.AboutProof() {
			proofs = append(proofs, line)
		} else {
			lines = append(lines, line)
		}
	}
	for _, g := range r.Guests {
		if g.Alone || n.Verbosity > 1 || (n.Verbosity == 1 && g.State != checker.OK) {
			lines = append(lines, fmt.Sprintf("%s guest %s %s: %s", g.State, g.Number(), g.Verdict, n.text(g.Reason)))
		}
	}
	for _, d := range r.Disks {
		switch {
		case n.Verbosity > 1 || (n.Verbosity == 1 && d.State != checker.OK):
			lines = append(lines, fmt.Sprintf("%s %s %s: %s", d.State, d.Dataset, d.Verdict, d.FullReason()))
		case d.State != checker.OK:
			lines = append(lines, fmt.Sprintf("%s %s %s", d.State, d.Dataset, d.Brief()))
		}
	}
	return append(lines, proofs...)
}

// text shortens a long reason if the output must fit in a packet. Reasons with the output of a
// failed command are long.
func (n Nagios) text(reason string) string {
	if n.Verbosity > 0 {
		return reason
	}
	return text.Clip(reason, 200)
}

// metrics returns the performance data. Few metrics are printed by default, because some
// monitoring systems cut the performance data.
func (n Nagios) metrics(r checker.Report) []Metric {
	var m []Metric
	if r.Guests != nil {
		m = append(m, Metric{Label: "guests", Value: int64(len(r.Guests))},
			Metric{Label: "incomplete", Value: int64(r.CountGuests(checker.GuestIncomplete))},
			Metric{Label: "torn", Value: int64(r.CountGuests(checker.GuestTorn))})
		if failed, old, judged := r.CountProofs(); judged {
			m = append(m, Metric{Label: "proof_failed", Value: int64(failed)}, Metric{Label: "proof_old", Value: int64(old)})
		}
	}
	m = append(m, []Metric{
		{Label: "disks", Value: int64(len(r.Disks))},
		{Label: "stopped", Value: int64(r.Count(checker.Stopped))},
		{Label: "unproven", Value: int64(r.Unproven())},
		{Label: "stale", Value: int64(r.Count(checker.Stale))},
		{Label: "missing", Value: int64(r.Count(checker.Missing))},
	}...)
	for _, p := range r.Pools {
		if fill, known := p.Health.Fill(); known {
			m = append(m, fillMetric(p, fill))
		}
	}
	for _, run := range r.Runs {
		m = append(m, Metric{run.Command + "_age", int64(run.Age.Seconds()), "s", &checker.Range{End: run.Limit.Seconds()}, nil})
	}
	if d := r.Oldest(); d != nil {
		m = append([]Metric{ageMetric("oldest_age", *d)}, m...)
	}
	if d := r.Laggard(); d != nil {
		m = append(m, Metric{"largest_lag", int64(d.Compared.Lag.Seconds()), "s", d.Warning.Range, d.Critical.Range})
	}
	if n.DiskPerfdata {
		for _, d := range r.Disks {
			if d.Newest != nil {
				m = append(m, ageMetric(d.Dataset, d))
			}
		}
	}
	return m
}

// fillMetric returns the used part of a pool, in percent.
func fillMetric(p checker.PoolResult, fill float64) Metric {
	limit := func(percent int) *checker.Range {
		if percent == 0 {
			return nil
		}
		return &checker.Range{End: float64(percent)}
	}
	return Metric{"fill_" + p.Name, int64(100 * fill), "%", limit(p.FillWarning), limit(p.FillCritical)}
}

func ageMetric(label string, d checker.Result) Metric {
	return Metric{label, int64(d.Age.Seconds()), "s", d.Warning.Range, d.Critical.Range}
}
