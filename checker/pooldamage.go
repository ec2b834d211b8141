package checker

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"snapwatch/internal/text"
	"snapwatch/internal/zfs"
)

// damageFresh is how old root's report may be before its age is said.
const damageFresh = 3 * time.Hour

// Damage is where root found a pool's permanent errors.
type Damage struct {
	zfs.Damage
	// GUID is the pool's, as in [Health].
	GUID uint64    `json:"guid,string,omitempty"`
	At   time.Time `json:"at"`
	// Exact is true where ZFS tells each snapshot with an error. Without its feature
	// head_errlog it names one of them, and others of the disk may have the same block.
	Exact bool `json:"exact"`
	// Unlisted is true where ZFS counts more errors than it names places. With head_errlog it
	// finds none in an old snapshot whose block was rewritten before a newer one was taken.
	Unlisted bool `json:"unlisted,omitempty"`
	// Counted is how many errors any user read when root looked; 0 where there were none, or where
	// root reads another number (before OpenZFS 2.2).
	Counted uint64 `json:"counted,omitempty"`
}

// where says which disks have the errors, or who can find out.
func (h *Health) where(pool string, now time.Time) string {
	const unknown = ", disks unknown: needs root (snapwatch health)"
	d := h.Damage
	if d == nil || d.Counted != 0 && d.Counted != h.DataErrors {
		return unknown
	}
	words := ""
	if names := slices.Sorted(maps.Keys(d.Snapshots)); len(names) > 0 {
		words += " in " + few(names)
	}
	if d.Unresolved > 0 {
		words += fmt.Sprintf(", %d in no dataset that is there (zpool scrub %s)", d.Unresolved, pool)
	}
	if d.Unlisted {
		words += ", and ZFS does not say where all are: any disk of the pool may be damaged"
	}
	if words == "" {
		return unknown // there were none then
	}
	if age := now.Sub(d.At); age > damageFresh {
		words += fmt.Sprintf(", as of %s ago (snapwatch health)", text.Age(age))
	}
	return words
}

// damageOf says what permanent errors there are in a dataset, "" for none. While ZFS lists no
// error, what root found before is mended or gone.
func (h *Health) damageOf(dataset string) string {
	if h == nil || h.Damage == nil || h.DataErrors == 0 {
		return ""
	}
	snapshots, damaged := h.Damage.Snapshots[dataset]
	switch {
	case !damaged:
		return ""
	case !h.Damage.Exact:
		return "permanent errors; which of its snapshots have them ZFS does not tell (zpool upgrade: head_errlog)"
	}
	var names []string
	for _, s := range snapshots {
		if s == "" {
			names = append(names, "its newest data")
			continue
		}
		names = append(names, "@"+s)
	}
	return "permanent errors in " + few(names)
}
