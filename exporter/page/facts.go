package page

import (
	"time"

	"snapwatch/checker"
	"snapwatch/config"
	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
)

// Facts is all that the page is made of.
type Facts struct {
	Host, Version, MetricsPath string
	Report                     checker.Report
	Listings                   map[string]Listings
	Run                        LastRun
	Config                     config.Config
	// Own reports whether a disk is that of a guest of this host, and no copy; nil where none is.
	Own func(checker.Disk) bool
	// History is that of the disk that is open.
	History History
}

func (f Facts) own(d checker.Disk) bool { return f.Own != nil && f.Own(d) }

// Listing is one scan of a pool that ended.
type Listing struct {
	Begun   time.Time
	Took    time.Duration
	Disks   int
	Problem string
}

// Listings are the last listings of a pool.
type Listings struct {
	// Begun is the start of the listing under way, zero while there is none.
	Begun time.Time
	// Past has the listings that ended, the newest first.
	Past []Listing
}

// History is a list of one disk's snapshots.
type History struct {
	// Reading is true until the first listing has ended.
	Reading bool
	ReadAt  time.Time
	// Total is the number of the disk's snapshots. Snapshots has the newest ones.
	Total     int
	Snapshots []zfs.Snapshot
	Problem   string
}

// LastRun is the last run of snap on this host, as the page shows it.
type LastRun struct {
	report.Run
	// Known is false if there was no run, or if its report could not be read; then Problem says
	// why.
	Known   bool
	Problem string
	// Expected is true if snap is registered here.
	Expected bool
}
