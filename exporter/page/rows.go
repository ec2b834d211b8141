package page

import (
	"cmp"
	"slices"
	"time"

	"snapwatch/checker"
)

const (
	// unfoldedDisks is up to how many disks every guest's disks are shown.
	unfoldedDisks = 60
	// pageRows is how many rows the table has at most.
	pageRows = 200
)

// guest is a guest with its disks, in the order of the report: the worst first.
type guest struct {
	VMID  int
	Disks []checker.Result
	// Folded guests are one row.
	Folded bool
}

// row is one line of the table: a disk, or a folded guest.
type row struct {
	guest
	// Disk is the disk, and of a folded guest the one that is worst.
	Disk checker.Result
	// Oldest is the greatest age of a folded guest's disks.
	Oldest time.Duration
	// Span is how many rows the guest's cell covers; 0 where a row above has it.
	Span int
}

// guestsOf groups the disks that are asked for by guest, in the order that is asked
// for.
func guestsOf(disks []checker.Result, q query) []guest {
	at := map[int]int{}
	var guests []guest
	count := 0
	for _, d := range disks {
		if !q.matches(d) {
			continue
		}
		count++
		i, known := at[d.VMID]
		if !known {
			i = len(guests)
			at[d.VMID] = i
			guests = append(guests, guest{VMID: d.VMID})
		}
		guests[i].Disks = append(guests[i].Disks, d)
	}
	for i := range guests {
		g := &guests[i]
		g.Folded = count > unfoldedDisks && len(g.Disks) > 1 && g.VMID != q.Guest && g.Disks[0].State == checker.OK
	}
	sortGuests(guests, q.Sort)
	return guests
}

func sortGuests(guests []guest, by string) {
	order := map[string]func(a, b guest) int{
		"worst":  func(guest, guest) int { return 0 }, // the report's own order
		"guest":  func(a, b guest) int { return cmp.Compare(a.VMID, b.VMID) },
		"age":    func(a, b guest) int { return cmp.Compare(b.oldest(), a.oldest()) },
		"newest": func(a, b guest) int { return cmp.Compare(a.oldest(), b.oldest()) },
	}[by]
	slices.SortStableFunc(guests, order)
}

// oldest is the greatest age of the guest's disks. One without any snapshot is older
// than all others.
func (g guest) oldest() time.Duration {
	oldest := time.Duration(-1)
	for _, d := range g.Disks {
		age := d.Age
		if d.Newest == nil {
			age = 1<<63 - 1
		}
		oldest = max(oldest, age)
	}
	return oldest
}

// rows are the table's rows of one page, and how many pages there are.
func rows(guests []guest, page int) (shown []row, pages int) {
	var all []row
	for _, g := range guests {
		if g.Folded {
			all = append(all, row{guest: g, Disk: g.Disks[0], Oldest: g.oldest()})
			continue
		}
		for _, d := range g.Disks {
			all = append(all, row{guest: g, Disk: d})
		}
	}
	pages = max(1, (len(all)+pageRows-1)/pageRows)
	page = min(page, pages)
	shown = all[(page-1)*pageRows : min(page*pageRows, len(all))]
	span(shown)
	return shown, pages
}

// span lets the first of a guest's rows speak for the others.
func span(rows []row) {
	first := 0
	for i := range rows {
		if rows[i].VMID != rows[first].VMID {
			first = i
		}
		rows[first].Span++
	}
}
