package run

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/config"
	"snapwatch/internal/pve"
	"snapwatch/internal/report"
	"snapwatch/lua"
)

// hooking lets hooks run whose programs are called before, after, stop.
func hooking(o *Options) {
	hook := func(name string) []config.Hook {
		return []config.Hook{{Argv: []string{name}, Timeout: config.Duration(10 * time.Minute)}}
	}
	o.Config.Hooks = config.Hooks{BeforeSnapshot: hook("before"), AfterSnapshot: hook("after"), AfterStop: hook("stop")}
}

// steps returns the names of what happened, in order: begins and ends of hooks, and snapshots.
func (w *virtualWorld) steps() string {
	var steps []string
	for _, e := range w.happened("") {
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

// Hooks of one guest never overlap: not those of a pool that answers late, nor those of the
// next run, which begins while the hooks after snapshots run.
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
			w.onHook = func(_ context.Context, program, _ string) (string, error) {
				if program == "after" {
					time.Sleep(9 * time.Minute)
				}
				return "", nil
			}
			ended := make(chan report.Run)
			go func() { ended <- w.run(t, hooking) }()
			time.Sleep(time.Minute)
			r := w.run(t, hooking)
			assert.False(t, r.Success)
			assert.Len(t, told(r, report.Warning, "not started: hooks of guest 100 that were started earlier are still at work"), 1)
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

// What a run that is killed owes runs in the next, before all else of the guest.
func TestOwedAfterKill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		w.guest(100, true, "tank")
		h := &hooks{Options: w.options(hooking)}
		turn, err := h.take(100)
		require.NoError(t, err)
		h.owe(turn, afterSnapshot, hookGuest{VMID: 100, Snapshots: []hookSnapshot{}})
		turn.Leave()
		w.run(t, hooking)
		assert.Equal(t, "after begins, after ends, "+wholeTurn, w.steps())
		assert.Contains(t, w.happened("after begins")[0].what, "the run that began this ended before this hook did")
		w.nothingOwed(t)
	})
}

// after_stop is owed until the guest has its _stopped snapshots and its label, whatever came
// in between, and then it runs once.
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
				assert.Len(t, w.happened("stop begins"), 1)
				w.nothingOwed(t)
			})
		})
	}
}

// One that cannot run any more is given up, and that is said.
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
		assert.Len(t, told(r, report.Warning, "hook after_stop, for guest 100: owed since"), 1)
		assert.Empty(t, w.happened("stop begins"))
		w.nothingOwed(t)
	})
}

// What happens to a guest while hooks run is seen before its program.
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

// A snapshot keeps the configuration that is in force at its program, after the hooks.
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
