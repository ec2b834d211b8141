package checker

import (
	"flag"
	"time"

	"snapwatch/internal/zfs"
)

var update = flag.Bool("update", false, "write the golden files again")

// now is the present time in all tests of this package.
var now = time.Date(2026, 3, 29, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) time.Time { return now.Add(-d) }

// managed returns a managed snapshot with the given class and age.
func managed(class zfs.Class, age time.Duration) *zfs.Snapshot {
	return &zfs.Snapshot{Name: zfs.FormatSnapshotName(ago(age), class), GUID: 7, CreateTXG: 9, Creation: ago(age)}
}
