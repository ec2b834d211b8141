package scan

import (
	"testing"
	"time"

	"snapwatch/checker"
	"snapwatch/config"
	"snapwatch/internal/zfs"
	"snapwatch/internal/zfstest"
)

func TestMain(m *testing.M) { zfstest.Main(m) }

const (
	minute = time.Minute
	hour   = time.Hour
	day    = 24 * time.Hour
)

// now is the present time in all tests of this package.
var now = time.Date(2026, 3, 29, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) time.Time { return now.Add(-d) }

// managed returns a managed snapshot with the given class and age.
func managed(class zfs.Class, age time.Duration) *zfs.Snapshot {
	return &zfs.Snapshot{Name: zfs.FormatSnapshotName(ago(age), class), GUID: 7, CreateTXG: 9, Creation: ago(age)}
}

func assemble(pools ...checker.Pool) checker.Report {
	p := checker.NewPolicy(config.Default())
	return checker.Assemble(pools, p, now).WithGuests(p)
}
