//go:build e2e && nightly

package e2e

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/test/site"
)

// TestBacklog: more is due than a run may destroy. The disks lose as many snapshots each, and in
// the end nothing is left over.
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
