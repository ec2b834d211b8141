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
func captureRun(config string, kept report.Kept, destroys ...snapper.Destroy) (*captures, snapper.Plan) {
	o := testOptions()
	o.Config.CaptureConfig = true
	c := newCaptures(o, testJournal(), noon, "pve1", map[string]report.Kept{disk0: kept})
	id := pve.ID{VMID: 100, Kind: pve.QEMU}
	view := snapper.NodeView{Cluster: pve.Cluster{Node: "pve1", Guests: map[int]pve.Config{100: {ID: id, Text: config}}}}
	plan := snapper.Plan{Destroys: destroys, Guests: []snapper.GuestPlan{{Pool: "tank", VMID: 100, Class: zfs.Hourly, Snapshot: "autosnap_2026-07-15_12:07:00_hourly",
		Disks: []snapper.DiskPlan{{Dataset: disk0, Snapshot: true}, {Dataset: disk1}}}}}
	c.plan(plan, view, []snapper.Disk{{Dataset: zfs.Dataset{Name: disk0}, Snapshots: []zfs.Snapshot{{Dataset: disk0, Name: "autosnap_2026-07-15_10:00:00_hourly"}}}})
	return c, plan
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
	c, plan := captureRun("#"+strings.Repeat(long.String(), 7)+"\n", report.Kept{})
	assert.Nil(t, plan.Guests[0].Disks[0].Config)
	require.Len(t, c.report.Problems, 1)
	assert.Contains(t, c.report.Problems[0].Text, "the configuration of guest 100 is not kept with its snapshots")
	kept := c.kept(nil, nil)[disk0]
	kept.Snapshot = "autosnap_2026-07-15_11:00:00_hourly"
	c, _ = captureRun("#"+strings.Repeat(long.String(), 7)+"\n", kept)
	assert.Empty(t, c.report.Problems, "told today")
}

// No program gets more words than the kernel takes: what stopped comes first.
func TestCaptureRoom(t *testing.T) {
	o := testOptions()
	o.Config.CaptureConfig = true
	c := newCaptures(o, testJournal(), noon, "pve1", nil)
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
	c.plan(plan, g, nil)
	size, kept := 0, 0
	for _, p := range plan.Guests {
		if due := p.Disks[0].Config; due != nil {
			size += len(due.Value)
			kept++
		}
	}
	assert.LessOrEqual(t, size, maxCaptured)
	assert.Greater(t, kept, 60)
	assert.Less(t, kept, 300)
	assert.NotNil(t, plan.Guests[299].Disks[0].Config)
}

// What is known of a disk's configuration stays while its pool is not read, and goes with it.
func TestCaptureKept(t *testing.T) {
	o := testOptions()
	o.Config.CaptureConfig = true
	kept := report.Kept{Sum: "1", Snapshot: "a"}
	c := newCaptures(o, testJournal(), noon, "pve1", map[string]report.Kept{disk0: kept, disk1: kept, "tank/other/vm-1-disk-0": kept, "ssd/vm-1-disk-0": kept})
	read := &pool{name: "tank", parents: []string{"tank/data"}, disks: []snapper.Disk{{Dataset: zfs.Dataset{Name: disk0}}}}
	unread := &pool{name: "ssd", err: errTest}
	assert.Equal(t, map[string]report.Kept{disk0: kept, "tank/other/vm-1-disk-0": kept, "ssd/vm-1-disk-0": kept}, c.kept(nil, []*pool{read, unread}))
	made := map[string]snapper.Outcome{disk0: {Snapshot: "b", Config: &snapper.Capture{Sum: "2", Since: noon}}}
	assert.Equal(t, report.Kept{Sum: "2", Since: noon, Snapshot: "b"}, c.kept(made, []*pool{read})[disk0])
}
