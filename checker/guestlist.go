package checker

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"snapwatch/internal/zfs"
)

// WithGuests returns the report with the verdicts on guests: on the guests of the report's disks,
// and on guests whose owners have disks that are not here. The caller must judge the report's disks
// before it calls WithGuests. WithGuests also sets the report's questions: their answers would make
// the verdicts more exact. If the report is filtered by pool or disk, there are no verdicts on
// guests, because the filter may hide a part of a guest's disks.
func (r Report) WithGuests(policy Policy) Report {
	if !r.filter.whole() {
		return r
	}
	p := &policy
	all := byGuest(r.Disks, p)
	unplaced(all, p)
	all = withAbsent(all, r.absent)
	r.Guests, r.Questions = make([]Guest, 0, len(all)), nil
	for i := range all {
		key := guestKey{all[i].cluster, all[i].vmid}
		owner := r.owners[key]
		c := guestEvaluation{guestDisks: &all[i], policy: p, now: r.Now, owned: owner.complete}
		if k := all[i].config(); k != nil && !owner.complete {
			owner.name = cmp.Or(owner.name, k.Name)
			all[i].miss(all[i].lacking(r.Disks, p, r.Now))
		}
		c.look()
		g := c.judge()
		if of := all[i].perhapsOf; of != "" && g.State == OK {
			g = g.become(GuestUnreadable, Within, fmt.Sprintf("it is not known whether %s is a disk of guest %d of %s: name its origin under sources:", all[i].serving[0].Dataset, g.VMID, of))
		}
		g.Name = owner.name
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

// unplaced marks guests whose cluster is unknown, because sources: in the configuration does not
// name it. A guest whose cluster is unknown may be a part of the guest with the same VMID in a
// known cluster. If so, the whole guest may be torn although each part is not. Two guests that have
// a disk of the same name cannot be parts of one guest. A guest that is configured on this host is
// never a part of another guest.
func unplaced(guests []guestDisks, p *Policy) {
	for i := range guests {
		g := &guests[i]
		if p.OriginOf == nil || g.cluster != "" || len(g.serving) == 0 || p.IsOwn != nil && p.IsOwn(&g.serving[0].Disk) {
			continue
		}
		for k := i + 1; k < len(guests) && guests[k].vmid == g.vmid; k++ {
			if o := &guests[k]; len(o.serving) > 0 && !slices.ContainsFunc(g.serving, func(d *Result) bool { return o.serves(d.Name()) > 0 }) {
				g.perhapsOf = o.cluster
			}
		}
	}
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

// miss adds to g.absent the lacking disks that the kept configuration names, except disks that are
// in g.absent already because an owner's last answer names them.
func (g *guestDisks) miss(lacking []absence) {
	for _, l := range lacking {
		if !slices.ContainsFunc(g.absent, func(a absence) bool { return a.node != l.node && strings.HasSuffix(l.Dataset, zfs.Base(a.Dataset)) }) {
			g.absent = append(g.absent, l)
		}
	}
}

// guestOwner has facts from the nodes' answers: those about a guest, and not about a single disk.
type guestOwner struct {
	// name is the guest's name according to the newest answer that contains the guest, "" if
	// unknown. at is the time of this answer.
	name string
	at   time.Time
	// complete is true if a node's answer names all disks of the guest, and this answer is not too
	// old.
	complete bool
}

// ownersOf returns, by guest, the facts from the nodes' answers about their own guests.
func ownersOf(nodes []NodeAnswer, p *Policy, clusters map[string]map[string]bool, now time.Time) map[guestKey]guestOwner {
	owners := map[guestKey]guestOwner{}
	for _, n := range nodes {
		cluster, known := clusterOf(n.Node, p, clusters)
		complete := known && len(n.Unread) == 0 && (n.Failure == "" || !n.TooOld(now, p.MaxDataAge))
		for _, g := range n.Guests {
			o := owners[guestKey{cluster, g.VMID}]
			if !n.At.Before(o.at) {
				o.name, o.at = cmp.Or(g.Name, o.name), n.At
			}
			o.complete = o.complete || complete
			owners[guestKey{cluster, g.VMID}] = o
		}
	}
	return owners
}
