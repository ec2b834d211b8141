package exporter

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"snapwatch/internal/zfstest"
)

// If the disks of a guest have different newest snapshots, a scrape looks up older snapshots of
// these disks. Later scrapes use the results of the lookup until one of the guest's disks changes.
func TestAScrapeLooksUpWhatGuestsDifferIn(t *testing.T) {
	one, two := zfstest.Dataset{Name: "tank/vm-1-disk-0", GUID: 11}, zfstest.Dataset{Name: "rpool/vm-1-disk-1", GUID: 12}
	one.Snapshots = []zfstest.Snapshot{snapshot("hourly", 1, 9*time.Hour), snapshot("hourly", 2, time.Minute)}
	two.Snapshots = []zfstest.Snapshot{snapshot("hourly", 3, 9*time.Hour), snapshot("hourly", 4, 2*time.Minute)}
	for _, d := range []*zfstest.Dataset{&one, &two} {
		d.Creation, d.Changed = start.Unix()-864000, start.Unix()-600
	}
	r := newRig(t, zfstest.World{Datasets: []zfstest.Dataset{{Name: "rpool", GUID: 1}, {Name: "tank", GUID: 2}, one, two}})
	page := r.scrape()
	assert.Contains(t, page, `snapwatch_guest_state{origin_cluster="",state="torn",vmid="1"} 1`)
	assert.Contains(t, page, `snapwatch_guest_status{origin_cluster="",vmid="1"} 2`)
	assert.NotEmpty(t, line(page, `snapwatch_guest_restore_point_timestamp_seconds{origin_cluster="",vmid="1"} `))
	assert.Contains(t, get(server().Handler(r.Store), "/api/v1/disks").Body.String(), `"verdict": "torn"`)
	assert.Contains(t, get(server().Handler(r.Store), "/").Body.String(), "its disks have nothing newer in common than ")
	r.settle(t)
	r.fake.Forget()
	r.clock.forward(time.Minute)
	r.scrape()
	for _, call := range r.fake.Calls() {
		assert.False(t, strings.Contains(call, "-t snapshot"), call)
	}
}
