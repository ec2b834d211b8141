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

// GuestExplanation prints the explanation of a guest, with ages as of now: a paragraph, the
// facts, and the commands, each on one line.
func GuestExplanation(w io.Writer, t Table, e checker.GuestExplanation, now time.Time) error {
	var b strings.Builder
	unbroken := Table{Colour: t.Colour}
	unbroken.line(&b, e.Colour(), fmt.Sprintf("%s %s", e.State, e.Verdict), "  guest "+text.Plain(e.Number()))
	t.paragraph(&b, strings.Join(e.Words, " "))
	if e.Verdict != checker.GuestWhole && !strings.Contains(strings.Join(e.Words, " "), e.Reason) {
		t.paragraph(&b, e.Reason)
	}
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
		unbroken.line(&b, "", "", strings.TrimRight(line, " \n"))
	}
	b.WriteByte('\n')
	for _, fact := range e.Facts {
		t.fact(&b, fact[0], fact[1])
	}
	plan := func(head string, steps []string) {
		if len(steps) == 0 {
			return
		}
		unbroken.line(&b, "bold", "  "+head, "")
		for _, step := range steps {
			unbroken.line(&b, "", "", "    "+text.Plain(step))
		}
	}
	if e.Config != "" {
		plan("the guest's configuration at that time, if snap keeps it:", []string{e.Config})
	}
	plan("the encryption key first, as root; zfs asks for the key:", e.Unlock)
	plan("to start the guest here, as root; its disks stay as they are:", e.Start)
	plan("to remove the clones again, with all that the guest wrote to them:", e.Back)
	_, err := io.WriteString(w, b.String())
	return err
}

// paragraph prints sentences as an indented paragraph, wrapped to the terminal's width.
func (t Table) paragraph(b *strings.Builder, sentences string) {
	for _, line := range t.wrapped(text.Plain(sentences), 2) {
		b.WriteString("  " + line + "\n")
	}
}

// factColumn is the column of the terminal at which the text of a fact begins.
const factColumn = 17

// fact prints the name of a fact and then its text.
func (t Table) fact(b *strings.Builder, name, said string) {
	for i, line := range t.wrapped(text.Plain(said), factColumn) {
		if i > 0 {
			name = ""
		}
		t.coloured(b, "bold", fmt.Sprintf("  %-*s", factColumn-2, name), line)
	}
}
