package snapper

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
)

func prunePolicy() PrunePolicy {
	return PrunePolicy{Bookmarks: 30, StoppedGrace: 24 * time.Hour, MaxDestroys: 1000}
}

// weekOfCopies returns a model with one disk: a copy that has two snapshots of each of five days.
func weekOfCopies() (*world, *Disk) {
	w := &world{policy: testPolicy(), now: noon, disks: []Disk{runningDisk(disk0, words("f1 h0 d0"))}}
	d := &w.disks[0]
	d.State, d.Why = Elsewhere, "guest 100 is on node pve2"
	for day := range 5 {
		w.managed(d, zfs.Daily, noon.AddDate(0, 0, day-5))
		w.managed(d, zfs.Hourly, noon.AddDate(0, 0, day-5).Add(time.Hour))
	}
	return w, d
}

// TestWhatIsPruned checks which disks prune rotates, and the reasons why prune leaves other disks
// alone.
func TestWhatIsPruned(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*PrunePolicy, *world, *Disk)
		want   string // the reason why prune leaves the disk alone, "" if prune rotates it
	}{
		{"of a guest on another node", func(*PrunePolicy, *world, *Disk) {}, ""},
		{"listed under replicas", func(_ *PrunePolicy, _ *world, d *Disk) { d.State = Replica }, ""},
		{"of no guest, on a host that only receives", func(_ *PrunePolicy, _ *world, d *Disk) { d.State = Orphan }, ""},
		{"of no guest, on a node", func(p *PrunePolicy, _ *world, d *Disk) { d.State, p.Node = Orphan, true }, "no sign shows that it is a copy"},
		{"of no guest, on a node, received", func(_ *PrunePolicy, _ *world, d *Disk) {
			d.State, d.Running = Orphan, zfs.Property{Value: "x", Received: "x", Source: zfs.SourceReceived}
		}, ""},
		{"of a guest of this node", func(_ *PrunePolicy, _ *world, d *Disk) {
			d.State, d.Why = Unknown, "it belongs to guest 100 of this node"
		}, "not a copy: it belongs to guest 100"},
		{"ignored", func(_ *PrunePolicy, _ *world, d *Disk) { d.Ignored = "overrides[0].ignore" }, "overrides[0].ignore"},
		{"first receive", func(_ *PrunePolicy, _ *world, d *Disk) { d.Inconsistent = true }, "first receive is not finished"},
		{"resume token", func(_ *PrunePolicy, _ *world, d *Disk) { d.ResumeToken = true }, "a receive is running, or was interrupted"},
		{"of no guest, on a node, resume token", func(p *PrunePolicy, _ *world, d *Disk) { d.State, d.ResumeToken, p.Node = Orphan, true, true }, "a receive is running, or was interrupted"},
		{"pvesr", func(_ *PrunePolicy, w *world, d *Disk) {
			d.Replicated = true
			w.snap(d, "__replicate_100-0_1784000000__", noon)
		}, "Proxmox replicates it"},
		{"pvesr's, carried on by others", func(_ *PrunePolicy, w *world, d *Disk) { w.snap(d, "__replicate_100-0_1784000000__", noon) }, ""},
		{"of a guest of pvesr's, a disk that it leaves out", func(_ *PrunePolicy, _ *world, d *Disk) { d.Replicated = true }, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			w, d := weekOfCopies()
			policy := prunePolicy()
			test.change(&policy, w, d)
			plan := PlanPrune(w.disks, policy, nil, noon)
			require.NotEmpty(t, plan.Notes)
			assert.Equal(t, disk0, plan.Notes[0].Dataset)
			assert.Equal(t, report.Info, plan.Notes[0].Severity)
			if test.want == "" {
				assert.Len(t, plan.Destroys, 6, "the newest, and the first of each of 3 days, stay")
				assert.Equal(t, Pruned, plan.Notes[0].Result)
			} else {
				assert.Empty(t, plan.Destroys)
				assert.Contains(t, plan.Notes[0].Reason, test.want)
			}
		})
	}
}

