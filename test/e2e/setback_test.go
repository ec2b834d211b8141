//go:build e2e && nightly

package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// failedOver creates a guest that ran on A, failed over to B, and runs on B. C has received a
// snapshot of A that B never received. On A, each disk has a bookmark of the snapshot that B never
// received; The result `lost` is the name of this bookmark.
func (w *world) failedOver(disks ...string) (good, lost string) {
	w.t.Helper()
	w.vm(100, disks...)
	w.start(w.a, 100)
	for _, d := range disks {
		w.fill("ta/data/"+d, 300)
	}
	w.days(w.a, 1, 1, "f4")
	for _, d := range disks {
		w.send("ta/data/"+d, "tb/data/"+d)
		w.send("ta/data/"+d, "tc/"+d)
	}
	good = w.newestBookmark("ta/data/" + disks[0])
	for _, d := range disks {
		w.fill("ta/data/"+d, 300)
	}
	w.tomorrow()
	w.snap(w.a, "f4")
	lost = w.newestBookmark("ta/data/" + disks[0])
	require.NotEqual(w.t, good, lost)
	for _, d := range disks {
		w.send("ta/data/"+d, "tc/"+d)
	}
	require.NoError(w.t, w.a.KillGuest(100))
	require.NoError(w.t, w.a.MoveGuestTo(100, w.b))
	w.start(w.b, 100)
	for _, d := range disks {
		w.fill("tb/data/"+d, 100)
	}
	w.snap(w.b, "f4")
	return good, lost
}

// TestDiscardedBookmarksGo: A receives disks with -F. The next run that looks at a disk destroys
// the bookmark of the discarded history and no other bookmark, even if snap's state file is old,
// missing or damaged.
func TestDiscardedBookmarksGo(t *testing.T) {
	w := newWorld(t)
	ignore := func(disk string) {
		require.NoError(t, w.a.WriteFile("/etc/snapwatch/config.yaml", quick+"overrides: [{disk: "+disk+", ignore: true}]\n"))
	}
	states := []struct {
		name   string
		change func(disk, old string)
	}{
		{"as it was", func(string, string) {}},
		{"gone", func(string, string) { w.sh("rm " + stateFile + " /var/lib/snapwatch/last-run.json") }},
		{"empty", func(string, string) { require.NoError(t, w.a.WriteFile(stateFile, "")) }},
		{"cut short", func(_, old string) { require.NoError(t, w.a.WriteFile(stateFile, old[:len(old)/2])) }},
		{"days old", func(_, old string) { require.NoError(t, w.a.WriteFile(stateFile, old)) }},
		{"ignored for one run", func(disk, _ string) {
			ignore(disk)
			w.run(w.a, "snap", "f4")
			require.NoError(t, w.a.WriteFile("/etc/snapwatch/config.yaml", quick))
		}},
		{"a snapshot of another dataset renamed", func(string, string) {
			w.pipe("zfs create ta/other && zfs snapshot ta/other@yesterday && zfs rename ta/other@yesterday ta/other@twodays")
		}},
		{"index gone", func(string, string) { w.sh("rm -f /var/lib/snapwatch/index-ta") }},
	}
	var disks []string
	for i := range states {
		disks = append(disks, fmt.Sprintf("vm-100-disk-%d", i))
	}
	good, lost := w.failedOver(disks...)
	old, err := w.a.ReadFile(stateFile)
	require.NoError(t, err)
	for i, state := range states {
		disk := "ta/data/" + disks[i]
		w.receive("tb/data/"+disks[i], good, disk)
		require.Contains(t, w.bookmarks(disk), lost, "zfs receive -F leaves it: if that changes, the rule can go")
		state.change(disk, old)
		require.Zero(t, w.run(w.a, "snap", "f4").Code)
		assert.NotContains(t, w.bookmarks(disk), lost, state.name)
		for j, other := range disks {
			assert.Contains(t, w.bookmarks("ta/data/"+other), good, state.name)
			if j > i {
				assert.Contains(t, w.bookmarks("ta/data/"+other), lost, "%s: %s was not set back", state.name, other)
			}
		}
		w.advanceClock(900e9)
	}
	for _, d := range disks {
		a, c := "ta/data/"+d, "tc/"+d
		for _, s := range w.common(a, c) { // the common snapshots of A and C are destroyed; their bookmarks are kept
			w.zfs("destroy", a+"@"+s)
		}
		require.Empty(t, w.common(a, c))
		said, _ := w.sent(a, c)
		assert.NotContains(t, said, "oldest full")
		w.assertSameBytes("tb/data/"+d, a, c)
	}
}

