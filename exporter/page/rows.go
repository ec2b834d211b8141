package page

import (
	"fmt"
	"strings"
	"time"

	"snapwatch/checker"
	"snapwatch/internal/text"
)

const (
	// pageGuests is how many guests are on a page at most.
	pageGuests = 200
	// maxWell is up to how many guests that are well are shown without being asked for.
	maxWell = 5
)

// row is one line of the table: a guest, or a disk of one that is open.
type row struct {
	View  *view
	Guest guest
	// Disk is the disk, nil in a guest's own row; Lacking the name of one that is not here.
	Disk    *checker.Result
	Lacking string
	// Why says what the other columns do not.
	Why string
	// Sites are the cells of the sites' columns.
	Sites [][]cell
	// About is what there is to say of an open guest, nil in all other rows.
	About *about
}

// about is what a guest's own row opens to, beside its disks.
type about struct {
	Words []string
	// Broken says where the snapshots of its worst disk got stuck, Next what to do; both empty
	// where it is well.
	Broken string
	Next   []string
}

// fold stands for the guests that are well.
type fold struct {
	Count int
	Words string
	// Link shows them, or folds them where they are shown.
	Link  string
	Shown bool
}

// folded takes the guests that are well out of the table where they are many and nobody asked
// for them.
func folded(guests []guest, q query) ([]guest, *fold) {
	if q.Filtered() || q.Sort != sorts[0] {
		return guests, nil
	}
	var rest []guest
	f := &fold{Shown: q.Well, Link: q.with(func(q *query) { q.Well = !q.Well })}
	counts := map[string]int{}
	for _, g := range guests {
		if g.State == checker.OK {
			f.Count++
			counts[g.Word]++
		}
		if g.State != checker.OK || g.Open {
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

// rows are the table's rows of one page, and how many pages there are.
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

// fill fills in what is needed of rows that are shown.
func (r *row) fill(f Facts) {
	var cells []cell
	switch {
	case r.Disk != nil:
		r.Why, cells = f.whyOf(r.Disk), cellsOf(r.Disk, f.Report)
	case r.Lacking != "":
		cells = r.Guest.lackingCells(r.Lacking, f.Report)
	default:
		r.Why, cells = f.why(r.Guest), r.Guest.cells(f.Report)
		if r.Guest.Open {
			r.About = aboutOf(r.Guest, f)
		}
	}
	r.Sites = columns(cells)
}

func aboutOf(g guest, f Facts) *about {
	own := len(g.Here) > 0 && f.own(g.Here[0].Disk)
	a := &about{Words: checker.ExplainGuest(f.Report, g.Guest, own, checker.Volumes{}).Words}
	if d := g.cause(); d != nil && g.State != checker.OK {
		why := f.explain(*d)
		a.Broken, a.Next = why.Broken, why.Next
	}
	return a
}

// explain is what there is to say of one disk.
func (f Facts) explain(d checker.Result) checker.Explanation {
	if f.own(d.Disk) {
		return checker.ExplainOwn(d)
	}
	return checker.Explain(d, d.Evidence)
}

// sinceWords are a time for people who look now: without the date if that is today's.
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

// DisksWords is how many disks of a guest are here, and of how many.
func (g guest) DisksWords() string {
	if len(g.Lacking) > 0 {
		return fmt.Sprintf("%d of %s", g.Found(), text.Count(g.Expected(), "disk"))
	}
	return text.Count(len(g.Here), "disk")
}
