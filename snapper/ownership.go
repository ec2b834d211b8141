package snapper

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"snapwatch/internal/zfs"
)

// sign returns what says that a disk came from elsewhere, "" if nothing does. No sign is a
// proof, and each fades: rotation takes old snapshots away, and a receive leaves no trace
// when it has ended. A promoted clone, or a clock that was ahead, looks the same.
func (d *Disk) sign() string {
	switch {
	case received(d), d.Running.Received != "", d.NoSnap.Received != "":
		return "it has received properties"
	case d.ResumeToken, d.Inconsistent:
		return "a receive of it is not finished"
	case d.arrived() != "":
		return d.arrived()
	}
	for _, s := range d.Snapshots {
		if s.Creation.Before(d.Creation) {
			return fmt.Sprintf("@%s is older than the dataset", s.Name)
		}
	}
	return ""
}

// CameFrom returns the sign that a disk came from elsewhere, this one's own or that which an
// earlier run saw.
func (d *Disk) CameFrom(before string) string {
	if sign := d.sign(); sign != "" {
		return sign
	}
	return before
}

// Word says whose word a local label is.
type Word int

// The words. A local label is not always this node's: syncoid --preserve-properties sets
// labels locally, and one stays when the disk is given to another node and comes back as a
// copy.
const (
	// Own: this node's.
	Own Word = iota
	// Others: it came with the disk, or is from before the disk was received onto.
	Others
	// Unasked: the pool's history must be read first.
	Unasked
	// Untold: it was this node's, and nothing says whether it still is.
	Untold
)

// word returns whose word the disk's local label is, and why it is not this node's. It is this
// node's where the state has the disk as its own and nothing was received onto it since; where
// the state does not have the disk, only where no sign is there.
func (d *Disk) word() (w Word, why string) {
	switch sign := d.CameFrom(d.Sign); {
	case d.ownUpTo() > 0:
		return d.wordSince(d.ownUpTo())
	case sign != "":
		return Others, sign
	case d.remembered():
		return Others, "its guest was never seen to run on it here"
	}
	return Own, ""
}

// wordSince is word for a disk that was this node's up to a transaction group. Who made what
// is newer is not seen in it, but the pool's history says what was received.
func (d *Disk) wordSince(own uint64) (w Word, why string) {
	newer := d.sinceOwn()
	lost := ""
	switch {
	case len(newer) == 0:
		return Own, ""
	case d.arrived() != "":
		return Others, d.arrived()
	case d.History == nil && d.HistoryProblem == "":
		return Unasked, "the pool's history was not read yet"
	case d.History == nil:
		lost = "it could not be read: " + d.HistoryProblem
	case d.History.Since > own:
		lost = fmt.Sprintf("it reaches back to txg %d only", d.History.Since)
	case d.History.Breaks[d.Name].TXG > own:
		lost = d.History.Breaks[d.Name].Why
	default:
		return Own, ""
	}
	if i := slices.IndexFunc(newer, d.mayBeReceived); i >= 0 {
		return Untold, fmt.Sprintf("@%s may have been received, and the pool's history does not tell: %s", newer[i].Name, lost)
	}
	return Own, ""
}

// mayBeReceived reports whether a snapshot that this node did not make may have been received,
// on a disk that was this node's. pvesr makes its own on the node of the guest. Others, such as
// those of zrepl, a person or sanoid, look the same here and on a copy: one that is not managed
// is no doubt where the disk never came from elsewhere and its guest ran at the last run.
func (d *Disk) mayBeReceived(s zfs.Snapshot) bool {
	_, managed := s.Class()
	pvesr := strings.HasPrefix(s.Name, fmt.Sprintf("%s%d-", pvesrPrefix, d.VMID))
	return managed || !pvesr && (d.Sign != "" || d.Running.Value == zfs.LabelStopped)
}

// remembered reports whether an earlier run has said whose this dataset is: an older version
// did not. A pool that was rewound counts from an older transaction group.
func (d *Disk) remembered() bool {
	said := d.Checked.Own > 0 || d.Checked.Foreign || d.Checked.Elsewhere
	return said && d.GUID != 0 && d.Checked.GUID == d.GUID && (d.PoolTXG == 0 || d.Checked.Own <= d.PoolTXG)
}

// ownUpTo is the transaction group up to which all on the disk is this node's, 0 if nothing is
// known to be. A guest that comes from another node of the cluster brings what its disk
// received there, up to now.
func (d *Disk) ownUpTo() uint64 {
	switch {
	case !d.remembered():
		return 0
	case d.Checked.Elsewhere:
		return max(NewestTXG(d.Snapshots), 1)
	}
	return d.Checked.Own
}

// sinceOwn are the snapshots of any kind from after that.
func (d *Disk) sinceOwn() []zfs.Snapshot {
	return filter(d.Snapshots, func(s zfs.Snapshot) bool { return s.CreateTXG > d.ownUpTo() })
}

// arrived returns what the pool's history says was received onto the disk since it was this
// node's, "" for nothing.
func (d *Disk) arrived() string {
	if d.History == nil || d.ownUpTo() == 0 {
		return ""
	}
	for _, s := range d.sinceOwn() {
		if slices.Contains(d.History.Received, zfs.Received{Dataset: d.Name, Name: s.Name, TXG: s.CreateTXG}) {
			return fmt.Sprintf("@%s was received here, by the pool's history", s.Name)
		}
	}
	return ""
}

// Traced are the bookmarks and snapshots of the disk of which the pool's history is to tell.
func (d *Disk) Traced() []zfs.Snapshot {
	traced := d.InQuestion()
	if d.ownUpTo() > 0 {
		traced = append(traced, d.sinceOwn()...)
	}
	return traced
}

// nextOwn is up to which transaction group the next run is to know the disk as this node's.
// made is that of a snapshot that this run made, 0 for none.
func (d *Disk) nextOwn(made uint64) uint64 {
	newest := max(NewestTXG(d.Snapshots), 1)
	switch {
	case made > 0, len(d.Guests) > 0 && d.State.Alive():
		return max(newest, made)
	case d.arrived() != "":
		return 0
	case d.ownUpTo() == 0 && !d.remembered() && d.Running.Source == zfs.SourceLocal && d.CameFrom(d.Sign) == "":
		return newest // the state was lost
	}
	return d.ownUpTo()
}

// AdoptedBy reports whether a person has named the disk to be taken over: by its guest, its
// dataset or the last component of that.
func (d *Disk) AdoptedBy(names []string) bool {
	return slices.ContainsFunc([]string{strconv.Itoa(d.VMID), d.Name, zfs.Base(d.Name)}, func(name string) bool { return slices.Contains(names, name) })
}

// strangers returns why a disk of a stopped guest that was never labelled is not taken over
// unasked, "" if it is: where it has no snapshot at all, or only those that the guest's own
// configuration names. A finished receive leaves a snapshot, and the copy of a guest whose
// configuration is here looks like its disk.
func strangers(d *Disk) string {
	if sign := d.CameFrom(d.Sign); sign != "" {
		return sign
	}
	for _, s := range d.Snapshots {
		if !slices.Contains(d.Named, s.Name) {
			return fmt.Sprintf("@%s is not in the guest's configuration", s.Name)
		}
	}
	return ""
}

// Knows reports whether a plan has a disk of that name, or of a guest of that VMID.
func Knows(p Plan, name string) bool {
	return slices.ContainsFunc(p.Notes, func(n Note) bool {
		d := Disk{VMID: n.VMID}
		d.Name = n.Dataset
		return n.Dataset != "" && d.AdoptedBy([]string{name})
	})
}
