package snapper

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"snapwatch/internal/zfs"
)

// sign returns the sign that a disk was received from another host, "" if there is none. A sign is
// not a proof: a promoted clone, and a disk that was created while the clock was ahead, look like a
// received disk. A sign can also disappear: rotation destroys old snapshots, and a receive leaves
// no trace after it has ended.
func (d *Disk) sign() string {
	switch {
	case wasReceived(d), d.Running.Received != "", d.NoSnap.Received != "":
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

// CameFrom returns the sign that a disk was received from another host. If the disk shows no sign
// now, CameFrom returns the sign that an earlier run saw.
func (d *Disk) CameFrom(before string) string {
	if sign := d.sign(); sign != "" {
		return sign
	}
	return before
}

// Word is the answer to the question whether this node set the local label:running of a disk.
type Word int

// The possible answers to the question whether this node set a disk's local label. Not every local
// label was set by this node: syncoid --preserve-properties sets local labels on copies. After this
// node has given a disk to another node and received the disk back as a copy, the disk's old label
// is still local.
const (
	// Own: this node set the disk's local label.
	Own Word = iota
	// Others: another node set the label. The label arrived with the disk, or is older than a
	// snapshot that was received onto the disk.
	Others
	// Unasked: the pool's history would show whether this node set the label, but the run has not
	// read the history yet.
	Unasked
	// Untold: this node set the label, but it is unknown whether the disk has become a copy since
	// then.
	Untold
)

// word returns the answer to the question whether this node set the disk's local label, with the
// reason if the answer is not Own. This node set the label if state.json lists the disk as this
// node's up to a transaction group, and no snapshot was received onto the disk after this
// transaction group. If state.json does not list the disk, this node set the label if no sign shows
// that the disk was received from another host.
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

// wordSince returns the result of [Disk.word] for a disk whose snapshots up to the transaction
// group `own` are this node's own. A snapshot does not show who made it, but the pool's history
// shows which snapshots were received.
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

// mayBeReceived reports whether a snapshot that this node did not make may have been received onto
// a disk of this node. pvesr makes its snapshots on the guest's node, so a snapshot of pvesr is not
// a sign of receiving. A snapshot of zrepl, a person or sanoid looks the same on an original and on
// a copy. If a snapshot is not managed, it counts as received only on two kinds of disks: disks
// that once came from another host, and disks labelled "stopped".
func (d *Disk) mayBeReceived(s zfs.Snapshot) bool {
	_, managed := s.Class()
	pvesr := strings.HasPrefix(s.Name, fmt.Sprintf("%s%d-", pvesrPrefix, d.VMID))
	return managed || !pvesr && (d.Sign != "" || d.Running.Value == zfs.LabelStopped)
}

// remembered reports whether state.json says of this dataset that it is this node's own disk or
// that it is a copy. Older versions of snapwatch did not record this. After a pool was rewound,
// records with a transaction group above the pool's present one are ignored.
func (d *Disk) remembered() bool {
	said := d.Checked.Own > 0 || d.Checked.Foreign || d.Checked.Elsewhere
	return said && d.GUID != 0 && d.Checked.GUID == d.GUID && (d.PoolTXG == 0 || d.Checked.Own <= d.PoolTXG)
}

// ownUpTo returns the newest transaction group up to which all snapshots of the disk are known to
// be this node's own, 0 if this is known of no snapshot. If the guest has just moved here from
// another node of the cluster, all present snapshots of the disk count as this node's own.
func (d *Disk) ownUpTo() uint64 {
	switch {
	case !d.remembered():
		return 0
	case d.Checked.Elsewhere:
		return max(NewestTXG(d.Snapshots), 1)
	}
	return d.Checked.Own
}

// sinceOwn returns the disk's snapshots, managed or not, after the transaction group from ownUpTo.
func (d *Disk) sinceOwn() []zfs.Snapshot {
	return filter(d.Snapshots, func(s zfs.Snapshot) bool { return s.CreateTXG > d.ownUpTo() })
}

// arrived returns a text about a snapshot that was received onto the disk after the disk was known
// to be this node's own. arrived returns "" if the pool's history does not show that such a
// snapshot was received.
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

// nextOwn returns the transaction group up to which the next run may treat the disk as this node's
// own. The argument `made` is the transaction group of the snapshot that this run took, 0 if the
// run took none.
func (d *Disk) nextOwn(made uint64) uint64 {
	newest := max(NewestTXG(d.Snapshots), 1)
	switch {
	case made > 0, len(d.Guests) > 0 && d.State.Alive():
		return max(newest, made)
	case d.arrived() != "":
		return 0
	case d.ownUpTo() == 0 && !d.remembered() && d.Running.Source == zfs.SourceLocal && d.CameFrom(d.Sign) == "":
		return newest // the record in state.json was lost, and no sign shows that the disk was received
	}
	return d.ownUpTo()
}

// AdoptedBy reports whether one of the names given to --adopt selects the disk: the VMID of its
// guest, its dataset, or the last component of the dataset.
func (d *Disk) AdoptedBy(names []string) bool {
	return slices.ContainsFunc([]string{strconv.Itoa(d.VMID), d.Name, zfs.Base(d.Name)}, func(name string) bool { return slices.Contains(names, name) })
}

// strangers judges a stopped guest's disk without a label. strangers returns the reason why snap
// adopts the disk only with --adopt, "" if snap adopts the disk without it. snap adopts the disk
// without --adopt if the disk has no snapshot, or if the guest's own configuration names all
// snapshots of the disk. A snapshot may be the trace of a finished receive: if the guest's
// configuration is on this node, a copy of the guest's disk looks like the guest's own disk.
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

// Knows reports whether a name given to --adopt, a dataset or the VMID of a guest, selects a disk
// of the plan.
func Knows(p Plan, name string) bool {
	return slices.ContainsFunc(p.Notes, func(n Note) bool {
		d := Disk{VMID: n.VMID}
		d.Name = n.Dataset
		return n.Dataset != "" && d.AdoptedBy([]string{name})
	})
}
