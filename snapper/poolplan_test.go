package snapper

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/config"
	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
)

// Plan.ForPool returns the steps of a plan on one pool. ForPool leaves out the steps for guests
// that stopped and for guests that must be frozen. Every remaining step of the plan is in the
// result for exactly one pool.
func TestPlanForPool(t *testing.T) {
	plan := hookPlan()
	plan.Guests = append(plan.Guests, GuestPlan{Pool: "tank", VMID: 105, Class: zfs.Hourly, Freeze: []Freeze{{VMID: 105}}}, GuestPlan{Pool: "ssd", VMID: 105, Class: zfs.Hourly})
	mark := func(dataset string) JudgedBookmark {
		return JudgedBookmark{Snapshot: zfs.Snapshot{Dataset: dataset, Name: "a"}}
	}
	plan.Abandoned = []JudgedBookmark{mark("tank/vm-102-disk-0"), mark("tank/vm-101-disk-0"), mark("ssd/vm-100-disk-1")}
	plan.DestroyBookmarks = []zfs.Snapshot{{Dataset: "ssd/vm-100-disk-1", Name: "b"}}

	tank, ssd := plan.ForPool("tank"), plan.ForPool("ssd")
	assert.Equal(t, []int{100, 101, 103}, vmidsOf(tank.Guests))
	assert.Equal(t, []int{100}, vmidsOf(ssd.Guests))
	assert.Equal(t, plan.Destroys, tank.Destroys)
	assert.Equal(t, plan.CreateBookmarks, tank.CreateBookmarks)
	assert.Equal(t, plan.InheritReceived, tank.InheritReceived)
	assert.Equal(t, plan.Abandoned[:1], tank.AbandonedOfStops)
	assert.Equal(t, plan.Abandoned[1:2], tank.Abandoned)
	assert.Equal(t, plan.Abandoned[2:], ssd.Abandoned)
	assert.Equal(t, plan.DestroyBookmarks, ssd.DestroyBookmarks)
	assert.Empty(t, ssd.Destroys)
	assert.Empty(t, plan.ForPool("other"))

	stops := plan.Stops()
	require.Len(t, stops, 1)
	assert.Equal(t, 102, stops[0].VMID)
	frozen := plan.Frozen()
	require.Len(t, frozen, 1)
	assert.Len(t, frozen[0].Plans, 2, "of both pools")
}

func vmidsOf(guests []GuestPlan) (list []int) {
	for _, g := range guests {
		list = append(list, g.VMID)
	}
	return list
}

func TestFrozen(t *testing.T) {
	a, b := Freeze{VMID: 101, How: config.Agent}, Freeze{VMID: 102, How: config.Agent}
	plan := Plan{Guests: []GuestPlan{
		{Pool: "tank", VMID: 100},
		{Pool: "ssd", Group: "shop", Freeze: []Freeze{a, b}},
		{Pool: "tank", Group: "shop", Freeze: []Freeze{a, b}},
		{Pool: "tank", Group: "shop"}, // the same group, with classes not due on this pool
		{Pool: "tank", VMID: 101, Snapshot: "stopped", Class: zfs.Stopped},
		{Pool: "tank", Group: "plain"},
		{Pool: "tank", VMID: 103, Freeze: []Freeze{{VMID: 103}}},
	}}
	for i := range plan.Guests {
		if plan.Guests[i].Snapshot == "" {
			plan.Guests[i].Class = zfs.Hourly
		}
	}
	frozen := plan.Frozen()
	require.Len(t, frozen, 2)
	assert.Equal(t, "shop", frozen[0].Group)
	assert.Len(t, frozen[0].Plans, 3)
	assert.Equal(t, []Freeze{a, b}, frozen[0].Freezes)
	assert.Equal(t, []Freeze{{VMID: 103}}, frozen[1].Freezes)
	assert.Equal(t, []int{100, 0}, vmidsOf(plan.ForPool("tank").Guests))
}

// If the hook of a guest failed, the guest's disks get neither a snapshot nor a label, and none of
// their old snapshots is destroyed. The plan keeps the steps for each guest whose hooks did not
// fail.
func TestPlanWithout(t *testing.T) {
	plan, refused := hookPlan().Without(map[int]error{100: errors.New("no")})
	assert.Len(t, refused, 2)
	assert.ErrorContains(t, refused["ssd/vm-100-disk-1"].Err, "no")
	for _, g := range plan.Guests {
		assert.NotEqual(t, 100, g.VMID)
	}
	assert.Len(t, plan.Guests, 3)
	now, _ := plan.ForPool("tank").Allowed(refused)
	assert.Equal(t, []Destroy{{Dataset: "tank/vm-101-disk-0", Name: "old"}, {Dataset: "tank/vm-102-disk-0", Name: "old"}}, now)
}

// If the hook of one guest in a group fails, the remaining guests of the group are frozen and get
// their snapshots. The guest whose hook failed is not frozen.
func TestPlanWithoutMember(t *testing.T) {
	whole := Plan{Guests: []GuestPlan{{Group: "shop", Class: zfs.Hourly, Freeze: []Freeze{{VMID: 100}, {VMID: 101}}, Disks: []DiskPlan{
		{Dataset: "tank/vm-100-disk-0", VMID: 100, Snapshot: true}, {Dataset: "tank/vm-101-disk-0", VMID: 101, Snapshot: true},
	}}}}
	plan, refused := whole.Without(map[int]error{100: errors.New("no")})
	require.Len(t, plan.Guests, 1)
	assert.Equal(t, []Freeze{{VMID: 101}}, plan.Guests[0].Freeze)
	assert.Equal(t, whole.Guests[0].Disks[1:], plan.Guests[0].Disks)
	assert.Contains(t, refused, "tank/vm-100-disk-0")
	assert.Len(t, whole.Guests[0].Freeze, 2)
}

