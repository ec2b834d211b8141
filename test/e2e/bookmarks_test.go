//go:build e2e

package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/zfs"
	"snapwatch/test/site"
)

// bookmarks returns the names of a dataset's bookmarks, oldest first.
func (w *world) bookmarks(dataset string) []string {
	w.t.Helper()
	return w.names(site.Bookmarks(w.ctx, dataset))
}

// TestReceivesFromABookmark: while C receives nothing, A destroys all snapshots that A and C share;
// then replication to C continues from a bookmark on A, without a full send.
func TestReceivesFromABookmark(t *testing.T) {
	w := newWorld(t)
	w.vm(100, "vm-100-disk-0")
	w.start(w.a, 100)
	a, c := "ta/data/vm-100-disk-0", "tc/vm-100-disk-0"
	w.fill(a, 6000)
	w.days(w.a, 1, 2, "f2")
	w.sent(a, c)
	w.fill(a, 100)
	w.days(w.a, 1, 2, "f2")
	require.Empty(t, w.common(a, c), "A has rotated away all that C has")
	said, kib := w.sent(a, c)
	assert.NotContains(t, said, "Sending oldest full snapshot")
	assert.InDelta(t, 150, kib, 100, "the 100 KiB that were written, not the 6000 of the disk")
	assert.NotEmpty(t, w.common(a, c))
	w.assertSameBytes(a, c)

	// A _stopped snapshot's bookmark can be the base of a send. In this test the guest stops,
	// starts again, and runs until the first snapshot after the start is a day old.
	w.stop(w.a, 100)
	w.snap(w.a, "f2")
	w.sent(a, c)
	w.start(w.a, 100)
	w.fill(a, 100)
	w.days(w.a, 3, 2, "f2")
	require.Empty(t, w.common(a, c))
	said, kib = w.sent(a, c)
	assert.Contains(t, said, "_stopped")
	assert.Less(t, kib, 600.0)
	w.assertSameBytes(a, c)
}

// TestAwayWhileAGuestIsOff: another program snapshots a guest that is off, so snap takes a new
// _stopped snapshot each hour. In one day, snap therefore takes more _stopped snapshots than the
// number of bookmarks that snap keeps. C has received only the first _stopped snapshot. After the
// guest runs again and A has destroyed all _stopped snapshots, A can still send to C from a
// bookmark.
func TestAwayWhileAGuestIsOff(t *testing.T) {
	w := newWorld(t)
	w.vm(100, "vm-100-disk-0")
	a, c := "ta/data/vm-100-disk-0", "tc/vm-100-disk-0"
	w.fill(a, 6000)
	w.tomorrow()
	w.snap(w.a, "f2")
	w.sent(a, c)
	first := w.snapshots(c)
	require.Equal(t, []string{"stopped"}, w.classes(c))
	for range 12 { // all of this happens on one day
		w.advanceClock(time.Hour)
		w.zfs("snapshot", a+"@"+zfs.FormatSnapshotName(time.Now(), zfs.Hourly))
		w.snap(w.a, "f2")
	}
	require.Equal(t, 13, count(w.classes(a), "stopped"), "each made another")

	w.start(w.a, 100)
	w.fill(a, 100)
	w.days(w.a, 2, 2, "f2")
	require.Zero(t, count(w.classes(a), "stopped"), "all had time enough")
	var stopped []string
	for _, name := range w.bookmarks(a) {
		if strings.HasSuffix(name, "_stopped") {
			stopped = append(stopped, name)
		}
	}
	require.Len(t, stopped, 11, "of the newest ten, and of the day's first")
	require.Empty(t, w.common(a, c))
	said, kib := w.sent(a, c)
	assert.Contains(t, said, first[0])
	assert.NotContains(t, said, "Sending oldest full snapshot")
	assert.Less(t, kib, 600.0)
	w.assertSameBytes(a, c)
}

// TestOthersBookmarksStay: syncoid --create-bookmark gives its bookmarks the names of snap's
// snapshots. If there are two bookmarks of one day, snap destroys neither of them, even if this is
// more than the configured number of bookmarks.
func TestOthersBookmarksStay(t *testing.T) {
	w := newWorld(t)
	w.configure(quick + "bookmarks: 1\n")
	w.vm(100, "vm-100-disk-0")
	w.start(w.a, 100)
	a := "ta/data/vm-100-disk-0"
	w.days(w.a, 1, 2, "f2")
	w.sent(a, "tc/vm-100-disk-0", "--create-bookmark")
	shared := w.bookmarks(a)
	require.Equal(t, w.snapshots(a), shared, "the day's first is ours, the second syncoid's")

	w.days(w.a, 3, 2, "f2")
	assert.Equal(t, append(shared, w.snapshots(a)[0]), w.bookmarks(a), "of the other days only the last has one")
	w.snap(w.a, "f2")
	assert.Equal(t, shared, w.bookmarks(a)[:2])
}
