package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/config"
	"snapwatch/internal/command"
	"snapwatch/internal/pve"
	"snapwatch/internal/report"
	"snapwatch/lua"
	"snapwatch/snapper"
)

// hooking configures a before_snapshot, an after_snapshot and an after_stop hook, with the programs
// before, after and stop.
func hooking(o *Options) {
	hook := func(name string) []config.Hook {
		return []config.Hook{{Argv: []string{name}, Timeout: config.Duration(10 * time.Minute)}}
	}
	o.Config.Hooks = config.Hooks{BeforeSnapshot: hook("before"), AfterSnapshot: hook("after"), AfterStop: hook("stop")}
}

// steps returns the names of the test's events in their order: the beginning and the end of each
// hook, and the snapshots.
func (w *virtualWorld) steps() string {
	var steps []string
	for _, e := range w.eventsWith("") {
		words := strings.Fields(e.what)
		switch words[1] {
		case "snapshot":
			steps = append(steps, "snapshot")
		case "begins:", "ends:":
			steps = append(steps, words[0]+" "+strings.TrimSuffix(words[1], ":"))
		}
	}
	return strings.Join(steps, ", ")
}

const wholeTurn = "before begins, before ends, snapshot, after begins, after ends"

func TestHookTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		w.guest(100, true, "tank")
		r := w.run(t, hooking)
		assert.Empty(t, r.Problems)
		assert.Equal(t, wholeTurn, w.steps())
		w.nothingOwed(t)
	})
}

func (w *virtualWorld) nothingOwed(t *testing.T) {
	t.Helper()
	names, err := w.hookNotes.Names()
	require.NoError(t, err)
	assert.Empty(t, names)
}

// Two hooks of one guest never run at the same time, not even if one of the two runs for the
// snapshots on a pool that answers late. If after_snapshot hooks of the last run still run when the
// next run begins, the hooks of the next run wait until these after_snapshot hooks have ended.
func TestHooksNeverOverlap(t *testing.T) {
	t.Run("late pool", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newVirtualWorld(t)
			w.guest(100, true, "ssd", "tank")
			w.pool("tank").slowList = time.Minute
			w.onHook = func(_ context.Context, program, _ string) (string, error) {
				if program == "after" {
					time.Sleep(time.Minute)
				}
				return "", nil
			}
			r := w.run(t, hooking)
			assert.True(t, r.Success, "%v", r.Problems)
			assert.Equal(t, wholeTurn+", "+wholeTurn, w.steps())
			w.nothingOwed(t)
		})
	})
	t.Run("next run", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newVirtualWorld(t)
			w.guest(100, true, "tank")
			ended := w.runWithSlowAfter(t)
			r := w.run(t, hooking)
			assert.False(t, r.Success)
			assert.Len(t, problemTexts(r, report.Warning, "not started: hooks of guest 100 that were started earlier are still running"), 1)
			<-ended
			assert.Equal(t, wholeTurn, w.steps(), "no snapshot is made that was not prepared")
			time.Sleep(8 * time.Minute)
			go func() { ended <- w.run(t, hooking) }()
			time.Sleep(8 * time.Minute)
			assert.True(t, w.run(t, hooking).Success, "it waits for a minute")
			<-ended
			assert.Equal(t, wholeTurn+", "+wholeTurn+", "+wholeTurn, w.steps())
			w.nothingOwed(t)
		})
	})
}

// If a run is killed before it has started a hook that must run for a guest, the next run starts
// the hook before it does anything else for the guest.
func TestOwedAfterKill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		w.guest(100, true, "tank")
		h := &hooks{journal: testJournal(), Options: w.options(hooking)}
		killed := &turn{vmid: 100}
		h.owe(killed, afterSnapshot, hookGuest{VMID: 100, Snapshots: []hookSnapshot{}})
		killed.owed.Leave()
		w.run(t, hooking)
		assert.Equal(t, "after begins, after ends, "+wholeTurn, w.steps())
		assert.Contains(t, w.eventsWith("after begins")[0].what, "an earlier run ended before this hook had run to its end")
		w.nothingOwed(t)
	})
}

