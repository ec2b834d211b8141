package snapper

import (
	"time"

	"snapwatch/internal/zfs"
)

// bucket is the hour, day, ISO week, month or year in which a snapshot counts for a class, in the
// snapshot's time zone. A bucket of an hour also has the hour's UTC offset, because the night in
// which clocks are set back has two hours that begin at 02:00.
type bucket struct{ year, part, hour, offset int }

// SameBucket reports whether two times are in the same bucket of a class. The class must not be
// `frequently`.
func SameBucket(class zfs.Class, a, b time.Time) bool {
	return bucketOf(class, a) == bucketOf(class, b)
}

func bucketOf(class zfs.Class, t time.Time) bucket {
	switch class {
	case zfs.Yearly:
		return bucket{year: t.Year()}
	case zfs.Monthly:
		return bucket{year: t.Year(), part: int(t.Month())}
	case zfs.Weekly:
		year, week := t.ISOWeek()
		return bucket{year: year, part: week}
	case zfs.Daily:
		return bucket{year: t.Year(), part: t.YearDay()}
	case zfs.Hourly:
		_, offset := t.Zone()
		return bucket{year: t.Year(), part: t.YearDay(), hour: t.Hour(), offset: offset}
	}
	return bucket{}
}
