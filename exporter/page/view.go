package page

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"snapwatch/checker"
	"snapwatch/config"
	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
)

// view is what the template shows.
type view struct {
	Host, Version, MetricsPath string
	Now                        time.Time
	State                      checker.State
	Summary                    string
	// ReadAt is when the oldest of what is shown was read, zero if nothing was.
	ReadAt time.Time
	// Soon is true where something is being read and the page should come again.
	Soon bool
	// Bars are the pools that could not be read.
	Bars             []bar
	Notes            []checker.Note
	States, Verdicts []counter
	Query            query
	Heads            []head
	Guests, Disks    int
	// Matching is how many disks are asked for.
	Matching    int
	Rows        []row
	Page, Pages int
	Open        *openDisk
	Pools       []poolView
	Run         LastRun
	Counts      []count
	Maintenance []maintenance
}

// bar is a pool that could not be read, or is not well, with the reason.
type bar struct {
	Pool, Text string
	// Unwell is the verdict on a pool that could be read, "" for one that could not, and Colour
	// what it is shown in.
	Unwell, Colour string
	// ReadAt is when the pool was last read, zero if it never was.
	ReadAt time.Time
}

// counter counts disks and is a link that shows just them.
type counter struct {
	Name, Meaning, Colour, Link string
	Count                       int
	Current                     bool
}

// head is a column's head.
type head struct {
	Name, Link string
	// Sorted is what aria-sort says: ascending, descending, "" for neither.
	Sorted string
}

// poolView is a pool with its listings.
type poolView struct {
	checker.PoolResult
	Listings Listings
	Colour   string
	Failures int
}

// Taken is how much of the pool is taken, "" where that is not known.
func (p poolView) Taken() string {
	if fill, known := p.Health.Fill(); known {
		return fmt.Sprintf("%.0f%%", 100*fill)
	}
	return ""
}

// openDisk is the disk that is open, nil Disk where there is none of that name.
type openDisk struct {
	Name    string
	Disk    *checker.Result
	History History
	Line    timeline
	Origin  string
}

type maintenance struct {
	config.Maintenance
	Over bool
}

type count struct {
	Name  string
	Count int
}

// newView makes the page that a question asks for.
func newView(f Facts, q query) view {
	v := view{
		Host: f.Host, Version: f.Version, MetricsPath: f.MetricsPath,
		Now: f.Report.Now, State: f.Report.State(), Summary: f.Report.Summary(), Notes: notes(f.Report),
		Query: q, Disks: len(f.Report.Disks), Run: f.Run,
		States: stateCounters(f.Report.Disks, q), Verdicts: verdictCounters(f.Report.Disks, q), Heads: heads(q),
	}
	for _, p := range f.Report.Pools {
		v.addPool(p, f.Listings[p.Name])
	}
	guests := guestsOf(f.Report.Disks, q)
	for _, g := range guests {
		v.Matching += len(g.Disks)
	}
	v.Guests = len(guests)
	v.Rows, v.Pages = rows(guests, q.Page)
	v.Page = min(q.Page, v.Pages)
	if q.Disk != "" {
		v.Open = open(f, q.Disk)
		v.Soon = v.Soon || v.Open.History.Reading
	}
	for _, m := range f.Config.Maintenance {
		v.Maintenance = append(v.Maintenance, maintenance{m, !f.Report.Now.Before(m.Until)})
	}
	for _, event := range report.Events() {
		v.Counts = append(v.Counts, count{string(event), f.Run.Counts[event]})
	}
	return v
}

const (
	// slow is how long a listing may take before the page speaks of it.
	slow = 10 * time.Second
	// fresh is how old what is shown may be before the page comes again soon.
	fresh = time.Minute
)

func (v *view) addPool(p checker.PoolResult, l Listings) {
	failures := 0
	for _, one := range l.Past {
		if one.Problem != "" {
			failures++
		}
	}
	if !l.Begun.IsZero() && v.Now.Sub(l.Begun) < slow {
		p = beforeListing(p, l)
	}
	pool := poolView{p, l, p.State.Colour(), failures}
	if trouble(p) {
		pool.Colour = checker.Critical.Colour()
		v.Bars = append(v.Bars, bar{Pool: p.Name, Text: p.Reason, Colour: pool.Colour, ReadAt: p.ReadAt})
	} else if p.State != checker.OK && !notYet(p) {
		v.Bars = append(v.Bars, bar{Pool: p.Name, Text: p.Reason, Unwell: p.Verdict.String(), Colour: pool.Colour, ReadAt: p.ReadAt})
	}
	old := func(t time.Time) bool { return v.Now.Sub(t) > fresh }
	if old(p.ReadAt) && (len(l.Past) == 0 || old(l.Past[0].Begun)) {
		v.Soon = true
	}
	if !p.ReadAt.IsZero() && (v.ReadAt.IsZero() || p.ReadAt.Before(v.ReadAt)) {
		v.ReadAt = p.ReadAt
	}
	v.Pools = append(v.Pools, pool)
}

