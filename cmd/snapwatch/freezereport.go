package main

import (
	"fmt"

	"snapwatch/snapper"
)

// freezes lists the guests that are held still while a plan's snapshots are taken.
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
		return action{"leave", target, "not held still: " + f.Unfit}
	}
	if g.Group != "" {
		why += ", with group " + g.Group
	}
	return action{"freeze", target, why}
}
