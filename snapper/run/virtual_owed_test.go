package run

import (
	"context"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"snapwatch/config"
	"snapwatch/internal/command"
	"snapwatch/internal/note"
	"snapwatch/internal/report"
	"snapwatch/lua"
	"snapwatch/snapper"
)

// failing returns the result of a channel program that failed on each disk with the given errno.
func failing(errno syscall.Errno) func(context.Context, []lua.Guest) (map[string]lua.Outcome, error) {
	return func(_ context.Context, guests []lua.Guest) (map[string]lua.Outcome, error) {
		got := map[string]lua.Outcome{}
		for _, g := range guests {
			for _, d := range g.Disks {
				got[d.Dataset] = lua.Outcome{Snapshot: &errno}
			}
		}
		return got, nil
	}
}

// The after_stop hook of a guest waits for the _stopped snapshots of its disks on all pools. If a
// run does not take a _stopped snapshot because Proxmox needs the guest's lock, the after_stop hook
// waits until the next run has taken the snapshot.
func TestAfterStopWaitsForAllPools(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		w.guest(100, false, "ssd", "tank")
		again := failing(syscall.EAGAIN)
		w.pool("tank").onSnapshot = func(ctx context.Context, guests []lua.Guest) (map[string]lua.Outcome, error) {
			time.Sleep(maxLocked + time.Second)
			return again(ctx, guests)
		}
		w.run(t, hooking)
		assert.Len(t, w.pool("ssd").snapshots["ssd/data/vm-100-disk-0"], 2)
		assert.Empty(t, w.eventsWith("stop begins"))
		assert.Len(t, w.owed(t), 1)
		w.pool("tank").onSnapshot = nil
		time.Sleep(15 * time.Minute)
		w.run(t, hooking)
		stop := w.onlyEvent(t, "stop begins").what
		assert.Contains(t, stop, "ssd/data/vm-100-disk-0")
		assert.Contains(t, stop, "tank/data/vm-100-disk-1")
		w.nothingOwed(t)
	})
}

// If a run leaves a stopped guest to the next run, and takes no _stopped snapshot, no after_stop
// hook is owed.
func TestLeftStopOwesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		g := w.guest(100, false, "tank")
		w.pool("tank").onSync = func(context.Context) error {
			g.busy = true
			return nil
		}
		r := w.run(t, hooking)
		assert.Contains(t, r.Disks[0].Reason, "Proxmox works on it")
		w.nothingOwed(t)
	})
}

// One after_stop hook is owed for a stop of a guest, however many runs tried to take the _stopped
// snapshots. The hook runs when the _stopped snapshots exist. No run starts a second after_stop
// hook for the same stop of the guest.
func TestStopIsOwedOnce(t *testing.T) {
	for name, begin := range map[string]func(t *testing.T, w *virtualWorld){
		"the pool is full once": func(t *testing.T, w *virtualWorld) {
			w.failStops(t, syscall.ENOSPC, 1)
		},
		"the pool is full for a day": func(t *testing.T, w *virtualWorld) {
			w.failStops(t, syscall.ENOSPC, 100)
		},
		"a run is killed between its note and its program": func(t *testing.T, w *virtualWorld) {
			w.oweStop("autosnap_1999-12-31_23:45:00_stopped")
		},
		"two runs are killed there": func(t *testing.T, w *virtualWorld) {
			w.oweStop("autosnap_1999-12-31_23:30:00_stopped")
			w.oweStop("autosnap_1999-12-31_23:45:00_stopped")
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newVirtualWorld(t)
				g := w.guest(100, false, "tank")
				begin(t, w)
				assert.Empty(t, problemTexts(w.run(t, hooking), report.Warning, ""))
				assert.Contains(t, w.onlyEvent(t, "stop begins").what, w.pool("tank").heads[0].NewestSnapshot)
				w.nothingOwed(t)
				time.Sleep(25 * time.Hour)
				g.alive = true
				assert.Empty(t, problemTexts(w.run(t, hooking), report.Warning, ""))
				assert.Len(t, w.eventsWith("stop begins"), 1)
			})
		})
	}
}

