//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/test/site"
)

// stateFile is the file with the state that a run of snap leaves for the next one.
const stateFile = "/var/lib/snapwatch/state.json"

// receive sends all snapshots of a disk after a common base, and receives them with -F, which sets
// the target back to the base.
func (w *world) receive(from, base, to string, flags ...string) {
	w.t.Helper()
	list := w.snapshots(from)
	w.pipe("zfs send " + strings.Join(flags, " ") + " -I @" + base + " " + from + "@" + list[len(list)-1] + " | zfs receive -F " + to)
}

// newestBookmark returns the newest of a dataset's bookmarks.
func (w *world) newestBookmark(dataset string) string {
	w.t.Helper()
	list := w.bookmarks(dataset)
	require.NotEmpty(w.t, list)
	return list[len(list)-1]
}

// destroyAll destroys all snapshots of a dataset, as a person does to free space.
func (w *world) destroyAll(dataset string) {
	w.t.Helper()
	w.zfs("destroy", dataset+"@%")
}

// histories returns the number of calls of zpool history on A during a call of the function run.
func (w *world) histories(run func()) int {
	w.t.Helper()
	require.NoError(w.t, w.a.Install("zpool", "#!/bin/sh\necho \"$*\" >>/run/zpool.log\nexec /usr/sbin/zpool \"$@\"\n"))
	require.NoError(w.t, w.a.WriteFile("/run/zpool.log", ""))
	run()
	text, err := w.a.ReadFile("/run/zpool.log")
	require.NoError(w.t, err)
	return strings.Count(text, "history -i")
}

// TestGoodBookmarksStay: while C receives nothing, the last snapshots that A shares with C are
// destroyed on A, on each disk in a different way, but never by a set-back. snap keeps the
// bookmarks of these snapshots, and replication to C continues from the bookmarks.
func TestGoodBookmarksStay(t *testing.T) {
	w := newWorld(t)
	ways := map[string]func(disk string){
		"vm-100-disk-0": func(disk string) {
			w.destroyAll(disk)
			w.zfs("snapshot", disk+"@manual")
		},
		"vm-100-disk-1": func(disk string) {
			w.destroyAll(disk)
			w.zfs("snapshot", disk+"@syncoid_x_2026-07-15:00:00:00-GMT00:00")
		},
		"vm-100-disk-2": func(disk string) {
			w.destroyAll(disk)
			w.zfs("snapshot", disk+"@__replicate_100-0_1784000000__")
		},
		"vm-100-disk-3": func(disk string) { w.destroyAll(disk) },
		"vm-100-disk-4": func(string) {},
	}
	disks := sorted(ways)
	w.vm(100, disks...)
	w.start(w.a, 100)
	for _, d := range disks {
		w.fill("ta/data/"+d, 500)
	}
	w.days(w.a, 1, 2, "f2")
	w.replicate(disks...)
	old, err := w.a.ReadFile(stateFile)
	require.NoError(t, err)
	assert.Zero(t, w.histories(func() { w.days(w.a, 3, 2, "f2") }), "a steady run reads no history")

	stay := func(when string, want map[string][]string) {
		t.Helper()
		for _, d := range disks {
			assert.Subset(t, w.bookmarks("ta/data/"+d), want[d], "%s, %s", when, d)
		}
	}
	marks := func() map[string][]string {
		m := map[string][]string{}
		for _, d := range disks {
			m[d] = w.bookmarks("ta/data/" + d)
			require.Len(t, m[d], 4)
		}
		return m
	}
	had := marks()
	for _, d := range disks {
		ways[d]("ta/data/" + d)
	}
	assert.Equal(t, 1, w.histories(func() { w.snap(w.a, "f2") }), "it is read where it is needed")
	stay("snapshots destroyed by hand", had)
	w.advanceClock(900e9)
	w.snap(w.a, "f2") // state.json cannot prove anything about a disk without snapshots, so this run may read the history again
	w.advanceClock(900e9)
	assert.Zero(t, w.histories(func() { w.snap(w.a, "f2") }), "and then no more")
	stay("the runs after", had)

	require.NoError(t, w.a.WriteFile(stateFile, old)) // as if the state were three days old, or the pool had been used by another node
	w.snap(w.a, "f2")
	stay("an old state", had)
	for _, text := range []string{"", old[:len(old)/2], `{"version":99}`} {
		require.NoError(t, w.a.WriteFile(stateFile, text))
		require.Zero(t, w.run(w.a, "snap", "f2").Code)
		stay(fmt.Sprintf("a state of %q", text), had)
	}
	// No run of snap can save its state or its report, as if the root file system were full.
	for _, file := range []string{stateFile, "/var/lib/snapwatch/last-run.json"} {
		w.sh("rm " + file + " && mkdir " + file)
	}
	for range 4 {
		w.advanceClock(900e9)
		r := w.run(w.a, "snap", "f2")
		require.Equal(t, 1, r.Code)
		require.Contains(t, r.Stderr, "could not be saved")
		stay("nothing is kept", had)
	}
	for _, d := range disks {
		require.Empty(t, w.common("ta/data/"+d, "tc/"+d))
		said, kib := w.sent("ta/data/"+d, "tc/"+d)
		assert.NotContains(t, said, "oldest full")
		assert.Less(t, kib, 400.0)
		w.assertSameBytes("ta/data/"+d, "tc/"+d)
	}
}

