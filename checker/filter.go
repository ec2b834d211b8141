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
	// Guests are numbers or names of guests; one that is given selects as VMIDs do.
	Guests []string
	// Disks are shell patterns for the dataset's full name or its last component.
	Disks []string
}

// None reports whether nothing is left out.
func (f Filter) None() bool { return len(f.Pools)+len(f.VMIDs)+len(f.Guests)+len(f.Disks) == 0 }

// Pool reports whether the pool may hold disks that are asked for.
func (f Filter) Pool(pool string) bool { return len(f.Pools) == 0 || slices.Contains(f.Pools, pool) }

// Apply leaves in the report what is asked for. Whatever is asked for and matches
// nothing is a note that alarms: a misspelt name must not read as OK.
func (f Filter) Apply(r Report) Report {
	kept := Report{Now: r.Now, Notes: slices.Clone(r.Notes)}
	if !f.None() {
		kept.Notes = slices.DeleteFunc(kept.Notes, func(n Note) bool { return n.whole })
	}
	var unknown []string
	f, unknown = f.named(r)
	kept.filter, kept.Nodes, kept.absent, kept.names = f, r.Nodes, r.absent, r.names
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
	for _, missing := range append(f.unmatched(r), unknown...) {
		kept.Notes = append(kept.Notes, Note{State: Unknown, Text: "no disk matches " + missing})
	}
	return kept
}

// Selects reports whether the disk is asked for.
func (f Filter) Selects(d Disk) bool {
	return f.Pool(poolOf(d)) &&
		f.guest(d.VMID) &&
		(len(f.Disks) == 0 || slices.ContainsFunc(f.Disks, func(pattern string) bool { return matchesDisk(pattern, d) }))
}

// whole reports whether all that is here of a guest is asked for.
func (f Filter) whole() bool { return len(f.Pools)+len(f.Disks) == 0 }

func (f Filter) guest(vmid int) bool {
	return len(f.VMIDs) == 0 || slices.Contains(f.VMIDs, vmid)
}

// named returns the filter with the numbers of the guests that are asked for by number or
// name, and what names none. No guest has the number -1, which keeps a filter of unknown
// names from selecting all.
func (f Filter) named(r Report) (numbered Filter, unknown []string) {
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
	for guest, name := range r.names {
		add(name, guest.vmid)
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
		if vmid < 0 {
			continue
		}
		miss("--vmid "+strconv.Itoa(vmid), func(d Disk) bool { return d.VMID == vmid })
	}
	for _, pattern := range f.Disks {
		miss(fmt.Sprintf("--disk %q", pattern), func(d Disk) bool { return matchesDisk(pattern, d) })
	}
	return words
}
