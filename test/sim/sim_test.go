package sim

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const day = 96 // a simulated day has 96 ticks

func anySetup(t *rapid.T) Setup {
	starts := []time.Time{
		time.Date(2026, 7, 13, 9, 0, 0, 0, time.UTC),
		time.Date(2026, 10, 22, 9, 0, 0, 0, time.UTC), // summer time ends on the 25th
		time.Date(2027, 3, 25, 9, 0, 0, 0, time.UTC),  // summer time begins on the 28th
		time.Date(2026, 12, 28, 9, 0, 0, 0, time.UTC),
	}
	s := Setup{
		Start:     rapid.SampledFrom(starts).Draw(t, "start"),
		Keep:      rapid.SampledFrom([]string{"f4", "f4 h3 d2", "f2 h4", "h3 d2", "f20 h3"}).Draw(t, "keep"),
		Bookmarks: rapid.SampledFrom([]int{30, 4}).Draw(t, "bookmarks"),
		// Each grace is a second shorter than full hours, so that no grace ends just between a run
		// and the dry run that follows the run.
		Grace:      rapid.SampledFrom([]time.Duration{24*time.Hour - time.Second, time.Hour - time.Second}).Draw(t, "grace"),
		Properties: rapid.Bool().Draw(t, "properties"),
		SyncSnaps:  rapid.Bool().Draw(t, "syncsnaps"),
		Relay:      rapid.IntRange(0, 3).Draw(t, "relay") == 3,
		Every:      rapid.IntRange(1, 3).Draw(t, "every"),
		Whole:      rapid.IntRange(0, 3).Draw(t, "whole") == 3,
		History:    rapid.SampledFrom([]int{0, 0, 0, 400}).Draw(t, "history"),
		Sanoid:     rapid.IntRange(0, 5).Draw(t, "sanoid") == 5,
	}
	if rapid.Bool().Draw(t, "one is off") {
		s.Off = []int{rapid.IntRange(100, 102).Draw(t, "off")}
	}
	if rapid.Bool().Draw(t, "some are frozen") {
		s.Frozen = []int{100, 101, 102}[:rapid.IntRange(1, 3).Draw(t, "frozen")]
	}
	s.Configs = rapid.Bool().Draw(t, "configurations are kept")
	s.Hooks = rapid.SampledFrom([]string{"", "guest", "run"}).Draw(t, "hooks")
	s.Index = rapid.Bool().Draw(t, "the index is kept")
	s.Again = rapid.Bool().Draw(t, "ZFS is busy")
	return s
}

// anySteps draws the random steps of a simulated week, in order. Some drawn steps are of kind
// [Nothing]. When rapid shortens a failing week, a step of this kind can replace another step, so
// that the remaining steps keep their places.
func anySteps(t *rapid.T) []Step {
	kinds := append([]string{Nothing}, Kinds()...)
	gaps := []int{0, 1, 2, 3, 5, 9, 20, 60}
	one := rapid.Custom(func(t *rapid.T) Step {
		return Step{
			Kind:  rapid.SampledFrom(kinds).Draw(t, "kind"),
			Tick:  rapid.SampledFrom(gaps).Draw(t, "gap"),
			Phase: rapid.SampledFrom([]int{BeforeRun, betweenLooks, beforeProgram, duringProgram, AfterRun, AfterReplication}).Draw(t, "phase"),
			Guest: rapid.SampledFrom([]int{0, 1, 2}).Draw(t, "guest"), Node: rapid.SampledFrom([]int{0, 1}).Draw(t, "node"),
			N: rapid.SampledFrom([]int{1, 2, 3, 4, 5, 6, 8, 12}).Draw(t, "n"),
		}
	})
	steps := rapid.SliceOfN(one, 12, 50).Draw(t, "steps")
	at := 0
	for i := range steps {
		at += steps[i].Tick
		steps[i].Tick = at
	}
	return slices.DeleteFunc(steps, func(s Step) bool { return s.Kind == Nothing })
}

// weeks is the number of ticks in a simulated week.
const weeks = 7 * day

// anyWeek returns the random setup and steps of a simulated week for a seed.
func anyWeek(seed int) (Setup, []Step) {
	type week struct {
		setup Setup
		steps []Step
	}
	one := rapid.Custom(func(t *rapid.T) week { return week{anySetup(t), anySteps(t)} }).Example(seed)
	one.setup.Order = uint64(seed)
	return one.setup, one.steps
}

// No random week breaks a promise of docs/reliability.md. The test plays as many weeks at the same
// time as there are processors. If a week breaks a promise, the test shortens this week and
// describes its events; -seed N -weeks 1 plays this week again.
func TestWeeks(t *testing.T) {
	t.Logf("%d weeks from seed %d on", *manyWeeks, *firstSeed)
	var next, failed atomic.Int64
	sums := make([]Stats, runtime.GOMAXPROCS(0))
	var players sync.WaitGroup
	for i := range sums {
		players.Go(func() {
			for week := next.Add(1) - 1; week < int64(*manyWeeks) && failed.Load() == 0; week = next.Add(1) - 1 {
				seed := *firstSeed + int(week)
				setup, steps := anyWeek(seed)
				w := NewWorld(setup)
				if w.Play(weeks, steps); w.Fail != "" && failed.CompareAndSwap(0, 1) {
					tell(t, seed, w)
				}
				sums[i].add(w.stats)
			}
		})
	}
	players.Wait()
	for _, s := range sums[1:] {
		sums[0].add(s)
	}
	t.Logf("checked: %+v", sums[0])
}

// tell shortens a simulated week that breaks a promise, and describes its events.
func tell(t *testing.T, seed int, failed *World) {
	setup, steps := Shorten(weeks, failed.Setup, failed.plan)
	w := NewWorld(setup)
	w.Play(weeks, steps)
	t.Errorf("seed %d: %s\n\n%#v\n%#v", seed, w.Story(), setup, steps)
}

func (s *Stats) add(o Stats) {
	s.Histories += o.Histories
	s.Abandoned += o.Abandoned
	s.Runs += o.Runs
	s.Stops += o.Stops
	s.Starts += o.Starts
	s.Destroyed += o.Destroyed
	s.Pruned += o.Pruned
	s.MustAlarm += o.MustAlarm
	s.MustBeSilent += o.MustBeSilent
	s.Based += o.Based
	s.Labels += o.Labels
	s.Idempotent += o.Idempotent
	s.Consistent += o.Consistent
	s.Configs += o.Configs
	s.Unblocked += o.Unblocked
	s.Hooks += o.Hooks
	s.Indexed += o.Indexed
	s.Reports += o.Reports
	s.Overtaken += o.Overtaken
}
