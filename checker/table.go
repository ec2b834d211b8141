package checker

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// WriteTable prints the report for people, the worst first.
func WriteTable(w io.Writer, r Report) error {
	if _, err := fmt.Fprintf(w, "%s: %s\n", r.State(), plain(r.Summary())); err != nil {
		return err
	}
	for _, p := range r.Pools {
		if p.Reason != "" {
			_, _ = fmt.Fprintf(w, "%s pool %s: %s\n", p.State, p.Name, plain(p.Reason))
		}
		for _, remark := range p.Remarks {
			_, _ = fmt.Fprintf(w, "note: pool %s: %s\n", p.Name, plain(remark))
		}
	}
	for _, n := range r.Notes {
		_, _ = fmt.Fprintf(w, "%s: %s\n", n.State, plain(n.Text))
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "STATE\tVERDICT\tVMID\tDATASET\tAGE\tSUFFIX\tNEWEST\tREASON")
	for _, d := range r.Disks {
		_, _ = fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\n", d.State, d.Verdict, d.VMID, d.Dataset,
			ageOrNone(d), d.Suffix(), newestTime(d), plain(d.FullReason()))
	}
	return t.Flush()
}

func ageOrNone(d Result) string {
	if d.Newest == nil {
		return "-"
	}
	return Age(d.Age)
}

func newestTime(d Result) string {
	if d.Newest == nil {
		return "-"
	}
	return d.Newest.Creation.Format(time.DateTime)
}
