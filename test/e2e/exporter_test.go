//go:build e2e

package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestExporter: an unprivileged exporter serves metrics to an unprivileged curl, while a guest runs
// and after the guest has stopped.
func TestExporter(t *testing.T) {
	w := newWorld(t)
	w.vm(100, "vm-100-disk-0")
	w.start(w.a, 100)
	w.snap(w.a, "f4")
	w.replicate("vm-100-disk-0")

	exporter, err := w.c.Start(w.ctx, "setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups",
		program(t), "exporter", "--web.listen-address=127.0.0.1:10191")
	require.NoError(t, err)
	defer exporter.Stop()
	require.NoError(t, exporter.WaitFor(w.ctx, "127.0.0.1:10191"))
	scrape := func() string {
		r, err := w.c.RunAs(w.ctx, "nobody", "curl", "-sf", "http://127.0.0.1:10191/metrics")
		require.NoError(t, err)
		require.Zero(t, r.Code, r.Stderr)
		return r.Stdout
	}
	const disk = `{dataset="tc/vm-100-disk-0",disk="vm-100-disk-0",pool="tc",`
	metrics := scrape()
	assert.Contains(t, metrics, "snapwatch_disk_newest_snapshot_suffix"+disk+`suffix="frequently",vmid="100"} 1`)
	assert.Contains(t, metrics, "snapwatch_disk_newest_snapshot_suffix"+disk+`suffix="stopped",vmid="100"} 0`)
	assert.Contains(t, metrics, "snapwatch_disk_newest_snapshot_timestamp_seconds"+disk+`vmid="100"} `+creation(w, "tc/vm-100-disk-0"))
	assert.Contains(t, metrics, "snapwatch_disk_newest_snapshot_age_seconds"+disk)
	assert.Contains(t, metrics, `snapwatch_pool_scrape_success{pool="tc"} 1`)

	w.stop(w.a, 100)
	w.snap(w.a, "f4")
	w.replicate("vm-100-disk-0")
	w.advanceClock(time.Minute) // for some seconds the exporter answers from its last scan
	metrics = scrape()
	assert.Contains(t, metrics, "snapwatch_disk_newest_snapshot_suffix"+disk+`suffix="stopped",vmid="100"} 1`)
	assert.Contains(t, metrics, "snapwatch_disk_state"+disk+`state="stopped",vmid="100"} 1`)
}

// creation returns the creation time of a dataset's newest snapshot, as Prometheus prints it.
func creation(w *world, dataset string) string {
	w.t.Helper()
	names := w.snapshots(dataset)
	seconds := strings.TrimSpace(w.zfs("get", "-Hp", "-o", "value", "creation", dataset+"@"+names[len(names)-1]))
	return seconds[:1] + "." + strings.TrimRight(seconds[1:], "0") + "e+09"
}
