package run

import (
	"fmt"
	"math/rand"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/pve"
	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
	"snapwatch/snapper"
)

// captureRun adds a guest's configuration to the plan for the guest. The guest has two disks, and
// the plan takes a snapshot of one disk. captureRun returns the captures and the changed plan.
func captureRun(config string, kept report.Kept, destroys ...snapper.Destroy) (*captures, []snapper.GuestPlan) {
	o := testOptions()
	o.Config.CaptureConfig = true
	c := newCaptures(o, testJournal(), "pve1", map[string]report.Kept{disk0: kept})
	id := pve.ID{VMID: 100, Kind: pve.QEMU}
	view := snapper.NodeView{Cluster: pve.Cluster{Node: "pve1", Storages: []pve.Storage{{Name: "data"}}, Guests: map[int]pve.Config{100: {ID: id, Text: "name: as it was\n"}}}}
	plan := snapper.Plan{Destroys: destroys, Guests: []snapper.GuestPlan{{Pool: "tank", VMID: 100, Class: zfs.Hourly, Snapshot: "autosnap_2026-07-15_12:07:00_hourly",
		Disks: []snapper.DiskPlan{{Dataset: disk0, Snapshot: true}, {Dataset: disk1}}}}}
	c.round(plan, []snapper.Disk{{Dataset: zfs.Dataset{Name: disk0}, Snapshots: []zfs.Snapshot{{Dataset: disk0, Name: "autosnap_2026-07-15_10:00:00_hourly"}}}})
	return c, c.fill(plan.Guests, view, map[int]snapper.LastLook{100: {Config: pve.Config{ID: id, Text: config}}})
}

// A guest configuration that is kept with snapshots also names the guest's storages of which this
// node takes no snapshots.
func TestCaptureNamesOtherStorages(t *testing.T) {
	_, plans := captureRun("scsi0: data:vm-100-disk-0\nscsi1: lvm:vm-100-disk-0\n", report.Kept{})
	kept, err := pve.ReadCaptured(plans[0].Disks[0].Config.Value)
	require.NoError(t, err)
	assert.Equal(t, []string{"lvm"}, kept.Others())
}

func TestCapture(t *testing.T) {
	_, plans := captureRun("name: a\n", report.Kept{})
	first := plans[0].Disks[0].Config
	require.NotNil(t, first)
	assert.False(t, first.Reference)
	assert.Nil(t, plans[0].Disks[1].Config, "it gets no snapshot")
	text, err := pve.ReadCaptured(first.Value)
	require.NoError(t, err)
	assert.Contains(t, text.Text, "name: a\n", "as it is at the program")

	kept := report.Kept{Sum: first.Sum, Snapshot: "autosnap_2026-07-15_10:00:00_hourly"}
	_, plans = captureRun("name: a\nlock: backup\n[snap]\nname: b\n", kept)
	sum, refers := pve.ReadReference(plans[0].Disks[0].Config.Value)
	assert.True(t, refers, "what is not kept is not a change")
	assert.Equal(t, first.Sum, sum)

	_, plans = captureRun("name: a\n", kept, snapper.Destroy{Dataset: disk0, Name: kept.Snapshot})
	assert.Equal(t, first, plans[0].Disks[0].Config, "the snapshot that has it is rotated away")

	_, plans = captureRun("name: b\n", kept)
	assert.False(t, plans[0].Disks[0].Config.Reference)
}

// A guest configuration that is too long to be kept with a snapshot is reported once a day, and
// does not prevent the snapshot.
func TestCaptureTooLong(t *testing.T) {
	var long strings.Builder
	for i := range 40000 {
		long.WriteByte("0123456789abcdef"[(i*i*31+i/7)%16])
	}
	c, plans := captureRun("#"+strings.Repeat(long.String(), 7)+"\n", report.Kept{})
	assert.Nil(t, plans[0].Disks[0].Config)
	require.Len(t, c.report.Problems, 1)
	assert.Contains(t, c.report.Problems[0].Text, "the configuration of guest 100 is not kept with its snapshots")
	kept := c.keptRecords(c.before, nil, nil)[disk0]
	kept.Snapshot = "autosnap_2026-07-15_11:00:00_hourly"
	c, _ = captureRun("#"+strings.Repeat(long.String(), 7)+"\n", kept)
	assert.Empty(t, c.report.Problems, "told today")
}

