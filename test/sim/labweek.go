package sim

import (
	"math/rand/v2"
	"slices"
	"time"

	"snapwatch/internal/pve"
)

// labKinds are the kinds of steps of simulated weeks that a lab can play, too. A lab can play
// neither clocks that differ between hosts, nor full or broken pools, nor receives that break off.
// A kind of step that occurs in the list more than once is drawn more often than the other kinds.
var labKinds = []string{
	"start", "start", "start", "stop", "stop", "blink", "flash", "crash", "pause", "migrate", "migrate", "failover", "failover",
	"death", "hostreboot", "destroy", "newdisk", "backup", "backup", "rollback", "hibernate", "pvesh fails", "pvesh lies",
	"pvesh nobody", "cut", "long cut", "kill", "cron", "foreign", "foreign",
}

// LabWeek returns, for [World.PlayIn], a setup with two guests, and one random step for each tick
// of five hours. LabWeek always returns the same steps for the same seed.
func LabWeek(seed uint64, steps int) (Setup, []Step) {
	r := rand.New(rand.NewPCG(seed, 0))
	one := func(of ...string) string { return of[r.IntN(len(of))] }
	s := Setup{
		// The week starts on a Thursday; on Sunday, summer time begins.
		Start: time.Date(2035, time.March, 22, 9, 0, 0, 0, time.UTC), Tick: 5 * time.Hour, Every: 4,
		Keep: one("f4", "f3 d2", "f2 h4"), Bookmarks: []int{30, 4}[r.IntN(2)], Grace: []time.Duration{24 * time.Hour, time.Hour}[r.IntN(2)],
		Properties: r.IntN(2) == 0, Relay: r.IntN(4) == 0,
		Guests: []Owner{{100, pve.QEMU, []string{"tank/data/vm-100-disk-0"}}, {101, pve.LXC, []string{"tank/data/subvol-101-disk-0"}}},
	}
	var plan []Step
	var gone [2]bool
	for tick := range steps {
		step := Step{
			Tick: tick, Phase: []int{BeforeRun, BeforeRun, AfterRun, AfterReplication}[r.IntN(4)], Kind: one(labKinds...),
			Guest: r.IntN(2), Node: r.IntN(2), N: 1 + r.IntN(2),
		}
		switch {
		case step.Kind == "kill":
			step.N = killPoints // the run is killed before all its changes
		case gone[step.Guest] && kinds[step.Kind].guest:
			step.Kind, gone[step.Guest] = "reuse", false
		case step.Kind == "destroy":
			gone[step.Guest] = true
		}
		plan = append(plan, step)
	}
	return s, slices.Clip(plan)
}
