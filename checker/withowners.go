package checker

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"snapwatch/internal/text"
)

// WithOwners compares every disk with what the nodes said of it that may own it, by
// the disk's dataset. The worse of verdict and comparison counts, but for a disk that
// its owner takes no snapshots of, which is excluded, a stale one that it does not use
// any more, which is orphaned, and one whose guest is alive there, which is not stopped. What
// the nodes have and this host lacks makes guests incomplete: [Report.WithGuests] is to follow.
func (r Report) WithOwners(p Policy, said map[string][]Evidence, nodes ...NodeAnswer) Report {
	r.Disks = slices.Clone(r.Disks)
	clusters := clustersOf(r.Disks, said)
	if p.SeveralClusters {
		said = sortedByCluster(r.Disks, said)
	}
	for i := range r.Disks {
		d := &r.Disks[i]
		c := Comparison{Reason: "not compared: no node was asked of it yet"}
		if len(said[d.Dataset]) > 0 || d.Newest == nil {
			c = Compare(d.Disk, d.Verdict, p, said[d.Dataset])
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
	r.names = namesOf(nodes, &p, clusters)
	r.Notes = append(slices.Clone(r.Notes), unregistered(r.Disks, said)...)
	r.Notes = append(r.Notes, unanswered(nodes, r.Now)...)
	if r.filter.whole() {
		r.Notes = append(r.Notes, p.former(nodes, r.filter.guest, r.Now)...)
	}
	r.sort()
	return r
}

// Absent is how many disks owners have that this host lacks: of those that the configuration
// says it must hold, and of others.
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

// wake judges a disk whose newest snapshot says that its guest is off, while its owner says
// that it lives: the time for which it has lacked something counts.
func (d *Result) wake(p *Policy, c Comparison) {
	level, limit := p.exceeded(&d.Disk, c.Lag)
	if c.Outcome != InSync && c.Outcome != Lagging {
		level = max(level, BeyondWarning) // it is not known for how long
	}
	v := Fresh
	if level > Within {
		v = Stale
	}
	d.Judgement = Judgement{Verdict: v, Level: level, State: table[v].States[level], Reason: c.Reason, Age: c.Lag, Limit: limit}
}

// unanswered names the nodes whose last answer stands for now, and those that do not know all.
func unanswered(nodes []NodeAnswer, now time.Time) []Note {
	var notes []Note
	for _, n := range nodes {
		if len(n.Unread) > 0 {
			notes = append(notes, Note{State: OK, Text: fmt.Sprintf("%s has not read %s since its exporter was started: what its guests have there is not known", n.Node, strings.Join(n.Unread, ", "))})
		}
		if n.Failure != "" && !n.At.IsZero() {
			notes = append(notes, Note{State: OK, Text: fmt.Sprintf("%s does not answer (%s): what it said %s ago stands for now", n.Node, n.Failure, text.Age(max(0, now.Sub(n.At))))})
		}
	}
	return notes
}

// become gives the disk a verdict that its owner's answer is the reason for.
func (d *Result) become(v Verdict, reason string) {
	d.Judgement = Judgement{Verdict: v, State: table[v].States[Within], Reason: reason, Age: d.Age, Limit: d.Limit}
}

// unregistered names the nodes that own disks and on which nothing starts snap.
func unregistered(disks []Result, said map[string][]Evidence) []Note {
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
