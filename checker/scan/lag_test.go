package scan

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"

	"snapwatch/internal/zfs"
)

func TestFirstAfter(t *testing.T) {
	const before, at, after = 10, 20, 30
	s := func(class string, txg uint64) zfs.SnapshotName {
		return zfs.SnapshotName{Dataset: "d", Name: fmt.Sprintf("autosnap_2026-03-29_11:00:%02d_%s", txg, class), CreateTXG: txg}
	}
	ahead := func(txg uint64) zfs.SnapshotName {
		return zfs.SnapshotName{Dataset: "d", Name: "autosnap_2027-01-01_00:00:00_frequently", CreateTXG: txg}
	}
	later := zfs.SnapshotName{Dataset: "d", Name: "autosnap_2027-01-01_01:00:00_frequently", CreateTXG: after + 3}
	older := []zfs.SnapshotName{s("frequently", before), s("frequently", before+1)}
	for name, c := range map[string]struct {
		list []zfs.SnapshotName
		want uint64 // the txg of the first snapshot that the copy lacks, 0 if unknown
	}{
		"the oldest of those after it":                      {append(older, s("hourly", after+1), s("hourly", after), s("stopped", at)), after},
		"a last snapshot counts, too":                       {append(older, s("stopped", after)), after},
		"what is not managed does not":                      {append(older, zfs.SnapshotName{Dataset: "d", Name: "syncoid_x", CreateTXG: after}), 0},
		"nothing after it":                                  {append(older, s("stopped", at)), 0},
		"nothing at all":                                    {nil, 0},
		"no frequently before it: it may be rotated away":   {[]zfs.SnapshotName{s("hourly", before), s("stopped", before), s("frequently", after)}, 0},
		"those of a clock that was ahead stay":              {[]zfs.SnapshotName{ahead(before + 1), s("frequently", after)}, 0},
		"the first of a clock that was ahead is not known":  {append(older, ahead(after), s("frequently", after+1), s("frequently", after+2)), 0},
		"nor when its time has come":                        {append(older, ahead(after), s("frequently", after+1), later), 0},
		"while the clock is ahead it is one":                {append(older, ahead(after), ahead(after+1)), after},
		"a frequently that it is itself proves nothing":     {[]zfs.SnapshotName{s("frequently", at), s("frequently", after)}, 0},
		"one that is not managed before it proves nothing":  {[]zfs.SnapshotName{{Dataset: "d", Name: "x_frequently", CreateTXG: before}, s("frequently", after)}, 0},
		"the order in which zfs lists them makes no matter": {[]zfs.SnapshotName{s("hourly", after), older[1], older[0]}, after},
	} {
		t.Run(name, func(t *testing.T) {
			first, evidence, found := FirstAfter(c.list, at)
			assert.Equal(t, c.want != 0, found)
			if found {
				assert.Equal(t, c.want, first.CreateTXG)
				assert.Subset(t, []string{"d@" + older[0].Name, "d@" + older[1].Name}, evidence)
			}
		})
	}
}
