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
	// Begun is when the one under way began, zero while there is none.
	Begun time.Time
	// Past are those that ended, the newest first.
	Past []Listing
}

// History is what was listed of one disk's snapshots.
type History struct {
	// Reading is true until the first listing ended.
	Reading bool
	ReadAt  time.Time
	// Total is how many there are; Snapshots holds the newest of them.
	Total     int
	Snapshots []zfs.Snapshot
	Problem   string
}

// LastRun is what the page shows of the last run of snap on this host.
type LastRun struct {
	report.Run
	// Known is false where there was none, or where its report could not be read:
	// then Problem says why.
	Known   bool
	Problem string
	// Expected is true where snap is registered here.
	Expected bool
}
