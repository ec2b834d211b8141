package format

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"snapwatch/checker"
	"snapwatch/internal/text"
	"snapwatch/internal/zfs"
)

// Checkmk prints the report as a Checkmk local check: one service for each pool, worded like the
// Nagios output, one service for all guests, and one service for everything else. The last service
// is always present, because Checkmk would not discover a service that appears only with a fault.
func Checkmk(w io.Writer, r checker.Report) error {
	var b strings.Builder
	for _, pool := range r.Pools {
		part := ofPool(r, pool)
		// A pool without disks is not a fault if other pools contain disks.
		state := checker.Worst(part.States()...)
		fmt.Fprintf(&b, "%d \"snapwatch %s\" %s %s\n", state, pool.Name, checkmkMetrics(part), text.Plain(checkmkText(state, part)))
	}
	if len(r.Guests) > 0 {
		part := checker.Report{Now: r.Now, Guests: r.Guests}
		state := checker.Worst(part.States()...)
		words := fmt.Sprintf("%d of %d guests whole", r.CountGuests(checker.GuestWhole), len(r.Guests))
		for _, line := range (Nagios{Verbosity: 1}).lines(part) {
			words += `\n` + line
		}
		fmt.Fprintf(&b, "%d \"snapwatch guests\" guests=%d|torn=%d %s\n", state, len(r.Guests), r.CountGuests(checker.GuestTorn), text.Plain(text.Clip(state.String()+": "+words, packet)))
	}
	rest := checker.Report{Now: r.Now, Notes: r.Notes}
	state := checker.Worst(rest.States()...)
	if r.NoDisk() {
		state = checker.Worst(state, checker.Unknown)
	}
	fmt.Fprintf(&b, "%d \"snapwatch\" - %s\n", state, text.Plain(notesText(state, r)))
	_, err := io.WriteString(w, b.String())
	return err
}

func notesText(state checker.State, r checker.Report) string {
	var words []string
	for _, n := range r.Notes {
		words = append(words, n.Text)
	}
	if r.Failure != "" {
		words = append(words, r.Failure)
	} else if r.NoDisk() {
		words = append(words, "no disk found")
	} else if len(words) == 0 {
		words = append(words, fmt.Sprintf("no fault beyond those of the other services (pools: %d, disks: %d)", len(r.Pools), len(r.Disks)))
	}
	return state.String() + ": " + strings.Join(words, ", ")
}

func checkmkText(state checker.State, part checker.Report) string {
	text := state.String() + ": " + part.Summary()
	if lines := (Nagios{}).lines(part); len(lines) > 0 {
		text += `\n` + strings.TrimSuffix(strings.ReplaceAll(fit(lines, packet), "\n", `\n`), `\n`)
	}
	return text
}

// ofPool returns the part of the report about one pool.
func ofPool(r checker.Report, pool checker.PoolResult) checker.Report {
	part := checker.Report{Now: r.Now, Pools: []checker.PoolResult{pool}}
	for _, d := range r.Disks {
		if zfs.Pool(d.Dataset) == pool.Name {
			part.Disks = append(part.Disks, d)
		}
	}
	return part
}

func checkmkMetrics(r checker.Report) string {
	var words []string
	for _, m := range (Nagios{}).metrics(r) {
		words = append(words, fmt.Sprintf("%s=%d%s", m.Label, m.Value, checkmkLevels(m)))
	}
	return strings.Join(words, "|")
}

// checkmkLevels returns the upper limits of a metric in Checkmk's form, which knows no lower
// limits.
func checkmkLevels(m Metric) string {
	if m.Warning == nil || m.Critical == nil || m.Warning.Inside || m.Critical.Inside {
		return ""
	}
	return fmt.Sprintf(";%s;%s", number(m.Warning.End), number(m.Critical.End))
}

func number(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }
