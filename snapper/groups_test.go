package snapper

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"snapwatch/config"
	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
)

// shop configures a freeze of guest 100, and two groups: the group shop with the guests 101 and 102
// and with quiesce, and a group with the guests 103 and 104 without quiesce.
var shop = config.Quiesced{
	Quiesce: []config.Quiesce{{VMID: config.VMIDs{{First: 100, Last: 100}}, How: config.Agent}},
	Groups: []config.Group{
		{Name: "shop", VMID: config.VMIDs{{First: 101, Last: 102}}, Quiesce: config.Cgroup},
		{Name: "plain", VMID: config.VMIDs{{First: 103, Last: 104}}},
	},
}

// guestDisk adds a disk of a running guest to the model w. If the argument `due` is empty, the
// newest snapshot of the disk is one minute old, so that no class is due.
func guestDisk(w *world, name string, due string, keep Retention) {
	d := runningDisk(name, keep)
	d.VMID, _, _ = zfs.ParseDiskName(zfs.Base(name))
	w.disks = append(w.disks, d)
	if due == "" {
		w.managed(&w.disks[len(w.disks)-1], zfs.Hourly, w.now.Add(-time.Minute))
	}
}

// The states of a group's guests decide which of these guests get snapshots together.
func TestGroup(t *testing.T) {
	const a, b, other = "tank/data/vm-101-disk-0", "tank/data/subvol-102-disk-0", "ssd/vm-102-disk-1"
	for _, test := range []struct {
		name    string
		change  func(a, b, other *Disk)
		dueA    string
		dueB    string
		want    []string // the guests in each plan, with pool and group
		final   bool
		freezes []int
		unfit   int
	}{
		{name: "nothing is due", want: nil},
		{name: "one is due", dueA: "due", want: []string{"ssd shop [102]", "tank shop [101 102]"}, freezes: []int{101, 102}},
		{name: "all are due", dueA: "due", dueB: "due", want: []string{"ssd shop [102]", "tank shop [101 102]"}, freezes: []int{101, 102}},
		{name: "one was started", change: func(a, _, _ *Disk) { a.Running.Value = "stopped" }, want: []string{"ssd shop [102]", "tank shop [101 102]"}, freezes: []int{101, 102}},
		{name: "one is stopped", dueB: "due", change: func(a, _, _ *Disk) { a.State = Stopped; a.Written = 1 }, want: []string{"ssd shop [102]", "tank shop [102]", "tank  [101]"}, final: true, freezes: []int{102}},
		{name: "one is unclear", dueB: "due", change: func(a, _, _ *Disk) { a.State = Unknown }, want: []string{"ssd shop [102]", "tank shop [102]"}, freezes: []int{102}},
		{name: "one is on another node", dueB: "due", change: func(a, _, _ *Disk) { a.State = Elsewhere }, want: []string{"ssd shop [102]", "tank shop [102]"}, freezes: []int{102}},
		{name: "one is left alone", dueB: "due", change: func(a, _, _ *Disk) { a.Ignored = "ignored" }, want: []string{"ssd shop [102]", "tank shop [102]"}, freezes: []int{102}},
		{name: "one is excluded", dueB: "due", change: func(a, _, _ *Disk) { a.NoSnap.Value = "1" }, want: []string{"ssd shop [102]", "tank shop [102]"}, freezes: []int{102}},
		{name: "one is locked", dueB: "due", change: func(a, _, _ *Disk) { a.State, a.Why = LockedAlive, "locked: snapshot" }, want: []string{"ssd shop [102]", "tank shop [101 102]"}, freezes: []int{102}, unfit: 101},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := &world{policy: testPolicy(), now: noon}
			w.policy.Quiesced = shop
			keep := Retention{zfs.Hourly: 4}
			guestDisk(w, a, test.dueA, keep)
			guestDisk(w, b, test.dueB, keep)
			guestDisk(w, other, test.dueB, keep)
			if test.change != nil {
				test.change(&w.disks[0], &w.disks[1], &w.disks[2])
			}
			plan := MakePlan(w.disks, w.policy, w.now)
			var got []string
			for _, g := range plan.Guests {
				var vmids []int
				for _, d := range g.Disks {
					vmids = append(vmids, d.VMID)
				}
				got = append(got, fmt.Sprintf("%s %s %v", g.Pool, g.Group, vmids))
				if g.Class == zfs.Stopped {
					assert.Empty(t, g.Freeze)
					continue
				}
				assert.Equal(t, plan.Guests[0].Snapshot, g.Snapshot, "one name")
				var freezes []int
				for _, f := range g.Freeze {
					assert.Equal(t, config.Cgroup, f.How)
					assert.Equal(t, f.VMID == test.unfit, f.Unfit != "")
					if f.Unfit == "" {
						freezes = append(freezes, f.VMID)
					}
				}
				assert.Equal(t, test.freezes, freezes)
			}
			assert.Equal(t, test.want, got)
		})
	}
}

