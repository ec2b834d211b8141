//go:build e2e && nightly

package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/zfs"
	"snapwatch/test/site"
)

// TestBacklog: if more snapshots have expired than one run may destroy, all disks lose the same
// number of snapshots in each run, and after several runs no expired snapshot is left.
func TestBacklog(t *testing.T) {
	const disks, had, most, runs = 16, 10, 20, 40
	w := newWorld(t)
	var names []string
	for i := range disks {
		names = append(names, fmt.Sprintf("subvol-100-disk-%d", i))
		require.NoError(t, site.CreateFilesystem(w.ctx, "ta/data/"+names[i]))
	}
	require.NoError(t, w.a.AddContainer(100, names...))
	w.start(w.a, 100)
	w.expired(had, names...)
	require.NoError(t, w.a.WriteFile("/etc/snapwatch/config.yaml", fmt.Sprintf("%smax_destroys: %d\n", quick, most)))
	left := 0
	for run := range runs {
		r := w.run(w.a, "snap", "f1", "--no-cron")
		require.Zero(t, r.Code, "in run %d what is left shrinks", run)
		left = 0
		least, greatest := 1000, 0
		for _, name := range names {
			n := len(w.snapshots("ta/data/" + name))
			least, greatest = min(least, n), max(greatest, n)
			left += n - 1
		}
		require.LessOrEqual(t, greatest-least, 2, "in run %d", run)
		if left == 0 {
			break
		}
	}
	assert.Zero(t, left)
}

// TestPruneForLonger: prune on C keeps the first snapshots of months of a copy, although the source
// takes only daily snapshots. A second run of prune destroys no snapshot that the first run kept.
func TestPruneForLonger(t *testing.T) {
	const months, keeps = 26, 24
	w := newWorld(t)
	w.container(100, "subvol-100-disk-0")
	a, c := "ta/data/subvol-100-disk-0", "tc/subvol-100-disk-0"
	var first []string
	for range months {
		for i := range 2 {
			at := time.Now().UTC()
			to := time.Date(at.Year(), at.Month()+1, 2, 8, 0, 0, 0, time.UTC)
			if i > 0 {
				to = at.Add(10 * 24 * time.Hour)
			}
			w.advanceClock(to.Sub(at))
			t.Cleanup(func() { w.advanceClock(at.Sub(to)) })
			name := zfs.FormatSnapshotName(to, zfs.Daily)
			w.zfs("snapshot", a+"@"+name)
			if i == 0 {
				first = append(first, name)
			}
		}
	}
	w.send(a, c)
	all := w.snapshots(c)
	require.Len(t, all, 2*months)
	for range 2 {
		r := w.run(w.c, "prune", "d2", "m24", "-v")
		require.Zero(t, r.Code)
		require.Contains(t, r.Stderr, "no copy has a monthly snapshot or one of a longer class")
		left := w.snapshots(c)
		for _, name := range first[months-keeps:] {
			assert.Contains(t, left, name)
		}
		assert.Len(t, left, keeps+2, "and the newest days")
		assert.Equal(t, all[len(all)-1], left[len(left)-1])
	}
	require.NotEmpty(t, w.common(a, c))
}
