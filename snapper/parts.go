package snapper

import (
	"slices"

	"snapwatch/internal/zfs"
)

// Freezes tells whether any guest is to be held still.
func (p Plan) Freezes() bool {
	return slices.ContainsFunc(p.Guests, func(g GuestPlan) bool { return len(g.Freeze) > 0 })
}

// Split parts the plan into what is for disks that get their _stopped snapshot, and
// the rest. Nobody waits for hooks of other guests, or for those that are held still, while
// a stopped guest is locked.
func (p Plan) Split() (final, rest Plan) {
	stops := map[string]bool{}
	for _, dataset := range p.finalDisks() {
		stops[dataset] = true
	}
	for _, g := range p.Guests {
		if g.Class == zfs.Stopped {
			final.Guests = append(final.Guests, g)
		} else {
			rest.Guests = append(rest.Guests, g)
		}
	}
	dataset := func(d Destroy) string { return d.Dataset }
	marked := func(s zfs.Snapshot) string { return s.Dataset }
	final.Destroys, rest.Destroys = part(p.Destroys, stops, dataset)
	final.FullDestroys, rest.FullDestroys = part(p.FullDestroys, stops, dataset)
	final.CreateBookmarks, rest.CreateBookmarks = part(p.CreateBookmarks, stops, marked)
	final.Abandoned, rest.Abandoned = part(p.Abandoned, stops, func(j JudgedBookmark) string { return j.Dataset })
	final.DestroyBookmarks, rest.DestroyBookmarks = part(p.DestroyBookmarks, stops, marked)
	final.InheritReceived, rest.InheritReceived = part(p.InheritReceived, stops, func(s string) string { return s })
	return final, rest
}

func part[T any](list []T, chosen map[string]bool, dataset func(T) string) (in, out []T) {
	for _, entry := range list {
		if chosen[dataset(entry)] {
			in = append(in, entry)
		} else {
			out = append(out, entry)
		}
	}
	return in, out
}

// FinalOnly is what remains of a plan while the host shuts down: the _stopped snapshots
// and labels of guests that ran here. Nothing rotates, and a guest that still lives is
// left to the next run.
func (p Plan) FinalOnly() Plan {
	var final Plan
	labelled := map[string]bool{}
	for _, g := range p.Guests {
		if g.Class == zfs.Stopped {
			final.Guests = append(final.Guests, g)
			for _, d := range g.Disks {
				labelled[d.Dataset] = true
			}
		}
	}
	for _, n := range p.Notes {
		if labelled[n.Dataset] {
			final.Notes = append(final.Notes, n)
		}
	}
	return final
}

// finalDisks returns the datasets that the plan gives a _stopped snapshot or label.
func (p Plan) finalDisks() []string {
	var datasets []string
	for _, g := range p.Guests {
		for _, d := range g.Disks {
			if g.Class == zfs.Stopped {
				datasets = append(datasets, d.Dataset)
			}
		}
	}
	return datasets
}

// Add takes another plan in.
func (p *Plan) Add(more Plan) {
	p.Guests = append(p.Guests, more.Guests...)
	p.Destroys = append(p.Destroys, more.Destroys...)
	p.FullDestroys = append(p.FullDestroys, more.FullDestroys...)
	p.CreateBookmarks = append(p.CreateBookmarks, more.CreateBookmarks...)
	p.Abandoned = append(p.Abandoned, more.Abandoned...)
	p.AbandonedLater = append(p.AbandonedLater, more.AbandonedLater...)
	p.DestroyBookmarks = append(p.DestroyBookmarks, more.DestroyBookmarks...)
	p.InheritReceived = append(p.InheritReceived, more.InheritReceived...)
	p.Notes = append(p.Notes, more.Notes...)
}