// The after_stop hook of a guest is owed until the guest's disks have their _stopped snapshots and
// the label "stopped", whatever fails before that. Then the hook runs once.
func TestAfterStopIsOwed(t *testing.T) {
	for name, program := range map[string]func(w *virtualWorld, guests []lua.Guest) (map[string]lua.Outcome, error){
		"the answer is lost": func(w *virtualWorld, guests []lua.Guest) (map[string]lua.Outcome, error) {
			p := w.pool("tank")
			p.snapshot(guests)
			p.heads[0].Running.Value, p.heads[0].Written = "stopped", 0
			return nil, errors.New("lost")
		},
		"its label fails": func(w *virtualWorld, guests []lua.Guest) (map[string]lua.Outcome, error) {
			got := w.pool("tank").snapshot(guests)
			w.pool("tank").heads[0].Written = 0
			for dataset, o := range got {
				o.Label = nil
				got[dataset] = o
			}
			return got, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newVirtualWorld(t)
				w.guest(100, false, "tank")
				first := true
				w.pool("tank").onSnapshot = func(_ context.Context, guests []lua.Guest) (map[string]lua.Outcome, error) {
					if first {
						first = false
						return program(w, guests)
					}
					if guests[0].Disks[0].Label == "stopped" {
						w.pool("tank").heads[0].Running.Value = "stopped"
					}
					return nil, nil
				}
				for range 4 {
					w.run(t, hooking)
					time.Sleep(15 * time.Minute)
				}
				assert.Len(t, w.eventsWith("stop begins"), 1)
				w.nothingOwed(t)
			})
		})
	}
}

// If the after_stop hook of a guest can no longer run, the run gives the hook up and reports that.
func TestAfterStopIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		g := w.guest(100, false, "tank")
		w.pool("tank").onSnapshot = func(context.Context, []lua.Guest) (map[string]lua.Outcome, error) {
			return nil, errors.New("lost")
		}
		w.run(t, hooking)
		w.pool("tank").onSnapshot = nil
		g.alive = true
		time.Sleep(15 * time.Minute)
		r := w.run(t, hooking)
		assert.Len(t, problemTexts(r, report.Warning, "hook after_stop, for guest 100: owed since"), 1)
		assert.Empty(t, w.eventsWith("stop begins"))
		w.nothingOwed(t)
	})
}

// If a guest's state changes while the guest's hooks run, the run notices the change before the
// channel program of the guest's snapshots begins.
func TestLooksAfterHooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		w.guest(100, true, "tank")
		other := w.guest(101, true, "tank")
		w.onHook = func(_ context.Context, program, input string) (string, error) {
			if program == "before" && strings.Contains(input, `"vmid":100`) {
				time.Sleep(time.Minute)
				other.cfg.Lock, other.alive = "rollback", false
			}
			return "", nil
		}
		r := w.run(t, hooking)
		assert.NotContains(t, w.pool("tank").programs, []string{"tank/data/vm-101-disk-0"})
		for _, names := range w.pool("tank").programs {
			for _, name := range names {
				assert.NotContains(t, name, "vm-101")
			}
		}
		assert.Contains(t, r.Disks[1].Reason, "left to the next run")
	})
}

// A snapshot keeps the guest configuration that is valid after the hooks, when the channel program
// begins.
func TestConfigAtTheProgram(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		g := w.guest(100, true, "tank")
		g.cfg.Text = "memory: 1\n"
		w.onHook = func(_ context.Context, program, _ string) (string, error) {
			if program == "before" {
				g.cfg.Text = "memory: 2\n"
			}
			return "", nil
		}
		kept := ""
		w.pool("tank").onSnapshot = func(_ context.Context, guests []lua.Guest) (map[string]lua.Outcome, error) {
			kept = guests[0].Disks[0].Config
			return nil, nil
		}
		w.run(t, hooking, func(o *Options) { o.Config.CaptureConfig = true })
		c, err := pve.ReadCaptured(kept)
		require.NoError(t, err)
		assert.Contains(t, c.Text, "memory: 2\n")
	})
}