// TestGoodBookmarksOfARelayStay: B sends to A, and A to C. The link from B to A is down for longer
// than the retention keeps snapshots. When the link is up again, the next receive into A and the
// next run of prune destroy the snapshots that A had before.
func TestGoodBookmarksOfARelayStay(t *testing.T) {
	w := newWorld(t)
	w.ownPools("")
	disks := []string{"vm-100-disk-0", "vm-100-disk-1", "vm-100-disk-2"}
	for _, d := range disks {
		require.NoError(t, site.CreateZvol(w.ctx, "tb/data/"+d, 16))
	}
	require.NoError(t, w.b.AddVM(100, disks...))
	w.start(w.b, 100)
	for _, d := range disks {
		w.fill("tb/data/"+d, 500)
	}
	w.days(w.b, 1, 2, "f2")
	for i, d := range disks {
		if i == 0 {
			w.sent("tb/data/"+d, "ta/data/"+d)
			continue
		}
		w.pipe("zfs snapshot tb/data/" + d + "@__replicate_100-0_1__ && zfs send -Rp tb/data/" + d + "@__replicate_100-0_1__ | zfs receive ta/data/" + d)
	}
	w.snap(w.a, "f2")
	had := map[string][]string{}
	for _, d := range disks {
		w.sent("ta/data/"+d, "tc/"+d)
		had[d] = w.bookmarks("ta/data/" + d)
		require.NotEmpty(t, had[d])
	}
	for range 3 {
		for _, d := range disks {
			w.fill("tb/data/"+d, 20)
		}
		w.days(w.b, 1, 3, "f2") // the link from B to A is down
	}
	for i, d := range disks {
		a, b := "ta/data/"+d, "tb/data/"+d
		if i == 0 {
			w.sent(b, a)
		} else {
			w.pipe("zfs snapshot " + b + "@__replicate_100-0_2__ && zfs send -Rp -I @__replicate_100-0_1__ " + b + "@__replicate_100-0_2__ | zfs receive -F " + a)
			require.NotContains(t, w.snapshots(a), had[d][0], "-R takes them")
		}
	}
	r := w.run(w.a, "prune", "f1", "--dry-run")
	require.Zero(t, r.Code)
	for _, s := range w.snapshots("ta/data/" + disks[0])[:2] {
		w.zfs("destroy", "ta/data/"+disks[0]+"@"+s)
	}
	w.snap(w.a, "f2")
	w.advanceClock(900e9)
	w.snap(w.a, "f2")
	for _, d := range disks {
		a, b, c := "ta/data/"+d, "tb/data/"+d, "tc/"+d
		assert.Subset(t, w.bookmarks(a), had[d])
		if slices.ContainsFunc(w.common(a, c), func(s string) bool { return !strings.HasPrefix(s, "__") }) {
			t.Errorf("%s and %s still have snapshots in common", a, c)
		}
		for _, s := range w.common(a, c) {
			w.zfs("destroy", c+"@"+s)
		}
		w.zfs("rollback", "-r", c+"@"+w.snapshots(c)[len(w.snapshots(c))-1])
		said, _ := w.sent(a, c)
		assert.NotContains(t, said, "oldest full")
		w.assertSameBytes(b, a, c)
	}
}

// sh runs a shell's command line on A.
func (w *world) sh(line string) {
	w.t.Helper()
	_, err := w.a.Output(w.ctx, "sh", "-c", line)
	require.NoError(w.t, err)
}