// TestWhatPruneKeeps checks which snapshots prune keeps whatever the retention says.
func TestWhatPruneKeeps(t *testing.T) {
	w, d := weekOfCopies()
	for i := range 5 {
		w.managed(d, zfs.Stopped, noon.AddDate(0, 0, i-5).Add(2*time.Hour))
	}
	w.snap(d, "manual", noon.Add(-time.Hour))
	w.managed(d, zfs.Frequently, noon.Add(-2*24*time.Hour))
	w.managed(d, zfs.Frequently, noon.AddDate(0, 0, 2)) // this snapshot is dated in the future
	d.Retention = words("f0 h0 d0")
	gone := func(policy PrunePolicy) []string {
		var list []zfs.Snapshot
		for _, g := range PlanPrune(w.disks, policy, nil, noon).Destroys {
			assert.NotEmpty(t, g.Keepers)
			assert.NotEmpty(t, g.Reason)
			list = append(list, d.Snapshots[slices.Index(names(d), g.Name)])
		}
		return markNames(list)
	}
	want := []string{"07-10 12:07", "07-10 13:07", "07-10 14:07", "07-11 12:07", "07-11 13:07", "07-11 14:07", "07-12 13:07", "07-13 13:07", "07-14 13:07"}
	assert.Equal(t, want, gone(prunePolicy()))
	policy := prunePolicy()
	policy.StoppedGrace = 200 * time.Hour // no newer snapshot is older than this grace
	assert.Equal(t, []string{want[0], want[1], want[3], want[4], want[6], want[7], want[8]}, gone(policy))
	policy = prunePolicy()
	policy.Node = true
	assert.Equal(t, want, gone(policy), "on a node whose snap does not look there nothing waits")
	d.Bookmarking = true
	assert.Equal(t, []string{"07-10 13:07", "07-11 13:07", "07-12 13:07", "07-13 13:07", "07-14 13:07"}, gone(policy), "where snap makes bookmarks what waits for one stays")
	d.Bookmarks = slices.Clone(d.Snapshots)
	assert.Equal(t, want, gone(policy))
	policy.MaxDestroys = 2
	plan := PlanPrune(w.disks, policy, nil, noon)
	assert.Len(t, plan.Destroys, 2)
	assert.Len(t, plan.Waiting, 7)
}

// prune reports a copy whose receive has been interrupted for a day.
func TestOldToken(t *testing.T) {
	w, d := weekOfCopies()
	d.ResumeToken = true
	for _, test := range []struct {
		age      time.Duration
		severity report.Severity
	}{{0, report.Info}, {24*time.Hour - time.Second, report.Info}, {24 * time.Hour, report.Warning}} {
		plan := PlanPrune(w.disks, prunePolicy(), map[string]report.Interrupted{disk0: {Since: noon.Add(-test.age)}}, noon)
		assert.Equal(t, test.severity, plan.Notes[0].Severity, test.age)
	}
}

