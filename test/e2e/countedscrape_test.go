//go:build e2e && counted && before

package e2e

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestCountedScrape: in the steady state, a scrape of 200 guests with three disks each costs this
// build of snapwatch at most 10 % more processor time than the previous build.
func TestCountedScrape(t *testing.T) {
	w := newWorld(t)
	w.zfs("create", "-u", "-o", "volmode=none", "tc/many") // the volumes of a replica have no devices
	w.pipe("for g in $(seq 100 299); do for d in 0 1 2; do zfs create -s -V 16M tc/many/vm-$g-disk-$d || exit 1; done; done")
	w.zfs("snapshot", "-r", "tc/many@autosnap_"+time.Now().Format("2006-01-02_15:04:05")+"_hourly")
	now := program(t)
	before := filepath.Join(filepath.Dir(now), "before")
	took := map[string][]float64{}
	programs := []string{before, now}
	for i, p := range programs {
		e, err := w.c.Start(w.ctx, p, "exporter", fmt.Sprintf("--state-dir=/var/lib/scraped-%d", i), fmt.Sprintf("--web.listen-address=127.0.0.1:1020%d", i))
		require.NoError(t, err)
		require.NoError(t, e.WaitFor(w.ctx, "Listening on"))
	}
	for round := range 5 {
		for i, p := range programs {
			w.advanceClock(time.Minute) // the exporter answers from its last scan for some seconds
			out, err := w.c.Output(w.ctx, "curl", "-sf", "-H", "X-Prometheus-Scrape-Timeout-Seconds: 60", "-w", "took %{time_total}", fmt.Sprintf("http://127.0.0.1:1020%d/metrics", i))
			require.NoError(t, err)
			assert.Equal(t, 600, strings.Count(out, "\nsnapwatch_disk_info{"))
			seconds, err := strconv.ParseFloat(out[strings.LastIndexByte(out, ' ')+1:], 64)
			require.NoError(t, err)
			if round >= 2 { // the first rounds fill the cache
				took[p] = append(took[p], seconds)
			}
		}
	}
	median := func(p string) float64 { slices.Sort(took[p]); return took[p][len(took[p])/2] }
	t.Logf("seconds for a scrape: before %.3f, now %.3f; %.3f times as long", took[before], took[now], median(now)/median(before))
	assert.Less(t, median(now), 1.1*median(before))
}
