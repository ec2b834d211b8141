package checker

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"snapwatch/internal/text"
	"snapwatch/internal/zfs"
)

// damageFresh is an age of root's report of permanent errors. If the report is older, messages
// mention its age.
const damageFresh = 3 * time.Hour

// Damage contains the disks of a pool that have permanent errors. A command that root ran found the
// disks with permanent errors.
type Damage struct {
	zfs.Damage
	// GUID is the pool's guid, as in [Health].
	GUID uint64    `json:"guid,string,omitempty"`
	At   time.Time `json:"at"`
	// Exact is true if ZFS names every snapshot with an error. Without the feature head_errlog, ZFS
	// names only one of the snapshots, and other snapshots of the disk may contain the same block.
	Exact bool `json:"exact"`
	// Unlisted is true if ZFS counts permanent errors and lists no place. Even with head_errlog ZFS
	// does not find an error in an old snapshot whose block was rewritten before a newer snapshot
	// was taken. Even if ZFS lists places, the list may be incomplete. The number of errors does
	// not show whether the list is complete, because ZFS counts blocks, but lists objects by
	// snapshot.
	Unlisted bool `json:"unlisted,omitempty"`
	// Counted is the number of the pool's permanent errors when root looked for their places.
	// Counted is 0 if there were no errors. Counted is also 0 before OpenZFS 2.2, where root does
	// not read the same number as other users.
	Counted uint64 `json:"counted,omitempty"`
}

// damagedDisks returns the names of the disks with permanent errors, or says how to find these
// disks.
func (h *Health) damagedDisks(pool string, now time.Time) string {
	const unknown = ", disks unknown: needs root (snapwatch health)"
	d := h.Damage
	if d == nil || d.Counted != 0 && d.Counted != h.DataErrors {
		return unknown
	}
	words := ""
	if names := slices.Sorted(maps.Keys(d.Snapshots)); len(names) > 0 {
		words += " in " + firstNames(names)
	}
	if d.Unresolved > 0 {
		words += fmt.Sprintf(", %d in no existing dataset (zpool scrub %s)", d.Unresolved, pool)
	}
	if d.Unlisted {
		words += ", and ZFS does not say where: any disk of the pool may be damaged"
	}
	if words == "" {
		return unknown // root's report is from before the errors
	}
	if age := now.Sub(d.At); age > damageFresh {
		words += fmt.Sprintf(", as of %s ago (snapwatch health)", text.Age(age))
	}
	return words
}

// damageOf describes the permanent errors in a dataset, "" for none. If ZFS lists no permanent
// errors now, the errors that root found before are repaired or gone.
func (h *Health) damageOf(dataset string) string {
	if h == nil || h.Damage == nil || h.DataErrors == 0 {
		return ""
	}
	snapshots, damaged := h.Damage.Snapshots[dataset]
	switch {
	case !damaged:
		return ""
	case !h.Damage.Exact:
		return "permanent errors; ZFS does not tell in which snapshots (zpool upgrade: head_errlog)"
	}
	var names []string
	for _, s := range snapshots {
		if s == "" {
			names = append(names, "its newest data")
			continue
		}
		names = append(names, "@"+s)
	}
	return "permanent errors in " + firstNames(names)
}
