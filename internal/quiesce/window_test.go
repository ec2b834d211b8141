package quiesce

import (
	"errors"
	"io"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/pve"
)

const ample = time.Minute

func TestWindow(t *testing.T) {
	r := newRig(t, 3)
	w := r.open(t, ample)
	for _, g := range r.guests {
		_, calls := g.is()
		assert.Empty(t, calls, "nothing is frozen before it is told to")
	}
	assert.Empty(t, w.Freeze())
	for id, g := range r.guests {
		frozen, _ := g.is()
		assert.True(t, frozen, id)
	}
	ended := w.Thaw()
	r.thawed(t)
	assert.Empty(t, ended.Early)
	assert.Empty(t, ended.Left)
	assert.Len(t, ended.Frozen, 3)
	<-r.ended
}

// A window that froze none of its guests thaws none, even if a program other than snap froze a
// guest.
func TestThawWithoutFreeze(t *testing.T) {
	r := newRig(t, 1)
	g := r.guests[r.ids[0]]
	g.frozen = true
	w := r.open(t, ample)
	assert.Equal(t, Ended{}, w.Thaw())
	<-r.ended
	_, calls := g.is()
	assert.Empty(t, calls)
}

// If one guest cannot be frozen or thawed, the other guests of the window are frozen and thawed all
// the same.
func TestOneGuestFails(t *testing.T) {
	for _, test := range []struct {
		name   string
		is     func(*guest)
		want   string
		thaws  bool
		frozen bool // true if the guest is still frozen after the window
	}{
		{"cannot freeze", func(g *guest) { g.fails = errors.New("no\nagent") }, "no agent", true, false},
		{"hangs", func(g *guest) { g.hangs = true }, "deadline", true, false},
		{"hangs and freezes all the same", func(g *guest) { g.hangs, g.late = true, true }, "deadline", true, false},
		{"is somebody else's", func(g *guest) { g.frozen = true }, "somebody else has frozen it already", false, true},
		{"is thawed at the third try", func(g *guest) { g.stuck = 2 }, "", true, false},
		{"ends meanwhile", func(g *guest) { g.gone = true }, "", true, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, 2)
				odd := r.guests[r.ids[1]]
				test.is(odd)
				w := r.open(t, 10*time.Second)
				failed := w.Freeze()
				if test.want == "" {
					assert.Empty(t, failed)
				} else {
					assert.Contains(t, failed[r.ids[1]], test.want)
					assert.Len(t, failed, 1)
				}
				frozen, _ := r.guests[r.ids[0]].is()
				assert.True(t, frozen, "the other is frozen")
				ended := w.Thaw()
				<-r.ended
				assert.Empty(t, ended.Early)
				assert.Empty(t, ended.Left)
				frozen, calls := odd.is()
				assert.Equal(t, test.frozen, frozen)
				assert.Equal(t, test.thaws, len(calls) > 1 && calls[len(calls)-1] == "thaw", "%v", calls)
				frozen, _ = r.guests[r.ids[0]].is()
				assert.False(t, frozen)
			})
		})
	}
}

// If a guest's agent hangs, in whatever call, the run is not delayed beyond the budget, and the
// guest is thawed in the end.
func TestHangsWithinTheBudget(t *testing.T) {
	const budget = 10 * time.Second
	for _, test := range []struct {
		name                   string
		freezeHangs, thawHangs bool
		snapshot, want         time.Duration
	}{
		{"freeze", true, false, time.Second, 6 * time.Second},
		{"thaw", false, true, time.Second, 8 * time.Second},
		{"both", true, true, time.Second, 8 * time.Second},
		{"thaw, after a slow snapshot", false, true, 7 * time.Second, 9 * time.Second},
		{"neither", false, false, time.Second, time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, 2)
				odd := r.guests[r.ids[1]]
				odd.hangs, odd.late = test.freezeHangs, true
				if test.thawHangs {
					odd.stuck = 20
				}
				began := time.Now()
				w := r.open(t, budget)
				w.Freeze()
				time.Sleep(test.snapshot) // sleeps by the fake clock of synctest
				ended := w.Thaw()
				assert.Equal(t, test.want, time.Since(began))
				if test.thawHangs {
					assert.Contains(t, ended.Left[r.ids[1]], "may still be frozen")
				} else {
					assert.Empty(t, ended.Left)
				}
				assert.Empty(t, ended.Early)
				assert.NotContains(t, ended.Left, r.ids[0])
				<-r.ended
				r.thawed(t)
			})
		})
	}
}

