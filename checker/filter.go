package checker

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"snapwatch/config"
)

// Filter selects the disks that are asked for. A list that is empty selects all; a disk
// must be picked by each list.
type Filter struct {
	Pools []string
	VMIDs []int
	// Disks are shell patterns for the dataset's full name or its last component.
	Disks []string
}

// Pool reports whether the pool may hold disks that are asked for.
func (f Filter) Pool(pool string) bool { return len(f.Pools) == 0 || slices.Contains(f.Pools, pool) }

// Apply leaves in the report what is asked for. Whatever is asked for and matches
// nothing is a note that alarms: a misspelt name must not read as OK.
func (f Filter) Apply(r Report) Report {
	kept := Report{Now: r.Now, Notes: slices.Clone(r.Notes)}
	for _, d := range r.Disks {
		if f.Selects(d.Disk) {
			kept.Disks = append(kept.Disks, d)
		}
	}
	for _, p := range r.Pools {
		if f.Pool(p.Name) && f.concerns(p) {
			kept.Pools = append(kept.Pools, p)
		}
	}
	for _, missing := range f.unmatched(r) {
		kept.Notes = append(kept.Notes, Note{Unknown, "no disk matches " + missing})
	}
	return kept
}

// Selects reports whether the disk is asked for.
func (f Filter) Selects(d Disk) bool {
	return f.Pool(poolOf(d)) &&
		(len(f.VMIDs) == 0 || slices.Contains(f.VMIDs, d.VMID)) &&
		(len(f.Disks) == 0 || slices.ContainsFunc(f.Disks, func(pattern string) bool { return matchesDisk(pattern, d) }))
}

func matchesDisk(pattern string, d Disk) bool {
	return (config.Selector{Disk: pattern}).Matches(d.Dataset, d.VMID)
}

// concerns reports whether a pool may hold disks that are asked for. One whose disks were
// read and are others does not. One that was not read may, whatever was in it before.
func (f Filter) concerns(p PoolResult) bool {
	if len(f.VMIDs) == 0 && len(f.Disks) == 0 {
		return true
	}
	if p.Problem != "" && f.mayHold(p.Name) {
		return true
	}
	return len(p.Disks) == 0 || slices.ContainsFunc(p.Disks, f.Selects)
}

// mayHold reports whether a pool may hold disks that match a pattern: a full name's does
// in its own pool alone.
func (f Filter) mayHold(pool string) bool {
	return len(f.Disks) == 0 || slices.ContainsFunc(f.Disks, func(pattern string) bool {
		first, _, full := strings.Cut(pattern, "/")
		return !full || (config.Selector{Disk: first}).Matches(pool, 0)
	})
}

// unmatched are the words of the filter that match no disk.
func (f Filter) unmatched(r Report) []string {
	var words []string
	miss := func(word string, matches func(Disk) bool) {
		if !slices.ContainsFunc(r.Disks, func(d Result) bool { return matches(d.Disk) }) {
			words = append(words, word)
		}
	}
	for _, pool := range f.Pools {
		miss("--pool "+pool, func(d Disk) bool { return poolOf(d) == pool })
	}
	for _, vmid := range f.VMIDs {
		miss("--vmid "+strconv.Itoa(vmid), func(d Disk) bool { return d.VMID == vmid })
	}
	for _, pattern := range f.Disks {
		miss(fmt.Sprintf("--disk %q", pattern), func(d Disk) bool { return matchesDisk(pattern, d) })
	}
	return words
}
