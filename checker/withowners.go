package checker

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"snapwatch/internal/text"
)

// WithOwners compares every disk with the nodes' evidence about the disk. The argument `said` has
// the evidence by dataset. A disk gets the worse one of two states: the state of the disk's
// verdict, and the state of its comparison. There are three exceptions. A disk of which the owner
// takes no snapshots becomes excluded. A stale disk that its owner does not use any more becomes
// orphaned. A stopped disk whose guest is alive on the owner becomes fresh or stale.
// [Report.WithGuests] must be called afterwards, because disks that the nodes have and this host
// lacks make guests incomplete.
func (r Report) WithOwners(p Policy, said map[string][]Evidence, nodes ...NodeAnswer) Report {
	r.Disks = slices.Clone(r.Disks)
	clusters := clustersOf(r.Disks, said)
	if p.SeveralClusters {
		said = sortedByCluster(r.Disks, said)
	}
	silent := map[string]bool{}
	for _, n := range nodes {
		if n.Failure != "" {
			silent[n.Node] = true
		}
	}
	for i := range r.Disks {
		d := &r.Disks[i]
		c := Comparison{Reason: "not compared: no node was asked about it yet"}
		if len(said[d.Dataset]) > 0 || d.Newest == nil {
			c = Compare(d.Disk, d.Verdict, p, answersAbout(d.Disk, said[d.Dataset], silent))
		}
		switch {
		case c.Outcome == OutcomeOrphaned && (d.Verdict == Stale || d.Verdict == Never):
			d.become(Orphaned, c.Reason)
		case c.Outcome == OutcomeExcluded && d.Verdict != Damaged:
			d.become(Excluded, c.Reason)
			d.Limit = Limit{Rule: "excluded by its owner"}
		case d.Verdict == Stopped && c.Alive:
			d.wake(&p, c)
		}
		d.Compared, d.State, d.Evidence = &c, Worst(d.State, c.State), said[d.Dataset]
	}
	r.Nodes = nodes
	if r.filter.whole() {
		r.absent = absences(r.Disks, &p, nodes, clusters, r.Now, r.filter.guest)
	}
	r.owners = ownersOf(nodes, &p, clusters, r.Now)
	r.Notes = append(r.matchedNotes(), noteUnregistered(r.Disks, said)...)
	r.Notes = append(r.Notes, unanswered(nodes, r.Now)...)
	if r.filter.whole() {
		r.Notes = append(r.Notes, p.former(nodes, r.filter.guest, r.Now)...)
	}
	r.sort()
	return r
}

// answersAbout returns the evidence about a disk. If a node answers now that the guest is its own,
// the last answers of silent owners are left out, because the guest has moved.
func answersAbout(d Disk, nodes []Evidence, silent map[string]bool) []Evidence {
	if len(silent) == 0 || !slices.ContainsFunc(nodes, func(e Evidence) bool { return e.owns(d) && !silent[e.Node] }) {
		return nodes
	}
	return slices.DeleteFunc(slices.Clone(nodes), func(e Evidence) bool { return e.owns(d) && silent[e.Node] })
}

// Absent returns the number of disks that owners have and this host lacks: expected is the number
// of such disks that the configuration requires here, and others the number of such disks that the
// configuration does not require.
func (r Report) Absent() (expected, others int) {
	for _, a := range r.absent {
		if a.expected {
			expected++
		} else {
			others++
		}
	}
	return expected, others
}

// wake judges a stopped disk whose owner says that the guest is alive. The age that wake judges is
// the time for which the owner has had a snapshot that the copy lacks.
func (d *Result) wake(p *Policy, c Comparison) {
	level, limit := p.exceeded(&d.Disk, c.Lag)
	if c.Outcome != InSync && c.Outcome != Lagging {
		level = max(level, BeyondWarning) // the time is unknown
	}
	v := Fresh
	if level > Within {
		v = Stale
	}
	d.Judgement = Judgement{Verdict: v, Level: level, State: table[v].States[level], Reason: c.Reason, Age: c.Lag, Limit: limit}
}

// unanswered returns notes that name two kinds of nodes: nodes that do not answer now, whose last
// answers are used, and nodes that have not read all their pools.
func unanswered(nodes []NodeAnswer, now time.Time) []Note {
	var notes []Note
	for _, n := range nodes {
		if len(n.Unread) > 0 {
			notes = append(notes, Note{State: OK, Text: fmt.Sprintf("%s has not read %s since its exporter was started: the disks of its guests there are unknown", n.Node, strings.Join(n.Unread, ", "))})
		}
		if n.Failure != "" && !n.At.IsZero() {
			notes = append(notes, Note{State: OK, Text: fmt.Sprintf("%s does not answer (%s): its answer of %s ago counts for now", n.Node, n.Failure, text.Age(max(0, now.Sub(n.At))))})
		}
	}
	return notes
}

// become replaces the disk's verdict by the verdict v, which follows from the answer of the disk's
// owner.
func (d *Result) become(v Verdict, reason string) {
	d.Judgement = Judgement{Verdict: v, State: table[v].States[Within], Reason: reason, Age: d.Age, Limit: d.Limit}
}

// noteUnregistered returns a note with the names of nodes that own disks, but on which neither a
// timer nor cron starts snap.
func noteUnregistered(disks []Result, said map[string][]Evidence) []Note {
	var notes []Note
	named := map[string]bool{}
	for i := range disks {
		for _, e := range said[disks[i].Dataset] {
			if e.Unregistered && e.owns(disks[i].Disk) && !named[e.Node] {
				named[e.Node] = true
				notes = append(notes, Note{State: Warning, Text: "nothing starts snap on " + e.Node + ", which has guests: there, as root: snapwatch doctor; snapwatch cron install"})
			}
		}
	}
	return notes
}
