//go:build e2e && nightly

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// peak returns, in MiB, the greatest memory use of snap on A during a call of the function `run`.
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
		case <-time.After(20 * time.Millisecond): // no event reports the kernel's count of memory
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

// TestLongHistory: snap reads a pool history of 200 000 lines within a minute, and needs no more
// memory for this history than for a short history. If reading a pool's history takes too long,
// snap concludes nothing from the history, and does not read the history again for hours.
func TestLongHistory(t *testing.T) {
	w := newWorld(t)
	disk, good, lost := w.copyIn("large", 128<<10) // the pool's file is sparse: almost nothing of it is written
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
	assert.Contains(t, w.bookmarks(disk), good)

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
	assert.Contains(t, w.bookmarks(disk), good)
}
