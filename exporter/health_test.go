package exporter

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/checker"
	"snapwatch/checker/scan"
	"snapwatch/internal/zfs"
	"snapwatch/internal/zfstest"
)

const damagedTank = `"state":"DEGRADED","error_count":"2","scan_stats":{"function":"SCRUB","state":"FINISHED","start_time":"1774000000","end_time":"1774000100","errors":"2"}`

func TestPoolHealthIsAskedInTheBackground(t *testing.T) {
	w := world()
	w.Faults = []zfstest.Fault{{Words: []string{"zpool", "status", "tank"}, Calls: 1, Hang: true}}
	r := newRig(t, w)
	metrics := r.scrape()
	assert.Equal(t, "0", line(metrics, `snapwatch_pool_status{pool="tank",state="ok"}`), "nothing waits for zpool")
	assert.Equal(t, "no such series", line(metrics, `snapwatch_pool_fill_ratio{pool="tank"}`))
	r.fake.AwaitHung(1)
	r.scrape()
	assert.Equal(t, 1, r.fake.Hung(), "a pool that is being asked is not asked again")
	r.fake.EndHung()
	r.settle(t)

	r.clock.forward(5 * time.Minute)
	r.scrape()
	r.settle(t)
	metrics = r.scrape()
	assert.Equal(t, "0.25", line(metrics, `snapwatch_pool_fill_ratio{pool="tank"}`))
	assert.Equal(t, "1.7747e+09", line(metrics, `snapwatch_pool_last_scrub_timestamp_seconds{pool="tank"}`))
	calls := len(r.fake.ZpoolCalls())
	r.clock.forward(5*time.Minute - 1)
	r.restart()
	r.scrape()
	r.settle(t)
	assert.Len(t, r.fake.ZpoolCalls(), calls, "a restart does not forget")
	assert.Equal(t, "0.25", line(r.scrape(), `snapwatch_pool_fill_ratio{pool="tank"}`))
}

func TestRootsReportDamagesADisk(t *testing.T) {
	report := filepath.Join(t.TempDir(), scan.DamageName)
	w := world()
	w.Zpool = map[string]string{"tank": damagedTank}
	r := newRig(t, w, func(s *Settings) { s.DamageReport = report })
	scrape := func() string {
		r.scrape()
		r.settle(t)
		return r.scrape()
	}
	metrics := scrape()
	assert.Equal(t, "1", line(metrics, `snapwatch_pool_state{pool="tank",state="errors"}`))
	assert.Equal(t, "2", line(metrics, `snapwatch_pool_status{pool="tank",state="errors"}`))
	assert.Equal(t, "1", line(metrics, `snapwatch_pool_state{pool="tank",state="degraded"}`), "each fault of a pool is shown")
	assert.Equal(t, "1", line(metrics, `snapwatch_pool_status{pool="tank",state="degraded"}`))
	assert.Equal(t, "0", line(metrics, `snapwatch_pool_state{pool="tank",state="full"}`))
	assert.Equal(t, "0", line(metrics, `snapwatch_pool_status{pool="tank",state="full"}`))
	assert.Equal(t, "0", line(metrics, `snapwatch_pool_state{pool="tank",state="ok"}`))
	assert.Equal(t, "2", line(metrics, `snapwatch_pool_permanent_errors{pool="tank"}`))
	assert.Equal(t, "0", line(metrics, `snapwatch_disk_state{dataset="tank/a/vm-100-disk-0",disk="vm-100-disk-0",pool="tank",state="damaged"`))

	require.NoError(t, scan.SaveDamage(report, map[string]*checker.Damage{"tank": {
		At: r.clock.now(), Exact: true, Damage: zfs.Damage{Snapshots: map[string][]string{"tank/a/vm-100-disk-0": {"x"}}},
	}}))
	metrics = scrape()
	assert.Equal(t, "1", line(metrics, `snapwatch_disk_state{dataset="tank/a/vm-100-disk-0",disk="vm-100-disk-0",pool="tank",state="damaged"`))
	assert.Equal(t, "0", line(metrics, `snapwatch_disk_state{dataset="tank/a/subvol-101-disk-0",disk="subvol-101-disk-0",pool="tank",state="damaged"`))
	assert.Equal(t, "1", line(metrics, `snapwatch_guest_state{origin_cluster="east",state="damaged",vmid="100"`))
	assert.Equal(t, "0", line(metrics, `snapwatch_guest_state{origin_cluster="east",state="damaged",vmid="101"`))
}

func TestPageShowsPoolsThatAreNotWell(t *testing.T) {
	w := world()
	w.Zpool = map[string]string{"tank": damagedTank}
	r := newRig(t, w)
	r.waitPage(t, "/")
	page := r.waitPage(t, "/")
	assert.Contains(t, page, `<p class="bar red"><strong>✕ pool tank is not well: errors</strong>`)
	assert.Contains(t, page, "2 permanent errors, disks unknown: needs root (snapwatch health); ZFS calls it DEGRADED")
	assert.NotContains(t, page, "cannot be read")
	assert.NotContains(t, page, "pool rpool is not well")
	assert.Contains(t, page, "; 25% taken")
}
