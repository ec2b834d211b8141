package page

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"snapwatch/checker"
	"snapwatch/config"
	"snapwatch/internal/report"
	"snapwatch/internal/text"
	"snapwatch/internal/zfs"
)

// view contains the values that the page's template shows.
type view struct {
	Host, Version, MetricsPath string
	Now                        time.Time
	State                      checker.State
	Summary                    string
	// Failure says why no pool could be read, "" if the pools could be read.
	Failure string
	// Unproven is the number of stopped disks that do not alarm although no owner has confirmed
	// that the guest is stopped.
	Unproven int
	// ReadAt is the time of the oldest scan among those of the shown pools, zero if no pool was
	// read.
	ReadAt time.Time
	// Soon is true if facts are being read, so that the browser should soon load the page again.
	Soon bool
	// Bars has a message about each pool that could not be read or has a fault.
	Bars             []bar
	Notes            []checker.Note
	States, Verdicts []counter
	Query            query
	Heads            []head
	// Sites has, by column of asked nodes, the column's heading. Grouped is true if all asked nodes
	// share one column. Columns is the number of all columns.
	Sites         []string
	Grouped       bool
	Columns       int
	Guests, Disks int
	// Clusters is true if the guests belong to several clusters.
	Clusters bool
	// Matching is the number of guests that match the query.
	Matching int
	Rows     []row
	// Fold is the line that replaces the guests that do not alarm. Fold is nil if these guests are
	// few, or if the query requests them.
	Fold        *fold
	Page, Pages int
	Open        *openDisk
	Pools       []poolView
	Run         LastRun
	Counts      []count
	Maintenance []maintenance
}

// bar is a message on the page about a pool that could not be read or has a fault, with the
// reason.
type bar struct {
	Pool, Text string
	// Unwell is the verdict on a pool that could be read, "" for a pool that could not be read.
	// Colour is the colour of the message.
	Unwell, Colour string
	// ReadAt is the time at which the pool was last read, zero if it was never read. Was says how
	// many of the pool's disks alarmed at the time ReadAt. Was is "" if the page still shows the
	// verdicts on these disks.
	ReadAt time.Time
	Was    string
}

// poolView is a pool on the page, with its last scans.
type poolView struct {
	checker.PoolResult
	Listings Listings
	Colour   string
	Failures int
}

// Taken returns the used part of the pool in percent, "" if unknown.
func (p poolView) Taken() string {
	if fill, known := p.Health.Fill(); known {
		return fmt.Sprintf("%.0f%%", 100*fill)
	}
	return ""
}

// openDisk is the disk whose details the page shows. Disk is nil if the report has no disk whose
// name is Name.
type openDisk struct {
	Name    string
	Disk    *checker.Result
	History History
	// Lines has two drawings of the disk's timeline: one for wide windows, and one for narrow
	// windows.
	Lines  []timeline
	Origin string
	// Cells has the answers about the disk, one cell for each asked node. Was describes the disk's
	// state at its last reading if the disk cannot be read now. Next has the steps to repair the
	// disk's replication.
	Cells []cell
	Was   string
	Next  []string
	// Newest has the newest known snapshots of the disk, the newest first.
	Newest []zfs.Snapshot
}

type maintenance struct {
	config.Maintenance
	Over bool
}

type count struct {
	Name  string
	Count int
}

// newView returns the page's content for the facts and the query.
func newView(f Facts, q query) *view {
	v := &view{
		Host: f.Host, Version: f.Version, MetricsPath: f.MetricsPath,
		Now: f.Report.Now, State: f.Report.State(), Summary: f.Report.Summary(), Failure: f.Report.Failure, Notes: slices.DeleteFunc(slices.Clone(f.Report.Notes), checker.Note.AboutProof), // the guests' rows have these
		Query: q, Disks: len(f.Report.Disks), Unproven: f.Report.Unproven(), Run: f.Run,
		Heads: heads(q), Sites: siteHeads(f.Report.Nodes), Grouped: len(f.Report.Nodes) > maxSites,
	}
	v.Columns = len(v.Heads) + len(v.Sites) + 1
	for _, p := range f.Report.Pools {
		v.addPool(p, f)
	}
	all := guestsOf(f)
	v.Guests, v.States, v.Verdicts = len(all), stateCounters(all, q), verdictCounters(all, q)
	v.Clusters = slices.ContainsFunc(all, func(g guest) bool { return g.Cluster != all[0].Cluster })
	guests := q.asked(all)
	v.Matching = len(guests)
	guests, v.Fold = folded(guests, q)
	v.Rows, v.Pages = v.rows(guests, f)
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
	// slow is the duration of a pool's scan above which the page mentions the scan.
	slow = 10 * time.Second
	// fresh is an age of the facts on the page. If the facts are older, the browser soon loads the
	// page again.
	fresh = time.Minute
)

