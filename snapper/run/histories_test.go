package run

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
	"snapwatch/snapper"
	"snapwatch/snapper/index"
)

const aHistory = `#!/bin/sh
echo "History for 'tank':"
echo "2026-07-01.00:00:00 zpool create tank x"
echo "2026-07-01.00:00:00 [txg:5] create tank/data (68)"
echo "2026-07-15.00:00:00 [txg:35] clone swap tank/data/vm-100-disk-0/%recv (7) parent=vm-100-disk-0"
echo "2026-07-15.00:00:00 [txg:35] destroy tank/data/vm-100-disk-0/%recv (7) (bptree, mintxg=10)"
echo x >>"$0.calls"
`

// bookmarked is a run and a pool with a disk that has a bookmark in question, of the
// transaction group 20.
func bookmarked(t *testing.T, zpool string) (*run, *pool, *snapper.Disk) {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "zpool"), []byte(zpool), 0o755))
	t.Setenv("PATH", dir+":/usr/bin:/bin")
	of := func(txg uint64) zfs.Snapshot {
		at := noon.Add(time.Duration(txg) * time.Hour)
		return zfs.Snapshot{Dataset: disk0, Name: zfs.FormatSnapshotName(at, zfs.Daily), GUID: 1000 + txg, CreateTXG: txg, Creation: at}
	}
	d := runningDisk(disk0, words("f4"))
	d.GUID, d.PoolTXG, d.Snapshots, d.Bookmarks = 7, 100, []zfs.Snapshot{of(10), of(35)}, []zfs.Snapshot{of(10), of(20)}
	r := testRun()
	r.start = noon
	p := &pool{Pool: r.World.Pool("tank"), name: "tank", parents: []string{"tank/data"}, disks: []snapper.Disk{d}, index: index.Index{}}
	return r, p, &p.disks[0]
}

func TestReadHistory(t *testing.T) {
	r, p, d := bookmarked(t, aHistory)
	r.readHistory(t.Context(), p)
	require.NotNil(t, d.History)
	assert.Equal(t, []zfs.SetBack{{Dataset: disk0, Base: 10, TXG: 35}}, d.History.SetBacks)

	next := r.nextState([]*pool{p})
	assert.Equal(t, report.Checked{GUID: 7, TXG: 35, Newest: d.NewestSnapshot}, next.Checked[disk0])
	assert.Equal(t, report.Checked{}, func() report.Checked { r.unfinished(disk0); return r.nextState([]*pool{p}).Checked[disk0] }())

	_, p, d = bookmarked(t, aHistory)
	d.Checked = report.Checked{GUID: 7, TXG: 35}
	r.readHistory(t.Context(), p)
	assert.Nil(t, d.History, "nothing is in question")
}

// What cannot be read proves nothing, and is read again by the next run; what takes too
// long is left alone for hours.
func TestReadHistoryFails(t *testing.T) {
	r, p, d := bookmarked(t, "#!/bin/sh\necho cannot open >&2\nexit 1\n")
	r.readHistory(t.Context(), p)
	assert.Nil(t, d.History)
	assert.Contains(t, d.HistoryProblem, "cannot open")
	assert.Empty(t, r.nextState([]*pool{p}).Checked)

	r, p, d = bookmarked(t, aHistory)
	r.state.SlowHistory = map[string]time.Time{"tank": noon.Add(-time.Hour)}
	r.readHistory(t.Context(), p)
	assert.Contains(t, d.HistoryProblem, "took longer than")
	for _, slow := range []time.Time{noon.Add(-7 * time.Hour), noon.Add(time.Hour)} { // long ago, or by a clock that was ahead
		r, p, d = bookmarked(t, aHistory)
		r.state.SlowHistory = map[string]time.Time{"tank": slow}
		r.readHistory(t.Context(), p)
		assert.NotNil(t, d.History)
		assert.Empty(t, r.state.SlowHistory)
	}
}

// Bookmarks that were only remembered are listed first. Where that fails, nothing is known of
// them, and the next run looks again: that they are missing is no proof.
func TestReadHistoryListsFirst(t *testing.T) {
	for _, unproven := range []bool{false, true} {
		r, p, d := bookmarked(t, aHistory)
		p.remembered = map[string]bool{disk0: true}
		d.Checked = report.Checked{GUID: 7, TXG: 5}
		if unproven {
			d.Checked = report.Checked{GUID: 7, TXG: 35, Unproven: []report.Unproven{{Name: "x", GUID: 1020}}}
		}
		before := d.Checked
		require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(mustFind(t, "zpool")), "zfs"), []byte("#!/bin/sh\necho cannot open >&2\nexit 1\n"), 0o755))
		r.readHistory(t.Context(), p)
		assert.True(t, d.BookmarksUnread)
		require.Len(t, r.report.Problems, 1)
		assert.Equal(t, before, r.nextState([]*pool{p}).Checked[disk0])
	}
}

func mustFind(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	require.NoError(t, err)
	return path
}

// What is known of a disk stays while nobody looked at it, and goes with the disk.
func TestNextState(t *testing.T) {
	r, p, _ := bookmarked(t, aHistory)
	known := report.Checked{GUID: 9, TXG: 3}
	r.state.Checked = map[string]report.Checked{"tank/data/vm-9-disk-0": known, "tank/other/vm-9-disk-0": known, "ssd/vm-1-disk-0": known}
	r.readHistory(t.Context(), p)
	next := r.nextState([]*pool{p, {name: "ssd", parents: []string{"ssd"}, err: errTest}}).Checked
	assert.NotContains(t, next, "tank/data/vm-9-disk-0", "gone")
	assert.Equal(t, known, next["tank/other/vm-9-disk-0"], "this run did not look there")
	assert.Equal(t, known, next["ssd/vm-1-disk-0"], "its pool was not read")
	assert.Contains(t, next, disk0)
}
