package snapper

import (
	"fmt"
	"slices"
	"strconv"

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