// If one guest hangs for ever, the other guests are thawed without delay.
func TestOneHangsWithoutEnd(t *testing.T) {
	for _, test := range []struct {
		name string
		// The function `hangs` makes the last guest hang until the channel `release` is closed.
		hangs func(r *rig, release chan struct{})
	}{
		{"while its process is read", func(r *rig, release chan struct{}) {
			process := r.Process
			r.Process = func(id pve.ID) (string, error) {
				if id == r.ids[2] {
					<-release
				}
				return process(id)
			}
		}},
		{"in the call that freezes", func(r *rig, release chan struct{}) { r.guests[r.ids[2]].until = release }},
		{"and another waits for its turn", func(r *rig, release chan struct{}) {
			r.AtOnce = 1
			r.guests[r.ids[2]].until = release
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, 3)
				release := make(chan struct{})
				test.hangs(r, release)
				w := r.open(t, 10*time.Second)
				w.Freeze()
				ended := w.Thaw()
				assert.NotEmpty(t, ended.Left[r.ids[2]])
				for _, id := range r.ids[:2] {
					frozen, calls := r.guests[id].is()
					assert.False(t, frozen, "%s: %v", id, calls)
					assert.NotContains(t, ended.Left, id)
				}
				time.Sleep(time.Minute)
				close(release)
				<-r.ended
				r.thawed(t)
				r.noNotes(t)
			})
		})
	}
}

// If a call that freezes a guest never ends, the watchdog ends all the same, and the guest's note
// remains for the next run.
func TestFreezeNeverEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		g := r.guests[r.ids[0]]
		g.until = make(chan struct{})
		w := r.open(t, 10*time.Second)
		w.Freeze()
		w.Thaw()
		<-r.ended
		assert.GreaterOrEqual(t, time.Since(w.since), thawFor)
		assert.FileExists(t, filepath.Join(string(r.Notes), noteName(r.ids[0])))
		close(g.until)
	})
}

// When the time budget of a window is over, the watchdog thaws all guests, whatever the run does,
// and tells the run the reason.
func TestBudget(t *testing.T) {
	r := newRig(t, 2)
	w := r.open(t, 100*time.Millisecond)
	assert.Empty(t, w.Freeze())
	require.Eventually(t, func() bool { _, calls := r.guests[r.ids[0]].is(); return len(calls) == 2 }, ample, time.Millisecond)
	ended := w.Thaw()
	<-r.ended
	r.thawed(t)
	assert.Equal(t, "max_freeze (100ms) is over", ended.Early)
	assert.Empty(t, ended.Left)
	assert.Len(t, ended.Frozen, 2)
}

// If a run is killed at any point, its watchdog thaws the run's guests.
func TestRunIsKilled(t *testing.T) {
	for name, during := range map[string]func(w *Window){
		"before it froze": func(*Window) {},
		"while frozen":    func(w *Window) { w.Freeze() },
		"while it thaws":  func(w *Window) { w.Freeze(); _, _ = io.WriteString(w.watchdog, sayThaw+"\n") },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 2)
			w := r.open(t, ample)
			during(w)
			w.close()
			<-r.ended
			r.thawed(t)
		})
	}
	t.Run("while it freezes", func(t *testing.T) {
		r := newRig(t, 2)
		r.guests[r.ids[0]].hangs, r.guests[r.ids[0]].late = true, true
		w := r.open(t, time.Hour)
		_, err := io.WriteString(w.watchdog, sayFreeze+"\n")
		require.NoError(t, err)
		require.Eventually(t, func() bool { _, calls := r.guests[r.ids[0]].is(); return len(calls) == 1 }, ample, time.Millisecond)
		w.close()
		<-r.ended
		r.thawed(t)
	})
}

