package checker

import (
	"fmt"
	"io"
	"strings"

	"snapwatch/internal/text"
)

// WriteCheckmk prints the report as a Checkmk local check: one service a pool,
// worded like the Nagios output, and one for what is about no pool.
func WriteCheckmk(w io.Writer, r Report) error {
	var b strings.Builder
	for _, pool := range r.Pools {
		part := r.ofPool(pool)
		// An empty pool is no fault where other pools hold disks.
		state := Worst(part.states()...)
		fmt.Fprintf(&b, "%d \"snapwatch %s\" %s %s\n", state, pool.Name, checkmkMetrics(part), text.Plain(checkmkText(state, part)))
	}
	if len(r.Notes) > 0 || len(r.Disks) == 0 {
		rest := Report{Now: r.Now, Notes: r.Notes}
		state := Worst(rest.states()...)
		if len(r.Disks) == 0 {
			state = Worst(state, Unknown)
		}
		fmt.Fprintf(&b, "%d \"snapwatch\" - %s\n", state, text.Plain(notesText(state, r)))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func notesText(state State, r Report) string {
	var words []string
	for _, n := range r.Notes {
		words = append(words, n.Text)
	}
	if r.Failure != "" {
		words = append(words, r.Failure)
	} else if len(r.Disks) == 0 {
		words = append(words, "no disk found")
	}
	return state.String() + ": " + strings.Join(words, ", ")
}

func checkmkText(state State, part Report) string {
	text := state.String() + ": " + part.Summary()
	if lines := (Nagios{}).lines(part); len(lines) > 0 {
		text += `\n` + strings.TrimSuffix(strings.ReplaceAll(fit(lines, packet), "\n", `\n`), `\n`)
	}
	return text
}

// ofPool is the report of one of its pools.
func (r Report) ofPool(pool PoolResult) Report {
	part := Report{Now: r.Now, Pools: []PoolResult{pool}}
	for _, d := range r.Disks {
		if poolOf(d.Disk) == pool.Name {
			part.Disks = append(part.Disks, d)
		}
	}
	return part
}

func checkmkMetrics(r Report) string {
	var words []string
	for _, m := range (Nagios{}).metrics(r) {
		words = append(words, fmt.Sprintf("%s=%d%s", m.Label, m.Value, checkmkLevels(m)))
	}
	return strings.Join(words, "|")
}

// checkmkLevels are the upper limits, the only kind that Checkmk's metrics know.
func checkmkLevels(m Metric) string {
	if m.Warning == nil || m.Critical == nil || m.Warning.Inside || m.Critical.Inside {
		return ""
	}
	return fmt.Sprintf(";%s;%s", number(m.Warning.End), number(m.Critical.End))
}
