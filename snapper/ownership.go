package snapper

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"snapwatch/internal/zfs"
)

// sign returns the reason to assume that a disk came from elsewhere, "" if there is none. No sign
// is a proof, and every sign disappears with time: rotation destroys old snapshots, and a receive
// leaves no trace after it has ended. A promoted clone shows the same signs, and so does a disk
// that was created while the clock was ahead.
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

// CameFrom returns the sign that a disk came from elsewhere: the sign that is there now, else the
// sign that an earlier run saw.
func (d *Disk) CameFrom(before string) string {
	if sign := d.sign(); sign != "" {
		return sign
	}
	return before
}

// Word is the answer to the question who set a local label.
type Word int

// The possible answers. Not every local label was set by this node: syncoid --preserve-properties
// sets local labels on copies. A label also remains local when the disk is given to another node
// and comes back as a copy.
const (
	// Own: this node set the label.
	Own Word = iota
	// Others: the label came with the disk, or is older than what was received onto the disk.
	Others
	// Unasked: the answer needs the pool's history, which was not read yet.
	Unasked
	// Untold: this node set the label, and it is unknown whether the disk is still this node's.
	Untold
)

// word returns who set the disk's local label, and why that is not this node. This node set the
// label if state.json lists the disk as this node's and nothing was received onto the disk since.
// If state.json does not list the disk, this node set the label only if there is no sign that the
// disk came from elsewhere.
func (d *Disk) word() (w Word, why string) {
	switch sign := d.CameFrom(d.Sign); {
	case d.ownUpTo() > 0:
		return d.wordSince(d.ownUpTo())
	case sign != "":
		return Others, sign
	case d.remembered():
		return Others, "its guest was never seen running on it here"
	}
	return Own, ""
}

// wordSince is word for a disk that was this node's up to the transaction group own. A snapshot
// does not show who made it, but the pool's history shows which snapshots were received.
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
		return Untold, fmt.Sprintf("@%s may have been received, and the pool's history does not show it: %s", newer[i].Name, lost)
	}
	return Own, ""
}

// mayBeReceived reports whether a snapshot that this node did not make may have been received
// onto a disk of this node. pvesr makes its snapshots on the guest's node, so they are not a sign
// of receiving. Snapshots of zrepl, a person or sanoid look the same on an original and on a
// copy. A snapshot that is not managed counts as received only if the disk once came from
// elsewhere or is labelled "stopped".
func (d *Disk) mayBeReceived(s zfs.Snapshot) bool {
	_, managed := s.Class()
	pvesr := strings.HasPrefix(s.Name, fmt.Sprintf("%s%d-", pvesrPrefix, d.VMID))
	return managed || !pvesr && (d.Sign != "" || d.Running.Value == zfs.LabelStopped)
}

// remembered reports whether an earlier run recorded to which node this dataset belongs; older
// versions of snapwatch recorded nothing. After a pool was rewound, a record with a transaction
// group above the pool's present one does not count.
func (d *Disk) remembered() bool {
	said := d.Checked.Own > 0 || d.Checked.Foreign || d.Checked.Elsewhere
	return said && d.GUID != 0 && d.Checked.GUID == d.GUID && (d.PoolTXG == 0 || d.Checked.Own <= d.PoolTXG)
}

// ownUpTo returns the transaction group up to which everything on the disk is this node's, 0 if
// nothing is known to be. A guest that moves here from another node of the cluster brings
// everything that its disk received on that node, up to now.
func (d *Disk) ownUpTo() uint64 {
	switch {
	case !d.remembered():
		return 0
	case d.Checked.Elsewhere:
		return max(NewestTXG(d.Snapshots), 1)
	}
	return d.Checked.Own
}

// sinceOwn returns the disk's snapshots, managed or not, that are newer than the transaction
// group of ownUpTo.
func (d *Disk) sinceOwn() []zfs.Snapshot {
	return filter(d.Snapshots, func(s zfs.Snapshot) bool { return s.CreateTXG > d.ownUpTo() })
}

// arrived returns a text about a snapshot that was received onto the disk since it was this
// node's, according to the pool's history. The function arrived returns "" if no snapshot was
// received onto the disk since it was this node's.
func (d *Disk) arrived() string {
	if d.History == nil || d.ownUpTo() == 0 {
		return ""
	}
	for _, s := range d.sinceOwn() {
		if slices.Contains(d.History.Received, zfs.Received{Dataset: d.Name, Name: s.Name, TXG: s.CreateTXG}) {
			return fmt.Sprintf("@%s was received here, according to the pool's history", s.Name)
		}
	}
	return ""
}

// Traced returns the disk's bookmarks and snapshots that must be looked up in the pool's history.
func (d *Disk) Traced() []zfs.Snapshot {
	traced := d.InQuestion()
	if d.ownUpTo() > 0 {
		traced = append(traced, d.sinceOwn()...)
	}
	return traced
}

// nextOwn returns the transaction group up to which the next run knows the disk as this node's.
// The argument made of nextOwn is the transaction group of the snapshot that this run took, 0 if
// it took none.
func (d *Disk) nextOwn(made uint64) uint64 {
	newest := max(NewestTXG(d.Snapshots), 1)
	switch {
	case made > 0, len(d.Guests) > 0 && d.State.Alive():
		return max(newest, made)
	case d.arrived() != "":
		return 0
	case d.ownUpTo() == 0 && !d.remembered() && d.Running.Source == zfs.SourceLocal && d.CameFrom(d.Sign) == "":
		return newest // the record in state.json was lost, and no sign speaks against the disk
	}
	return d.ownUpTo()
}

// AdoptedBy reports whether one of the names means this disk: the VMID of its guest, its dataset,
// or the last component of the dataset.
func (d *Disk) AdoptedBy(names []string) bool {
	return slices.ContainsFunc([]string{strconv.Itoa(d.VMID), d.Name, zfs.Base(d.Name)}, func(name string) bool { return slices.Contains(names, name) })
}

// strangers returns the reason why a stopped guest's disk without a label is not taken over
// unless a person names it, "" if it is taken over. The disk is taken over if it has no snapshot,
// or only snapshots that the guest's own configuration names. A finished receive leaves a
// snapshot, and the copy of a guest whose configuration is on this node looks like the guest's
// own disk.
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

// Knows reports whether the plan has a disk of that name, or a disk of a guest with that VMID.
func Knows(p Plan, name string) bool {
	return slices.ContainsFunc(p.Notes, func(n Note) bool {
		d := Disk{VMID: n.VMID}
		d.Name = n.Dataset
		return n.Dataset != "" && d.AdoptedBy([]string{name})
	})
}
