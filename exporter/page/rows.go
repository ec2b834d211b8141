package page

import (
	"fmt"
	"strings"
	"time"

	"snapwatch/checker"
	"snapwatch/internal/text"
)

const (
	// pageGuests is the greatest number of guests on one page.
	pageGuests = 200
	// maxWell is the greatest number of guests without an alarm that the page shows unless the
	// query requests them.
	maxWell = 5
)

// row is one line of the page's table: a guest, or a disk of an open guest.
type row struct {
	View  *view
	Guest guest
	// Disk is the disk of a disk's row, nil in a guest's row. Lacking is the name of a disk that
	// this host lacks.
	Disk    *checker.Result
	Lacking string
	// Why explains the state of the guest or disk without repeating the row's other columns.
	Why string
	// Sites has, by column of an asked node, the cells of the row.
	Sites [][]cell
	// About contains the explanation of an open guest, nil in all other rows.
	About *explanation
}

// explanation is the text that the page shows below the row of an open guest, in addition to the
// rows of the guest's disks.
type explanation struct {
	Words []string
	// Broken names the hosts between which the snapshots of the guest's worst disk do not arrive.
	// Next has the steps to repair the replication. Broken and Next are empty if the guest does not
	// alarm.
	Broken string
	Next   []string
}

// fold is the line of the page's table that replaces the guests that do not alarm.
type fold struct {
	Count int
	Words string
	// Link is the link that shows the guests that do not alarm, or hides them again.
	Link  string
	Shown bool
}

// folded removes the guests that do not alarm from the table, if there are more than maxWell of
// them and the query does not request them.
func folded(guests []guest, q query) ([]guest, *fold) {
	if q.Filtered() || q.Sort != sorts[0] {
		return guests, nil
	}
	var rest []guest
	f := &fold{Shown: q.Well, Link: q.changedURL(func(q *query) { q.Well = !q.Well })}
	counts := map[string]int{}
	for _, g := range guests {
		if g.well() {
			f.Count++
			counts[g.Word]++
		}
		if !g.well() || g.Open {
			rest = append(rest, g)
		}
	}
	if f.Count <= maxWell {
		return guests, nil
	}
	var words []string
	for _, v := range checker.GuestVerdicts() {
		if n := counts[v.Name]; n > 0 && n < f.Count {
			words = append([]string{fmt.Sprintf("%d %s", n, v.Name)}, words...)
		}
	}
	f.Words = strings.Join(words, ", ")
	if f.Shown {
		return guests, f
	}
	return rest, f
}

// rows returns the rows of one page of the table, and the number of pages.
func (v *view) rows(guests []guest, f Facts) (shown []row, pages int) {
	pages = max(1, (len(guests)+pageGuests-1)/pageGuests)
	page := min(v.Query.Page, pages)
	for _, g := range guests[(page-1)*pageGuests : min(page*pageGuests, len(guests))] {
		shown = append(shown, row{View: v, Guest: g})
		if !g.Open {
			continue
		}
		for _, d := range g.Here {
			shown = append(shown, row{View: v, Guest: g, Disk: d})
		}
		for _, dataset := range g.Lacking {
			shown = append(shown, row{View: v, Guest: g, Lacking: dataset})
		}
	}
	for i := range shown {
		shown[i].fill(f)
	}
	return shown, pages
}

// fill sets the fields that only rows on the shown page need.
func (r *row) fill(f Facts) {
	var cells []cell
	switch {
	case r.Disk != nil:
		r.Why, cells = f.whyOf(r.Disk), cellsOf(r.Disk, f.Report)
	case r.Lacking != "":
		cells = r.Guest.lackingCells(r.Lacking, f.Report)
	default:
		r.Why, cells = f.explainState(r.Guest), r.Guest.cells(f.Report)
		if r.Guest.proofState() != checker.OK {
			r.Why = strings.TrimPrefix(r.Why+"; "+r.Guest.proofWords(), "; ")
		}
		if r.Guest.Open {
			r.About = aboutOf(r.Guest, f)
		}
	}
	r.Sites = columns(cells)
}

func aboutOf(g guest, f Facts) *explanation {
	own := len(g.Here) > 0 && f.own(g.Here[0].Disk)
	a := &explanation{Words: checker.ExplainGuest(f.Report, g.Guest, own, checker.Volumes{}).Words}
	if d := g.cause(); d != nil && g.State != checker.OK {
		why := f.explain(*d)
		a.Broken, a.Next = why.Broken, why.Next
	}
	if g.Proof != nil {
		a.Words = append(a.Words, g.proofWords())
	}
	return a
}

// proofWords returns the verdict on the guest's proof with the reason. The guest must have one.
func (g guest) proofWords() string {
	return fmt.Sprintf("proof %s: %s", g.Proof.Verdict, g.Proof.Reason)
}

// proofState returns the state of the guest's proof, OK if no proof was judged.
func (g guest) proofState() checker.State {
	if g.Proof == nil {
		return checker.OK
	}
	return g.Proof.State
}

// well reports whether the guest is well: neither the guest nor its proof alarms.
func (g guest) well() bool { return g.State == checker.OK && g.proofState() == checker.OK }

// explain returns the explanation of one disk.
func (f Facts) explain(d checker.Result) checker.Explanation {
	if f.own(d.Disk) {
		return checker.ExplainOwn(d)
	}
	return checker.Explain(d, d.Evidence)
}

// sinceWords returns the time `then` as a text for people, without the date if `then` is today.
func sinceWords(now, then time.Time) string {
	then = then.In(now.Location())
	switch {
	case now.Format(time.DateOnly) == then.Format(time.DateOnly):
		return then.Format("15:04")
	case now.Year() == then.Year() || now.Sub(then) < 180*24*time.Hour:
		return then.Format("2 Jan 15:04")
	}
	return then.Format(time.DateOnly)
}

// DisksWords returns how many of the guest's disks are on this host, and how many disks the guest
// has, in words.
func (g guest) DisksWords() string {
	if len(g.Lacking) > 0 {
		return fmt.Sprintf("%d of %s", g.Found(), text.Count(g.Expected(), "disk"))
	}
	return text.Count(len(g.Here), "disk")
}
