package checker

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"snapwatch/internal/text"
	"snapwatch/internal/zfs"
)

// Outcome is the result of comparing a disk with the node that owns the disk.
type Outcome int

// The outcomes of comparing a copy with its owner.
const (
	NotCompared Outcome = iota
	InSync
	Lagging
	Diverged
	NoOwner
	TwoOwners
	OwnerUnreachable
	OwnerUnreadable
	OutcomeOrphaned
	OutcomeExcluded
)

func (o Outcome) String() string { return outcomes[o].Name }

// OutcomeRow is one line of the table of outcomes.
type OutcomeRow struct {
	Outcome Outcome
	Name    string
	// States has, by the [limitLevel] of the lag, the Nagios state of the outcome.
	States [3]State
	// Meaning explains the outcome of a comparison to a person.
	Meaning string
}

var outcomes = [...]OutcomeRow{
	{NotCompared, "not compared", all(OK), "the verdict on the disk rules out a comparison, or the disk's guest is this host's own and no node that was asked calls the guest its own"},
	{InSync, "in sync", all(OK), "the owner's newest snapshot is here, or the replica has not been behind for longer than a limit"},
	{Lagging, "lagging", [3]State{OK, Warning, Critical}, "the owner has had newer snapshots for longer than a limit"},
	{Diverged, "diverged", all(Critical), "the copy's newest snapshot is not older than the owner's newest one and does not exist at the owner, or the owner has a different snapshot of that name"},
	{NoOwner, "no owner", all(Unknown), "no node that was asked has the guest, and the guest is or may be on another node, or no node that was asked is known to have had the disk"},
	{TwoOwners, "two owners", all(Unknown), "more than one node says that the guest is its own"},
	{OwnerUnreachable, "owner unreachable", all(Unknown), "no node that answered has the guest, and one did not answer"},
	{OwnerUnreadable, "owner unreadable", all(Unknown), "the owner cannot read its own disk, or has no disk of that name"},
	{OutcomeOrphaned, "orphaned", all(Warning), "no node that was asked has the guest, and one of them holds the copy's newest snapshot or has the guest as a template; or the owner answers that the disk no longer exists there. Check this before you remove the copy or ignore it"},
	{OutcomeExcluded, "excluded by its owner", all(OK), "the owner answers that it takes no snapshots of the disk, because of label:nosnap, a template, or ignore in its configuration"},
}

// Outcomes returns the table of outcomes.
func Outcomes() []OutcomeRow { return slices.Clone(outcomes[:]) }

// Evidence is the answer about a disk from one node that may own the disk's guest.
type Evidence struct {
	// Node is the node's name in messages.
	Node string
	// Cluster is the cluster from which the disk comes, according to this host's sources:, or "" if
	// sources: does not say. Foreign is true if the node belongs to another cluster.
	Cluster string
	Foreign bool
	// Failure says why the node could not be asked, "" if the node answered. If Failure is set,
	// the other fields of Evidence contain the last answer of the node.
	Failure string
	// Owned says whether the node has the disk's guest. If Owned is unknown, Why has the reason.
	Owned Ownership
	Why   string
	// ConfiguredOn is the node of the asked node's cluster that has the guest, "" if none.
	ConfiguredOn string
	// Replica is true if the asked node itself only receives the disk.
	Replica bool
	// Dataset is the node's own disk with the copy's name. GUID is this disk's guid, and Newest its
	// newest managed snapshot, nil for none. Problem says why Dataset, GUID and Newest are unknown.
	Dataset string
	GUID    uint64
	Newest  *zfs.Snapshot
	Problem string
	// Presence says whether the node's disk has the name of the replica's newest snapshot as a
	// snapshot or as a bookmark. PresenceGUID is the guid of the node's snapshot or bookmark.
	Presence     Presence
	PresenceGUID uint64
	// BehindSince is the creation time of the node's first managed snapshot after the replica's
	// newest one, zero if unknown. Now is the time of the answer by the node's clock.
	BehindSince, Now time.Time
	// ReadAt is the time at which the node read its disk, zero if the node read the disk for this
	// answer.
	ReadAt time.Time
	// Gone is true if the node read all places where the disk could be, and did not find the disk.
	// Template is true if the guest is a template on the node.
	Gone, Template bool
	// NeverHad is true if the node knows that it never had the replica's newest snapshot.
	NeverHad bool
	// Excluded says why the node takes no snapshots of the disk, "" if the node takes snapshots.
	Excluded string
	// Alive is true if the guest's process runs on the node. AliveSince is the start of the guest's
	// process, zero if unknown.
	Alive      bool
	AliveSince time.Time
	// Unregistered is true if neither a timer nor cron starts snap on the node.
	Unregistered bool
	// About is the replica's snapshot about which the node was asked, nil if the replica cannot
	// have received a newer snapshot since the question.
	About *zfs.Snapshot
}

