package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"snapwatch/internal/zfs"
)

// what is on the two nodes and C, as a text for each disk.
func (w *World) inventory() map[string]string {
	names := func(list []zfs.Snapshot) string {
		var all []string
		for _, s := range list {
			all = append(all, s.Name)
		}
		slices.Sort(all)
		return strings.Join(slices.Compact(all), " ")
	}
	all := map[string]string{}
	for site := range siteNames {
		for name, d := range w.Disks(site) {
			all[siteNames[site]+" "+name] = fmt.Sprintf("label %q (%s), snapshots %s, bookmarks %s", d.Running.Value, d.Running.Source, names(d.Snapshots), names(d.Bookmarks))
		}
	}
	return all
}

// The real run does in a week what the model's own did: after each tick the snapshots,
// bookmarks and labels are the same.
func TestRealRunDoesWhatTheModelDid(t *testing.T) {
	for i := range *manyWeeks {
		seed := *firstSeed + i
		setup, steps := anyWeek(seed)
		for i := range steps {
			if steps[i].Kind == "kill" {
				steps[i].N = killPoints // before all
			}
		}
		var states []map[string]string
		model, real := NewWorld(setup), NewWorld(setup)
		model.drive = (*World).snapByModel
		model.ticked = func() { states = append(states, model.inventory()) }
		model.Play(weeks, steps)
		differ := false
		real.ticked = func() {
			if differ || real.tick >= len(states) {
				return
			}
			got, want := real.inventory(), states[real.tick]
			for _, name := range slices.Sorted(maps.Keys(want)) {
				if got[name] != want[name] {
					differ = true
					t.Errorf("seed %d, tick %d: %s\n was %s\n  is %s\n%s", seed, real.tick, name, want[name], got[name], real.Story())
					return
				}
			}
		}
		real.Play(weeks, steps)
		if model.Fail != real.Fail {
			t.Errorf("seed %d: %q and %q\n%s", seed, model.Fail, real.Fail, real.Story())
		}
		if t.Failed() {
			return
		}
	}
}
