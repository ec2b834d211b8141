//go:build e2e

package e2e

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// counted installs a zfs on A that logs the arguments of each call.
func (w *world) counted() {
	w.t.Helper()
	require.NoError(w.t, w.a.Install("zfs", "#!/bin/sh\necho \"$*\" | head -1 >>/run/zfs.log\nexec /usr/sbin/zfs \"$@\"\n"))
}

// calls returns the zfs calls of one run of snap.
func (w *world) calls(args ...string) []string {
	w.t.Helper()
	require.NoError(w.t, w.a.WriteFile("/run/zfs.log", ""))
	w.snap(w.a, args...)
	text, err := w.a.ReadFile("/run/zfs.log")
	require.NoError(w.t, err)
	w.t.Logf("%s", text)
	return strings.Split(strings.TrimSpace(text), "\n")
}

// listings counts the zfs calls whose cost grows with the number of snapshots.
func listings(calls []string) int {
	n := 0
	for _, c := range calls {
		if strings.Contains(c, "-d 1 -t snapshot") || strings.Contains(c, "-d 1 -t bookmark") {
			n++
		}
	}
	return n
}

var madeName = regexp.MustCompile(`autosnap_\S+`)

// sameWithout asserts that snap plans the same steps with the index as without the index.
// sameWithout ignores the names of new snapshots, because these names contain the time to the
// second.
func (w *world) sameWithout(args ...string) {
	w.t.Helper()
	plan := func() string {
		var text []string
		for line := range strings.Lines(w.run(w.a, append([]string{"snap", "--dry-run"}, args...)...).Stdout) {
			if strings.Contains(line, "snapshot ta/") {
				line = madeName.ReplaceAllString(line, "NEW")
			}
			text = append(text, line)
		}
		return strings.Join(text, "")
	}
	with := plan()
	require.Contains(w.t, with, "snapshot ta/")
	_, err := w.a.Output(w.ctx, "mv", "/var/lib/snapwatch/index-ta", "/run/")
	require.NoError(w.t, err)
	assert.Equal(w.t, plan(), with)
	_, err = w.a.Output(w.ctx, "mv", "/run/index-ta", "/var/lib/snapwatch/")
	require.NoError(w.t, err)
}

// TestIndex: while only snap changes a pool's snapshots, a run of snap lists no snapshots; after
// each change by another program, the next run notices the change.
func TestIndex(t *testing.T) {
	w := newWorld(t)
	w.vm(100, "vm-100-disk-0", "vm-100-disk-1")
	w.container(200, "subvol-200-disk-0")
	w.start(w.a, 100)
	w.start(w.a, 200)
	disk := "ta/data/vm-100-disk-0"
	keep := []string{"f3", "d2"}
	w.counted()
	run := func() []string {
		t.Helper()
		w.advanceClock(15 * time.Minute)
		return w.calls(keep...)
	}
	for range 4 {
		run()
	}
	ofPools := func(call string) bool { return strings.HasPrefix(call, "list -Hp -d 0 -o creation ") } // these calls serve the health of pools
	steady := slices.DeleteFunc(run(), ofPools)
	if !w.tellsChanges(disk) {
		assert.Equal(t, 2, listings(steady), "snapshots and bookmarks, in every run: %q", steady)
		assert.Equal(t, []string{"daily", "frequently", "frequently", "frequently"}, w.classes(disk))
		return
	}
	assert.Len(t, steady, 3, "heads, snapshots, destroys: %q", steady)
	assert.Zero(t, listings(steady), "%q", steady)
	assert.Equal(t, []string{"daily", "frequently", "frequently", "frequently"}, w.classes(disk))
	w.sameWithout(keep...)

	others := map[string]func(){
		"destroyed by hand": func() { w.zfs("destroy", disk+"@"+w.snapshots(disk)[1]) },
		"rolled back":       func() { w.zfs("rollback", "-r", disk+"@"+w.snapshots(disk)[1]) },
		"foreign snapshot":  func() { w.zfs("snapshot", disk+"@syncoid_x") },
		"renamed":           func() { w.zfs("rename", disk+"@"+w.snapshots(disk)[0], disk+"@autosnap_2025-01-01_00:00:00_daily") },
		"received": func() {
			_, err := w.a.Output(w.ctx, "sh", "-c", "zfs snapshot ta/data/vm-100-disk-1@x && zfs send ta/data/vm-100-disk-1@x | zfs receive -F ta/data/vm-300-disk-0")
			require.NoError(t, err)
		},
	}
	for what, do := range others {
		w.advanceClock(2 * time.Second) // snap cannot notice a change that happens in the same second as snap's last change
		do()
		w.sameWithout(keep...)
		assert.Equal(t, 2, listings(run()), "%s: what changed is listed", what)
		assert.Zero(t, listings(run()), "%s: once", what)
	}
	w.sameWithout(keep...)

	// snap ignores an index file that snap cannot have written. When the index is a day old, snap
	// lists all snapshots again.
	require.NoError(t, w.a.WriteFile("/var/lib/snapwatch/index-ta", "nonsense"))
	w.advanceClock(15 * time.Minute)
	r := w.run(w.a, append([]string{"snap"}, keep...)...)
	assert.Contains(t, r.Stderr, "index /var/lib/snapwatch/index-ta discarded")
	assert.Zero(t, listings(run()))
	w.advanceClock(24 * time.Hour)
	assert.Equal(t, 2, listings(w.calls(keep...)))
	assert.Zero(t, listings(run()))
}
