package run

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/config"
	"snapwatch/internal/pve"
	"snapwatch/internal/quiesce"
	"snapwatch/internal/report"
	"snapwatch/snapper"
)

func TestFrozenUnits(t *testing.T) {
	a, b := snapper.Freeze{VMID: 101, How: config.Agent}, snapper.Freeze{VMID: 102, How: config.Agent}
	units, others := frozenUnits([]snapper.GuestPlan{
		{Pool: "tank", VMID: 100},
		{Pool: "ssd", Group: "shop", Freeze: []snapper.Freeze{a, b}},
		{Pool: "tank", Group: "shop", Freeze: []snapper.Freeze{a, b}},
		{Pool: "tank", Group: "shop"}, // other classes, and nothing is due there
		{Pool: "tank", VMID: 101, Snapshot: "stopped"},
		{Pool: "tank", Group: "plain"},
		{Pool: "tank", VMID: 103, Freeze: []snapper.Freeze{{VMID: 103}}},
	})
	require.Len(t, units, 2)
	assert.Equal(t, "shop", units[0].group)
	assert.Len(t, units[0].plans, 3)
	assert.Equal(t, []snapper.Freeze{a, b}, units[0].freezes)
	assert.Equal(t, []snapper.Freeze{{VMID: 103}}, units[1].freezes)
	require.Len(t, others, 3)
	assert.Equal(t, []int{100, 101, 0}, []int{others[0].VMID, others[1].VMID, others[2].VMID})
}

// How a guest fared, by what became of its window and of its snapshots.
func TestFaring(t *testing.T) {
	id := pve.ID{VMID: 101, Kind: pve.QEMU}
	u := frozenUnit{group: "shop", plans: []snapper.GuestPlan{
		{Pool: "ssd", Disks: []snapper.DiskPlan{{Dataset: "ssd/vm-101-disk-1", VMID: 101, Snapshot: true}}},
		{Pool: "tank", Disks: []snapper.DiskPlan{{Dataset: disk0, VMID: 101, Snapshot: true}, {Dataset: disk1, VMID: 101, Label: "pve1"}, {Dataset: "tank/data/vm-102-disk-0", VMID: 102, Snapshot: true}}},
	}}
	for _, test := range []struct {
		name    string
		fared   freezeResult
		unfit   string
		unmade  bool
		want    report.Consistency
		reason  string
		frozen  float64
		nothing bool
	}{
		{name: "held still", want: report.Application, frozen: 0.5},
		{name: "unfit", unfit: "locked", want: report.Crash, reason: "it is not held still: locked", frozen: 0.5},
		{name: "failed", fared: freezeResult{failed: map[pve.ID]string{id: "refuses"}}, want: report.Crash, reason: "it could not be held still: refuses", frozen: 0.5},
		{name: "no snapshot", unmade: true, want: report.Crash, reason: "no snapshot was made: exit status 255", frozen: 0.5},
		{name: "too late", fared: freezeResult{ended: quiesce.Ended{Early: "max_freeze (2s) is over"}}, want: report.Crash, reason: "it went on before the snapshot was made: max_freeze (2s) is over", frozen: 0.5},
		{name: "gave up by itself", fared: freezeResult{ended: quiesce.Ended{Lapsed: map[pve.ID]string{id: "VSS"}}}, want: report.Crash, reason: "it may have gone on before the snapshot was made: VSS", frozen: 0.5},
		{name: "no window", nothing: true, want: report.Crash, reason: "the run was told to end"},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.fared.kinds = map[int]pve.Kind{101: pve.QEMU}
			if !test.nothing {
				test.fared.at = noon
				test.fared.ended.Frozen = map[pve.ID]time.Duration{id: 500 * time.Millisecond}
			}
			outcomes := outcomesByPool{
				"ssd":  {"ssd/vm-101-disk-1": {Snapshot: "new"}},
				"tank": {disk0: {Snapshot: "new"}, disk1: {}, "tank/data/vm-102-disk-0": {Err: errTest}},
			}
			if test.unmade {
				outcomes["tank"][disk0] = snapper.Outcome{Err: errTest}
			}
			q := test.fared.guest(snapper.Freeze{VMID: 101, How: config.Agent, Unfit: test.unfit}, u, outcomes)
			assert.Equal(t, test.want, q.Consistent)
			assert.Contains(t, q.Reason, test.reason)
			assert.Equal(t, test.reason == "", q.Reason == "")
			assert.InDelta(t, test.frozen, q.Seconds, 0)
			assert.Equal(t, "shop", q.Group)
			assert.Equal(t, test.unmade, q.Snapshot == "")
		})
	}
}

// What may still be frozen is worth a mail every time; that a guest could not be held
// still is when that begins.
func TestReportFared(t *testing.T) {
	r := testRun()
	r.previous.Quiesced = []report.Quiesced{{VMID: 102, Consistent: report.Crash}, {VMID: 101, Consistent: report.Application}}
	u := frozenUnit{plans: []snapper.GuestPlan{{Pool: "tank"}}}
	left := map[pve.ID]string{{VMID: 101, Kind: pve.QEMU}: "no answer"}
	r.reportFreeze(u, freezeResult{
		freezes: []snapper.Freeze{{VMID: 101, Unfit: "no agent"}, {VMID: 102, Unfit: "no agent"}, {VMID: 103, Unfit: "locked", Passing: true}},
		ended:   quiesce.Ended{Left: left},
	}, outcomesByPool{})
	require.Len(t, r.report.Problems, 4)
	assert.Equal(t, report.Warning, r.report.Problems[0].Severity)
	assert.Equal(t, report.Notice, r.report.Problems[1].Severity)
	assert.Equal(t, report.Notice, r.report.Problems[2].Severity)
	assert.Equal(t, report.Problem{Severity: report.Warning, Text: "guest 101 was held still for its snapshot, and may be yet: no answer"}, r.report.Problems[3])
}

func TestCarryOver(t *testing.T) {
	r := report.Run{Quiesced: []report.Quiesced{{VMID: 103, Seconds: 1}, {VMID: 101, Seconds: 1}}}
	r.CarryOver([]report.Quiesced{{VMID: 101, Seconds: 2}, {VMID: 102, Seconds: 2}, {VMID: 104, Seconds: 2}}, func(vmid int) bool { return vmid != 104 })
	assert.Equal(t, []report.Quiesced{{VMID: 101, Seconds: 1}, {VMID: 102, Seconds: 2}, {VMID: 103, Seconds: 1}}, r.Quiesced)
}