// failStops makes n runs, a quarter of an hour apart, whose channel programs fail with the given
// errno.
func (w *virtualWorld) failStops(t *testing.T, errno syscall.Errno, n int) {
	w.pool("tank").onSnapshot = failing(errno)
	for range n {
		assert.Empty(t, problemTexts(w.run(t, hooking), report.Warning, "hook"))
		assert.Len(t, w.owed(t), 1)
		time.Sleep(15 * time.Minute)
	}
	w.pool("tank").onSnapshot = nil
}

// oweStop writes the note that a run leaves behind if the run is killed before it takes a _stopped
// snapshot.
func (w *virtualWorld) oweStop(snapshot string) {
	h := &hooks{journal: testJournal(), Options: w.options(hooking)}
	killed := &turn{vmid: 100}
	h.owe(killed, afterStop, hookGuest{VMID: 100, Snapshots: []hookSnapshot{{Dataset: "tank/data/vm-100-disk-0", Name: snapshot, Class: "stopped"}}})
	killed.owed.Leave()
}

// A run may read the pools of a stopped guest at different times, in two rounds. The guest's
// after_stop hook runs only after the run has taken the _stopped snapshots on all pools of the
// guest.
func TestStopOwedForPoolsOfTwoRounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		w.guest(100, false, "ssd", "tank")
		w.pool("tank").onSnapshot = failing(syscall.ENOSPC)
		w.run(t, hooking)
		assert.Len(t, w.owed(t), 1)
		w.pool("tank").onSnapshot = nil
		w.pool("tank").slowList = time.Minute
		time.Sleep(15 * time.Minute)
		w.run(t, hooking)
		assert.Contains(t, w.onlyEvent(t, "stop begins").what, "ssd/data/vm-100-disk-0")
		w.nothingOwed(t)
	})
}

// stuckWorld is a world in which killed hooks of some programs do not end.
type stuckWorld struct {
	*virtualWorld
	stuck []string
	// kept has the locks that the stuck hooks inherited.
	kept *[]Note
}

func (s stuckWorld) Hook(ctx context.Context, h config.Hook, input string, env []string, locks []Note) (string, error) {
	if said, err := s.virtualWorld.Hook(ctx, h, input, env, locks); !slices.Contains(s.stuck, h.Argv[0]) {
		return said, err
	}
	*s.kept = append(*s.kept, locks...)
	return "", command.ErrStillRunning
}

// If a hook still runs although it was killed, neither this run nor the next run starts a hook for
// the same guests until the killed hook has ended.
func TestStuckHookIsStillAtWork(t *testing.T) {
	for name, test := range map[string]struct {
		stuck, per string
		first      string // the hooks that start before and in the run whose hook is stuck
		last       string // the hooks that start after the stuck hook has ended
	}{
		"before the snapshot":          {stuck: "before", first: "before begins, before ends", last: "after begins, after ends, after2 begins, after2 ends, "},
		"before the snapshots, once":   {stuck: "before", per: "run", first: "before begins, before ends", last: "after begins, after ends, after2 begins, after2 ends, "},
		"after the snapshot":           {stuck: "after", first: "before begins, before ends, snapshot, after begins, after ends", last: "after begins, after ends, after2 begins, after2 ends, "},
		"after the snapshots, once":    {stuck: "after", per: "run", first: "before begins, before ends, snapshot, after begins, after ends", last: "after begins, after ends, after2 begins, after2 ends, "},
		"the last after the snapshots": {stuck: "after2", first: "before begins, before ends, snapshot, after begins, after ends, after2 begins, after2 ends"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newVirtualWorld(t)
				w.guest(100, true, "tank")
				hooks := func(o *Options) {
					hook := func(program string) config.Hook { return config.Hook{Argv: []string{program}, Per: test.per} }
					o.Config.Hooks = config.Hooks{BeforeSnapshot: []config.Hook{hook("before")}, AfterSnapshot: []config.Hook{hook("after"), hook("after2")}}
				}
				var kept []Note
				stuck := func(o *Options) { o.World = stuckWorld{w, []string{test.stuck}, &kept} }
				r := w.run(t, hooks, stuck)
				assert.Equal(t, test.first, w.steps())
				assert.NotEmpty(t, problemTexts(r, report.Warning, "hook"))
				for range 2 {
					time.Sleep(15 * time.Minute)
					assert.NotEmpty(t, problemTexts(w.run(t, hooks), report.Warning, "still running"))
				}
				assert.Equal(t, test.first, w.steps())
				for _, lock := range kept {
					_ = lock.(*note.Note).File().Close() // the stuck hook ends
				}
				w.events = nil
				time.Sleep(15 * time.Minute)
				assert.Empty(t, problemTexts(w.run(t, hooks), report.Warning, ""))
				assert.Equal(t, test.last+"before begins, before ends, snapshot, after begins, after ends, after2 begins, after2 ends", w.steps())
				w.nothingOwed(t)
			})
		})
	}
}

