// Package snapper decides what a run does to disks, snapshots, labels and bookmarks. It is
// pure: it gets what was read and the time, and returns a plan in which each step has its
// reason. Package run reads and applies.
//
// When in doubt nothing is changed, and the plan says so: a _stopped snapshot that is taken on
// a guess silences the alarm for ever.
//
// # Guests
//
// [Judge] makes the evidence of Proxmox's files and lists a [GuestState]. One sign suffices for
// alive; stopped needs all of them, twice. [NodeView.Assign] gives each disk the state of the
// guests that use it, and says whose it is: ours, a copy, or unclear. [Decide] is the table of
// state and label.
//
// # The plan
//
// [MakePlan] turns disks into a [Plan]. Where it needs more than was read, [Plan.Ask] says so:
// the run finds it out and plans again (questions.go). [PlanPrune] is the same for copies.
//
// # Retention and bookmarks
//
// [ExpireStopped] and retention.go say which snapshots may go; captures.go does so for kept
// configurations. [JudgeBookmarks] says by the pool's history which bookmarks are of a
// discarded history. Nothing that is only remembered is a reason to destroy.
package snapper

import (
	"fmt"
	"slices"
	"time"

	"snapwatch/config"
	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
)

// Disk is one disk with all that the planner needs to know of it.
type Disk struct {
	zfs.Dataset
	VMID int
	// State is what is known of the guests that use it, and Why says it in words.
	State GuestState
	Why   string
	// Guests are those of this node that use it, by VMID.
	Guests []int
	// Sign is what says that it came from elsewhere, "" if nothing does or did.
	Sign string
	// Named are the snapshots that its guest's configuration names.
	Named []string
	// Supposed is the state where a second look finds its guests as the first did, and
	// SupposedWhy says it in words. It is Unknown where that makes no difference.
	Supposed    GuestState
	SupposedWhy string
	// LooksDone: the second look was taken, at other guests, or cannot be.
	LooksDone bool
	// ReceivedUnread: received labels that local ones hide were not read yet.
	// ReceivedProblem is why they could not be read.
	ReceivedUnread  bool
	ReceivedProblem string
	// Snapshots are all of them, the oldest first, foreign ones included.
	Snapshots []zfs.Snapshot
	Bookmarks []zfs.Snapshot
	// Recalled: Bookmarks are what an earlier run saw. No property of a dataset tells that
	// its bookmarks changed.
	Recalled bool
	// WrittenSinceStopped is how many bytes were written since the newest _stopped
	// snapshot where a foreign one is newer; where none is, Dataset.Written tells.
	WrittenSinceStopped uint64
	// Retention holds for this disk.
	Retention Retention
	// Checked is what an earlier run knew of it, PoolTXG the pool's transaction
	// group now, 0 where it is not known.
	Checked report.Checked
	PoolTXG uint64
	// BookmarksUnread: they could not be listed, so that Bookmarks is empty.
	BookmarksUnread bool
	// History is that of its pool, where it was read, and HistoryProblem why it was not
	// though bookmarks are in question.
	History        *zfs.History
	HistoryProblem string
	// Replicated: Proxmox's own replication sends it to this node. Bookmarking: snap on this
	// node bookmarks what is received of it.
	Replicated, Bookmarking bool
	// InUse: a guest that lives here runs on it, though it is listed as a copy.
	InUse bool
	// Ignored is why the configuration leaves the disk alone, "" if it doesn't.
	Ignored string
}

// Policy is what the user asked for, beside the retention of each disk.
type Policy struct {
	Names           Names
	Bookmarks       int
	StoppedGrace    time.Duration
	RefreshStopped  time.Duration
	AdoptPeerLabels bool
	// Adopt are the guests and disks that a person takes over: VMIDs, datasets, or the last
	// components of those.
	Adopt []string
	// Final plans for the end of the host: the _stopped snapshots and labels of guests that
	// ran here, and nothing else.
	Final bool
	// Quiesced says which guests belong together, and which are frozen.
	Quiesced config.Quiesced
	// MaxDestroys is the most snapshots all pools together may lose in one run, and
	// MaxBookmarkDestroys the most bookmarks.
	MaxDestroys, MaxBookmarkDestroys int
}

