package main

import (
	"fmt"
	"io"
	"time"

	"snapwatch/internal/report"
	"snapwatch/snapper"
)

// freezes returns, for dry runs and reports, an action for each guest that is frozen while a plan's
// snapshots are taken.
func freezes(plan snapper.Plan) []action {
	list := []action{}
	seen := map[int]bool{}
	for _, g := range plan.Guests {
		for _, f := range g.Freeze {
			if !seen[f.VMID] {
				list = append(list, freezeAction(g, f))
			}
			seen[f.VMID] = true
		}
	}
	return list
}

func freezeAction(g snapper.GuestPlan, f snapper.Freeze) action {
	target, why := fmt.Sprintf("guest %d", f.VMID), "by "+string(f.How)
	if f.Unfit != "" {
		return action{"leave", target, "not frozen: " + f.Unfit}
	}
	if g.Group != "" {
		why += ", with group " + g.Group
	}
	return action{"freeze", target, why}
}

// tellQuiesced prints, for each guest that was frozen in this run, the time for which the guest was
// frozen.
func tellQuiesced(w io.Writer, done report.Run) {
	for _, q := range done.Quiesced {
		if q.Consistent == report.Application && !q.At.Before(done.Start) {
			held := time.Duration(q.Seconds * float64(time.Second)).Round(time.Millisecond)
			fmt.Fprintf(w, "guest %d was frozen for %s by its %s\n", q.VMID, held, q.How)
		}
	}
}