// If a run is killed before it has started a hook that runs once for all guests, the next run
// starts the hook once for all guests of the killed run.
func TestPerRunHookIsOwedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		once := func(o *Options) {
			o.Config.Hooks.AfterSnapshot = []config.Hook{{Argv: []string{"after"}, Per: "run"}}
		}
		h := &hooks{journal: testJournal(), Options: w.options(once)}
		for _, vmid := range []int{1000, 101, 100} {
			w.guest(vmid, true, "tank")
			killed := &turn{vmid: vmid}
			h.owe(killed, afterSnapshot, hookGuest{VMID: vmid, Snapshots: []hookSnapshot{}})
			killed.owed.Leave()
		}
		w.onHook = func(context.Context, string, string) (string, error) {
			time.Sleep(time.Second)
			return "", nil
		}
		w.run(t, once)
		assert.Equal(t, "after begins, after ends, after begins, after ends", strings.Replace(w.steps(), "snapshot, ", "", 1), "for the killed run, and for this run")
		assert.Regexp(t, `"vmid":100,.*"vmid":101,.*"vmid":1000,`, w.eventsWith("after begins")[0].what)
		w.nothingOwed(t)
	})
}

// If /etc/pve cannot be read, a run cannot begin, but still starts the hooks that a killed run
// owes. A run that cannot begin does not start after_stop, because it is unknown whether the guest
// is off.
func TestOwedIsRunWithoutProxmox(t *testing.T) {
	for name, run := range map[string]func(context.Context, Options) (snapper.Plan, report.Run, error){"snap": Run, "prune": Prune} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newVirtualWorld(t)
				w.guest(100, true, "tank")
				w.last.Node = "pve1"
				w.clusterErr = errTest
				h := &hooks{journal: testJournal(), Options: w.options(hooking)}
				for _, on := range []hookEvent{afterSnapshot, afterStop} {
					killed := &turn{vmid: 100}
					h.owe(killed, on, hookGuest{VMID: 100, Snapshots: []hookSnapshot{}})
					killed.owed.Leave()
				}
				ended, end := context.WithCancel(t.Context())
				end()
				_, _, err := run(ended, h.Options)
				assert.Error(t, err)
				assert.Empty(t, w.steps(), "the run was told to end")
				_, r, err := run(t.Context(), h.Options)
				assert.ErrorIs(t, err, errTest)
				assert.Empty(t, problemTexts(r, report.Warning, ""))
				assert.Equal(t, "after begins, after ends", w.steps())
				assert.Contains(t, w.onlyEvent(t, "after begins").what, `"node":"pve1"`)
				assert.Equal(t, []string{"100.after_stop.0"}, w.owed(t))
			})
		})
	}
}