// Plan is what a run does, by pool, and why.
type Plan struct {
	Guests []GuestPlan
	// Destroys are the snapshots to destroy, the oldest first over all disks. Waiting are those
	// that are due beyond what one run may destroy: their turn comes where it could not destroy
	// all of Destroys.
	Destroys, Waiting []Destroy
	// FullDestroys are what may go of a disk whose new snapshot found no room.
	FullDestroys []Destroy
	// CreateBookmarks are snapshots that are there already and are to be bookmarked.
	CreateBookmarks []zfs.Snapshot
	// Abandoned are bookmarks of a discarded history: they go first.
	Abandoned []JudgedBookmark
	// AbandonedLater are the datasets whose abandoned bookmarks are left to the next run.
	AbandonedLater []string
	// DestroyBookmarks are bookmarks to destroy.
	DestroyBookmarks []zfs.Snapshot
	// InheritReceived are datasets whose local label gives way to the received one.
	InheritReceived []string
	// Notes say what was decided for every disk, in the disks' order.
	Notes []Note
	// Ask is what must be found out before the plan may be carried out.
	Ask Questions
}

// GuestPlan is what is to be done in one pool to the disks of one guest at once, or
// to those of all members of a group.
type GuestPlan struct {
	Pool string
	// VMID is the guest, 0 where it is a group, whose name is Group then.
	VMID  int
	Group string
	// Freeze are the guests to freeze meanwhile.
	Freeze []Freeze
	// Snapshot is the name of all its snapshots, Class its class.
	Snapshot string
	Class    zfs.Class
	// RefuseReceiving refuses a disk that is being received.
	RefuseReceiving bool
	Disks           []DiskPlan
}

// final reports whether the plan is for a guest that stopped.
func (g GuestPlan) final() bool { return g.Class == zfs.Stopped }

// DiskPlan is what is to be done to one disk.
type DiskPlan struct {
	Dataset            string
	VMID               int
	Snapshot, Bookmark bool
	// Config is kept with the snapshot, nil for nothing.
	Config *Capture
	// Label is the new label, "" to leave it.
	Label  string
	Reason string
}

// Destroy is one snapshot to destroy.
type Destroy struct {
	Dataset, Name, Reason string
	Creation              time.Time
	// Keepers are snapshots of the disk that must exist then.
	Keepers []string
	// AfterNew is true when the disk's new snapshot must exist, too. Its name is
	// known only after it was made.
	AfterNew bool
}

// Note is what was decided for a disk.
type Note struct {
	Dataset string
	VMID    int
	// Severity says whether the decision is as usual or needs a person.
	Severity report.Severity
	Result   Result
	Reason   string
	// Adoptable: naming it to --adopt takes it over.
	Adoptable bool
}

// Result is what a run means for a disk, in the words of the report.
type Result string

// The results.
const (
	Snapshotted Result = "snapshot"
	NotDue      Result = "not due"
	Excluded    Result = "excluded"
	Untouched   Result = "untouched"
	Pruned      Result = "pruned"
	Unprotected Result = report.ResultUnprotected
)

// MakePlan decides what to do with the disks, or asks what it must know first: see
// [Plan.Ask]. It is a pure function: the clock's time and its zone come with now.
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
		p.plan.Ask.Looks = nil // there is one second look, and what is asked may say of more guests
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
	// unnamed counts the snapshots of classes that their disk's retention leaves alone.
	unnamed map[zfs.Class]int
	// future counts those that are dated later than now, until the latest.
	future int
	until  time.Time
}

// tasks decides for each disk of a guest: those of the living, and those that get a
// _stopped snapshot.
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

// cap bounds what one run destroys. What is over is left for the next runs.
func (p *planner) cap() {
	// What is newest is what a receiver that was away needs first.
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
	OldestFirst(p.plan.Destroys) // else the same disks would come first in each run
	OldestFirst(p.plan.FullDestroys)
	now := min(len(p.plan.Destroys), p.policy.MaxDestroys)
	p.plan.Destroys, p.plan.Waiting = p.plan.Destroys[:now:now], p.plan.Destroys[now:]
}

// OldestFirst sorts destroys by the age of their snapshots.
func OldestFirst(list []Destroy) {
	slices.SortStableFunc(list, func(a, b Destroy) int { return a.Creation.Compare(b.Creation) })
}

// Capture is a guest's configuration that is to be kept with a snapshot.
type Capture struct {
	// Value is what is written, Sum what tells two configurations apart.
	Value, Sum string
	// Reference: the value only says which it is. Another snapshot keeps it.
	Reference bool
}

// VmidOf is the VMID in a disk's name, 0 if it is none.
func VmidOf(dataset string) int {
	vmid, _, _ := zfs.ParseDiskName(zfs.Base(dataset))
	return vmid
}
