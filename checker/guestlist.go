package checker

import (
	"cmp"
	"slices"
)

// WithGuests returns the report with the verdicts on guests: on the guests of the report's disks,
// and on guests whose owners have disks that are not here. The report's disks must be judged
// before the call. WithGuests also sets the questions whose answers would improve the verdicts.
// If the report is filtered by pool or disk, there are no verdicts on guests, because the filter
// may hide other disks of a guest.
func (r Report) WithGuests(policy Policy) Report {
	if !r.filter.whole() {
		return r
	}
	p := &policy
	all := byGuest(r.Disks, p)
	all = withAbsent(all, r.absent)
	r.Guests, r.Questions = make([]Guest, 0, len(all)), nil
	for i := range all {
		key := guestKey{all[i].cluster, all[i].vmid}
		name, owned := r.names[key]
		c := guestEvaluation{guestDisks: &all[i], policy: p, now: r.Now, owned: owned}
		if k := all[i].config(); k != nil && !owned {
			name = k.Name
			all[i].absent = append(all[i].absent, all[i].lacking(r.Disks, p, r.Now)...)
		}
		c.look()
		g := c.judge()
		g.Name = name
		g.Alone = g.State != OK && !slices.ContainsFunc(c.serving, func(d *Result) bool { return d.State.severity() >= g.State.severity() })
		r.Guests = append(r.Guests, g)
		if q, ask := c.question(); ask {
			r.Questions = append(r.Questions, q)
		}
	}
	slices.SortStableFunc(r.Guests, func(a, b Guest) int {
		return cmp.Or(b.State.severity()-a.State.severity(), cmp.Compare(a.Verdict, b.Verdict))
	})
	return r
}

// guestKey identifies a guest by its cluster and VMID.
type guestKey struct {
	cluster string
	vmid    int
}

// withAbsent adds to the guests the disks that their owners have and this host lacks.
func withAbsent(guests []guestDisks, absent []absence) []guestDisks {
	for _, a := range absent {
		at := slices.IndexFunc(guests, func(g guestDisks) bool { return g.vmid == a.vmid && g.cluster == a.cluster })
		if at < 0 {
			at = len(guests)
			guests = append(guests, guestDisks{cluster: a.cluster, vmid: a.vmid})
		}
		guests[at].absent = append(guests[at].absent, a)
	}
	return guests
}

// namesOf returns the guests about which nodes answered, with each guest's name, "" if the name
// is unknown.
func namesOf(nodes []NodeAnswer, p *Policy, clusters map[string]map[string]bool) map[guestKey]string {
	names := map[guestKey]string{}
	for _, n := range nodes {
		cluster, known := clusterOf(n.Node, p, clusters)
		for _, g := range n.Guests {
			if known {
				names[guestKey{cluster, g.VMID}] = g.Name
			}
		}
	}
	return names
}
