package checker

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"snapwatch/internal/text"
	"snapwatch/internal/zfs"
)

// Explanation contains all that a person needs to repair a disk's replication.
type Explanation struct {
	Result
	// Own is true if the disk's guest is configured on this host, so that the disk is not a copy.
	Own   bool
	Sites []Site
	// Broken names the two sites between which snapshots do not arrive, or says why this is unknown.
	Broken string
	// Next has the steps to repair the disk's replication, in order: commands and other actions.
	Next []string
}

// Site describes the disk on one host: this host, or a node that was asked.
type Site struct {
	Name   string
	Newest *zfs.Snapshot
	// The field What says how the host uses the disk, for example as the owner of the guest; or
	// What says why the use is unknown.
	What string
}

// here is the name for this host in an explanation.
const here = "here"

// ExplainOwn explains the fault of a disk whose guest is configured on this host.
func ExplainOwn(d Result) Explanation {
	e := Explanation{Result: d, Own: true}
	e.Sites = []Site{{here, d.Newest, "has the guest, " + d.Dataset}}
	e.Broken = "none: " + d.Verdict.String()
	if d.State != OK {
		e.Broken = here + ": this host has the guest, and snap takes its snapshots here"
	}
	e.Next = fillSteps(d, nextOfOwn(d))
	return e
}

// Explain explains where a copy's snapshots stop arriving. The argument nodes has the answers of
// the asked nodes, nil if no node was asked. Explain is a pure function.
func Explain(d Result, nodes []Evidence) Explanation {
	e := Explanation{Result: d}
	for _, n := range nodes {
		e.Sites = append(e.Sites, newSite(d.Disk, n))
	}
	e.Sites = append(e.Sites, Site{here, d.Newest, "this copy, " + d.Dataset})
	e.Broken = brokenHop(d, nodes)
	e.Next = next(d, nodes)
	return e
}

func newSite(d Disk, n Evidence) Site {
	s := Site{Name: n.Node, Newest: n.Newest}
	switch {
	case n.Failure != "":
		s.What = "could not be asked: " + n.Failure
	case n.Foreign:
		s.What = "of another cluster than " + n.Cluster
	case n.isReplica(d):
		s.What = "a replica, too"
	case n.Owned == OwnershipUnknown:
		s.What = "does not know whether the guest is its own: " + n.Why
	case n.Owned == Owned:
		s.What = "has the guest, " + n.Dataset
	case n.ConfiguredOn != "":
		s.What = "says that the guest is on " + n.ConfiguredOn
	default:
		s.What = "does not have the guest"
	}
	if n.Problem != "" {
		s.What += "; " + n.Problem
	}
	return s
}

// brokenHop names two hosts: the snapshots of the first host do not arrive at the second host. The
// answer of a relay shows whether the snapshots stop before or after the relay.
func brokenHop(d Result, nodes []Evidence) string {
	c := d.Compared
	switch {
	case d.State == OK && d.Verdict == Stopped && c == nil:
		return "none that can be seen from here: a guest that is stopped gets no snapshots"
	case d.State == OK && d.Verdict != Stopped:
		return "none: " + d.Verdict.String()
	case len(nodes) == 0:
		return "not known: no other site was asked (--owners URL,…)"
	case c == nil:
		return "not known"
	}
	switch c.Outcome {
	case InSync:
		if d.State == OK {
			return "none: " + c.Reason
		}
		return fmt.Sprintf("before %s: the newest snapshot there is as old as the one here (%s)", c.Owner, c.Reason)
	case Lagging:
		return lagging(d, nodes)
	case OutcomeOrphaned:
		return "none: no snapshot comes here any more, " + c.Reason
	case NotCompared:
		return "not known: " + c.Reason
	}
	return fmt.Sprintf("not known: %s, %s", c.Outcome, c.Reason)
}

func lagging(d Result, nodes []Evidence) string {
	for _, n := range nodes {
		if !n.isReplica(d.Disk) || n.Newest == nil || n.GUID == d.GUID {
			continue
		}
		if n.Newest.Creation.After(d.Newest.Creation) {
			return fmt.Sprintf("%s → %s: %s has newer snapshots that do not arrive", n.Node, here, n.Node)
		}
		return fmt.Sprintf("%s → %s: %s is behind, too", d.Compared.Owner, n.Node, n.Node)
	}
	return fmt.Sprintf("%s → %s: %s", d.Compared.Owner, here, d.Compared.Reason)
}