// beforeListing is the pool as it was before a listing that has just begun: that one is
// no fault, and what the last one said holds.
func beforeListing(p checker.PoolResult, l Listings) checker.PoolResult {
	p.Problem = ""
	if len(l.Past) > 0 {
		p.Problem = l.Past[0].Problem
	}
	read := p.Verdict == checker.PoolOK || p.Verdict == checker.PoolUnreadable
	if read && (p.Problem != "" || len(p.MissingRoots) == 0) {
		p.Reason = p.Problem
	}
	return p
}

// trouble reports whether a pool could not be read as a whole. One that is out for
// maintenance is none.
func trouble(p checker.PoolResult) bool {
	switch {
	case len(p.MissingRoots) > 0:
		return true
	case p.Missing && p.State == checker.OK, notYet(p):
		return false
	}
	return p.Problem != "" && p.Reason != ""
}

// notYet reports whether the exporter has only just begun.
func notYet(p checker.PoolResult) bool { return p.ReadAt.IsZero() && p.Took == 0 && !p.Missing }

func stateCounters(disks []checker.Result, q query) []counter {
	counts := map[checker.State]int{}
	for _, d := range disks {
		counts[d.State]++
	}
	all := []counter{{"all", "every disk", "plain", q.with(func(q *query) { q.State, q.Verdict = "", "" }), len(disks), q.State == "" && q.Verdict == ""}}
	for _, s := range []checker.State{checker.Critical, checker.Unknown, checker.Warning, checker.OK} {
		name := s.String()
		all = append(all, counter{
			name, "disks whose state is " + name, s.Colour(),
			q.with(func(q *query) { q.State, q.Verdict = name, "" }), counts[s], q.State == name,
		})
	}
	return all
}

// verdictCounters count the verdicts that there are, in the colour of the worst disk.
func verdictCounters(disks []checker.Result, q query) []counter {
	var all []counter
	for _, row := range checker.Verdicts() {
		of := slices.DeleteFunc(slices.Clone(disks), func(d checker.Result) bool { return d.Verdict != row.Verdict })
		if len(of) == 0 && q.Verdict != row.Name {
			continue
		}
		c := counter{
			row.Name, row.Meaning, row.Colours[checker.Within],
			q.with(func(q *query) { q.State, q.Verdict = "", row.Name }), len(of), q.Verdict == row.Name,
		}
		if len(of) > 0 {
			c.Colour = of[0].Colour()
		}
		all = append(all, c)
	}
	return all
}

func heads(q query) []head {
	by := func(order string) string { return q.with(func(q *query) { q.Sort = order }) }
	age := head{Name: "Age", Link: by("age")}
	switch q.Sort {
	case "age":
		age.Link, age.Sorted = by("newest"), "descending"
	case "newest":
		age.Sorted = "ascending"
	}
	guest, verdict := head{Name: "Guest", Link: by("guest")}, head{Name: "Verdict", Link: by("worst")}
	if q.Sort == "guest" {
		guest.Sorted = "ascending"
	}
	if q.Sort == "worst" {
		verdict.Sorted = "descending"
	}
	return []head{guest, {Name: "Disk"}, verdict, age, {Name: "Newest snapshot"}, {Name: "Label"}, {Name: "Limit"}, {Name: "Why"}}
}

func open(f Facts, dataset string) *openDisk {
	o := &openDisk{Name: dataset, History: f.History}
	at := slices.IndexFunc(f.Report.Disks, func(d checker.Result) bool { return d.Dataset == dataset })
	if at < 0 {
		return o
	}
	o.Disk = &f.Report.Disks[at]
	o.Line = draw(f.History.Snapshots, f.History.Total, *o.Disk, f.Report.Now)
	if cluster, origin := f.Config.OriginOf(dataset); origin != "" {
		o.Origin = fmt.Sprintf("%s on %s", origin, cluster)
	}
	return o
}

// path is a dataset's name up to its last component, with the slash.
func path(dataset string) string { return strings.TrimSuffix(dataset, zfs.Base(dataset)) }

// maxGuestNotes is how many guests the page names above the disks.
const maxGuestNotes = 10

// notes are the report's, and the guests that alarm though no disk does as much, the worst
// first. Of many the page says only how many more there are.
func notes(r checker.Report) []checker.Note {
	all := slices.Clone(r.Notes)
	alone := slices.DeleteFunc(slices.Clone(r.Guests), func(g checker.Guest) bool { return !g.Alone })
	for _, g := range alone[:min(len(alone), maxGuestNotes)] {
		all = append(all, checker.Note{State: g.State, Text: fmt.Sprintf("guest %s is %s: %s", g.Number(), g.Verdict, g.Reason)})
	}
	if more := len(alone) - maxGuestNotes; more > 0 {
		all = append(all, checker.Note{State: alone[maxGuestNotes].State, Text: fmt.Sprintf("%d more guests alarm though no disk of theirs does as much: snapwatch check -v names them", more)})
	}
	return all
}
