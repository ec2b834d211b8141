package run

import (
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/pve"
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

// bookmarked returns a run and a pool with one disk. The disk has a bookmark of transaction group
// 20, which may belong to a discarded history.
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
	p := testPool()
	p.parents, p.disks, p.index = []string{"tank/data"}, []snapper.Disk{d}, index.Index{}
	return &run{Options: p.Options, journal: p.journal, start: noon}, p, &p.disks[0]
}

// planFor makes the run's plan for a pool with the disks of one running guest.
func planFor(t *testing.T, r *run, p *pool) {
	t.Helper()
	config := pve.Config{ID: pve.ID{VMID: 100, Kind: pve.QEMU}}
	view := snapper.NodeView{
		Cluster:  pve.Cluster{Node: "pve1", Guests: map[int]pve.Config{100: config}},
		Evidence: map[int]snapper.Evidence{100: {Config: config, Listed: "running", Process: true}},
	}
	_, _, err := r.plan(t.Context(), view, []*pool{p}, snapper.Plan{})
	require.NoError(t, err)
	p.carriedOut = true
}

func next(r *run, p ...*pool) map[string]report.Checked {
	return nextChecked(r.state.Checked, p, nil, nil, noon)
}

func TestReadHistory(t *testing.T) {
	r, p, d := bookmarked(t, aHistory)
	planFor(t, r, p)
	require.NotNil(t, d.History)
	assert.Equal(t, []zfs.SetBack{{Dataset: disk0, Base: 10, TXG: 35}}, d.History.SetBacks)

	assert.Equal(t, report.Checked{GUID: 7, TXG: 35, Newest: d.NewestSnapshot, Own: 35}, next(r, p)[disk0])
	assert.Zero(t, nextChecked(nil, []*pool{p}, nil, []string{disk0}, noon)[disk0].TXG, "some are left to the next run")
	p.unfinished = map[string]bool{disk0: true}
	assert.Equal(t, report.Checked{GUID: 7, Own: 35}, next(r, p)[disk0], "that its guest runs here was seen all the same")

	r, p, d = bookmarked(t, aHistory)
	d.Checked = report.Checked{GUID: 7, TXG: 35}
	planFor(t, r, p)
	assert.Nil(t, d.History, "nothing is in question")
}

// A pool's history that cannot be read proves nothing about bookmarks, and the next run tries to
// read it again. If reading the history takes too long, no run tries again for hours.
func TestReadHistoryFails(t *testing.T) {
	r, p, d := bookmarked(t, "#!/bin/sh\necho cannot open >&2\nexit 1\n")
	planFor(t, r, p)
	assert.Nil(t, d.History)
	assert.Contains(t, d.HistoryProblem, "cannot open")
	assert.Zero(t, next(r, p)[disk0].TXG)

	r, p, d = bookmarked(t, aHistory)
	p.slowHistory = noon.Add(-time.Hour)
	planFor(t, r, p)
	assert.Contains(t, d.HistoryProblem, "took longer than")
	// If reading a pool's history was too slow, a later run reads this history again in two cases:
	// the slow reading is long ago, or the time of the slow reading is in the future, because the
	// clock was ahead.
	for _, slow := range []time.Time{noon.Add(-7 * time.Hour), noon.Add(time.Hour)} {
		r, p, d = bookmarked(t, aHistory)
		p.slowHistory = slow
		planFor(t, r, p)
		assert.NotNil(t, d.History)
		assert.Empty(t, nextSlow(map[string]time.Time{"tank": slow}, []*pool{p}))
	}
}

// Before a run reads a pool's history, the run lists again the bookmarks that it knows from the
// index. If listing the bookmarks fails, the bookmarks are unknown, and the next run tries again.
// The run must not treat an empty list after a failure as a proof that the bookmarks are gone.
func TestReadHistoryListsFirst(t *testing.T) {
	for _, unproven := range []bool{false, true} {
		r, p, d := bookmarked(t, aHistory)
		d.Recalled = true
		d.Checked = report.Checked{GUID: 7, TXG: 5}
		if unproven {
			d.Checked = report.Checked{GUID: 7, TXG: 35, Unproven: []report.Unproven{{Name: "x", GUID: 1020}}}
		}
		before := d.Checked
		before.Own = 35 // the guest of this disk runs here
		require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(mustFind(t, "zpool")), "zfs"), []byte("#!/bin/sh\necho cannot open >&2\nexit 1\n"), 0o755))
		planFor(t, r, p)
		assert.True(t, d.BookmarksUnread)
		require.NotEmpty(t, r.report.Problems)
		assert.Contains(t, r.report.Problems[0].Text, "its bookmarks could not be listed, and are left to the next run")
		assert.Equal(t, before, next(r, p)[disk0])
	}
}

func mustFind(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	require.NoError(t, err)
	return path
}

// state.json keeps the record of a disk while no run reads the disk's dataset. A run removes the
// disk's record only long after the disk is gone.
func TestNextState(t *testing.T) {
	r, p, _ := bookmarked(t, aHistory)
	known := report.Checked{GUID: 9, TXG: 3}
	r.state.Checked = map[string]report.Checked{"tank/renamed/vm-100-disk-0": {GUID: 7}, "ssd/vm-100-disk-0": {GUID: 7}, "tank/data/vm-9-disk-0": known, "tank/other/vm-9-disk-0": known, "ssd/vm-1-disk-0": known}
	planFor(t, r, p)
	next := next(r, p, &pool{name: "ssd", parents: []string{"ssd"}, err: errTest})
	assert.Equal(t, noon, next["tank/data/vm-9-disk-0"].Gone)
	assert.NotContains(t, next, "tank/renamed/vm-100-disk-0", "another name of a disk that is there")
	assert.Contains(t, next, "ssd/vm-100-disk-0", "a split-off pool has the same guids")
	assert.Equal(t, known, next["tank/other/vm-9-disk-0"], "this run did not look there")
	assert.Equal(t, known, next["ssd/vm-1-disk-0"], "its pool was not read")
	assert.Contains(t, next, disk0)
}

// state.json keeps the record of a disk until the disk has been missing for a month from complete
// lists of the disk's storage. Lists of other storages, incomplete lists, and pools that were not
// read do not prove that the disk is gone.
func TestCheckedIsCarriedOver(t *testing.T) {
	_, p, _ := bookmarked(t, aHistory)
	p.disks, p.carriedOut = nil, true
	before := map[string]report.Checked{disk0: {GUID: 7}, "tank/other/vm-100-disk-0": {GUID: 8}, "rpool/data/vm-100-disk-0": {GUID: 9}}
	now := noon
	left := func() []string {
		before = nextChecked(before, []*pool{p}, nil, nil, now)
		return slices.Sorted(maps.Keys(before))
	}
	all := slices.Sorted(maps.Keys(before))
	p.partly = true
	assert.Equal(t, all, left())
	p.partly = false
	assert.Equal(t, all, left(), "a list may lack a disk that is there")
	now = now.Add(29 * 24 * time.Hour)
	assert.Equal(t, all, left())
	p.err = errors.New("cannot be read")
	now = now.Add(2 * 24 * time.Hour)
	assert.Equal(t, all, left())
	p.err = nil
	assert.Equal(t, slices.DeleteFunc(slices.Clone(all), func(name string) bool { return name == disk0 }), left())

	before[disk0] = report.Checked{GUID: 7, Gone: noon}
	p.disks = []snapper.Disk{{Dataset: zfs.Dataset{Name: disk0, GUID: 7}, Checked: before[disk0]}}
	left()
	assert.Zero(t, before[disk0].Gone, "it is back")
}