// advice has, by the outcome of a comparison, the steps to repair the replication. An explanation
// gives the steps in advice first, and then the steps for the disk's verdict.
var advice = map[Outcome][]string{
	Diverged:         {"compare by guid, here and on the owner: zfs list -t snapshot -o name,guid -s createtxg DATASET"},
	OutcomeOrphaned:  {"look before you remove it: is the guest deleted for good? zfs destroy -rnv DATASET shows what would go; or put the disk under ignore:"},
	NoOwner:          {"name the node that has the guest: snapwatch explain DATASET --owners URL,…", "if the guest was deleted: zfs destroy -rnv DATASET shows what would go; or put the disk under ignore:"},
	TwoOwners:        {"on each node that says so: qm config VMID (pct config VMID); only one node may have the guest"},
	OwnerUnreachable: {"on the node that does not answer: systemctl status snapwatch-exporter"},
	OwnerUnreadable:  {"on the owner: snapwatch check -v --vmid VMID"},
}

// nextByVerdict has, by verdict, the steps to repair the fault.
var nextByVerdict = map[Verdict][]string{
	Unreadable: {"zpool status POOL", "snapwatch check -vvv --disk DATASET"},
	Missing:    {"zpool history POOL, or zpool import", "if the disk was removed on purpose: snapwatch forget DATASET"},
	Damaged:    {"as root, which places have errors: zpool status -v POOL", "another copy, or the owner, may have the disk without errors: send the disk to a new dataset, then zfs destroy -rnv DATASET shows what would go here", "after the repair: zpool scrub POOL; zpool clear POOL"},
	Receiving:  {"look at the job that sends it", "zfs get receive_resume_token DATASET; to begin again: zfs receive -A DATASET"},
	Never:      {"on the owner: snapwatch snap --dry-run -v", "does the replication send managed snapshots (autosnap_…), or only its own?"},
	Future:     {"timedatectl, here and on the node that took the snapshot"},
	Stopped:    {"ask the owner whether the guest is still off: snapwatch explain DATASET --owners URL,…"},
	Orphaned:   {"look before you remove it: zfs destroy -rnv DATASET shows what would go; or put the disk under ignore:"},
}

// nextOfOwn returns the repair steps for a disk of this host's own guest.
func nextOfOwn(d Result) []string {
	if d.State == OK {
		return nil
	}
	switch d.Verdict {
	case Stale, Never, Orphaned:
		return []string{
			"what the next run would do with the disk, and why: snapwatch snap --dry-run -v",
			"does snap run by itself, and how did the last run end? snapwatch cron status; snapwatch doctor",
		}
	case Stopped:
		return []string{"is the guest still off? QM status VMID; if it runs: snapwatch snap --dry-run -v"}
	}
	return nextByVerdict[d.Verdict]
}

func next(d Result, nodes []Evidence) []string {
	var steps []string
	if d.PendingReceive {
		steps = append(steps, "a receive waits to be resumed: run the replication job again; if it cannot continue: zfs receive -A DATASET")
		if of := d.PendingSnapshot; of != "" {
			steps = append(steps, "the receive can continue as long as the source has "+of+": zfs hold keeps this snapshot from rotation")
		}
	}
	if c := d.Compared; c != nil {
		steps = append(steps, advice[c.Outcome]...)
		if c.Outcome == Lagging || (c.Outcome == InSync && d.Verdict == Stale) {
			steps = append(steps, afterComparison(d, nodes)...)
		}
	}
	alarms := d.Judgement.State != OK
	switch {
	case d.Verdict == Stale && d.Compared == nil:
		steps = append(steps, "ask the owner: snapwatch explain DATASET --owners URL,…", "look at the job that sends to this host, and its log")
	case alarms || (d.Verdict == Stopped && d.Unproven() && d.Compared == nil):
		steps = append(steps, nextByVerdict[d.Verdict]...)
	}
	return fillSteps(d, steps)
}