// A guest's configuration is compressed only once for all its disks, because the run holds the
// guest's lock while it compresses.
func TestCapturePacksAGuestOnce(t *testing.T) {
	fill := func(disks int, line string) (*captures, float64) {
		o := testOptions()
		o.Config.CaptureConfig = true
		c := newCaptures(o, testJournal(), "pve1", nil)
		config := pve.Config{ID: pve.ID{VMID: 100, Kind: pve.QEMU}, Text: line}
		plan := snapper.GuestPlan{Pool: "tank", VMID: 100, Class: zfs.Hourly, Snapshot: "autosnap_2026-07-15_12:07:00_hourly"}
		for i := range disks {
			plan.Disks = append(plan.Disks, snapper.DiskPlan{Dataset: fmt.Sprintf("tank/vm-100-disk-%d", i), Snapshot: true})
		}
		c.round(snapper.Plan{}, nil)
		view := snapper.NodeView{Cluster: pve.Cluster{Node: "pve1", Guests: map[int]pve.Config{100: config}}}
		looks := map[int]snapper.LastLook{100: {Config: config}}
		return c, testing.AllocsPerRun(1, func() {
			for _, d := range c.fill([]snapper.GuestPlan{plan}, view, looks)[0].Disks {
				if config.Text == "name: a\n" {
					assert.False(t, d.Config.Reference)
				}
			}
		})
	}
	_, one := fill(1, "name: a\n")
	_, three := fill(3, "name: a\n")
	assert.Less(t, three, 2*one) // without this, there would be three times as many
	noise, long := rand.New(rand.NewSource(1)), strings.Builder{}
	for range 20000 {
		long.WriteByte(byte('!' + noise.Intn(90)))
	}
	c, _ := fill(3, "#"+long.String()+"\n")
	assert.Len(t, c.report.Problems, 2, "once a program, of which there were two")
}

// The arguments of a channel program are never longer than the kernel accepts.
func TestCaptureRoom(t *testing.T) {
	o := testOptions()
	o.Config.CaptureConfig = true
	c := newCaptures(o, testJournal(), "pve1", nil)
	g := snapper.NodeView{Cluster: pve.Cluster{Node: "pve1", Guests: map[int]pve.Config{}}}
	looks := map[int]snapper.LastLook{}
	var plans []snapper.GuestPlan
	for i := range 300 {
		vmid := 100 + i
		noise, text := rand.New(rand.NewSource(int64(i))), strings.Builder{}
		for range 5000 {
			text.WriteByte(byte('!' + noise.Intn(90)))
		}
		config := pve.Config{ID: pve.ID{VMID: vmid, Kind: pve.LXC}, Text: "#" + text.String() + "\n"}
		g.Cluster.Guests[vmid], looks[vmid] = config, snapper.LastLook{Config: config}
		plans = append(plans, snapper.GuestPlan{Pool: "tank", VMID: vmid, Class: zfs.Hourly, Snapshot: "autosnap_2026-07-15_12:07:00_hourly",
			Disks: []snapper.DiskPlan{{Dataset: fmt.Sprintf("tank/vm-%d-disk-0", vmid), Snapshot: true}}})
	}
	c.round(snapper.Plan{}, nil)
	size, kept := 0, 0
	for _, p := range c.fill(plans, g, looks) {
		due := p.Disks[0].Config
		if size += len(due.Value); !due.Reference {
			kept++
		}
	}
	assert.LessOrEqual(t, size, maxCaptured+300*20)
	assert.Greater(t, kept, 60)
	assert.Less(t, kept, 300)
}

// state.json has a record of the configuration that is kept with a disk's snapshots. The record
// remains while the disk's pool cannot be read, and is removed when the disk is gone.
func TestCaptureKept(t *testing.T) {
	o := testOptions()
	o.Config.CaptureConfig = true
	kept := report.Kept{Sum: "1", Snapshot: "a"}
	c := newCaptures(o, testJournal(), "pve1", map[string]report.Kept{disk0: kept, disk1: kept, "tank/other/vm-1-disk-0": kept, "ssd/vm-1-disk-0": kept})
	read := &pool{name: "tank", parents: []string{"tank/data"}, disks: []snapper.Disk{{Dataset: zfs.Dataset{Name: disk0}}}}
	unread := &pool{name: "ssd", err: errTest}
	assert.Equal(t, map[string]report.Kept{disk0: kept, "tank/other/vm-1-disk-0": kept, "ssd/vm-1-disk-0": kept}, c.keptRecords(c.before, nil, []*pool{read, unread}))
	made := map[string]snapper.Outcome{disk0: {Snapshot: "b", Config: &snapper.Capture{Sum: "2"}}}
	assert.Equal(t, report.Kept{Sum: "2", Snapshot: "b"}, c.keptRecords(c.before, made, []*pool{read})[disk0])
	made[disk0].Config.Reference = true
	assert.Equal(t, kept, c.keptRecords(c.before, made, []*pool{read})[disk0])
}