// TestBookmarkedAndKilled: on relay A, a run of snap makes a bookmark of a new snapshot from B. The
// run is killed before it can save its state. After the kill, B's disk is rolled back, and B sends
// new snapshots to A.
func TestBookmarkedAndKilled(t *testing.T) {
	w := newWorld(t)
	w.ownPools("")
	a, b, c := "ta/data/vm-100-disk-0", "tb/data/vm-100-disk-0", "tc/vm-100-disk-0"
	require.NoError(t, site.CreateZvol(w.ctx, b, 16))
	require.NoError(t, w.b.AddVM(100, "vm-100-disk-0"))
	w.start(w.b, 100)
	w.fill(b, 300)
	w.days(w.b, 1, 1, "f4")
	w.send(b, a)
	w.snap(w.a, "f4")
	good := w.newestBookmark(a)
	w.fill(b, 200)
	w.days(w.b, 1, 1, "f4")
	w.send(b, a)
	w.send(a, c)
	w.sh("mv " + stateFile + " /run/state && mkdir " + stateFile)
	require.Equal(t, 1, w.run(w.a, "snap", "f4").Code)
	w.sh("rmdir " + stateFile + " && mv /run/state " + stateFile)
	lost := w.newestBookmark(a)
	require.NotEqual(t, good, lost)

	w.stop(w.b, 100)
	w.zfs("rollback", "-r", b+"@"+good)
	w.start(w.b, 100)
	w.fill(b, 100)
	w.snap(w.b, "f4")
	w.receive(b, good, a)
	require.Contains(t, w.bookmarks(a), lost)
	w.snap(w.a, "f4")
	assert.NotContains(t, w.bookmarks(a), lost)
	assert.Contains(t, w.bookmarks(a), good)
	for _, s := range w.common(a, c) {
		w.zfs("destroy", a+"@"+s)
	}
	said, _ := w.sent(a, c)
	assert.NotContains(t, said, "oldest full")
	w.assertSameBytes(b, a, c)
}

// copyIn creates on A a pool of the given size in MiB, with a copy that was set back. The copy has
// two bookmarks: a good one, and one of the discarded history.
func (w *world) copyIn(pool string, mib int) (disk, good, lost string) {
	w.t.Helper()
	require.NoError(w.t, site.NewPool(w.ctx, pool, mib))
	w.t.Cleanup(func() { require.NoError(w.t, site.DestroyPool(context.Background(), pool)) })
	require.NoError(w.t, w.a.WriteFile("/etc/snapwatch/config.yaml", quick+"datasets: ["+pool+"]\nreplicas: ["+pool+"]\n"))
	source := "tb/data/vm-100-disk-0"
	disk, good, lost = pool+"/vm-100-disk-0", "autosnap_2026-07-10_00:00:00_daily", "autosnap_2026-07-11_00:00:00_daily"
	require.NoError(w.t, site.CreateFilesystem(w.ctx, source))
	w.zfs("snapshot", source+"@"+good)
	w.pipe("zfs send " + source + "@" + good + " | zfs receive " + disk)
	w.zfs("snapshot", disk+"@"+lost)
	w.snap(w.a, "f4")
	require.Equal(w.t, []string{good, lost}, w.bookmarks(disk))
	w.zfs("snapshot", source+"@autosnap_2026-07-12_00:00:00_daily")
	w.receive(source, good, disk)
	return disk, good, lost
}

// TestHistoryThatDoesNotReachBack: in a small pool's history, ZFS overwrites the oldest records,
// and without these records snap cannot judge some bookmarks. snap keeps a bookmark that it cannot
// judge, and each run reports the bookmark.
func TestHistoryThatDoesNotReachBack(t *testing.T) {
	w := newWorld(t)
	disk, good, lost := w.copyIn("small", 64)
	w.sh("rm " + stateFile)
	w.pipe("for i in 1 2 3; do echo \"for i = 1, 1000 do zfs.sync.set_prop('small', 'a:b', tostring(i)) end\" | zfs program small - >/dev/null; done")
	for range 2 {
		r := w.run(w.a, "snap", "f4")
		require.Equal(t, 1, r.Code)
		require.Contains(t, r.Stderr, "the pool's history reaches back to txg")
		require.Contains(t, r.Stderr, "zfs destroy '"+disk+"#"+lost+"'")
		assert.Subset(t, w.bookmarks(disk), []string{good, lost})
	}
	w.zfs("destroy", disk+"#"+lost)
	w.snap(w.a, "f4")
}