func hookPlan() Plan {
	live := func(vmid int, pool, dataset string) GuestPlan {
		return GuestPlan{Pool: pool, VMID: vmid, Snapshot: "autosnap_2026-07-15_12:07:00_hourly", Class: zfs.Hourly,
			Disks: []DiskPlan{{Dataset: dataset, VMID: vmid, Snapshot: true, Label: "pve1"}}}
	}
	stopped := live(102, "tank", "tank/vm-102-disk-0")
	stopped.Class, stopped.Snapshot = zfs.Stopped, "autosnap_2026-07-15_12:07:00_stopped"
	labelOnly := live(103, "tank", "tank/vm-103-disk-0")
	labelOnly.Disks[0].Snapshot = false
	return Plan{
		Guests:          []GuestPlan{live(100, "tank", "tank/vm-100-disk-0"), live(100, "ssd", "ssd/vm-100-disk-1"), live(101, "tank", "tank/vm-101-disk-0"), stopped, labelOnly},
		Destroys:        []Destroy{{Dataset: "tank/vm-100-disk-0", Name: "old", AfterNew: true}, {Dataset: "tank/vm-101-disk-0", Name: "old"}, {Dataset: "tank/vm-102-disk-0", Name: "old"}},
		CreateBookmarks: []zfs.Snapshot{{Dataset: "tank/vm-102-disk-0", Name: "a"}, {Dataset: "tank/vm-101-disk-0", Name: "a"}},
		InheritReceived: []string{"tank/vm-104-disk-0"},
	}
}

// Whether a disk's old snapshots may be destroyed depends on the outcome of the disk's new
// snapshot.
func TestAllowed(t *testing.T) {
	plan := Plan{
		Destroys:     []Destroy{{Dataset: disk0, Name: "a", AfterNew: true}, {Dataset: disk0, Name: "b"}},
		FullDestroys: []Destroy{{Dataset: disk0, Name: "full"}},
	}
	for _, test := range []struct {
		name    string
		outcome Outcome
		want    []string
	}{
		{"made", Outcome{Snapshot: "new"}, []string{"a", "b"}},
		{"nothing was to be made", Outcome{}, []string{"b"}},
		{"failed", Outcome{Err: errTest}, nil},
		{"made, and its label failed", Outcome{Snapshot: "new", Err: errTest}, nil},
		{"left alone", Outcome{Left: "it was started"}, nil},
		{"no space", Outcome{Err: errTest, NoSpace: true}, []string{"full"}},
	} {
		var got []string
		now, _ := plan.ForPool("tank").Allowed(map[string]Outcome{disk0: test.outcome})
		for _, d := range now {
			got = append(got, d.Name)
		}
		assert.Equal(t, test.want, got, test.name)
	}
}

// The report of a run follows from the outcomes of the disks. The same failure of several disks of
// a guest is reported once. A disk that the run left alone in spite of the plan is not a failure.
// If asking Proxmox failed, the report has the error once, not for every disk.
func TestPlanReport(t *testing.T) {
	note := func(dataset string, severity report.Severity, result Result) Note {
		return Note{Dataset: dataset, VMID: 100, Severity: severity, Result: result, Reason: "as planned"}
	}
	plan := Plan{Notes: []Note{
		note("tank/c", report.Info, Snapshotted), note("tank/a", report.Info, Snapshotted), note("tank/b", report.Info, Snapshotted),
		note("tank/d", report.Warning, Untouched), note("tank/e", report.Info, Snapshotted), {Severity: report.Notice, Reason: "many bookmarks"},
	}}
	outcomes := map[string]Outcome{"tank/a": {Err: errTest}, "tank/b": {Err: errTest}, "tank/c": {Snapshot: "new"}, "tank/e": {Left: "it was started"}}
	disks, problems := plan.Report(outcomes)
	assert.Equal(t, []report.Disk{
		{Dataset: "tank/a", VMID: 100, Result: "unprotected", Reason: "as planned", Error: errTest.Error()},
		{Dataset: "tank/b", VMID: 100, Result: "unprotected", Reason: "as planned", Error: errTest.Error()},
		{Dataset: "tank/c", VMID: 100, Result: "snapshot", Reason: "as planned", Snapshot: "new"},
		{Dataset: "tank/d", VMID: 100, Result: "untouched", Reason: "as planned"},
		{Dataset: "tank/e", VMID: 100, Result: "untouched", Reason: "it was started"},
	}, disks)
	assert.Equal(t, []report.Problem{
		{Severity: report.Warning, Text: errTest.Error()}, {Severity: report.Warning, Text: "tank/d: as planned"},
		{Severity: report.Notice, Text: "it was started"}, {Severity: report.Notice, Text: "many bookmarks"},
	}, problems)
	_, problems = plan.ToldOnce().Report(nil)
	assert.Equal(t, []report.Problem{{Severity: report.Notice, Text: "many bookmarks"}}, problems)
}

// If a disk's new snapshot failed, the run destroys bookmarks of the disk only if the cause of the
// failure was lack of space.
func TestAllowedBookmarks(t *testing.T) {
	var plan PoolPlan
	for _, name := range []string{"failed", "full", "left", "made", "none"} {
		plan.DestroyBookmarks = append(plan.DestroyBookmarks, zfs.Snapshot{Dataset: name})
	}
	allowed := plan.AllowedBookmarks(map[string]Outcome{
		"failed": {Err: errors.New("hook")}, "full": {Err: errors.New("full"), NoSpace: true}, "left": {Left: "busy"}, "made": {Snapshot: "s"},
	})
	assert.Equal(t, []zfs.Snapshot{{Dataset: "full"}, {Dataset: "made"}, {Dataset: "none"}}, allowed)
}
