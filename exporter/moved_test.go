package exporter

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"snapwatch/config"
	"snapwatch/internal/pve"
	"snapwatch/internal/zfstest"
)

// One guest is migrated to another node, and a second guest is destroyed, as Proxmox does it. The
// exporter does not report the disks of the migrated or destroyed guest as missing. The exporter
// does report a lost copy, and a lost disk of a guest that is still on the node.
func TestMigrationAndDestroyOnANodeMissNothing(t *testing.T) {
	var owners atomic.Pointer[pve.Owners]
	owners.Store(&pve.Owners{Node: "pve1", Of: map[int]string{100: "pve1", 101: "pve1", 102: "pve1"}})
	all := []zfstest.Dataset{
		{Name: "tank", GUID: 1}, disk("tank/east/vm-100-disk-0", 5),
		disk("tank/vm-100-disk-0", 2), disk("tank/vm-101-disk-0", 3), disk("tank/vm-102-disk-0", 4),
	}
	r := newRig(t, zfstest.World{Datasets: all}, func(s *Settings) {
		s.Owners = func() (pve.Owners, error) { return *owners.Load(), nil }
		s.Config.Sources = []config.Source{{Dataset: "tank/east", Origin: "rpool/data", Cluster: "east"}}
	})
	known := func(vmid int, node string) {
		assert.Eventually(t, func() bool {
			r.guests.join()
			o := r.guests.known()
			return o != nil && o.Of[vmid] == node
		}, time.Minute, time.Millisecond)
	}
	known(100, "pve1")
	r.scrape()
	metrics := r.scrape()
	assert.Equal(t, "1", line(metrics, `snapwatch_disk_owned{dataset="tank/vm-100-disk-0",disk="vm-100-disk-0",pool="tank",vmid="100"}`))
	assert.Equal(t, "0", line(metrics, `snapwatch_disk_owned{dataset="tank/east/vm-100-disk-0",disk="vm-100-disk-0",pool="tank",vmid="100"}`), "the number is another cluster's")

	r.fake.Set(zfstest.World{Datasets: all[:1]})
	owners.Store(&pve.Owners{Node: "pve1", Of: map[int]string{100: "pve2", 102: "pve1"}})
	known(100, "pve2")
	for range 2 {
		r.clock.forward(time.Minute)
		metrics = r.scrape()
	}
	missing := func(dataset, name, vmid string) string {
		return line(metrics, `snapwatch_disk_state{dataset="`+dataset+`",disk="`+name+`",pool="tank",state="missing",vmid="`+vmid+`"}`)
	}
	assert.Equal(t, "no such series", missing("tank/vm-100-disk-0", "vm-100-disk-0", "100"), "migrated")
	assert.Equal(t, "no such series", missing("tank/vm-101-disk-0", "vm-101-disk-0", "101"), "destroyed")
	assert.Equal(t, "1", missing("tank/vm-102-disk-0", "vm-102-disk-0", "102"), "still here")
	assert.Equal(t, "1", missing("tank/east/vm-100-disk-0", "vm-100-disk-0", "100"), "a copy")
}

// The exporter has the metrics about the host that the alert rules use.
func TestTheHostSaysWhatItsRulesNeed(t *testing.T) {
	r := newRig(t, world(), func(s *Settings) {
		s.Config.Maintenance = []config.Maintenance{
			{Selector: config.Selector{Pool: "tank"}, Until: start.Add(time.Hour)},
			{Selector: config.Selector{Pool: "other"}, Until: start.Add(2 * time.Hour)},
		}
	})
	metrics := r.scrape()
	assert.Equal(t, "0", line(metrics, "snapwatch_maintenance_expired"))
	assert.Equal(t, "1", line(metrics, "snapwatch_memory_kept"))
	begun := line(metrics, "snapwatch_start_timestamp_seconds")
	r.clock.forward(90 * time.Minute)
	metrics = r.scrape()
	assert.Equal(t, "1", line(metrics, "snapwatch_maintenance_expired"))
	assert.Equal(t, begun, line(metrics, "snapwatch_start_timestamp_seconds"))

	for _, dir := range []string{"", "/proc/nowhere"} {
		r = newRig(t, world(), func(s *Settings) { s.StateDir = dir })
		assert.Equal(t, "0", line(r.scrape(), "snapwatch_memory_kept"), "%q", dir)
	}
}
