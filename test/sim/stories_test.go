package sim

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// The function `plain` returns the setup of an ordinary week in summer.
func plain(change ...func(*Setup)) Setup {
	s := Setup{Start: time.Date(2026, time.July, 13, 9, 0, 0, 0, time.UTC), Keep: "f4", Bookmarks: 30, Grace: 24 * time.Hour, Every: 1}
	for _, c := range change {
		c(&s)
	}
	return s
}

func properties(s *Setup)   { s.Properties = true }
func syncSnaps(s *Setup)    { s.SyncSnaps = true }
func shortGrace(s *Setup)   { s.Grace = time.Hour }
func offAtFirst(s *Setup)   { s.Off = []int{100} }
func fewBookmarks(s *Setup) { s.Bookmarks = 4 }
func lastOff(s *Setup)      { s.Off = []int{102} }
func hourly(s *Setup)       { s.Keep = "f2 h4" }
func many(s *Setup)         { s.Keep = "f20 h3" }
func relay(s *Setup)        { s.Relay = true }
func sanoid(s *Setup)       { s.Sanoid = true }
func seldom(s *Setup)       { s.Every = 3 }
func hours(s *Setup)        { s.Tick, s.Every = 5*time.Hour, 4 }
func order332(s *Setup)     { s.Order = 332 }