// sendsAfter returns an option that configures the given programs as after_snapshot hooks. The
// configuration has only after_snapshot hooks.
func sendsAfter(programs ...string) func(*Options) {
	return func(o *Options) {
		for _, name := range programs {
			o.Config.Hooks.AfterSnapshot = append(o.Config.Hooks.AfterSnapshot, config.Hook{Argv: []string{name}})
		}
	}
}

// owed returns the names of the notes about hooks that must still run.
func (w *virtualWorld) owed(t *testing.T) (names []string) {
	t.Helper()
	all, err := w.hookNotes.Names()
	require.NoError(t, err)
	return slices.DeleteFunc(all, func(name string) bool { return !strings.Contains(name, ".") })
}

// The notes about owed after_snapshot hooks are written for all guests before the first snapshot is
// taken. If a guest's hooks wait, because too many hooks are running already, the note about this
// guest is also written before the first snapshot.
func TestOwedBeforeTheSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		const n = hooksAtOnce + 4
		for i := range n {
			w.guest(100+i, true, "tank")
		}
		w.pool("tank").onSnapshot = func(context.Context, []lua.Guest) (map[string]lua.Outcome, error) {
			assert.Len(t, w.owed(t), n)
			return nil, nil
		}
		var once sync.Once
		w.onHook = func(context.Context, string, string) (string, error) {
			once.Do(func() { assert.Len(t, w.owed(t), n) })
			time.Sleep(time.Minute)
			return "", nil
		}
		w.run(t, sendsAfter("after"))
		assert.Len(t, w.eventsWith("after begins"), n)
		w.nothingOwed(t)
	})
}

// runWithSlowAfter begins a run whose after_snapshot hook takes nine minutes, and waits until this
// hook has been running for one minute.
func (w *virtualWorld) runWithSlowAfter(t *testing.T) (ended chan report.Run) {
	w.onHook = func(_ context.Context, program, _ string) (string, error) {
		if program == "after" {
			time.Sleep(9 * time.Minute)
		}
		return "", nil
	}
	ended = make(chan report.Run)
	go func() { ended <- w.run(t, hooking) }()
	time.Sleep(time.Minute)
	synctest.Wait() // synctest.Wait returns when the run waits for its hook
	return ended
}

// The note about an owed after_stop hook is written even if after_stop cannot start yet, because a
// second hook of the guest is running.
func TestStopOwedWhileHooksRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		g := w.guest(100, true, "tank")
		ended := w.runWithSlowAfter(t)
		g.alive = false
		noted := false
		w.pool("tank").onSnapshot = func(context.Context, []lua.Guest) (map[string]lua.Outcome, error) {
			noted = slices.Contains(w.owed(t), "100.after_stop.0")
			w.pool("tank").heads[0].Running.Value, w.pool("tank").heads[0].Written = "stopped", 0
			return nil, nil
		}
		w.run(t, hooking)
		<-ended
		assert.True(t, noted)
		assert.Equal(t, wholeTurn+", snapshot, stop begins, stop ends", strings.Replace(w.steps(), "after begins, snapshot, after ends", "after begins, after ends, snapshot", 1))
		w.nothingOwed(t)
	})
}

