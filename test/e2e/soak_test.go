//go:build e2e && soak

package e2e

import (
	"flag"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var soakMinutes = flag.Int("minutes", 60, "how long TestExporterForLong scrapes")

// TestExporterForLong: an exporter is scraped all the time, while snapshots are made and destroyed,
// zfs sometimes fails, and clients hang up. The exporter must not grow: at the end of the test, its
// numbers of goroutines and open files, and its memory, are not larger than after the first tenth
// of the test.
func TestExporterForLong(t *testing.T) {
	w := newWorld(t)
	w.loaded("--scan-timeout=4s")
	f := w.flaky(w.c, "/usr/sbin/zfs")
	end := time.Now().Add(time.Duration(*soakMinutes) * time.Minute)
	warm := time.Now().Add(time.Until(end) / 10)
	var early, last gauges
	for round := 0; time.Now().Before(end); round++ {
		w.zfs("snapshot", fmt.Sprintf("tc/vm-100-disk-%d@autosnap_%s_frequently", round%2, time.Now().UTC().Format("2006-01-02_15:04:05")))
		if names := w.snapshots(fmt.Sprintf("tc/vm-100-disk-%d", round%2)); len(names) > 20 {
			w.zfs("destroy", fmt.Sprintf("tc/vm-100-disk-%d@%s", round%2, names[0]))
		}
		if round%5 == 4 {
			f.set("every", faultKinds[round/5%len(faultKinds)])
		} else {
			f.set("never", "")
		}
		_, err := w.c.Run(w.ctx, "wrk", "-t1", "-c8", "-d1s", "-H", "X-Prometheus-Scrape-Timeout-Seconds: 1", exporterURL+"/metrics")
		require.NoError(t, err)
		f.set("never", "")
		_, err = w.c.Run(w.ctx, "pkill", "-9", "-x", "sleep")
		require.NoError(t, err)
		if last = w.gauges(); early == (gauges{}) && time.Now().After(warm) {
			early = last
		}
		if round%20 == 0 {
			t.Logf("round %d: %+v", round, last)
		}
	}
	w.bounded(early, 5)
	last = w.gauges()
	t.Logf("early %+v, at the end %+v", early, last)
	assert.Less(t, last.rss, early.rss*1.3+20e6, "memory")
}
