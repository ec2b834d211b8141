package checker

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"snapwatch/internal/text"
	"snapwatch/internal/zfs"
)

// GuestExplanation contains all that a person needs to know about a guest's copies, and to start
// the guest from the copies.
type GuestExplanation struct {
	Guest
	// Own is true if the guest is configured on this host, so that its disks are not copies.
	Own bool
	// Arrived is the time at which the first of the guest's datasets was made here, including those that
	// do not count for its verdict, zero if the time is not known of each. Drills from before that time
	// were not of these copies.
	Arrived time.Time
	// Words are sentences that say whether the guest can be started here, as of which time, which
	// data is lost, and what prevents the start.
	Words []string
	Disks []GuestDisk
	// Facts has further facts that a person needs to start the guest, each with its name.
	Facts [][2]string
	// Config is the command that prints the guest's configuration as of the restore point, "" if
	// no snapshot keeps the configuration.
	Config string
	// Start has the commands that make clones of the guest's disks as of the restore point; the
	// copies remain unchanged. Back has the commands that remove the clones. snapwatch only prints
	// the commands.
	Start, Back []string
	// Unlock has the commands that load encryption keys. A person types these commands before those
	// in Start, and each command alone, because zfs asks for the key.
	Unlock []string
}

// GuestDisk is one of the guest's disks on this host.
type GuestDisk struct {
	Result
	// At is the disk's snapshot at the guest's restore point, nil if there is none.
	At *zfs.Snapshot
}

// ExplainGuest explains the copies of the guest g of the report. The argument own says whether the
// guest is configured on this host. The argument v has facts about the datasets of the guest's
// disks.
func ExplainGuest(r Report, g Guest, own bool, v Volumes) GuestExplanation {
	e := GuestExplanation{Guest: g, Own: own}
	var all []*Disk
	for i := range r.Disks {
		d := &r.Disks[i]
		serves := slices.Contains(g.Disks, d.Dataset)
		if serves {
			e.Disks = append(e.Disks, GuestDisk{*d, d.snapshotAt(g.Point)})
		}
		if serves || slices.Contains(g.Others, d.Dataset) {
			all = append(all, &d.Disk)
		}
	}
	e.Arrived = firstMade(all, r.Now)
	slices.SortFunc(e.Disks, func(a, b GuestDisk) int { return strings.Compare(a.Dataset, b.Dataset) })
	e.Words, e.Facts = append(e.words(r), e.warnings(r, v)...), e.facts(r, v)
	if e.startable() {
		e.plan(r, v)
		e.Config = fmt.Sprintf("snapwatch guest-config %d --at %s", e.VMID, quote(e.Disks[0].Dataset+"@"+e.Disks[0].At.Name))
	}
	return e
}

// snapshotAt returns the disk's snapshot at a restore point, nil if the disk has none. If two
// snapshots have the restore point's time, snapshotAt returns the older one.
func (d *Result) snapshotAt(p *Point) (at *zfs.Snapshot) {
	if p == nil || d.Newest == nil {
		return nil
	}
	if p.has(d.Newest) {
		at = d.Newest
	}
	if d.Looked != nil {
		for i := range d.Looked.Points {
			if s := &d.Looked.Points[i]; p.has(s) && (at == nil || s.Creation.Before(at.Creation)) {
				at = s
			}
		}
	}
	return at
}

// doubtful reports whether a disk of the guest is damaged or cannot be read, or whether the guest's
// disks are not all known.
func (e GuestExplanation) doubtful() bool {
	return e.Verdict == GuestUnreadable || slices.ContainsFunc(e.Disks, func(d GuestDisk) bool { return d.Damaged != "" })
}

// startable reports whether each of the guest's disks is here, is not damaged, and has a snapshot
// of the restore point.
func (e GuestExplanation) startable() bool {
	return !e.doubtful() && e.Point != nil && len(e.Lacking) == 0 && !slices.ContainsFunc(e.Disks, func(d GuestDisk) bool { return d.At == nil })
}

