//go:build e2e && nightly

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/test/site"
)

// peak is the most memory in MiB that snap takes on A, while run runs it.
func (w *world) peak(run func()) (mib int) {
	w.t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		run()
	}()
	for {
		select {
		case <-done:
			return mib
		case <-time.After(20 * time.Millisecond): // what the kernel counts, no event tells
		}
		all, err := filepath.Glob("/proc/[0-9]*/cmdline")
		require.NoError(w.t, err)
		for _, path := range all {
			line, err := os.ReadFile(path)
			if err != nil || !strings.Contains(string(line), "snapwatch\x00snap\x00") {
				continue
			}
			status, err := os.ReadFile(filepath.Join(filepath.Dir(path), "status"))
			if err != nil {
				continue
			}
			var kib int
			if _, after, found := strings.Cut(string(status), "VmHWM:"); found {
				_, _ = fmt.Sscan(after, &kib)
			}
			mib = max(mib, kib/1024)
		}
	}
}

// TestLongHistory: a history of 200 000 lines is read within a minute, and takes no more
// memory than a short one. One that takes too long proves nothing, and is left alone for
// hours.
func TestLongHistory(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, site.NewPool(w.ctx, "large", 32<<10)) // of which nothing is written
	t.Cleanup(func() { require.NoError(t, site.DestroyPool(context.Background(), "large")) })
	require.NoError(t, w.a.WriteFile("/etc/snapwatch/config.yaml", quick+"datasets: [large]\nreplicas: [large]\n"))
	source, disk := "tb/data/vm-100-disk-0", "large/vm-100-disk-0"
	require.NoError(t, site.CreateFilesystem(w.ctx, source))
	const good, lost, next = "autosnap_2026-07-10_00:00:00_daily", "autosnap_2026-07-11_00:00:00_daily", "autosnap_2026-07-12_00:00:00_daily"
	w.zfs("snapshot", source+"@"+good)
	w.pipe("zfs send " + source + "@" + good + " | zfs receive " + disk)
	w.zfs("snapshot", disk+"@"+lost)
	w.snap(w.a, "f4")
	w.zfs("snapshot", source+"@"+next)
	w.receive(source, good, disk)
	mark := func() { w.zfs("bookmark", disk+"#"+good, disk+"#"+strings.Replace(good, "10_", "09_", 1)) }
	mark()
	w.zfs("destroy", disk+"@"+good)
	short := w.peak(func() { w.snap(w.a, "f4") })
	require.NotContains(t, w.bookmarks(disk), lost)

	w.pipe("for i in $(seq 200); do echo \"for i = 1, 1000 do zfs.sync.set_prop('large', 'a:b', tostring(i)) end\" | zfs program large - >/dev/null; done")
	w.pipe("test $(zpool history -i large | wc -l) -gt 200000")
	w.sh("rm " + stateFile)
	begun := time.Now()
	long := w.peak(func() { w.snap(w.a, "f4") })
	t.Logf("%s; %d MiB, with a short history %d", time.Since(begun), long, short)
	assert.Less(t, time.Since(begun), time.Minute)
	assert.Less(t, long, short+16)
	assert.Len(t, w.bookmarks(disk), 3, "all of them are good")

	require.NoError(t, w.a.Install("zpool", "#!/bin/sh\nexec sleep 1000\n"))
	w.sh("rm " + stateFile)
	r := w.run(w.a, "snap", "f4")
	require.Equal(t, 1, r.Code)
	require.Contains(t, r.Stderr, "the pool's history could not be read")
	begun = time.Now()
	r = w.run(w.a, "snap", "f4")
	require.Equal(t, 1, r.Code)
	require.Contains(t, r.Stderr, "is tried again after 6h0m0s")
	assert.Less(t, time.Since(begun), time.Minute)
	assert.Len(t, w.bookmarks(disk), 3)
}