// TestStories plays weeks in which random tests once found a fault. Each week has only the steps
// without which the fault does not occur.
func TestStories(t *testing.T) {
	for name, story := range map[string]struct {
		setup Setup
		steps []Step
	}{
		"nothing is begun for a guest that became a template between the looks": {plain(order332), []Step{
			{Tick: 141, Kind: "crash", Guest: 1, N: 1}, {Tick: 307, Phase: AfterRun, Kind: "movedisk", Guest: 1, Node: 1, N: 1}, {Tick: 308, Phase: betweenLooks, Kind: "template", Guest: 2, N: 1},
		}},
		"after a failover the new owner has a base with C on the first day, too": {plain(), []Step{
			{Kind: "failover", Tick: 62, Phase: beforeProgram, Node: 0, N: 1}, {Kind: "full", Tick: 128, Phase: beforeProgram, Node: 0, N: 4},
		}},
		"what a clock that was ahead left does not hide how long C is behind": {plain(), []Step{
			{Kind: "clock", Tick: 238, Guest: 2, N: 5}, {Kind: "crash", Tick: 301, Phase: beforeProgram, Guest: 2, Node: 1, N: 1},
			{Kind: "long cut", Tick: 304, Node: 1, N: 1},
		}},
		"what is first that a copy lacks was made by a clock that was ahead, and its time has come": {plain(many), []Step{
			{Kind: "crash", Tick: 50, Phase: AfterReplication, Guest: 0, Node: 1, N: 1}, {Kind: "long cut", Tick: 139, Phase: AfterRun, Guest: 2, N: 6},
			{Kind: "death", Tick: 202, Phase: betweenLooks, Guest: 1, N: 8}, {Kind: "clock", Tick: 208, Phase: betweenLooks, N: 4},
		}},
		"what is first that a copy lacks was made by a clock that was ahead": {plain(many), []Step{
			{Kind: "stop", Tick: 5, Guest: 0}, {Kind: "long cut", Tick: 20, N: 12}, {Kind: "clock", Tick: 30, Node: 0, N: 5}, {Kind: "start", Tick: 31, Guest: 0},
		}},
		"a guest is started while no run can snapshot it": {plain(), []Step{
			{Kind: "failover", Tick: 30, Guest: 1, Node: 0, N: 1}, {Kind: "crash", Tick: 34, Phase: AfterReplication, Guest: 1, Node: 1, N: 1},
			{Kind: "long cut", Tick: 120, Phase: AfterReplication, Guest: 1, Node: 1, N: 2}, {Kind: "suspended", Tick: 128, Phase: AfterReplication, Node: 1, N: 12},
			{Kind: "ha", Tick: 128, Phase: betweenLooks, Guest: 1, N: 1},
		}},
		"a guest that was off moves, and stays silent": {plain(properties, syncSnaps), []Step{
			{Kind: "stop", Tick: 63, Phase: betweenLooks, Guest: 2}, {Kind: "migrate", Tick: 127, Phase: AfterReplication, Guest: 2, N: 1},
		}},
		"a _stopped snapshot goes when its successor goes in the same run": {plain(shortGrace), []Step{
			{Kind: "hibernate", Tick: 55, Phase: beforeProgram, Guest: 0, N: 1}, {Kind: "stop", Tick: 90, Guest: 2},
		}},
		"a node's clock was set back, and a name is taken on the copy": {plain(), []Step{
			{Kind: "migrate", Tick: 274, Phase: beforeProgram, Guest: 2, N: 2}, {Kind: "clock", Tick: 275, Node: 0, N: 1},
		}},
		"a copy that was away at each midnight has no base of the last days": {plain(fewBookmarks, hourly), []Step{
			{Kind: "apart", Tick: 9, Phase: betweenLooks, N: 4}, {Kind: "apart", Tick: 72, Phase: AfterReplication, N: 12}, {Kind: "apart", Tick: 339, Phase: betweenLooks, N: 1},
		}},
		"a guest stops while somebody holds its lock": {plain(), []Step{
			{Kind: "stop", Tick: 5, Guest: 1}, {Kind: "work", Tick: 5, Guest: 1, N: 3},
		}},
		"a guest crashes between the looks at another": {plain(), []Step{
			{Kind: "stop", Tick: 5, Guest: 1}, {Kind: "crash", Tick: 5, Phase: betweenLooks, Guest: 0},
		}},
		"a node dies between the second look and the program": {plain(sanoid), []Step{
			{Kind: "crash", Tick: 79, Phase: betweenLooks, Guest: 1}, {Kind: "failover", Tick: 281, Phase: beforeProgram, Node: 0, N: 1},
		}},
		"a disk moves while the other node is away": {plain(seldom), []Step{
			{Kind: "death", Tick: 265, Phase: AfterReplication, Node: 1, N: 4}, {Kind: "movedisk", Tick: 266, Guest: 2}, {Kind: "failover", Tick: 330, Phase: AfterReplication, Node: 1, N: 1},
		}},
		"sanoid snapshots a guest that is off, which then moves": {plain(properties, sanoid), []Step{
			{Kind: "crash", Tick: 66, Phase: betweenLooks, Guest: 0}, {Kind: "migrate", Tick: 216, Phase: beforeProgram, Guest: 0, N: 2},
		}},
		"a day begins with a _stopped snapshot, which goes within the day": {plain(shortGrace, offAtFirst, hourly), []Step{
			{Kind: "start", Tick: 42, Phase: beforeProgram, Guest: 0},
		}},
		"who is started and migrates before a run could say so alarms by the new node's first run": {plain(hours), []Step{
			{Kind: "stop", Tick: 2, Guest: 0}, {Kind: "start", Tick: 8, Phase: AfterReplication, Guest: 0}, {Kind: "migrate", Tick: 9, Guest: 0, N: 2},
		}},
		"a template migrates before its label was ended": {plain(properties), []Step{
			{Kind: "template", Tick: 72, Phase: AfterReplication, Guest: 2}, {Kind: "pvesh nobody", Tick: 73, Phase: betweenLooks, Node: 0, N: 2}, {Kind: "migrate", Tick: 74, Guest: 2, N: 1},
		}},
		"a guest goes back to a node that the other never told what it did": {plain(shortGrace, offAtFirst), []Step{
			{Kind: "failover", Tick: 10, Phase: beforeProgram, Node: 0, N: 1}, {Kind: "ha", Tick: 200, Phase: beforeProgram, Guest: 0}, {Kind: "failover", Tick: 221, Phase: AfterReplication, Node: 1, N: 1},
		}},
		"a relay was rolled back to before its bookmarks, and sends at once": {plain(relay), []Step{
			{Kind: "hibernate", Tick: 61, Phase: AfterRun, Guest: 0, N: 1}, {Kind: "failover", Tick: 232, Phase: betweenLooks, Node: 0, N: 1},
		}},
		"C is fed by A while B runs the guests, for two days": {plain(relay), []Step{
			{Kind: "failover", Tick: 50, Node: 0, N: 12}, {Kind: "long cut", Tick: 110, Node: 0, N: 12},
		}},
		"a clock was set back to the day before, whose bookmark goes with its last _stopped snapshots": {plain(sanoid, fewBookmarks), []Step{
			{Kind: "stop", Tick: 64, Guest: 1}, {Kind: "clock", Tick: 231, Node: 0, N: 4}, {Kind: "ha", Tick: 542, Phase: betweenLooks, Guest: 1, Node: 1, N: 1},
		}},
		"sanoid snapshots a guest that is off all day, and C is away": {plain(shortGrace, sanoid, lastOff), []Step{
			{Kind: "cut", Tick: 0, Guest: 1, N: 6}, {Kind: "cut", Tick: 21, Phase: betweenLooks, N: 12}, {Kind: "start", Tick: 42, Phase: beforeProgram, Guest: 2, N: 1},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := NewWorld(story.setup)
			w.Play(weeks, story.steps)
			assert.Empty(t, w.Fail, "%s", w.Story())
		})
	}
}