// No hook is owed for ever: if an owed hook cannot run, a run gives it up within a day and reports
// that.
func TestOwedIsGivenUp(t *testing.T) {
	for name, test := range map[string]struct {
		on     hookEvent
		change func(*Options)
		why    string
		runs   int
	}{
		"no such hook any more":  {afterSnapshot, func(o *Options) { o.Config.Hooks.AfterSnapshot = nil }, "the configuration no longer has this hook for the guest", 1},
		"none for the guest":     {afterSnapshot, func(o *Options) { _ = o.Config.Hooks.AfterSnapshot[0].VMID.UnmarshalText([]byte("101")) }, "the configuration no longer has this hook for the guest", 1},
		"its label never comes":  {afterStop, func(*Options) {}, "it could not run for 24h0m0s", 25},
		"the clock was set back": {afterStop, func(*Options) {}, "it could not run for 24h0m0s", 25},
		"the guest is gone":      {afterStop, func(*Options) {}, "the guest is not configured on this node any more", 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newVirtualWorld(t)
				g := w.guest(100, false, "tank")
				w.guest(101, true, "tank")
				h := &hooks{journal: testJournal(), Options: w.options(hooking)}
				killed := &turn{vmid: 100}
				if name == "the clock was set back" {
					killed.since = time.Now().Add(1000 * time.Hour)
				}
				h.owe(killed, test.on, hookGuest{VMID: 100, Snapshots: []hookSnapshot{{Dataset: "tank/data/vm-100-disk-0", Name: "gone"}}})
				killed.owed.Leave()
				g.cfg.Lock = "backup" // under this lock the guest gets no snapshot
				if strings.HasSuffix(name, "gone") {
					delete(w.guests, 100)
				}
				for n := range test.runs {
					r := w.run(t, hooking, test.change)
					last := 0
					if n == test.runs-1 {
						last = 1
					}
					require.Len(t, problemTexts(r, report.Warning, "hook "+string(test.on)+", for guest 100: owed since"), last, "%d: %v", n, r.Problems)
					if last == 1 {
						assert.Len(t, problemTexts(r, report.Warning, "and given up: "+test.why), 1, "%v", r.Problems)
					}
					time.Sleep(time.Hour)
				}
				assert.Empty(t, w.owed(t))
				assert.Empty(t, problemTexts(w.run(t, hooking, test.change), report.Warning, ""), "once")
			})
		})
	}
}

// prune runs the hooks that earlier runs of prune and of snap owe, except after_stop hooks. prune
// does not know whether a guest has stopped.
func TestPruneSettles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		w.guest(100, true, "tank")
		h := &hooks{journal: testJournal(), Options: w.options(hooking, func(o *Options) { o.Config.Hooks.AfterPrune = o.Config.Hooks.AfterStop })}
		for _, on := range []hookEvent{afterSnapshot, afterStop} {
			killed := &turn{vmid: 100}
			h.owe(killed, on, hookGuest{VMID: 100, Snapshots: []hookSnapshot{}})
			killed.owed.Leave()
		}
		_, r, err := Prune(t.Context(), h.Options)
		require.NoError(t, err)
		assert.Empty(t, problemTexts(r, report.Warning, ""))
		assert.Equal(t, "after begins, after ends", w.steps())
		assert.Equal(t, []string{"100.after_stop.0"}, w.owed(t))
	})
}

// The note about the owed after_prune hook is written before prune destroys a snapshot.
func TestPruneIsOwed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		w.guest(100, true, "tank")
		for range 8 {
			w.run(t)
			time.Sleep(15 * time.Minute)
		}
		delete(w.guests, 100) // the disk of guest 100 is a copy now
		w.plain = true
		w.pool("tank").onDestroy = func(string, string) syscall.Errno {
			assert.Equal(t, []string{"100.after_prune.0"}, w.owed(t))
			return 0
		}
		_, _, err := Prune(t.Context(), w.options(func(o *Options) {
			o.Keep, _ = config.ParseKeep([]string{"f1"})
			o.Config.Hooks.AfterPrune = []config.Hook{{Argv: []string{"pruned"}}}
		}))
		require.NoError(t, err)
		assert.Len(t, w.eventsWith("pruned begins"), 1)
		w.nothingOwed(t)
	})
}

// If prune cannot destroy a snapshot because of its hold, prune destroys a snapshot in the list
// Plan.Waiting instead. prune writes the note about the after_prune hook before such a destroy,
// too.
func TestPruneInPlaceOfHeldIsOwed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		w.plain = true
		p := w.pool("tank")
		p.addDisk("tank/data/vm-100-disk-0", 1)
		p.addOlderSnapshots("tank/data/vm-100-disk-0", 300, 90*time.Hour)
		p.addDisk("tank/data/vm-101-disk-0", 2)
		p.addOlderSnapshots("tank/data/vm-101-disk-0", 30, 20*time.Hour)
		p.onDestroy = func(dataset, name string) syscall.Errno {
			if dataset == "tank/data/vm-100-disk-0" {
				return syscall.EBUSY
			}
			var o owedHook
			assert.NoError(t, w.hookNotes.Read("101.after_prune.0", &o))
			assert.Contains(t, o.Guest.Snapshots, hookSnapshot{dataset, name, "frequently"})
			return 0
		}
		r := w.prune(t, destroying(20), func(o *Options) {
			o.Config.Hooks.AfterPrune = []config.Hook{{Argv: []string{"pruned"}}}
		})
		assert.Equal(t, 20, r.Counts[report.DidDestroy])
		assert.Contains(t, w.onlyEvent(t, "pruned begins").what, `"vmid":101`)
		w.nothingOwed(t)
	})
}

