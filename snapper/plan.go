// Package snapper decides what a run does to disks, snapshots, labels and bookmarks. The package is
// pure: it takes the values that were read and the time, and returns a plan in which each step has
// its reason. Package run reads the values for the plan, and carries out the plan.
//
// When in doubt, snapper changes nothing, and the plan says so: a _stopped snapshot that is taken
// on a guess silences the alarm for ever.
//
// # Guests
//
// [Judge] derives a guest's [GuestState] from the evidence in Proxmox's files and lists. One sign
// of life proves that a guest is alive. A guest counts as stopped only if all signs show, at two
// looks, that it is stopped. [NodeView.Assign] sets each disk's state from the states of the guests
// that use the disk, and decides whether the disk is this node's own, a copy, or unclear. [Decide]
// looks up the action for a state and a label in a table.
//
// # The plan
//
// [MakePlan] turns disks into a [Plan]. If MakePlan needs facts that were not read yet, [Plan.Ask]
// lists the questions: the run finds the answers and plans again (questions.go). [PlanPrune] plans
// the rotation of copies in the same way.
//
// # Retention and bookmarks
//
// [Retention.Expire] and [ExpireStopped] decide which snapshots may be destroyed, and captures.go
// decides which snapshots keep a guest's configuration. [JudgeBookmarks] decides, by the pool's
// history, which bookmarks belong to a discarded history. The record of an earlier run alone is
// never a reason to destroy a bookmark.
package snapper

import (
	"fmt"
	"slices"
	"time"

	"snapwatch/config"
	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
)

// Disk is a disk, with the facts and the settings by which MakePlan decides.
type Disk struct {
	zfs.Dataset
	VMID int
	// State is the combined state of the guests that use the disk, and Why explains the state in
	// words.
	State GuestState
	Why   string
	// Guests has the VMIDs of the guests of this node that use the disk.
	Guests []int
	// Sign is a sign, seen now or by earlier runs, that the disk was received from another host, ""
	// for none.
	Sign string
	// Named has the names of the snapshots that the configuration of the disk's guest names.
	Named []string
	// Supposed is the state of the disk if a second look confirms the first look at its guests.
	// Supposed is Unknown if a second look cannot change the state. SupposedWhy explains Supposed
	// in words.
	Supposed    GuestState
	SupposedWhy string
	// LooksDone is true if the second look at guests that seemed stopped was made or is impossible.
	LooksDone bool
	// ReceivedUnread is true if the disk's received labels, which local labels hide, were not
	// read yet. ReceivedProblem is the reason why received labels could not be read.
	ReceivedUnread  bool
	ReceivedProblem string
	// Snapshots are all snapshots of the disk, the oldest first, managed or not.
	Snapshots []zfs.Snapshot
	Bookmarks []zfs.Snapshot
	// Recalled is true if Bookmarks is the list that an earlier run read. An earlier run's list may
	// be wrong, because no property of a dataset shows that its bookmarks changed.
	Recalled bool
	// WrittenSinceStopped is the number of bytes written to the disk since its newest _stopped
	// snapshot. WrittenSinceStopped is set only if the disk has a newer snapshot that is not
	// managed. If the _stopped snapshot is the disk's newest, Dataset.Written has this number.
	WrittenSinceStopped uint64
	// Retention is the number of snapshots of each class to keep of this disk.
	Retention Retention
	// Checked is the record that an earlier run made about the disk and its bookmarks. PoolTXG is
	// the pool's present transaction group, 0 if unknown.
	Checked report.Checked
	PoolTXG uint64
	// BookmarksUnread is true if the disk's bookmarks could not be listed, so that Bookmarks is
	// empty.
	BookmarksUnread bool
	// History is the history of the disk's pool, nil if the run did not read it. HistoryProblem is
	// the reason why a necessary history could not be read.
	History        *zfs.History
	HistoryProblem string
	// Replicated is true if Proxmox's own replication sends the disk to this node. Bookmarking is
	// true if the disk is a copy, and snap on this node bookmarks the snapshots that the disk
	// receives.
	Replicated, Bookmarking bool
	// InUse is true if a living guest of this node uses the disk, although the configuration
	// lists the disk as a copy.
	InUse bool
	// Ignored is the reason why the configuration excludes the disk, "" if the disk is not
	// excluded.
	Ignored string
}

