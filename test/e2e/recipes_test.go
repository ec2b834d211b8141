//go:build e2e && nightly

package e2e

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestRecipes tests the claims of docs/replication.md about each way to replicate.
func TestRecipes(t *testing.T) {
	w := newWorld(t)
	w.vm(100, "vm-100-disk-0")
	w.start(w.a, 100)
	a := "ta/data/vm-100-disk-0"
	w.days(w.a, 1, 2, "f3")
	w.zfs("snapshot", a+"@before-upgrade")
	pipe := func(script string) {
		t.Helper()
		_, err := w.c.Output(w.ctx, "sh", "-ec", script)
		require.NoError(t, err)
	}

	// Here each way to replicate sends the disk for the first time, in full.
	w.sent(a, "tc/plain")
	w.sent(a, "tc/p", "--sendoptions=p")
	arrived := map[string]string{
		"tc/plain": "- -", "tc/p": "pve-a received",
		"tc/all": "pve-a received", "tc/strict": "pve-a received", "tc/pvesr": "pve-a received", "tc/zfs": "pve-a received",
	}
	if w.laterSyncoid() {
		w.sent(a, "tc/preserve", "--preserve-properties")
		arrived["tc/preserve"] = "pve-a local"
	}
	w.sent(a, "tc/all", "--sendoptions=R")
	w.sent(a, "tc/strict", "--sendoptions=p", "--no-rollback")
	pipe("zfs send -Rp " + a + "@before-upgrade | zfs receive -F tc/pvesr")
	first := w.snapshots(a)[0]
	pipe("zfs send " + a + "@" + first + " | zfs receive tc/zfs")
	pipe("zfs send -p -I @" + first + " " + a + "@before-upgrade | zfs receive tc/zfs")
	for dataset, label := range arrived {
		assert.Equal(t, label, w.labelSource(dataset), dataset)
		assert.Equal(t, w.snapshots(a), w.snapshots(dataset), "%s: all snapshots arrive", dataset)
		assert.Empty(t, w.bookmarks(dataset), "%s: no bookmark is ever sent", dataset)
	}

	// snap destroys the oldest snapshots, and then the guest stops.
	w.fill(a, 100)
	w.days(w.a, 1, 2, "f3")
	w.stop(w.a, 100)
	w.snap(w.a, "f3")
	require.NotContains(t, w.snapshots(a), first)
	w.sent(a, "tc/plain")
	w.sent(a, "tc/p", "--sendoptions=p")
	w.sent(a, "tc/all", "--sendoptions=R")
	w.sent(a, "tc/strict", "--sendoptions=p", "--no-rollback")
	newest := w.snapshots(a)[len(w.snapshots(a))-1]
	pipe("zfs send -Rp -I @before-upgrade " + a + "@" + newest + " | zfs receive -F tc/pvesr")
	for dataset, label := range map[string]string{
		"tc/plain": "- -", "tc/p": "stopped received", "tc/all": "stopped received", "tc/strict": "stopped received", "tc/pvesr": "stopped received",
	} {
		assert.Equal(t, label, w.labelSource(dataset), dataset)
	}
	for _, dataset := range []string{"tc/plain", "tc/p", "tc/strict"} {
		assert.Contains(t, w.snapshots(dataset), first, "%s: what A rotates away stays", dataset)
	}
	for _, dataset := range []string{"tc/all", "tc/pvesr"} {
		assert.Equal(t, w.snapshots(a), w.snapshots(dataset), "%s: what A rotates away goes here, too", dataset)
	}

	// All common snapshots are destroyed, so replication continues from a bookmark.
	w.start(w.a, 100)
	w.zfs("destroy", a+"@before-upgrade")
	w.fill(a, 100)
	w.days(w.a, 2, 2, "f2")
	require.Contains(t, w.bookmarks(a), newest, "the _stopped one is gone, its bookmark is there")
	require.Empty(t, w.common(a, "tc/p"))
	base := newest // C has this snapshot, and A has its bookmark
	_, kib := w.sent(a, "tc/p", "--sendoptions=p")
	assert.Less(t, kib, 600.0)
	assert.Contains(t, w.labelSource("tc/p"), "received")
	pipe("zfs send -i '#" + base + "' " + a + "@" + w.snapshots(a)[0] + " | zfs receive -F tc/plain")
	pipe("zfs send -I @" + w.snapshots(a)[0] + " " + a + "@" + w.snapshots(a)[1] + " | zfs receive -F tc/plain")
	w.assertSameBytes(a, "tc/p", "tc/plain")
	_, kib = w.sent(a, "tc/strict", "--sendoptions=p", "--no-rollback")
	assert.Less(t, kib, 600.0, "its newest is the bookmark's: nothing to roll back")
	w.assertSameBytes(a, "tc/strict")
	t.Log("label after a send from a bookmark: " + w.labelSource("tc/p"))
	w.fill(a, 20)
	w.snap(w.a, "f2")
	w.sent(a, "tc/p", "--sendoptions=p")
	assert.Equal(t, "pve-a received", w.labelSource("tc/p"), "at the latest with the next one")
}
