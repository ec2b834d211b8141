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

// counted lets A's zfs leave its words behind.
func (w *world) counted() {
	w.t.Helper()
	require.NoError(w.t, w.a.Install("zfs", "#!/bin/sh\necho \"$*\" | head -1 >>/run/zfs.log\nexec /usr/sbin/zfs \"$@\"\n"))
}

// calls are the zfs processes that one run of snap starts.
func (w *world) calls(args ...string) []string {
	w.t.Helper()
	require.NoError(w.t, w.a.WriteFile("/run/zfs.log", ""))
	w.snap(w.a, args...)
	text, err := w.a.ReadFile("/run/zfs.log")
	require.NoError(w.t, err)
	w.t.Logf("%s", text)
	return strings.Split(strings.TrimSpace(text), "\n")
}

// listings are the calls that cost time with every snapshot there is.
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

// sameWithout makes sure that the index changes nothing in what would be done. The
// snapshots to take are named by the second.
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

// TestIndex: while nobody else changes them, no snapshots are listed; whatever
// somebody does is seen at once.
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
		w.later(15 * time.Minute)
		return w.calls(keep...)
	}
	for range 4 {
		run()
	}
	ofPools := func(call string) bool { return strings.HasPrefix(call, "list -Hp -d 0 -o creation ") } // for their health
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
		w.later(2 * time.Second) // a change in the second of our own last one goes unseen
		do()
		w.sameWithout(keep...)
		assert.Equal(t, 2, listings(run()), "%s: what changed is listed", what)
		assert.Zero(t, listings(run()), "%s: once", what)
	}
	w.sameWithout(keep...)

	// What cannot be believed is not, and a day later all is looked at again.
	require.NoError(t, w.a.WriteFile("/var/lib/snapwatch/index-ta", "nonsense"))
	w.later(15 * time.Minute)
	r := w.run(w.a, append([]string{"snap"}, keep...)...)
	assert.Contains(t, r.Stderr, "index /var/lib/snapwatch/index-ta thrown away")
	assert.Zero(t, listings(run()))
	w.later(24 * time.Hour)
	assert.Equal(t, 2, listings(w.calls(keep...)))
	assert.Zero(t, listings(run()))
}