// TestSetBackOtherwise plays further set-backs of disks: by a resumed receive, before a rename of
// the disk, before a promotion of a clone (which snap cannot follow), and after two failovers.
func TestSetBackOtherwise(t *testing.T) {
	w := newWorld(t)
	disks := []string{"vm-100-disk-0", "vm-100-disk-1", "vm-100-disk-2", "vm-100-disk-3"}
	good, lost := w.failedOver(disks...)
	disk := func(i int) (a, b string) { return "ta/data/" + disks[i], "tb/data/" + disks[i] }

	t.Log("a receive that is cut off, and continues")
	a, b := disk(0)
	w.fill(b, 3000)
	w.snap(w.b, "f4")
	newest := w.snapshots(b)[len(w.snapshots(b))-1]
	cut, err := w.c.Run(w.ctx, "sh", "-c", "zfs send -i @"+good+" "+b+"@"+newest+" | head -c 1500000 | zfs receive -s -F "+a)
	require.NoError(t, err)
	require.Contains(t, cut.Stderr, "zfs send -t")
	w.run(w.a, "snap", "f4")
	assert.Contains(t, w.bookmarks(a), lost, "nothing was set back yet")
	token := strings.TrimSpace(w.zfs("get", "-H", "-o", "value", "receive_resume_token", a))
	w.pipe("zfs send -t " + token + " | zfs receive -s -F " + a)
	w.snap(w.a, "f4")
	assert.NotContains(t, w.bookmarks(a), lost)
	assert.Contains(t, w.bookmarks(a), good)

	t.Log("renamed since")
	a, b = disk(1)
	w.receive(b, good, a)
	w.zfs("rename", a, a+"9")
	w.snap(w.a, "f4")
	assert.NotContains(t, w.bookmarks(a+"9"), lost)
	assert.Contains(t, w.bookmarks(a+"9"), good)
	w.zfs("rename", a+"9", a)

	t.Log("promoted")
	a, b = disk(2)
	w.receive(b, good, a)
	onA := w.snapshots(a)
	w.zfs("clone", a+"@"+onA[len(onA)-1], "ta/data/vm-107-disk-0")
	w.zfs("promote", "ta/data/vm-107-disk-0")
	require.Contains(t, w.bookmarks("ta/data/vm-107-disk-0"), lost, "a promoted clone takes over the bookmarks up to its origin")
	r := w.run(w.a, "snap", "f4")
	require.Equal(t, 1, r.Code)
	require.Contains(t, r.Stderr, "vm-107-disk-0: ")
	require.Contains(t, r.Stderr, "it was promoted")
	assert.Contains(t, w.bookmarks("ta/data/vm-107-disk-0"), lost, "it stays")
	require.Equal(t, r.Stderr, w.run(w.a, "snap", "f4").Stderr, "each run warns")
	w.zfs("destroy", "ta/data/vm-107-disk-0#"+lost)
	require.Zero(t, w.run(w.a, "snap", "f4").Code)

	t.Log("two failovers, and back")
	a, b = disk(3)
	w.receive(b, good, a)
	w.snap(w.a, "f4")
	require.NotContains(t, w.bookmarks(a), lost)
	common := w.common(a, b)
	base := common[len(common)-1]
	w.fill(b, 50)
	w.tomorrow()
	w.snap(w.b, "f4")
	onlyB := w.newestBookmark(b)
	require.NoError(t, w.b.KillGuest(100))
	require.NoError(t, w.b.MoveGuestTo(100, w.a))
	w.start(w.a, 100)
	w.fill(a, 60)
	w.snap(w.a, "f4")
	w.receive(a, base, b)
	require.Contains(t, w.bookmarks(b), onlyB)
	w.run(w.b, "snap", "f4")
	assert.NotContains(t, w.bookmarks(b), onlyB)
	assert.Contains(t, w.bookmarks(b), good)
	w.assertSameBytes(a, b)
}
