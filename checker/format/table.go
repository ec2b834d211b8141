package format

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"snapwatch/checker"
	"snapwatch/internal/text"
)

// Table prints a report for people, the worst first.
type Table struct {
	// Colour is true if the output is a terminal that shows colours.
	Colour bool
	// Width is where lines are cut, in characters; 0 cuts none.
	Width int
}

// Write prints the report.
func (t Table) Write(w io.Writer, r checker.Report) error {
	var b strings.Builder
	t.line(&b, r.State().Colour(), r.State().String(), ": "+text.Plain(r.Summary()))
	for _, p := range r.Pools {
		if p.Reason != "" {
			t.line(&b, p.State.Colour(), p.State.String(), fmt.Sprintf(" pool %s: %s", p.Name, text.Plain(p.Reason)))
		}
		for _, remark := range p.Remarks {
			t.line(&b, "", "", fmt.Sprintf("note: pool %s: %s", p.Name, text.Plain(remark)))
		}
	}
	for _, n := range r.Notes {
		t.line(&b, n.State.Colour(), n.State.String(), ": "+text.Plain(n.Text))
	}
	for _, g := range r.Guests {
		if g.State != checker.OK {
			t.line(&b, g.Colour(), g.State.String(), fmt.Sprintf(" guest %s %s: %s", g.Number(), g.Verdict, text.Plain(g.Reason)))
		}
	}
	t.disks(&b, r.Disks)
	_, err := io.WriteString(w, b.String())
	return err
}

// disks prints the columns first and colours them then: an escape sequence would count
// as wide as it is long.
func (t Table) disks(b *strings.Builder, disks []checker.Result) {
	var table bytes.Buffer
	columns := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	const first = "STATE\tVERDICT\tVMID\tDATASET\tAGE\tLIMIT\tSUFFIX\tNEWEST\tLABEL\tREASON"
	_, _ = fmt.Fprintln(columns, first)
	for _, d := range disks {
		_, _ = fmt.Fprintf(columns, "%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", d.State, d.Verdict, d.VMID, d.Dataset,
			ageOrNone(d), limitOrNone(d), d.Suffix(), newestTime(d), labelOrNone(d), text.Plain(d.FullReason()))
	}
	_ = columns.Flush() // into memory
	lines := strings.Split(strings.TrimSuffix(table.String(), "\n"), "\n")
	t.line(b, "bold", lines[0], "")
	verdict := strings.Index(lines[0], "VMID")
	for i, d := range disks {
		t.line(b, d.Colour(), lines[i+1][:verdict], lines[i+1][verdict:])
	}
}

// ansi are the terminal's sequences for the colours of the verdicts.
var ansi = map[string]string{
	"green": "32", "red": "1;31", "yellow": "33", "purple": "35", "blue": "34", "grey": "2", "bold": "1",
}

// line prints a line of which the first part is coloured.
func (t Table) line(b *strings.Builder, colour, first, rest string) {
	if t.Width > 0 {
		first = cut(first, t.Width)
		rest = cut(rest, t.Width-len([]rune(first)))
	}
	if code := ansi[colour]; t.Colour && code != "" {
		first = "\x1b[" + code + "m" + first + "\x1b[0m"
	}
	b.WriteString(first + rest + "\n")
}

// cut shortens text to at most that many characters.
func cut(text string, limit int) string {
	runes := []rune(text)
	switch {
	case len(runes) <= limit:
		return text
	case limit < 1:
		return ""
	}
	return string(runes[:limit-1]) + "…"
}

func ageOrNone(d checker.Result) string {
	if d.Newest == nil {
		return "-"
	}
	return text.Age(d.Age)
}

func limitOrNone(d checker.Result) string {
	if d.Limit.Range == nil {
		return "-"
	}
	return d.Limit.Range.Spoken()
}

func labelOrNone(d checker.Result) string {
	if d.Running.Value == "" {
		return "-"
	}
	return text.Clip(text.Plain(d.Running.Value), 40)
}

func newestTime(d checker.Result) string {
	if d.Newest == nil {
		return "-"
	}
	return d.Newest.Creation.Format(time.DateTime)
}
