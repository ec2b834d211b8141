//go:build e2e && nightly

package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/test/site"
)

// TestPoolOfAFailingDevice: the device of one pool hangs and then fails. check and the exporter
// still report about a second pool. However often check and the exporter are called, at most one
// zfs process hangs.
func TestPoolOfAFailingDevice(t *testing.T) {
	w := newWorld(t)
	failing := w.newDevice("failing", 256, sound)
	w.pipe("zpool create -o cachefile=none -o failmode=wait -O mountpoint=none ts /dev/mapper/failing")
	t.Cleanup(func() { failing.remove("ts") })
	for _, d := range []string{"tc/subvol-100-disk-0", "ts/subvol-101-disk-0"} {
		require.NoError(t, site.CreateFilesystem(w.ctx, d))
		w.zfs("snapshot", d+"@autosnap_"+time.Now().UTC().Format("2006-01-02_15:04:05")+"_hourly")
	}
	require.NoError(t, w.c.WriteFile("/etc/snapwatch/config.yaml", "datasets: [tc, ts]\n"))
	// A real zfs get reads a dataset from memory and needs no device. A zfs set, for which the test
	// gives every user the permission, waits in the kernel for the device, and no signal reaches
	// the waiting process. To let zfs get hang, the test replaces zfs get by a zfs set.
	w.zfs("allow", "everyone", "userprop", "ts")
	require.NoError(t, w.c.Install("zfs", `#!/bin/sh
case "$* " in
"get "*" ts ") exec /usr/sbin/zfs set test:hangs="$$" ts ;;
esac
exec /usr/sbin/zfs "$@"
`))
	w.exporter(w.c, "--web.listen-address=127.0.0.1:10191", "--scan-timeout=20s")
	scrape := func(seconds string) string {
		out, err := w.c.Output(w.ctx, "curl", "-sf", "-H", "X-Prometheus-Scrape-Timeout-Seconds: "+seconds, "http://127.0.0.1:10191/metrics")
		require.NoError(t, err)
		return out
	}
	check := func() checkResult { return w.judgedWithin("12s") }
	right := func(s checkResult, code int, metrics string) {
		t.Helper()
		assert.Equal(t, code, s.Code)
		assert.Equal(t, "fresh", s.disks["tc/subvol-100-disk-0"].Verdict)
		assert.Contains(t, metrics, `snapwatch_pool_scrape_success{pool="tc"} 1`)
		assert.Contains(t, metrics, `snapwatch_pool_scrape_success{pool="ts"} 0`)
		assert.Contains(t, metrics, `disk="subvol-100-disk-0",pool="tc",state="fresh",vmid="100"} 1`)
	}

	failing.hang()
	w.pipe(fmt.Sprintf(`seq 100 | xargs -P 4 -I N sh -c 'curl -sf -o /tmp/scrape-N -H "X-Prometheus-Scrape-Timeout-Seconds: 1" http://127.0.0.1:10191/metrics && rm /tmp/scrape-N || exit 255'
seq 100 | xargs -P 4 -I N sh -c '%s check -t 1s >/tmp/check-N; test $? = 3 || exit 255'`, program(t)))
	assert.Equal(t, 1, w.hungInKernel(), "of all that were started")
	begun := time.Now()
	hanging := check()
	assert.Less(t, time.Since(begun), 20*time.Second, "the answer comes in time")
	right(hanging, 3, scrape("12"))

	failing.fail()
	w.waitUntil(func() bool {
		state, err := os.ReadFile("/proc/spl/kstat/zfs/ts/state")
		require.NoError(t, err)
		return string(state) == "SUSPENDED\n"
	})
	suspended := check()
	right(suspended, 2, scrape("12"))
	assert.Equal(t, "suspended", suspended.pools["ts"].Verdict)
	assert.Contains(t, suspended.pools["ts"].Problem, "suspended")

	failing.mend()
	w.pipe("zpool clear ts")
	require.NoError(t, w.c.Remove(site.BinDir+"/zfs"))
	w.waitUntil(func() bool { return w.hungInKernel() == 0 })
	assert.Zero(t, w.judged().Code)
	w.waitUntil(func() bool { return strings.Contains(scrape("60"), `snapwatch_pool_scrape_success{pool="ts"} 1`) })
}

// hungInKernel counts the zfs processes that wait in the kernel for pool ts.
func (w *world) hungInKernel() int {
	w.t.Helper()
	running, err := w.c.Processes()
	require.NoError(w.t, err)
	n := 0
	for _, p := range running {
		if strings.HasSuffix(p.Argv[0], "zfs") && p.Argv[len(p.Argv)-1] == "ts" {
			n++
		}
	}
	return n
}