// All after_snapshot hooks of a guest are started even if one of them fails, because each may undo
// what a before_snapshot hook did. If a guest's before_snapshot hook never ran, there is nothing to
// undo, and no after_snapshot hook is started.
func TestAfterAFailedHook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		w.guest(100, true, "tank")
		w.onHook = func(_ context.Context, program, _ string) (string, error) {
			if program == "undo1" || program == "before" {
				return "", errTest
			}
			return "", nil
		}
		before := func(o *Options) { o.Config.Hooks.BeforeSnapshot = []config.Hook{{Argv: []string{"before"}}} }
		r := w.run(t, before, sendsAfter("undo1", "undo2"))
		assert.Equal(t, "before begins, before ends, undo1 begins, undo1 ends, undo2 begins, undo2 ends", w.steps())
		assert.Len(t, problemTexts(r, report.Warning, "hook after_snapshot, for guest 100"), 1)
		w.nothingOwed(t)

		w.onHook = func(context.Context, string, string) (string, error) { return "", command.ErrNotStarted }
		w.events = nil
		w.run(t, before, sendsAfter("undo1"))
		assert.Equal(t, "before begins, before ends", w.steps(), "it could not be started")
		w.nothingOwed(t)
	})
}

// A run removes the note about a failed hook only after it has reported the failure. If the run is
// killed before it removes the note, the next run repeats the hook. If a run gives up a hook, the
// run also reports this loss before the run removes the note about the hook.
func TestHookFaultIsToldBeforeItsNoteGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		w.guest(100, true, "tank")
		w.onHook = func(context.Context, string, string) (string, error) { return "", command.ErrNotStarted }
		left := 0
		listens := func(o *Options) {
			o.Tell = func(problems []report.Problem) {
				for _, p := range problems {
					if strings.HasPrefix(p.Text, "hook after_snapshot, for guest 100: ") {
						left++
						assert.Contains(t, w.owed(t), "100.after_snapshot.0", p.Text)
					}
				}
			}
		}
		w.run(t, sendsAfter("after"), listens)
		assert.Equal(t, 1, left)
		h := &hooks{journal: testJournal(), Options: w.options(hooking)}
		killed := &turn{vmid: 100}
		h.owe(killed, afterSnapshot, hookGuest{VMID: 100})
		killed.owed.Leave()
		w.run(t, listens)
		assert.Equal(t, 2, left, "given up")
		w.nothingOwed(t)
	})
}

// A hook that runs once for all guests gets a list of the guests, in the order of their VMIDs. The
// hook's list of guests includes a guest even if it is unknown whether the guest's snapshots exist.
func TestHookGuestsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		h := &hooks{journal: testJournal(), Options: w.options(func(o *Options) {
			o.Config.Hooks.AfterSnapshot = []config.Hook{{Argv: []string{"after"}, Per: "run"}}
		})}
		begun := map[int]*turn{}
		for vmid := 100; vmid < 120; vmid++ {
			lock, err := h.takeLock(t.Context(), vmid)
			require.NoError(t, err)
			begun[vmid] = &turn{vmid: vmid, lock: lock}
		}
		h.follow(hookPlan(), map[string]snapper.Outcome{"tank/vm-101-disk-0": {Snapshot: "a"}}, begun)
		h.end()
		text := w.onlyEvent(t, "after begins").what
		at := -1
		for vmid := 100; vmid < 120; vmid++ {
			next := strings.Index(text, fmt.Sprintf(`"vmid":%d,`, vmid))
			assert.Greater(t, next, at)
			at = next
		}
	})
}