// Comparison is the result of comparing a copy with its owner's disk, and the reason.
type Comparison struct {
	Outcome Outcome
	State   State
	// Owner is the node with which the copy was compared, "" if no node owns the guest.
	Owner string
	// Lag is the time for which the owner has had a snapshot that the replica lacks. If the owner
	// does not know this time, Lag is the difference between the newest snapshots of owner and
	// replica. Limit is the limit with which Lag was compared, as in [Judgement].
	Lag   time.Duration
	Limit Limit
	// Proven is true for a stopped disk whose newest snapshot is also the owner's newest.
	Proven bool
	// Alive is true if the owner says that the guest's process is running.
	Alive bool
	// Reason explains the outcome of the comparison in one line.
	Reason string
}

// Compare compares a disk with the evidence of the nodes that may own the disk. Compare is a pure
// function. A disk is not compared if its verdict says nothing about the disk's newest snapshot.
// A disk that never had a snapshot is compared only with an owner that has no snapshots to send.
func Compare(d Disk, v Verdict, p Policy, nodes []Evidence) Comparison {
	owners := slices.DeleteFunc(slices.Clone(nodes), func(e Evidence) bool { return !e.owns(d) })
	if d.Newest == nil || !slices.Contains([]Verdict{Future, Stopped, Stale, Fresh}, v) {
		if v == Never && len(owners) == 1 && owners[0].takesNone() {
			c := compareWith(d, p, owners[0])
			c.Owner = owners[0].Node
			return c
		}
		return Comparison{Reason: "not compared, it is " + v.String()}
	}
	switch len(owners) {
	case 0:
		if p.isOwn(d, nodes) {
			return Comparison{Reason: "not compared, its guest is this host's own"}
		}
		c := ownerless(d, nodes)
		if c.Outcome == OwnerUnreachable {
			c.remember(d, p, nodes)
		}
		return c
	case 1:
		c := compareWith(d, p, owners[0])
		c.Owner, c.Alive = owners[0].Node, owners[0].Alive
		c.Proven = v == Stopped && c.Outcome == InSync && owners[0].Newest.GUID == d.Newest.GUID && !owners[0].Alive && !owners[0].outdated(d)
		return c
	}
	var names []string
	for _, o := range owners {
		names = append(names, o.Node)
	}
	return outcome(TwoOwners, "%s each say that guest %d is theirs", strings.Join(names, ", "), d.VMID)
}

// takesNone reports whether the owner says that the disk will get no snapshots.
func (e Evidence) takesNone() bool { return e.Gone || e.Excluded != "" }

// remember uses the last answer of an owner that has stopped answering. Only alarming facts are
// used: that the copy is behind or diverged, and that the guest is alive. Other facts of the answer
// could silence an alarm.
func (c *Comparison) remember(d Disk, p Policy, nodes []Evidence) {
	for _, e := range nodes {
		failure := e.Failure
		e.Failure = ""
		if failure == "" || !e.owns(d) {
			continue
		}
		last := compareWith(d, p, e)
		if last.Outcome == Lagging || last.Outcome == Diverged {
			last.Reason += fmt.Sprintf("; %s does not answer (%s)", e.Node, failure)
			*c = last
		}
		c.Owner, c.Alive, c.Lag = e.Node, e.Alive && !e.outdated(d), last.Lag
		if c.Alive && c.Outcome == OwnerUnreachable {
			c.Reason = fmt.Sprintf("guest %d ran when its node answered last; %s does not answer (%s)", d.VMID, e.Node, failure)
		}
		return
	}
}

// look is the advice about a copy whose original disk the owner does not use any more. The owner or
// its pool may have been newly installed, and this copy may be the last copy of the data.
const look = "look before you remove it, or put it under ignore:"

// hadIt reports whether the node is known to have had the copy's original disk.
func (e Evidence) hadIt(d Disk) bool { return e.holds(d) || e.Template }

