package checker

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"snapwatch/config"
)

// Filter selects the disks that a check is limited to. A disk must be selected by each list of
// the filter; an empty list selects every disk.
type Filter struct {
	Pools []string
	VMIDs []int
	// Guests has numbers or names of guests. Each number or name selects all disks with the guest's
	// VMID.
	Guests []string
	// Disks has shell patterns. A pattern selects a disk if it matches the full name of the disk's
	// dataset or the last component of this name.
	Disks []string
}

// None reports whether the filter selects all disks.
func (f Filter) None() bool { return len(f.Pools)+len(f.VMIDs)+len(f.Guests)+len(f.Disks) == 0 }

// Pool reports whether the pool may contain disks that the filter selects.
func (f Filter) Pool(pool string) bool { return len(f.Pools) == 0 || slices.Contains(f.Pools, pool) }

// Apply returns the report reduced to the selected pools, disks and guests. A word of the filter
// that matches nothing adds an alarming note, because a misspelt name must not look like OK.
func (f Filter) Apply(r Report) Report {
	kept := Report{Now: r.Now, Notes: slices.Clone(r.Notes)}
	if !f.None() {
		kept.Notes = slices.DeleteFunc(kept.Notes, func(n Note) bool { return n.whole })
	}
	var unknown []string
	f, unknown = f.resolveNames(r)
	kept.filter, kept.Nodes, kept.absent, kept.owners, kept.proofProblem = f, r.Nodes, r.absent, r.owners, r.proofProblem
	kept.Notes = slices.DeleteFunc(kept.Notes, func(n Note) bool { return n.proofOf != 0 && (!f.whole() || !f.guest(n.proofOf)) })
	if f.whole() {
		kept.Guests = slices.DeleteFunc(slices.Clone(r.Guests), func(g Guest) bool { return !f.guest(g.VMID) })
	}
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
	kept.Notes = append(kept.Notes, f.unmatched(r)...)
	for _, word := range unknown {
		kept.Notes = append(kept.Notes, Note{State: Unknown, Text: "no disk matches " + word})
	}
	kept.Notes = kept.matchedNotes()
	return kept
}

// matchedNotes returns the report's notes, except superfluous ones. A note says that no disk here
// has a requested VMID. This note is superfluous if an owner has a disk of the guest that should be
// here, because the guest's verdict reports the missing disk.
func (r Report) matchedNotes() []Note {
	return slices.DeleteFunc(slices.Clone(r.Notes), func(n Note) bool {
		return slices.ContainsFunc(r.absent, func(a absence) bool { return a.vmid == n.unmatched })
	})
}

// Selects reports whether the filter selects the disk.
func (f Filter) Selects(d Disk) bool {
	return f.Pool(poolOf(d)) &&
		f.guest(d.VMID) &&
		(len(f.Disks) == 0 || slices.ContainsFunc(f.Disks, func(pattern string) bool { return matchesDisk(pattern, d) }))
}

// whole reports whether the filter selects guests only as a whole, and not by pool or disk.
func (f Filter) whole() bool { return len(f.Pools)+len(f.Disks) == 0 }

func (f Filter) guest(vmid int) bool {
	return len(f.VMIDs) == 0 || slices.Contains(f.VMIDs, vmid)
}

// resolveNames returns the filter with the VMIDs of the guests selected by number or name, and the
// words of the filter that name no guest. For each unknown guest the VMID -1 is added, which no
// guest has, so that a filter of unknown names does not select all disks.
func (f Filter) resolveNames(r Report) (numbered Filter, unknown []string) {
	if len(f.Guests) == 0 {
		return f, nil
	}
	numbers := map[string][]int{}
	add := func(word string, vmid int) {
		if !slices.Contains(numbers[word], vmid) {
			numbers[word] = append(numbers[word], vmid)
		}
	}
	for i := range r.Disks {
		add(strconv.Itoa(r.Disks[i].VMID), r.Disks[i].VMID)
	}
	for _, a := range r.absent {
		add(strconv.Itoa(a.vmid), a.vmid)
	}
	for guest, owner := range r.owners {
		add(owner.name, guest.vmid)
	}
	for i := range r.Guests {
		add(r.Guests[i].Name, r.Guests[i].VMID)
	}
	f.VMIDs = slices.Clone(f.VMIDs)
	for _, word := range f.Guests {
		before := len(f.VMIDs)
		f.VMIDs = append(f.VMIDs, numbers[word]...)
		if len(f.VMIDs) == before {
			f.VMIDs = append(f.VMIDs, -1)
			unknown = append(unknown, "--guest "+strconv.Quote(word))
		}
	}
	return f, unknown
}

func matchesDisk(pattern string, d Disk) bool {
	return (config.Selector{Disk: pattern}).Matches(d.Dataset, d.VMID)
}

// concerns reports whether a pool may contain disks that the filter selects. A pool that was not
// read may contain any disk.
func (f Filter) concerns(p PoolResult) bool {
	if len(f.VMIDs) == 0 && len(f.Disks) == 0 {
		return true
	}
	if p.Problem != "" && f.mayHold(p.Name) {
		return true
	}
	return len(p.Disks) == 0 || slices.ContainsFunc(p.Disks, f.Selects)
}

// mayHold reports whether a pool may contain disks that match a pattern of the filter. A pattern
// for full names can match only in the pool that the pattern names.
func (f Filter) mayHold(pool string) bool {
	return len(f.Disks) == 0 || slices.ContainsFunc(f.Disks, func(pattern string) bool {
		first, _, full := strings.Cut(pattern, "/")
		return !full || (config.Selector{Disk: first}).Matches(pool, 0)
	})
}

// unmatched returns a note for each word of the filter that matches no disk.
func (f Filter) unmatched(r Report) []Note {
	var notes []Note
	miss := func(word string, vmid int, matches func(Disk) bool) {
		if !slices.ContainsFunc(r.Disks, func(d Result) bool { return matches(d.Disk) }) {
			notes = append(notes, Note{State: Unknown, Text: "no disk matches " + word, unmatched: vmid})
		}
	}
	for _, pool := range f.Pools {
		miss("--pool "+pool, 0, func(d Disk) bool { return poolOf(d) == pool })
	}
	for _, vmid := range f.VMIDs {
		if vmid < 0 {
			continue
		}
		miss("--vmid "+strconv.Itoa(vmid), vmid, func(d Disk) bool { return d.VMID == vmid })
	}
	for _, pattern := range f.Disks {
		miss(fmt.Sprintf("--disk %q", pattern), 0, func(d Disk) bool { return matchesDisk(pattern, d) })
	}
	return notes
}