// A guest that is not in a group is frozen if the configuration demands the freeze in an entry for
// this guest. The guests of a group without quiesce still get their snapshots together.
func TestUnits(t *testing.T) {
	w := &world{policy: testPolicy(), now: noon}
	w.policy.Quiesced = shop
	for _, vmid := range []int{100, 103, 104, 105} {
		guestDisk(w, fmt.Sprintf("tank/data/vm-%d-disk-0", vmid), "due", Retention{zfs.Hourly: 4})
	}
	plan := MakePlan(w.disks, w.policy, w.now)
	require.Len(t, plan.Guests, 3)
	assert.Equal(t, []Freeze{{VMID: 100, How: config.Agent}}, plan.Guests[0].Freeze)
	assert.Equal(t, 100, plan.Guests[0].VMID)
	assert.Equal(t, "plain", plan.Guests[1].Group)
	assert.Empty(t, plan.Guests[1].Freeze)
	assert.Len(t, plan.Guests[1].Disks, 2)
	assert.Equal(t, 105, plan.Guests[2].VMID)
	assert.Empty(t, plan.Guests[2].Freeze)
}

// If the retentions of a group's guests name different classes, the guests get separate snapshots,
// and a note says so.
func TestGroupOfOtherClasses(t *testing.T) {
	w := &world{policy: testPolicy(), now: noon}
	w.policy.Quiesced = shop
	guestDisk(w, "tank/data/vm-101-disk-0", "due", Retention{zfs.Hourly: 4})
	guestDisk(w, "tank/data/vm-102-disk-0", "due", Retention{zfs.Daily: 4})
	plan := MakePlan(w.disks, w.policy, w.now)
	assert.Len(t, plan.Guests, 2)
	note := plan.Notes[len(plan.Notes)-1]
	assert.Equal(t, report.Notice, note.Severity)
	assert.Contains(t, note.Reason, "group shop: the retentions of its disks name different classes")
}

// The living guests of a group always get their snapshots together: on each pool one step of the
// plan takes the snapshots of all these guests, under one name.
func TestGroupsStayTogether(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		keep := anyRetention(t)
		w := &world{policy: testPolicy(), now: anyNow(t, time.UTC)}
		w.policy.Quiesced = shop
		for i, vmid := range []int{100, 101, 101, 102, 102, 103, 104} {
			pool := rapid.SampledFrom([]string{"tank/data", "ssd"}).Draw(t, "pool")
			guestDisk(w, fmt.Sprintf("%s/vm-%d-disk-%d", pool, vmid, i), "due", keep)
		}
		for range rapid.IntRange(1, 12).Draw(t, "runs") {
			w.now = w.now.Add(anyStep(t))
			if rapid.Bool().Draw(t, "changes") {
				vmid := rapid.IntRange(100, 104).Draw(t, "vmid")
				state := rapid.SampledFrom([]GuestState{Running, Stopped, Unknown, LockedAlive, Busy, Elsewhere}).Draw(t, "state")
				for i := range w.disks {
					if w.disks[i].VMID == vmid {
						w.disks[i].State, w.disks[i].Why = state, state.String()
					}
				}
			}
			w.together(t)
		}
	})
}

func (w *world) together(t *rapid.T) {
	plan := w.run()
	snapped := map[string]string{} // the name of each group's snapshots, by group
	for _, g := range plan.Guests {
		if g.Group == "" || !slices.ContainsFunc(g.Disks, func(d DiskPlan) bool { return d.Snapshot }) {
			continue
		}
		if name, seen := snapped[g.Group]; seen && name != g.Snapshot {
			t.Fatalf("group %s gets %s and %s", g.Group, name, g.Snapshot)
		}
		snapped[g.Group] = g.Snapshot
	}
	for _, d := range w.disks {
		for _, group := range w.policy.Quiesced.Groups {
			if name := snapped[group.Name]; name != "" && group.VMID.Contains(d.VMID) && d.State == Running && !d.has(name) {
				t.Fatalf("%s of group %s lives and did not get %s", d.Name, group.Name, name)
			}
		}
	}
}