func (e GuestExplanation) words(r Report) []string {
	var words []string
	number := e.Number()
	switch {
	case e.Own && e.startable():
		words = append(words, fmt.Sprintf("Guest %s is this host's own. Its disks can be cloned as of %s, %s ago.", number, e.Point.Words(), text.Age(e.Age)))
	case e.Own:
		words = append(words, fmt.Sprintf("Guest %s is this host's own: %s.", number, e.Reason))
	case e.startable():
		words = append(words, fmt.Sprintf("Guest %s can be started here as of %s, %s ago: %s that it has here %s a snapshot of that time.",
			number, e.Point.Words(), text.Age(e.Age), counted(len(e.Disks), "disk"), have(len(e.Disks))))
	case e.Point != nil && e.doubtful():
		words = append(words, fmt.Sprintf("Guest %s cannot be relied on here: %s. The disks here have snapshots of %s, %s ago, in common.", number, e.Reason, e.Point.Words(), text.Age(e.Age)))
	case e.Point != nil:
		words = append(words, fmt.Sprintf("Guest %s is not complete here. The disks here have snapshots of %s, %s ago, in common.", number, e.Point.Words(), text.Age(e.Age)))
	default:
		words = append(words, fmt.Sprintf("Guest %s cannot be started here: %s.", number, e.Reason))
	}
	if len(e.Lacking) > 0 {
		words = append(words, "Not here: "+strings.Join(e.Lacking, ", ")+".")
	}
	var excluded []string
	for i := range r.Disks {
		if d := &r.Disks[i]; d.Verdict == Excluded && slices.Contains(e.Others, d.Dataset) {
			excluded = append(excluded, d.Dataset)
		}
	}
	if len(excluded) > 0 {
		words = append(words, "Excluded, so not part of the restore point: "+strings.Join(excluded, ", ")+".")
	}
	return append(words, e.lostData(r))
}

// lostData describes the guest's data that is newer than the restore point: data that is not on
// this host, and data of times at which only some of the guest's disks have a snapshot here.
func (e GuestExplanation) lostData(r Report) string {
	var owner, here, elsewhere string
	var lag time.Duration
	var unknown []string
	for _, d := range e.Disks {
		if d.At != nil && d.At.GUID != d.Newest.GUID {
			here = "Some of the guest's disks have newer snapshots here, and its other disks do not: the data in these newer snapshots is lost, too. "
		}
		switch c := d.Compared; {
		case c == nil || c.Outcome != InSync && c.Outcome != Lagging:
			unknown = append(unknown, d.Dataset)
		case owner == "" || c.Lag > lag:
			owner, lag = c.Owner, c.Lag
		}
	}
	switch {
	case e.Own:
		return "What the guest has written since is in its disks, which stay as they are."
	case owner == "" && len(r.Nodes) == 0:
		return here + "What the guest has written since is not known: no owner was asked (--owners URL,…)."
	case owner == "":
		return here + "What the guest has written since is not known: no owner answers for the guest."
	case lag > 0:
		elsewhere = fmt.Sprintf("Its owner, %s, has had newer snapshots for %s: the data in these snapshots is not here.", owner, text.Age(lag))
	case here != "":
		elsewhere = fmt.Sprintf("Its owner, %s, has no snapshots that are not here.", owner)
	case len(unknown) == 0:
		return fmt.Sprintf("Its owner, %s, has no newer snapshots.", owner)
	}
	if len(unknown) > 0 {
		elsewhere += fmt.Sprintf(" What was written to %s since is not known: no owner answers for it.", strings.Join(unknown, ", "))
	}
	return here + strings.TrimPrefix(elsewhere, " ")
}

func counted(n int, what string) string {
	if n == 1 {
		return "the " + what
	}
	return fmt.Sprintf("all %d %ss", n, what)
}

func have(n int) string {
	if n == 1 {
		return "has"
	}
	return "have"
}

// quote returns the name of a dataset or snapshot, quoted for a shell. The blank is the only
// character in names of ZFS that a shell treats specially.
func quote(name string) string {
	if strings.Contains(name, " ") {
		return "'" + name + "'"
	}
	return name
}
