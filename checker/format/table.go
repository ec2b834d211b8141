package format

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"snapwatch/checker"
	"snapwatch/internal/text"
)

// Table prints a report for people, the worst first: a line for each guest, or for each disk if
// the report has no verdicts on guests.
type Table struct {
	// Colour is true if the output is a terminal that shows colours.
	Colour bool
	// Width is the width of the terminal in characters. Width 0 means that the width is unknown: no
	// line is wrapped, and no column is left out.
	Width int
	// Disks is true if the table must have a line for each disk.
	Disks bool
}

// Write prints the report to w.
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
	if !t.Disks && len(r.Guests) > 0 {
		t.guests(&b, r.GuestLines())
	} else {
		for _, g := range r.Guests {
			if g.State != checker.OK {
				t.line(&b, g.Colour(), g.State.String(), fmt.Sprintf(" guest %s %s: %s", g.Number(), g.Verdict, text.Plain(g.Reason)))
			}
		}
		t.disks(&b, r.Disks)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (t Table) guests(b *strings.Builder, guests []checker.GuestLine) {
	columns := []column{
		{head: "STATE"}, {head: "VERDICT"}, {head: "GUEST"}, {head: "DISKS"}, {head: "RESTORE POINT", from: 140}, {head: "AGE"},
	}
	var colours, news []string
	for _, g := range guests {
		disks := strconv.Itoa(g.Found())
		if g.Found() != g.Expected() {
			disks += "/" + strconv.Itoa(g.Expected())
		}
		point, age := "-", "-"
		if g.Point != nil {
			point, age = g.Point.Words(), text.Age(g.Age)
		}
		number := text.Plain(g.Number())
		if t.Width > 0 {
			number = cut(number, max(t.Width/3, 24))
		}
		addRow(columns, g.State.String(), g.Verdict.String(), number, disks, point, age)
		colours, news = append(colours, g.Colour()), append(news, text.Plain(g.News))
	}
	t.grid(b, columns, colours, news)
}

func (t Table) disks(b *strings.Builder, disks []checker.Result) {
	columns := []column{
		{head: "STATE"}, {head: "VERDICT"}, {head: "VMID", from: 100}, {head: "DATASET"}, {head: "AGE"}, {head: "LIMIT", from: 80},
		{head: "SUFFIX", from: 120}, {head: "NEWEST", from: 120}, {head: "LABEL", from: 160},
	}
	var colours, news []string
	for _, d := range disks {
		addRow(columns, d.State.String(), d.Verdict.String(), strconv.Itoa(d.VMID), d.Dataset, ageOrNone(d), limitOrNone(d),
			d.Suffix(), newestTime(d), labelOrNone(d))
		colours, news = append(colours, d.Colour()), append(news, text.Plain(d.News()))
	}
	t.grid(b, columns, colours, news)
}

func addRow(columns []column, cells ...string) {
	for i, cell := range cells {
		columns[i].cells = append(columns[i].cells, cell)
	}
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
