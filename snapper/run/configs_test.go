package run

import (
	"fmt"
	"math/rand"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/pve"
	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
	"snapwatch/snapper"
)

// captureRun plans for one guest with two disks, of which one is snapshotted.
func captureRun(config string, kept report.Kept, destroys ...snapper.Destroy) (*run, snapper.Plan) {
	r := testRun()
	r.start = time.Date(2026, 7, 15, 12, 7, 0, 0, time.UTC)
	r.Config.CaptureConfig = true
	r.report.Configs = map[string]report.Kept{}
	r.previous.Configs = map[string]report.Kept{disk0: kept}
	id := pve.ID{VMID: 100, Kind: pve.QEMU}
	g := snapper.NodeView{Cluster: pve.Cluster{Node: "pve1", Guests: map[int]pve.Config{100: {ID: id, Text: config}}}}
	plan := snapper.Plan{Destroys: destroys, Guests: []snapper.GuestPlan{{Pool: "tank", VMID: 100, Class: zfs.Hourly, Snapshot: "autosnap_2026-07-15_12:07:00_hourly",
		Disks: []snapper.DiskPlan{{Dataset: disk0, Snapshot: true}, {Dataset: disk1}}}}}
	r.capture(plan, g, []snapper.Disk{{Dataset: zfs.Dataset{Name: disk0}, Snapshots: []zfs.Snapshot{{Dataset: disk0, Name: "autosnap_2026-07-15_10:00:00_hourly"}}}})
	return r, plan
}

func TestCapture(t *testing.T) {
	_, plan := captureRun("name: a\n", report.Kept{})
	first := plan.Guests[0].Disks[0].Config
	require.NotNil(t, first)
	assert.Nil(t, plan.Guests[0].Disks[1].Config, "it gets no snapshot")

	before := time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)
	kept := report.Kept{Sum: first.Sum, Since: before, Snapshot: "autosnap_2026-07-15_10:00:00_hourly"}
	_, plan = captureRun("name: a\nlock: backup\n[snap]\nname: b\n", kept)
	assert.Nil(t, plan.Guests[0].Disks[0].Config, "what is not kept is no change")

	_, plan = captureRun("name: a\n", kept, snapper.Destroy{Dataset: disk0, Name: kept.Snapshot})
	require.NotNil(t, plan.Guests[0].Disks[0].Config, "the snapshot that has it is rotated away")
	assert.Equal(t, before, plan.Guests[0].Disks[0].Config.Since, "it is still the same")

	_, plan = captureRun("name: b\n", kept)
	assert.Equal(t, time.Date(2026, 7, 15, 12, 7, 0, 0, time.UTC), plan.Guests[0].Disks[0].Config.Since)
}

// What can't be kept is told once a day, and leaves the snapshot alone.
func TestCaptureTooLong(t *testing.T) {
	var long strings.Builder
	for i := range 40000 {
		long.WriteByte("0123456789abcdef"[(i*i*31+i/7)%16])
	}
	r, plan := captureRun("#"+strings.Repeat(long.String(), 7)+"\n", report.Kept{})
	assert.Nil(t, plan.Guests[0].Disks[0].Config)
	require.Len(t, r.report.Problems, 1)
	assert.Contains(t, r.report.Problems[0].Text, "the configuration of guest 100 is not kept with its snapshots")
	kept := r.report.Configs[disk0]
	kept.Snapshot = "autosnap_2026-07-15_11:00:00_hourly"
	r, _ = captureRun("#"+strings.Repeat(long.String(), 7)+"\n", kept)
	assert.Empty(t, r.report.Problems, "told today")
}

// No program gets more words than the kernel takes: what stopped comes first.
func TestCaptureRoom(t *testing.T) {
	r := testRun()
	r.Config.CaptureConfig = true
	g := snapper.NodeView{Cluster: pve.Cluster{Node: "pve1", Guests: map[int]pve.Config{}}}
	plan := snapper.Plan{}
	for i := range 300 {
		vmid := 100 + i
		noise, text := rand.New(rand.NewSource(int64(i))), strings.Builder{}
		for range 5000 {
			text.WriteByte(byte('!' + noise.Intn(90)))
		}
		g.Cluster.Guests[vmid] = pve.Config{ID: pve.ID{VMID: vmid, Kind: pve.LXC}, Text: "#" + text.String() + "\n"}
		plan.Guests = append(plan.Guests, snapper.GuestPlan{Pool: "tank", VMID: vmid, Class: zfs.Hourly, Snapshot: "autosnap_2026-07-15_12:07:00_hourly",
			Disks: []snapper.DiskPlan{{Dataset: fmt.Sprintf("tank/vm-%d-disk-0", vmid), Snapshot: true}}})
	}
	plan.Guests[299].Class = zfs.Stopped
	r.capture(plan, g, nil)
	size, kept := 0, 0
	for _, p := range plan.Guests {
		if c := p.Disks[0].Config; c != nil {
			size += len(c.Value)
			kept++
		}
	}
	assert.LessOrEqual(t, size, maxCaptured)
	assert.Greater(t, kept, 60)
	assert.Less(t, kept, 300)
	assert.NotNil(t, plan.Guests[299].Disks[0].Config)
}
