//go:build e2e && (nightly || soak)

package e2e

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/test/site"
)

// gauges has an exporter's metrics about the exporter's own process.
type gauges struct{ goroutines, fds, rss float64 }

// loaded starts an exporter on C, whose pool has two fresh disks.
func (w *world) loaded(args ...string) *site.Process {
	w.t.Helper()
	disks := []string{"vm-100-disk-0", "vm-100-disk-1"}
	w.vm(100, disks...)
	w.start(w.a, 100)
	w.snap(w.a, "f4")
	w.replicate(disks...)
	return w.exporter(w.c, append([]string{"--web.listen-address=127.0.0.1:10191"}, args...)...)
}

// gauges reads the exporter's metrics about itself, with a short timeout for the scan.
func (w *world) gauges() gauges {
	w.t.Helper()
	text, err := w.c.Output(w.ctx, "curl", "-sf", "-H", "X-Prometheus-Scrape-Timeout-Seconds: 1", exporterURL+"/metrics")
	require.NoError(w.t, err)
	value := func(name string) float64 {
		m := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindStringSubmatch(text)
		require.NotNil(w.t, m, name)
		v, err := strconv.ParseFloat(m[1], 64)
		require.NoError(w.t, err)
		return v
	}
	return gauges{value("go_goroutines"), value("process_open_fds"), value("process_resident_memory_bytes")}
}

// children returns the number of zfs and zpool processes on C, including the scripts that replace
// zfs and zpool.
func (w *world) children() int {
	w.t.Helper()
	running, err := w.c.Processes()
	require.NoError(w.t, err)
	n := 0
	for _, p := range running {
		if slices.ContainsFunc(p.Argv, func(word string) bool { return strings.HasSuffix(word, "/zfs") || word == "zfs" || word == "infinity" }) {
			n++
		}
	}
	return n
}

var (
	socketErrors = regexp.MustCompile(`(?m)^\s*Socket errors.*$`)
	wrkRequests  = regexp.MustCompile(`(\d+) requests in`)
)

// TestExporterUnderLoad: zfs is slow, and then zfs hangs. While zfs is slow and while zfs hangs,
// sixteen clients at a time get their answers within their timeouts, and the numbers of goroutines,
// open files and processes do not grow. When zfs works again, the exporter works too.
func TestExporterUnderLoad(t *testing.T) {
	w := newWorld(t)
	w.loaded("--scan-timeout=4s")
	w.gauges()
	before := w.gauges()
	f := w.flaky(w.c, "/usr/sbin/zfs", "/usr/sbin/zpool")
	for _, how := range []string{"", "is slow", "hangs"} {
		f.set(map[bool]string{true: "never", false: "every"}[how == ""], how)
		wrk, err := w.c.Start(w.ctx, "wrk", "-t1", "-c16", "-d6s", "--timeout", "8s", "-H", "X-Prometheus-Scrape-Timeout-Seconds: 2", exporterURL+"/metrics")
		require.NoError(t, err)
		ended := make(chan site.Result, 1)
		go func() { ended <- wrk.Wait() }()
		var said site.Result
		for over := false; !over; {
			assert.LessOrEqual(t, w.children(), 4, "%q: the pool is listed once at a time", how)
			select {
			case said = <-ended:
				over = true
			case <-time.After(500 * time.Millisecond):
			}
		}
		t.Logf("zfs %q: %s", how, said.Stdout)
		require.Zero(t, said.Code, said.Stderr)
		assert.Empty(t, socketErrors.FindString(said.Stdout), "%q: every answer came in time", how)
		m := wrkRequests.FindStringSubmatch(said.Stdout)
		require.NotNil(t, m)
		assert.NotEqual(t, "0", m[1])
		_, err = w.c.Output(w.ctx, "curl", "-sf", "-m", "5", "-o", "/dev/null", exporterURL+"/")
		assert.NoError(t, err, "%q: the page waits for nothing", how)
		w.bounded(before, 20)
	}
	f.set("never", "")
	_, err := w.c.Run(w.ctx, "pkill", "-9", "-x", "sleep")
	require.NoError(t, err)
	w.waitUntil(func() bool {
		text, err := w.c.Output(w.ctx, "curl", "-sf", exporterURL+"/metrics")
		require.NoError(t, err)
		return strings.Contains(text, `snapwatch_pool_scrape_success{pool="tc"} 1`)
	})
	w.bounded(before, 5)
	w.waitUntil(func() bool { return w.children() == 0 })
}

// bounded waits until the exporter's numbers of goroutines and open files exceed the numbers in
// `before` by at most `more`.
func (w *world) bounded(before gauges, more float64) {
	w.t.Helper()
	var now gauges
	w.waitUntil(func() bool {
		now = w.gauges()
		return now.goroutines <= before.goroutines+more && now.fds <= before.fds+more
	})
	w.t.Logf("goroutines %.0f, files %.0f, memory %.0f MB", now.goroutines, now.fds, now.rss/1e6)
}
