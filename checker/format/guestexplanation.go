package format

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"snapwatch/checker"
	"snapwatch/internal/text"
)

// GuestExplanation prints what a person needs to know of a guest, at a time.
func GuestExplanation(w io.Writer, t Table, e checker.GuestExplanation, now time.Time) error {
	var b strings.Builder
	t.line(&b, e.Colour(), fmt.Sprintf("%s %s", e.State, e.Verdict), "  guest "+text.Plain(e.Number()))
	t.line(&b, "", "", "  "+text.Plain(strings.Join(e.Words, " ")))
	t.line(&b, "", "", "  "+text.Plain(e.Reason))
	b.WriteByte('\n')
	var disks strings.Builder
	columns := tabwriter.NewWriter(&disks, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(columns, "  DISK\tNEWEST\tAGE\tVERDICT\tAT THE RESTORE POINT")
	for _, d := range e.Disks {
		name, age, at := "-", "-", "-"
		if d.Newest != nil {
			name, age = d.Newest.Name, text.Age(max(0, now.Sub(d.Newest.Creation)))
		}
		if d.At != nil {
			at = d.At.Name
		}
		_, _ = fmt.Fprintf(columns, "  %s\t%s\t%s\t%s\t%s\n", d.Dataset, name, age, d.Word(), at)
	}
	_ = columns.Flush() // never fails: the writer is in memory
	for line := range strings.Lines(disks.String()) {
		t.line(&b, "", "", strings.TrimRight(line, " \n"))
	}
	b.WriteByte('\n')
	plan := func(head string, steps []string) {
		if len(steps) == 0 {
			return
		}
		t.line(&b, "bold", "  "+head, "")
		for _, step := range steps {
			t.line(&b, "", "", "    "+text.Plain(step))
		}
	}
	plan("to start it here, as root; the copies stay as they are:", e.Start)
	plan("to take that away again, with all that it wrote here:", e.Back)
	if len(e.Start) > 0 {
		t.line(&b, "", "", fmt.Sprintf("  its configuration, if snap keeps it: snapwatch guest-config %d --at %s@%s", e.VMID, e.Disks[0].Dataset, e.Disks[0].At.Name))
	}
	_, err := io.WriteString(w, b.String())
	return err
}