// fillSteps returns the repair steps with the words DATASET, VMID, POOL and QM replaced by the
// disk's values.
func fillSteps(d Result, steps []string) []string {
	qm := "qm"
	if strings.HasPrefix(d.GuestID(), "lxc/") {
		qm = "pct"
	}
	names := strings.NewReplacer("DATASET", d.Dataset, "VMID", fmt.Sprint(d.VMID), "POOL", poolOf(d.Disk), "QM", qm)
	var all []string
	for _, step := range steps {
		all = append(all, names.Replace(step))
	}
	return all
}

// afterComparison returns the repair steps for a copy that is behind, or whose owner has no newer
// snapshots.
func afterComparison(d Result, nodes []Evidence) []string {
	if d.Compared.Outcome == InSync {
		return []string{fmt.Sprintf("on %s: snapwatch snap --dry-run -v; snapwatch cron status", d.Compared.Owner)}
	}
	at := slices.IndexFunc(nodes, func(n Evidence) bool { return n.owns(d.Disk) })
	if at >= 0 && nodes[at].Presence == Absent {
		return []string{
			fmt.Sprintf("find a snapshot or bookmark that both sites have, by guid: zfs list -t snapshot,bookmark -o name,guid %s (on %s)", nodes[at].Dataset, nodes[at].Node),
			"without such a snapshot or bookmark the disk must be sent in full",
		}
	}
	return []string{"look at the job that sends to this host, and its log", "zfs list -o space POOL: is there room?"}
}

// Facts returns the facts from which the disk's verdict follows at the time now, each with its
// name.
func (e Explanation) Facts(now time.Time) [][2]string {
	last := "not known: this ZFS does not report the time"
	if !e.Changed.IsZero() {
		last = fmt.Sprintf("%s, %s ago: a snapshot came or went", e.Changed.Format(time.DateTime), text.Age(max(0, now.Sub(e.Changed))))
	}
	pending := "none"
	if e.PendingReceive {
		pending = "yes, with a resume token"
		if e.PendingSnapshot != "" {
			pending += ", of " + e.PendingSnapshot
		}
		if !e.PendingSince.IsZero() {
			pending += fmt.Sprintf(", first seen %s ago", text.Age(max(0, now.Sub(e.PendingSince))))
		}
	}
	broken, changed, label := "broken hop", "last receive", labelArrival(e.Disk)
	if e.Own {
		broken, changed, label = "broken", "last change", ownLabel(e.Disk)
	}
	return [][2]string{
		{broken, e.Broken},
		{"warning", e.Warning.String()},
		{"critical", e.Critical.String()},
		{"decided by", e.Limit.String()},
		{changed, last},
		{"pending", pending},
		{"label", label},
	}
}

// ownLabel explains the value of label:running on a disk whose guest is configured on this host.
func ownLabel(d Disk) string {
	switch d.Running.Source {
	case zfs.SourceLocal:
		return d.Running.Value + ", set here: as it should be, on the host that has the guest"
	case zfs.SourceReceived:
		return d.Running.Value + ", received: snap sets its own as soon as it sees the guest run"
	}
	return "none of its own: snap sets the label as soon as it sees the guest run; for a guest that is off: snapwatch snap --adopt"
}

// labelArrival says whether label:running arrives with the snapshots, and otherwise how to send
// the label. docs/replication.md describes what each way of replication sends.
func labelArrival(d Disk) string {
	const missing = "it comes with syncoid --sendoptions=p, or zfs send -p"
	switch d.Running.Source {
	case zfs.SourceReceived:
		return fmt.Sprintf("%s, received: it arrives", d.Running.Value)
	case zfs.SourceLocal:
		return fmt.Sprintf("%s, set here: on a copy this label hides the received label (zfs inherit -S %s %s); %s", d.Running.Value, zfs.LabelRunning, d.Dataset, missing)
	case zfs.SourceInherited:
		return fmt.Sprintf("none of its own, only %s from a dataset above: the label does not arrive; %s", d.Running.Value, missing)
	}
	return "none: the label does not arrive; " + missing
}