func (v *view) addPool(p checker.PoolResult, f Facts) {
	l, failures := f.Listings[p.Name], 0
	for _, one := range l.Past {
		if one.Problem != "" {
			failures++
		}
	}
	ended := p.Unfinished && l.Begun.IsZero() // between the report and the look at the listings
	if ended || !l.Begun.IsZero() && v.Now.Sub(l.Begun) < slow {
		p = beforeListing(p, l)
	}
	pool := poolView{p, l, p.State.Colour(), failures}
	if trouble(p) {
		pool.Colour = checker.Critical.Colour()
		v.Bars = append(v.Bars, bar{Pool: p.Name, Text: p.Reason, Colour: pool.Colour, ReadAt: p.ReadAt, Was: whenRead(f, p.Name)})
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

// whenRead says how many disks of a pool with unreadable disks alarmed when the pool was last read,
// "" if all disks of the pool are readable.
func whenRead(f Facts, pool string) string {
	all, bad := 0, 0
	for i := range f.Report.Disks {
		d := &f.Report.Disks[i]
		was, known := f.lastKnown(d)
		if !known || zfs.Pool(d.Dataset) != pool {
			continue
		}
		if all++; was.State != checker.OK {
			bad++
		}
	}
	if all == 0 {
		return ""
	}
	return fmt.Sprintf("Of %s %d alarmed then.", text.Count(all, "disk"), bad)
}

// beforeListing returns the pool with its field Problem set to the problem of the last finished
// scan. A scan that has just begun is not a fault.
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

// trouble reports whether a pool that is not under maintenance could not be read completely.
func trouble(p checker.PoolResult) bool {
	switch {
	case len(p.MissingRoots) > 0:
		return true
	case p.Missing && p.State == checker.OK, notYet(p):
		return false
	}
	return p.Problem != "" && p.Reason != ""
}

// notYet reports whether no scan of the pool has ended since the exporter was started.
func notYet(p checker.PoolResult) bool { return p.ReadAt.IsZero() && p.Took == 0 && !p.Missing }

func open(f Facts, dataset string) *openDisk {
	o := &openDisk{Name: dataset, History: f.History}
	at := slices.IndexFunc(f.Report.Disks, func(d checker.Result) bool { return d.Dataset == dataset })
	if at < 0 {
		return o
	}
	o.Disk = &f.Report.Disks[at]
	for _, width := range []float64{wide, narrow} {
		if len(f.History.Snapshots) == 0 {
			break
		}
		o.Lines = append(o.Lines, draw(f.History.Snapshots, f.History.Total, *o.Disk, f.Report.Now, width))
	}
	byAge := slices.Clone(f.History.Snapshots)
	slices.SortStableFunc(byAge, func(a, b zfs.Snapshot) int { return b.Creation.Compare(a.Creation) })
	o.Newest = byAge[:min(len(byAge), maxItems)]
	o.Cells, o.Next = cellsOf(o.Disk, f.Report), f.explain(*o.Disk).Next
	if was, known := f.lastKnown(o.Disk); known {
		o.Was = unreadable(o.Disk, was)
	}
	if cluster, origin := f.Config.OriginOf(dataset); origin != "" {
		o.Origin = fmt.Sprintf("%s on %s", origin, cluster)
	}
	return o
}

// path returns the name of a dataset's parent with a slash at the end.
func path(dataset string) string { return strings.TrimSuffix(dataset, zfs.Base(dataset)) }
