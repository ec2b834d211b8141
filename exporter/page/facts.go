package page

import (
	"time"

	"snapwatch/checker"
	"snapwatch/config"
	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
)

// Facts contains all facts from which the page is made.
type Facts struct {
	Host, Version, MetricsPath string
	Report                     checker.Report
	Listings                   map[string]Listings
	Run                        LastRun
	Config                     config.Config
	// Own reports whether a disk belongs to a guest of this host and is not a copy. Own is nil if
	// this host has only copies.
	Own func(checker.Disk) bool
	// History is the list of snapshots of the disk that is open on the page.
	History History
}

func (f Facts) own(d checker.Disk) bool { return f.Own != nil && f.Own(d) }

// Listing is one finished scan of a pool.
type Listing struct {
	Begun   time.Time
	Took    time.Duration
	Disks   int
	Problem string
}

// Listings contains the last scans of a pool.
type Listings struct {
	// Begun is the start of the running scan of the pool, zero if no scan is running.
	Begun time.Time
	// Past contains the finished scans of the pool, the newest first.
	Past []Listing
}

// History is a list of one disk's snapshots.
type History struct {
	// Reading is true until the first listing of the disk's snapshots has ended.
	Reading bool
	ReadAt  time.Time
	// Total is the number of the disk's snapshots. Snapshots contains the newest of the disk's
	// snapshots.
	Total     int
	Snapshots []zfs.Snapshot
	Problem   string
}

// LastRun is the last run of snap on this host, as the page shows it.
type LastRun struct {
	report.Run
	// Known is false if snap never ran, or if the report of its last run could not be read;
	// Problem says why the report could not be read.
	Known   bool
	Problem string
	// Expected is true if a timer or cron starts snap on this host.
	Expected bool
}
