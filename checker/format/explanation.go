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

// Explanation prints the explanation of a disk, with ages as of now.
func Explanation(w io.Writer, t Table, e checker.Explanation, now time.Time) error {
	var b strings.Builder
	t.line(&b, e.Colour(), fmt.Sprintf("%s %s", e.State, e.Word()), fmt.Sprintf("  %s, guest %d", e.Dataset, e.VMID))
	t.line(&b, "", "", "  "+text.Plain(e.FullReason()))
	b.WriteByte('\n')
	var sites strings.Builder
	columns := tabwriter.NewWriter(&sites, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(columns, "  SITE\tNEWEST\tAGE\t")
	for _, s := range e.Sites {
		name, age := "-", "-"
		if s.Newest != nil {
			name, age = s.Newest.Name, text.Age(now.Sub(s.Newest.Creation))
		}
		_, _ = fmt.Fprintf(columns, "  %s\t%s\t%s\t%s\n", s.Name, name, age, text.Plain(s.What))
	}
	_ = columns.Flush() // never fails: the writer is in memory
	for line := range strings.Lines(sites.String()) {
		t.line(&b, "", "", strings.TrimRight(line, " \n"))
	}
	b.WriteByte('\n')
	for _, fact := range e.Facts(now) {
		t.line(&b, "bold", fmt.Sprintf("  %-13s", fact[0]), text.Plain(fact[1]))
	}
	for i, step := range e.Next {
		head := ""
		if i == 0 {
			head = "next"
		}
		t.line(&b, "bold", fmt.Sprintf("  %-13s", head), text.Plain(step))
	}
	_, err := io.WriteString(w, b.String())
	return err
}
