package snapper

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/zfs"
)

// Together the two parts are the plan, and all of a disk is in one of them.
func TestPlanSplit(t *testing.T) {
	final, rest := hookPlan().Split()
	require.Len(t, final.Guests, 1)
	assert.Equal(t, 102, final.Guests[0].VMID)
	assert.Len(t, rest.Guests, 4)
	assert.Equal(t, []Destroy{{Dataset: "tank/vm-102-disk-0", Name: "old"}}, final.Destroys)
	assert.Len(t, rest.Destroys, 2)
	assert.Len(t, final.CreateBookmarks, 1)
	assert.Len(t, rest.CreateBookmarks, 1)
	assert.Equal(t, []string{"tank/vm-104-disk-0"}, rest.InheritReceived)
}

// A guest whose hook failed loses its snapshots, label and what hangs on them, on all
// pools; nobody else does.
func TestPlanWithout(t *testing.T) {
	plan, refused := hookPlan().Without(map[int]error{100: errors.New("no")})
	assert.Len(t, refused, 2)
	assert.ErrorContains(t, refused["ssd/vm-100-disk-1"].Err, "no")
	for _, g := range plan.Guests {
		assert.NotEqual(t, 100, g.VMID)
	}
	assert.Len(t, plan.Guests, 3)
	assert.Equal(t, []Destroy{{Dataset: "tank/vm-101-disk-0", Name: "old"}, {Dataset: "tank/vm-102-disk-0", Name: "old"}}, plan.Destroys)
	assert.Len(t, hookPlan().Destroys, 3)
}

// The other members of its group get their snapshot, and only they are held still.
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

// What may be destroyed after all, by what became of the disk's new snapshot.
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
		{"no space", Outcome{Err: errTest, NoSpace: true}, []string{"full"}},
	} {
		var got []string
		for _, d := range Allowed(plan, "tank", map[string]Outcome{disk0: test.outcome}) {
			got = append(got, d.Name)
		}
		assert.Equal(t, test.want, got, test.name)
	}
}