// TestPruneProperties checks rules about the snapshots that prune destroys, for random lists of a
// copy's snapshots and random retentions.
func TestPruneProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := runningDisk(disk0, anyRetention(t))
		d.State, d.Snapshots = Replica, anyHistory(t, noon)
		for _, s := range d.Snapshots {
			if rapid.Bool().Draw(t, "bookmarked") {
				d.Bookmarks = append(d.Bookmarks, s)
			}
		}
		policy := prunePolicy()
		policy.Node, d.Bookmarking = rapid.Bool().Draw(t, "node"), rapid.Bool().Draw(t, "bookmarking")
		plan := PlanPrune([]Disk{d}, policy, nil, noon)
		if len(plan.Guests)+len(plan.CreateBookmarks)+len(plan.DestroyBookmarks)+len(plan.InheritReceived)+len(plan.Abandoned)+len(plan.FullDestroys) > 0 {
			t.Fatalf("it does more than destroy: %+v", plan)
		}
		gone := map[string]bool{}
		for _, g := range plan.Destroys {
			if _, ours := zfs.ParseSnapshotName(g.Name); !ours || gone[g.Name] {
				t.Fatalf("destroys %s", g.Name)
			}
			gone[g.Name] = true
		}
		list := managedOf(d.Snapshots, noon)
		for _, g := range plan.Destroys {
			for _, k := range g.Keepers {
				if gone[k] {
					t.Fatalf("%s goes because of %s, which goes, too", g.Name, k)
				}
			}
		}
		if len(list) > 0 && gone[list[len(list)-1].Name] {
			t.Fatalf("the newest goes")
		}
		stopped, days := 0, map[string]string{}
		var order []string
		for _, m := range list {
			if day := zfs.DayOf(m.Name); days[day] == "" && !m.future && m.class != zfs.Stopped {
				days[day] = m.Name
				order = append(order, m.Name)
			}
			if m.future && gone[m.Name] {
				t.Fatalf("%s is from the future and goes", m.Name)
			}
		}
		for _, name := range order[max(0, len(order)-3):] {
			if gone[name] {
				t.Fatalf("%s is the first of its day and goes", name)
			}
		}
		for _, m := range slices.Backward(list) {
			if m.class == zfs.Stopped && !m.future {
				if stopped++; stopped <= 3 && gone[m.Name] {
					t.Fatalf("%s is one of the newest _stopped ones and goes", m.Name)
				}
			}
		}
	})
}

// If the retention of prune names a class of which no copy has a snapshot, a note reports the
// class. In each bucket of the reported class, prune keeps the oldest snapshot of any class.
func TestPruneSaysWhichClassesDoNotCome(t *testing.T) {
	w := &world{policy: testPolicy(), now: noon, disks: []Disk{runningDisk(disk0, words("f0 d2 m24 y1"))}}
	d := &w.disks[0]
	d.State = Replica
	for day := range 400 {
		w.managed(d, zfs.Daily, noon.AddDate(0, 0, day-400))
	}
	plan := PlanPrune(w.disks, prunePolicy(), nil, noon)
	assert.Len(t, plan.Destroys, 400-14-3, "14 months, the newest 3 days, and the oldest of this year is the first of January")
	last := plan.Notes[len(plan.Notes)-1]
	assert.Equal(t, report.Notice, last.Severity)
	assert.Equal(t, "no copy has a yearly or monthly snapshot or one of a longer class: the oldest of each period is kept instead, whatever its class", last.Reason)
	w.managed(d, zfs.Yearly, noon)
	notes := PlanPrune(w.disks, prunePolicy(), nil, noon).Notes
	assert.Len(t, notes, 1, "a longer one stands in by itself")
}

// A guest that starts during the night can have a _stopped snapshot before its first regular
// snapshot of that day. The source bookmarks the day's first _stopped snapshot and its first
// regular one, so both can be the base of a send, and prune keeps both on the copy.
func TestPruneKeepsTheFirstAfterAStopOfTheDay(t *testing.T) {
	w := &world{policy: testPolicy(), now: noon, disks: []Disk{runningDisk(disk0, words("f1"))}}
	d := &w.disks[0]
	d.State = Replica
	var want []string
	for day := range 3 {
		at := noon.AddDate(0, 0, day-3)
		w.managed(d, zfs.Stopped, at)
		w.managed(d, zfs.Frequently, at.Add(time.Hour))
		want = append(want, d.Snapshots[len(d.Snapshots)-2].Name, d.Snapshots[len(d.Snapshots)-1].Name)
		for i := range 5 {
			w.managed(d, zfs.Frequently, at.Add(time.Duration(i+2)*time.Hour))
		}
	}
	want = append(want, d.Snapshots[len(d.Snapshots)-1].Name)
	gone := map[string]bool{}
	for _, g := range PlanPrune(w.disks, prunePolicy(), nil, noon).Destroys {
		gone[g.Name] = true
	}
	assert.Equal(t, want, filter(names(d), func(name string) bool { return !gone[name] }))
}