// A watchdog that receives a signal to end, for example from systemd, thaws its guests first.
func TestGuardIsTold(t *testing.T) {
	r := newRig(t, 2)
	w := r.open(t, ample)
	w.Freeze()
	close(r.told)
	require.Eventually(t, func() bool { _, calls := r.guests[r.ids[0]].is(); return len(calls) == 2 }, ample, time.Millisecond)
	ended := w.Thaw()
	<-r.ended
	r.thawed(t)
	assert.Equal(t, "told to end", ended.Early)
}

// If the watchdog dies, the run itself thaws the guests, and reports the death of the watchdog as
// the reason why the guests may have continued too early.
func TestGuardDies(t *testing.T) {
	r := newRig(t, 2)
	run := r.Host
	dead := make(chan struct{})
	run.Watchdog = func(time.Duration, []pve.ID) (io.ReadWriteCloser, error) {
		in, toGuard := io.Pipe()
		fromGuard, out := io.Pipe()
		go func() {
			_, _ = io.WriteString(out, "ready\n")
			_, _ = in.Read(make([]byte, 100))
			for _, id := range r.ids {
				_, _ = r.guests[id].Freeze(t.Context())
				_, _ = io.WriteString(out, "frozen "+id.String()+" 2\n")
			}
			_, _ = out.Close(), in.Close()
			close(dead)
		}()
		return pipes{Reader: fromGuard, Writer: toGuard, close: func() error { return nil }}, nil
	}
	w, err := run.Open(r.ids, ample)
	require.NoError(t, err)
	assert.Empty(t, w.Freeze())
	<-dead
	ended := w.Thaw()
	r.thawed(t)
	assert.Contains(t, ended.Early, "the watchdog ended or hangs")
	assert.Empty(t, ended.Left)
}

func TestGuardDoesNotStart(t *testing.T) {
	r := newRig(t, 1)
	run := r.Host
	run.Watchdog = func(time.Duration, []pve.ID) (io.ReadWriteCloser, error) { return nil, errors.New("no such file") }
	_, err := run.Open(r.ids, ample)
	assert.EqualError(t, err, "no such file")
	run.Watchdog = func(time.Duration, []pve.ID) (io.ReadWriteCloser, error) {
		from, out := io.Pipe()
		_ = out.Close()
		return pipes{Reader: from, Writer: io.Discard, close: func() error { return nil }}, nil
	}
	_, err = run.Open(r.ids, ample)
	assert.ErrorContains(t, err, "ended before it was ready")
	_, calls := r.guests[r.ids[0]].is()
	assert.Empty(t, calls)
}

func TestParseID(t *testing.T) {
	for text, want := range map[string]bool{"qemu/101": true, "lxc/1": true, "qemu/0": false, "qemu/": false, "vm/101": false, "qemu/0101": false, "101": false, "qemu/101/x": false} {
		_, ok := ParseID(text)
		assert.Equal(t, want, ok, text)
	}
}

// If a frozen guest continued by itself, the watchdog or the run still thaws the guest, and the
// guest's snapshot must not count as consistent.
func TestLapsed(t *testing.T) {
	for name, alone := range map[string]bool{"by the watchdog": false, "alone": true} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 2)
			r.guests[r.ids[0]].lapses = true
			w := r.open(t, time.Minute)
			require.Empty(t, w.Freeze())
			if alone {
				require.NoError(t, r.watchdog.Close())
			}
			ended := w.Thaw()
			assert.Contains(t, ended.Lapsed[r.ids[0]], "VSS gave up")
			if alone {
				assert.NotEmpty(t, ended.Early)
			} else {
				assert.NotContains(t, ended.Lapsed, r.ids[1])
			}
			assert.Empty(t, ended.Left)
			assert.Len(t, ended.Frozen, 2)
			r.thawed(t)
		})
	}
}