// Policy holds the user's settings, except the retention of each disk.
type Policy struct {
	Names           Names
	Bookmarks       int
	StoppedGrace    time.Duration
	RefreshStopped  time.Duration
	AdoptPeerLabels bool
	// Adopt has the guests and disks that a person adopts, so that snap treats the disks as this
	// node's own. Each entry is a VMID, a dataset, or the last component of a dataset.
	Adopt []string
	// Final is true in a run at the shutdown of the host. A run at the shutdown takes the _stopped
	// snapshots of guests that ran here, sets their labels, and does nothing else.
	Final bool
	// Quiesced says which guests form groups, and which guests are frozen.
	Quiesced config.Quiesced
	// MaxDestroys is the largest number of snapshots that one run destroys on all pools together,
	// and MaxBookmarkDestroys the largest number of bookmarks.
	MaxDestroys, MaxBookmarkDestroys int
}

// Plan lists the steps of a run, with the reason for each step.
type Plan struct {
	Guests []GuestPlan
	// Destroys has at most max_destroys snapshots to destroy, sorted over all disks with the oldest
	// first. Waiting has the snapshots that the retention drops but that exceed max_destroys. If
	// ZFS refuses to destroy a snapshot in Destroys, the run destroys a snapshot in Waiting
	// instead.
	Destroys, Waiting []Destroy
	// FullDestroys has, for each disk, the snapshots to destroy if the disk's new snapshot fails
	// for lack of space.
	FullDestroys []Destroy
	// CreateBookmarks has the snapshots of earlier runs that must get a bookmark.
	CreateBookmarks []zfs.Snapshot
	// Abandoned has bookmarks of discarded histories, which the run destroys before it snapshots.
	Abandoned []JudgedBookmark
	// AbandonedLater has the datasets with more bookmarks of a discarded history than this run may
	// destroy. The next runs destroy the bookmarks that this run may not destroy.
	AbandonedLater []string
	// DestroyBookmarks has the bookmarks to destroy because no rule keeps them any more.
	DestroyBookmarks []zfs.Snapshot
	// InheritReceived has the datasets whose local label the run replaces by the received label.
	InheritReceived []string
	// Notes has the decision about each disk, in the order in which MakePlan got the disks.
	Notes []Note
	// Ask lists the questions that must be answered before the plan may be carried out.
	Ask Questions
}

// GuestPlan is the plan for the disks that one guest, or a whole group of guests, has on one pool.
// One channel program takes the snapshots of all disks in a GuestPlan.
type GuestPlan struct {
	Pool string
	// VMID is the VMID of the guest, 0 for a group. Group is the name of the group, "" for a single
	// guest.
	VMID  int
	Group string
	// Freeze has the guests that must be frozen while the snapshots are taken.
	Freeze []Freeze
	// Snapshot is the name of the snapshots of all disks of the GuestPlan, and Class is the class
	// of the snapshots.
	Snapshot string
	Class    zfs.Class
	// RefuseReceiving makes the channel program refuse a disk that is being received.
	RefuseReceiving bool
	Disks           []DiskPlan
}

// final reports whether the plan takes the _stopped snapshots of a guest that stopped.
func (g GuestPlan) final() bool { return g.Class == zfs.Stopped }

// DiskPlan has the steps of a plan for one disk: a snapshot, a bookmark, a label.
type DiskPlan struct {
	Dataset            string
	VMID               int
	Snapshot, Bookmark bool
	// Config is the guest's configuration to store in a property of the snapshot, nil for none.
	Config *Capture
	// Takes is a text about the space that the pool must reserve for the snapshot, "" if it
	// reserves none.
	Takes string
	// Label is the new value of the disk's label:running, "" if the label must not change.
	Label  string
	Reason string
}

// Destroy is a snapshot that a plan destroys, with the reason.
type Destroy struct {
	Dataset, Name, Reason string
	Creation              time.Time
	// Keepers has the names of snapshots of the same disk that must exist when this snapshot is
	// destroyed.
	Keepers []string
	// AfterNew is true if the disk's new snapshot must also exist when this snapshot is destroyed.
	AfterNew bool
}

// Result is the effect of a run on a disk, as the report prints it.
type Result string