// The simulated weeks really check the promises of docs/reliability.md: in the weeks many copies
// lag so that check must alarm, and many guests are stopped so that check must not alarm.
func TestPromisesAreAsked(t *testing.T) {
	w := NewWorld(plain())
	w.Play(weeks, []Step{{Kind: "stop", Tick: 5, Guest: 1}, {Kind: "long cut", Tick: 20, N: 12}, {Kind: "start", Tick: 300, Guest: 1}})
	assert.Empty(t, w.Fail)
	assert.Greater(t, w.stats.MustAlarm, 100)
	assert.Greater(t, w.stats.MustBeSilent, 1000)
	assert.Greater(t, w.stats.Labels, 1000)
	assert.Greater(t, w.stats.Idempotent, 10)
	assert.Greater(t, w.stats.Based, 1000)
}

// Proxmox's start of a guest waits for the guest's lock, and continues as soon as the run has
// released the lock, even if the guest's _stopped snapshots do not exist yet.
func TestAGuestIsStartedBehindTheLock(t *testing.T) {
	w := NewWorld(plain())
	w.Play(day, []Step{{Kind: "stop", Tick: 5, Guest: 1}, {Kind: "slow programs", Tick: 5, N: 2}, {Kind: "start", Tick: 5, Phase: duringProgram, Guest: 1}})
	assert.Empty(t, w.Fail, "%s", w.Story())
	assert.Equal(t, 1, w.stats.Overtaken)
}

// Every kind of step can happen in a simulated week, and the description of the week names the
// step in words.
func TestEveryStepHappens(t *testing.T) {
	for _, kind := range Kinds() {
		w := NewWorld(plain())
		w.Play(day, []Step{{Kind: "stop", Tick: 3, Guest: 2}, {Kind: kind, Tick: 10, Guest: 2, N: 2}, {Kind: kind, Tick: 30, Guest: 0, Node: 1, N: 3}, {Kind: kind, Tick: 40, Guest: 1, N: 4}})
		assert.Empty(t, w.Fail, "%s: %s", kind, w.Story())
	}
}

// A run reads the guests' states twice and passes the result of the second reading to the next run.
// If a guest that high availability wants started goes down between the two readings, the next run
// therefore accepts that the guest is off.
func TestTheSecondLookIsWhatTheNextRunIsTold(t *testing.T) {
	w := NewWorld(plain())
	w.Play(6, []Step{{Kind: "stop", Tick: 4, Guest: 1}, {Kind: "crash", Tick: 4, Phase: betweenLooks, Guest: 2}})
	assert.Empty(t, w.Fail)
	assert.Equal(t, "stopped", w.nodes[SiteA].sets["ssd/vm-102-disk-0"].running.Own())
}
