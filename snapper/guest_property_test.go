package snapper

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"snapwatch/internal/zfs"
)

// anyStep draws a step of the clock: mostly forward, sometimes back, and sometimes across a night
// when clocks change.
func anyStep(t *rapid.T) time.Duration {
	if rapid.IntRange(0, 12).Draw(t, "jump") == 0 {
		return time.Duration(rapid.IntRange(-300, 3000).Draw(t, "jumped")) * time.Minute
	}
	return rapid.SampledFrom([]time.Duration{time.Minute, 15 * time.Minute, time.Hour, 26 * time.Hour}).Draw(t, "step")
}

// TestRuns checks rules about labels and snapshots that must hold after every run of snap, whatever
// happens to a guest.
func TestRuns(t *testing.T) {
	zone := berlin(t)
	rapid.Check(t, func(t *rapid.T) {
		keep := anyRetention(t)
		w := &world{policy: testPolicy(), now: anyNow(t, zone)}
		w.policy.Bookmarks = rapid.IntRange(0, 3).Draw(t, "bookmarks")
		for i := range rapid.IntRange(1, 3).Draw(t, "disks") {
			w.disks = append(w.disks, runningDisk(fmt.Sprintf("tank/data/vm-100-disk-%d", i), keep))
		}
		w.disks = append(w.disks, runningDisk("ssd/vm-100-disk-9", keep))
		w.snap(&w.disks[0], "manual", w.now.Add(-time.Hour))
		for range rapid.IntRange(1, 40).Draw(t, "runs") {
			w.now = w.now.Add(anyStep(t))
			if rapid.IntRange(0, 5).Draw(t, "changes") == 0 {
				state := rapid.SampledFrom([]GuestState{Running, Stopped, Unknown, UnknownAlive, LockedAlive, Busy, Elsewhere}).Draw(t, "state")
				for i := range w.disks {
					w.disks[i].State, w.disks[i].Why = state, state.String()
				}
			}
			var fails []string
			if rapid.IntRange(0, 9).Draw(t, "full") == 0 {
				fails = []string{disk0}
			}
			w.checkedRun(t, fails)
		}
	})
}

func (w *world) checkedRun(t *rapid.T, fails []string) {
	before := map[string][]zfs.Snapshot{}
	for _, d := range w.disks {
		before[d.Name] = slices.Clone(d.Snapshots)
	}
	plan := w.run(fails...)
	if len(plan.Destroys) > w.policy.MaxDestroys {
		t.Fatalf("%d destroys planned", len(plan.Destroys))
	}
	for i := range w.disks {
		d := &w.disks[i]
		had := managedOf(before[d.Name], w.now)
		if len(had) > 0 && len(managedOf(d.Snapshots, w.now)) == 0 {
			t.Fatalf("%s has no managed snapshot any more", d.Name)
		}
		made := len(d.Snapshots) > 0 && (len(before[d.Name]) == 0 || d.Snapshots[len(d.Snapshots)-1].CreateTXG > before[d.Name][len(before[d.Name])-1].CreateTXG)
		if last := len(had) - 1; last >= 0 && !made && !d.has(had[last].Name) {
			t.Fatalf("%s lost its newest, %s", d.Name, had[last].Name)
		}
		if d.State != Running && len(d.Snapshots) < len(before[d.Name]) {
			t.Fatalf("%s is %s and lost snapshots", d.Name, d.State)
		}
		if stops := count(d, zfs.Stopped); d.State != Stopped && made {
			if newest := d.Snapshots[len(d.Snapshots)-1]; stops > 0 && newest.Name[len(newest.Name)-7:] == "stopped" {
				t.Fatalf("%s is %s and got %s", d.Name, d.State, newest.Name)
			}
		}
	}
	if !w.disk(disk0).has("manual") {
		t.Fatalf("a foreign snapshot is gone")
	}
	if len(fails) > 0 {
		return
	}
	again := MakePlan(w.disks, w.policy, w.now)
	for _, g := range again.Guests {
		for _, d := range g.Disks {
			if d.Label != "" || g.Class != zfs.Frequently {
				t.Fatalf("a second run at the same time: %v", stepsOf(again))
			}
		}
	}
	if len(again.FullDestroys) > 0 {
		t.Fatalf("a second run at the same time destroys %+v", again.FullDestroys)
	}
}

// The disks of a guest have snapshots of the same times. Disks that a guest had from the start
// always have the same snapshots. A disk that is added later has the same snapshots as the guest's
// first disks as soon as the disk has as many snapshots of each class as the retention keeps.
func TestCommonPoints(t *testing.T) {
	zone := berlin(t)
	rapid.Check(t, func(t *rapid.T) {
		keep := anyRetention(t)
		delete(keep, zfs.Yearly)
		delete(keep, zfs.Monthly)
		delete(keep, zfs.Weekly)
		w := &world{policy: testPolicy(), now: anyNow(t, zone), disks: []Disk{
			runningDisk(disk0, keep), runningDisk("tank/data/vm-100-disk-1", keep), runningDisk("ssd/vm-100-disk-2", keep),
		}}
		run := func() {
			var fails []string
			if rapid.IntRange(0, 9).Draw(t, "full") == 0 {
				fails = []string{disk0}
			}
			w.run(fails...)
			if a, b := names(&w.disks[0]), names(&w.disks[1]); !slices.Equal(a, b) {
				t.Fatalf("%v: the two in one pool have\n%v\n%v", keep, a, b)
			}
		}
		for range rapid.IntRange(1, 30).Draw(t, "runs") {
			w.now = w.now.Add(anyStep(t))
			run()
		}
		w.disks = append(w.disks, runningDisk("tank/data/vm-100-disk-3", keep))
		w.disks[3].Running = zfs.Property{}
		for range 6 * 7 { // the model's clock runs for a week
			w.now = w.now.Add(4 * time.Hour)
			w.run()
		}
		future := func(d *Disk) bool {
			return slices.ContainsFunc(d.Snapshots, func(s zfs.Snapshot) bool { return s.Creation.After(w.now) })
		}
		for i := range w.disks[1:] {
			if a, b := names(&w.disks[0]), names(&w.disks[i+1]); !slices.Equal(a, b) && keep[zfs.Daily]+keep[zfs.Hourly]+keep[zfs.Frequently] > 0 && !future(&w.disks[0]) && !leftovers(keep, w) {
				t.Fatalf("%v: after a week\n%v\n%v", keep, a, b)
			}
		}
	})
}

// leftovers reports whether a disk of the test has snapshots that are never destroyed, because the
// retention does not name their class.
func leftovers(keep Retention, w *world) bool {
	for i := range w.disks {
		for _, s := range w.disks[i].Snapshots {
			class, _ := s.Class()
			if _, named := keep[class]; !named {
				return true
			}
		}
	}
	return false
}