// ownerless returns why a disk has no owner. The disk is orphaned only if every node that may own
// the guest answers that the guest is not its own, and one of these nodes had the disk. A newly
// installed node, or a wrong node behind the configured URL, gives this answer about every guest.
func ownerless(d Disk, nodes []Evidence) Comparison {
	var failed, unknown, elsewhere []string
	denied, had, foreign := 0, "", ""
	for _, e := range nodes {
		switch {
		case e.Failure != "":
			failed = append(failed, e.Node+": "+e.Failure)
		case e.Foreign:
			foreign = e.Cluster
		case e.isReplica(d):
		case e.Owned == OwnershipUnknown:
			unknown = append(unknown, e.Node+": "+e.Why)
		case e.ConfiguredOn != "":
			elsewhere = append(elsewhere, e.ConfiguredOn)
		default:
			denied++
			if had == "" && e.hadIt(d) {
				had = e.Node
			}
		}
	}
	switch {
	case len(failed) > 0:
		return outcome(OwnerUnreachable, "%s", strings.Join(failed, "; "))
	case len(unknown) > 0:
		return outcome(NoOwner, "it is not known whether one of these nodes has guest %d: %s", d.VMID, strings.Join(unknown, "; "))
	case len(elsewhere) > 0:
		slices.Sort(elsewhere)
		return outcome(NoOwner, "guest %d is on %s, which was not asked or has just lost the guest", d.VMID, strings.Join(slices.Compact(elsewhere), ", "))
	case had != "":
		return outcome(OutcomeOrphaned, "no node has guest %d any more (%d asked), and %s had this disk: %s", d.VMID, denied, had, look)
	case denied > 0:
		return outcome(NoOwner, "no node has guest %d (%d asked), and none is known to have had this disk: was the guest deleted, or was its node not asked?", d.VMID, denied)
	}
	if foreign != "" {
		return outcome(NoOwner, "no node of cluster %s was asked", foreign)
	}
	return outcome(NoOwner, "every node that was asked is itself a replica")
}

// compareWith compares a disk with its only owner. If the owner's answer is not new, the reason
// mentions the answer's age.
func compareWith(d Disk, p Policy, o Evidence) Comparison {
	c := compareAnswer(d, p, o)
	if o.outdated(d) && (o.Newest == nil || o.Newest.GUID != d.Newest.GUID) {
		d.Newest = o.About
		if before := compareAnswer(d, p, o); before.Outcome == Diverged { // a further snapshot on the copy does not end this
			c = before
		}
	}
	if !o.ReadAt.IsZero() {
		c.Reason += fmt.Sprintf(", as %s read it %s ago", o.Node, text.Age(max(0, o.Now.Sub(o.ReadAt))))
	}
	return c
}

// compareAnswer compares a disk with its owner's answer.
func compareAnswer(d Disk, p Policy, o Evidence) Comparison {
	switch {
	case o.Problem != "":
		return outcome(OwnerUnreadable, "%s: %s", o.Node, o.Problem)
	case o.Gone && o.Template:
		return outcome(OutcomeOrphaned, "guest %d is a template on %s now, this disk is a copy of %s there: %s", d.VMID, o.Node, o.Dataset, look)
	case o.Gone:
		return outcome(OutcomeOrphaned, "%s is gone on %s, which has guest %d: %s", o.Dataset, o.Node, d.VMID, look)
	case o.Excluded != "":
		return outcome(OutcomeExcluded, "%s takes no snapshots of the disk: %s", o.Node, o.Excluded)
	case o.Newest == nil:
		return outcome(OwnerUnreadable, "%s has no managed snapshot of %s", o.Node, o.Dataset)
	case o.Newest.GUID == d.Newest.GUID && o.Alive && d.Suffix() == zfs.Stopped.String():
		return o.startedAgain(d, p)
	case o.Newest.GUID == d.Newest.GUID:
		return inSync(d, p, 0, "the newest of "+o.Node+", too")
	case o.outdated(d) && o.Newest.Creation.Before(d.Newest.Creation):
		return inSync(d, p, 0, "newer than what "+o.Node+" answered last")
	case o.outdated(d):
		o.BehindSince = time.Time{} // this time is about the replica's earlier newest snapshot
		lag, text := o.lag(d)
		return inSync(d, p, lag, text)
	case o.Presence == PresenceUnknown:
		return outcome(OwnerUnreadable, "%s does not say whether it has %s", o.Node, d.Newest.Name)
	case o.Presence != Absent && o.PresenceGUID != d.Newest.GUID:
		return outcome(Diverged, "%s has another %s with the name %s", o.Node, o.Presence, d.Newest.Name)
	case o.Presence == Absent && o.NeverHad:
		return outcome(Diverged, "%s never had %s: does something make snapshots on this copy, such as sanoid?", o.Node, d.Newest.Name)
	case o.Presence == Absent && !o.ReadAt.IsZero() && d.Newest.Creation.After(o.ReadAt):
		return outcome(OwnerUnreadable, "%s does not have %s any more, and has not yet listed its own newer snapshots", o.Node, d.Newest.Name)
	case o.Presence == Absent && !d.Newest.Creation.Before(o.Newest.Creation):
		return outcome(Diverged, "%s does not have %s, and the newest snapshot there, %s, is not newer", o.Node, d.Newest.Name, o.Newest.Name)
	}
	lag, text := o.lag(d)
	if o.Presence == Absent {
		text += ", where its own newest is gone and has no bookmark"
	}
	return inSync(d, p, lag, text)
}

func outcome(o Outcome, format string, args ...any) Comparison {
	return Comparison{Outcome: o, State: outcomes[o].States[Within], Reason: fmt.Sprintf(format, args...)}
}
