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

// Whether a frozen guest's snapshots are consistent follows from the watchdog's result for the
// window and from the outcomes of the snapshots.
func TestFreezeResult(t *testing.T) {
	id := pve.ID{VMID: 101, Kind: pve.QEMU}
	u := snapper.Frozen{Group: "shop", Plans: []snapper.GuestPlan{
		{Pool: "ssd", Disks: []snapper.DiskPlan{{Dataset: "ssd/vm-101-disk-1", VMID: 101, Snapshot: true}}},
		{Pool: "tank", Disks: []snapper.DiskPlan{{Dataset: disk0, VMID: 101, Snapshot: true}, {Dataset: disk1, VMID: 101, Label: "pve1"}, {Dataset: "tank/data/vm-102-disk-0", VMID: 102, Snapshot: true}}},
	}}
	for _, test := range []struct {
		name    string
		result  freezeResult
		unfit   string
		unmade  []string
		want    report.Consistency
		reason  string
		frozen  float64
		nothing bool
		lacks   []snapper.Lack
		passing bool
	}{
		{name: "frozen", want: report.Application, frozen: 0.5},
		{name: "a disk is missing", lacks: []snapper.Lack{{Dataset: "a", NotDue: true}, {Dataset: "b"}}, want: report.Torn, reason: "the guest was frozen, and there is no snapshot of a, b", frozen: 0.5},
		{name: "a disk is not due", lacks: []snapper.Lack{{Dataset: "a", NotDue: true}}, want: report.Torn, reason: "no snapshot of a", frozen: 0.5, passing: true},
		{name: "unfit", unfit: "locked", want: report.Crash, reason: "it is not frozen: locked", frozen: 0.5},
		{name: "failed", result: freezeResult{failed: map[pve.ID]string{id: "refuses"}}, want: report.Crash, reason: "it could not be frozen: refuses", frozen: 0.5},
		{name: "no snapshot", unmade: []string{"ssd/vm-101-disk-1", disk0}, want: report.Crash, reason: "no snapshot was made: exit status 255", frozen: 0.5},
		{name: "neither frozen nor a snapshot", result: freezeResult{failed: map[pve.ID]string{id: "too late"}}, unmade: []string{"ssd/vm-101-disk-1", disk0}, want: report.Crash, reason: "no snapshot was made: exit status 255; it could not be frozen: too late", frozen: 0.5},
		{name: "no snapshot of one disk", unmade: []string{disk0}, lacks: []snapper.Lack{{Dataset: disk0, NotDue: true}}, want: report.Torn, reason: "the guest was frozen, and there is no snapshot of " + disk0, frozen: 0.5},
		{name: "too late", result: freezeResult{ended: quiesce.Ended{Early: "max_freeze (2s) is over"}}, want: report.Crash, reason: "it continued before the snapshot was made: max_freeze (2s) is over", frozen: 0.5},
		{name: "gave up by itself", result: freezeResult{ended: quiesce.Ended{Lapsed: map[pve.ID]string{id: "VSS"}}}, want: report.Crash, reason: "it may have continued before the snapshot was made: VSS", frozen: 0.5},
		{name: "not seen thawed", result: freezeResult{ended: quiesce.Ended{Left: map[pve.ID]string{id: "no answer"}}}, want: report.Crash, reason: "it was not seen thawed: no answer", frozen: 0.5},
		{name: "no window", nothing: true, want: report.Crash, reason: "the run was told to end"},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.result.view = snapper.NodeView{Evidence: map[int]snapper.Evidence{101: {Config: pve.Config{ID: id}}}}
			if !test.nothing {
				test.result.at = noon
				test.result.ended.Frozen = map[pve.ID]time.Duration{id: 500 * time.Millisecond}
			}
			outcomes := map[string]snapper.Outcome{
				"ssd/vm-101-disk-1": {Snapshot: "new"}, disk0: {Snapshot: "new"}, disk1: {}, "tank/data/vm-102-disk-0": {Err: errTest},
			}
			for _, dataset := range test.unmade {
				outcomes[dataset] = snapper.Outcome{Err: errTest}
			}
			test.result.lacks = func(int, func(string) bool, func(int) bool) []snapper.Lack { return test.lacks }
			q, passing := test.result.guest(snapper.Freeze{VMID: 101, How: config.Agent, Unfit: test.unfit}, u, outcomes)
			assert.Equal(t, test.want, q.Consistent)
			assert.Equal(t, test.passing, passing)
			assert.Contains(t, q.Reason, test.reason)
			assert.Equal(t, test.reason == "", q.Reason == "")
			assert.InDelta(t, test.frozen, q.Seconds, 0)
			assert.Equal(t, "shop", q.Group)
			assert.Equal(t, len(test.unmade) == 2, q.Snapshot == "")
		})
	}
}

// snap warns at every run about a guest that may still be frozen. snap warns about a guest that
// could not be frozen only in the first run with the same fault.
func TestTellFreeze(t *testing.T) {
	id := func(vmid int) pve.ID { return pve.ID{VMID: vmid, Kind: pve.QEMU} }
	f := &freezer{journal: testJournal(), previous: []report.Quiesced{{VMID: 102, Consistent: report.Crash, Faults: []string{"no answer"}}, {VMID: 101, Consistent: report.Application}}}
	u := snapper.Frozen{Plans: []snapper.GuestPlan{{Pool: "tank"}}}
	f.tell(u, freezeResult{
		freezes: []snapper.Freeze{{VMID: 101, Unfit: "no agent for 9s", Fault: "no answer"}, {VMID: 102, Unfit: "no agent for 9.3s", Fault: "no answer"}, {VMID: 103, Unfit: "locked", Passing: true}},
		ended:   quiesce.Ended{Left: map[pve.ID]string{id(101): "no answer"}},
	}, nil)
	said := f.report.Problems
	require.Len(t, said, 4)
	assert.Equal(t, report.Warning, said[0].Severity)
	assert.Equal(t, report.Notice, said[1].Severity)
	assert.Equal(t, report.Notice, said[2].Severity)
	assert.Equal(t, report.Problem{Severity: report.Warning, Text: "guest 101 was frozen for its snapshot, and may still be: no answer"}, said[3])
}

func TestCarryOver(t *testing.T) {
	r := report.Run{Quiesced: []report.Quiesced{{VMID: 103, Seconds: 1, Consistent: report.Application}, {VMID: 101, Seconds: 1}}}
	r.CarryOver([]report.Quiesced{{VMID: 101, Seconds: 2}, {VMID: 102, Seconds: 2}, {VMID: 104, Seconds: 2}}, func(vmid int) bool { return vmid != 104 })
	assert.Equal(t, []report.Quiesced{{VMID: 101, Seconds: 1}, {VMID: 102, Seconds: 2}, {VMID: 103, Seconds: 1, Consistent: report.Application}}, r.Quiesced)

	// If a guest was frozen twice in one run, the worse of the results of the two freezes counts.
	r.AddQuiesced(report.Quiesced{VMID: 103, Seconds: 0.5, Consistent: report.Torn})
	r.AddQuiesced(report.Quiesced{VMID: 103, Seconds: 3, Consistent: report.Application})
	assert.Equal(t, report.Quiesced{VMID: 103, Seconds: 3, Consistent: report.Torn}, r.Quiesced[2])
}