// The possible results of a run for a disk.
const (
	Snapshotted Result = "snapshot"
	NotDue      Result = "not due"
	Excluded    Result = "excluded"
	Untouched   Result = "untouched"
	Pruned      Result = "pruned"
	Unprotected Result = report.ResultUnprotected
)

// MakePlan decides what to do with the disks, or lists the questions that must be answered first in
// [Plan.Ask]. MakePlan is a pure function: the argument `now` carries the time and the time zone.
func MakePlan(disks []Disk, policy Policy, now time.Time) Plan {
	p := planner{policy: policy, now: now, unnamed: map[zfs.Class]int{}}
	if policy.Final {
		disks = ranHere(disks, policy.Names)
	}
	guests := byGuest(disks)
	for _, u := range units(guests, policy.Quiesced.Groups) {
		p.unit(u, guests)
	}
	if policy.Final {
		p.plan = p.plan.finalOnly(disks, policy.Names)
	}
	p.askBookmarks(disks)
	if len(p.plan.Ask.Received)+len(p.plan.Ask.Histories) > 0 {
		// A run does not look at guests a third time. The questions about labels and histories come
		// before the second look, because their answers may add guests to look at.
		p.plan.Ask.Looks = nil
	}
	p.cap()
	p.noteStaying()
	return p.plan
}

func byGuest(disks []Disk) map[int][]Disk {
	guests := map[int][]Disk{}
	for _, d := range disks {
		guests[d.VMID] = append(guests[d.VMID], d)
	}
	return guests
}

type planner struct {
	policy Policy
	now    time.Time
	plan   Plan
	// unnamed has, by class, the number of snapshots that are never destroyed because the retention
	// of their disk does not name the class.
	unnamed map[zfs.Class]int
	// The field `future` counts the snapshots dated later than now; `until` is their latest date.
	future int
	until  time.Time
}

// tasks decides for each disk whether it gets a snapshot or a label. The first result has the disks
// of living guests, and the second result has the disks that get a _stopped snapshot or the label
// "stopped".
func (p *planner) tasks(disks []Disk) (live, final []diskTask) {
	for i := range disks {
		disks[i] = p.abandon(disks[i])
		d := &disks[i]
		t, ok := p.task(d)
		switch {
		case !ok:
		case t.action == Final:
			final = append(final, t)
		default:
			live = append(live, t)
		}
	}
	return live, final
}

// cap limits the numbers of snapshots and bookmarks that one run destroys, and of bookmarks that it
// creates. The next runs do the work that exceeds the limits.
func (p *planner) cap() {
	// The newest bookmarks are created first, because a receiver that fetched nothing for long
	// needs them most.
	slices.SortStableFunc(p.plan.CreateBookmarks, func(a, b zfs.Snapshot) int { return b.Creation.Compare(a.Creation) })
	p.plan.CreateBookmarks = p.plan.CreateBookmarks[:min(len(p.plan.CreateBookmarks), maxBookmarkCreates)]
	if over := len(p.plan.Abandoned) - maxAbandoned; over > 0 {
		for _, j := range p.plan.Abandoned[maxAbandoned:] {
			p.plan.AbandonedLater = append(p.plan.AbandonedLater, j.Dataset)
		}
		p.plan.Abandoned = p.plan.Abandoned[:maxAbandoned]
		p.plan.Notes = append(p.plan.Notes, Note{Severity: report.Warning, Reason: fmt.Sprintf(
			"%d more bookmarks of discarded histories are left to the next runs, and must not be used as send bases until then", over)})
	}
	p.plan.DestroyBookmarks = p.plan.DestroyBookmarks[:min(len(p.plan.DestroyBookmarks), p.policy.MaxBookmarkDestroys)]
	OldestFirst(p.plan.Destroys) // without sorting, each run would begin with the same disks
	OldestFirst(p.plan.FullDestroys)
	now := min(len(p.plan.Destroys), p.policy.MaxDestroys)
	p.plan.Destroys, p.plan.Waiting = p.plan.Destroys[:now:now], p.plan.Destroys[now:]
}

// OldestFirst sorts destroys by the creation times of their snapshots, the oldest first.
func OldestFirst(list []Destroy) {
	slices.SortStableFunc(list, func(a, b Destroy) int { return a.Creation.Compare(b.Creation) })
}
