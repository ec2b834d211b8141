package quiesce

import (
	"io"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/note"
	"snapwatch/internal/pve"
)

// noNotes fails the test if a note about a freeze exists. The note about a freeze remains if no
// process saw the end of the freeze.
func (r *rig) noNotes(t *testing.T) {
	t.Helper()
	names, err := r.Notes.Names()
	require.NoError(t, err)
	assert.Empty(t, names)
}

// A snapshot counts as consistent only if the guest's agent thaws the same number of file systems
// as it froze.
func TestProof(t *testing.T) {
	for name, test := range map[string]struct {
		is     func(*guest)
		lapsed string
	}{
		"frozen throughout":    {func(*guest) {}, ""},
		"thawed in between":    {func(g *guest) { g.set(false) }, "2 parts of the guest were frozen, and 0 at the thaw"},
		"ended in between":     {func(g *guest) { g.gone = true }, "it no longer runs"},
		"its answer is lost":   {func(g *guest) { g.lost = true }, "2 parts of the guest were frozen, and 0 at the thaw"},
		"thawed at the second": {func(g *guest) { g.stuck = 1 }, ""},
		"gave up by itself":    {func(g *guest) { g.lapses = true }, "VSS gave up"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, 2)
				w := r.open(t, ample)
				require.Empty(t, w.Freeze())
				test.is(r.guests[r.ids[0]])
				ended := w.Thaw()
				<-r.ended
				assert.Equal(t, test.lapsed == "", ended.Lapsed[r.ids[0]] == "", ended.Lapsed)
				assert.Contains(t, ended.Lapsed[r.ids[0]], test.lapsed)
				assert.NotContains(t, ended.Lapsed, r.ids[1])
				assert.Empty(t, ended.Left)
				r.noNotes(t)
			})
		})
	}
}

// If a guest's agent does not answer while the watchdog tries to thaw the guest, the note about the
// freeze remains, and each later run tries to thaw the guest until a thaw succeeds.
func TestTakeOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 2)
		odd := r.guests[r.ids[1]]
		w := r.open(t, 10*time.Second)
		require.Empty(t, w.Freeze())
		odd.stuck = 1000
		ended := w.Thaw()
		assert.Contains(t, ended.Left[r.ids[1]], "may still be frozen")
		assert.NotContains(t, ended.Left, r.ids[0])

		// While a watchdog has time left to thaw its guests, a run that did not start this watchdog
		// leaves these guests alone.
		got, err := r.takenOver(t)
		require.NoError(t, err)
		assert.Empty(t, got)
		time.Sleep(2 * time.Minute)
		got, err = r.takenOver(t)
		require.NoError(t, err)
		assert.ErrorContains(t, got[r.ids[1]].Err, "still tries to thaw it")

		<-r.ended // the watchdog has given up thawing
		for range 2 {
			got, err = r.takenOver(t)
			require.NoError(t, err)
			require.Len(t, got, 1)
			assert.ErrorContains(t, got[r.ids[1]].Err, "does not thaw")
		}
		odd.stuck = 0
		got, err = r.takenOver(t)
		require.NoError(t, err)
		require.NoError(t, got[r.ids[1]].Err)
		assert.True(t, got[r.ids[1]].Thawed)
		assert.GreaterOrEqual(t, time.Since(got[r.ids[1]].Since), 10*time.Minute)
		r.thawed(t)
		got, err = r.takenOver(t)
		require.NoError(t, err)
		assert.Empty(t, got)
		r.noNotes(t)
	})
}

// If a run and its watchdog are killed together, at any point, the next run thaws all guests that
// the two left frozen.
func TestBothAreKilled(t *testing.T) {
	for name, test := range map[string]struct {
		written, frozen, gone bool
		want                  int
		err                   error
	}{
		"before the note":   {},
		"before the freeze": {written: true, want: 1},
		"frozen":            {written: true, frozen: true, want: 1},
		"and it ended":      {written: true, gone: true, want: 1, err: ErrGone},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1)
			g := r.guests[r.ids[0]]
			n, err := r.Notes.Take(noteName(r.ids[0]))
			require.NoError(t, err)
			if test.written {
				require.NoError(t, n.Write(Owned{Since: time.Now()}))
			}
			n.Leave()
			g.frozen, g.gone = test.frozen, test.gone
			got, err := r.takenOver(t)
			require.NoError(t, err)
			assert.Len(t, got, test.want)
			require.ErrorIs(t, got[r.ids[0]].Err, test.err)
			assert.Equal(t, test.frozen, got[r.ids[0]].Thawed)
			r.thawed(t)
			r.noNotes(t)
		})
	}
}

// If a guest's agent gave up the freeze by itself, the guest counts as thawed only if the agent
// also says that the guest is not frozen.
func TestGaveUpButFrozen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		g := r.guests[r.ids[0]]
		w := r.open(t, 10*time.Second)
		require.Empty(t, w.Freeze())
		g.lies = true
		assert.NotEmpty(t, w.Thaw().Left)
		<-r.ended
		got, err := r.takenOver(t)
		require.NoError(t, err)
		require.ErrorContains(t, got[r.ids[0]].Err, "VSS gave up")
		g.lies = false
		got, err = r.takenOver(t)
		require.NoError(t, err)
		require.NoError(t, got[r.ids[0]].Err)
		assert.True(t, got[r.ids[0]].Thawed)
		r.noNotes(t)
	})
}

// A killed watchdog has left a guest frozen, and a first run thaws the guest. A message of a second
// run must not say that the killed watchdog is at work.
func TestTwoTakeOver(t *testing.T) {
	r := newRig(t, 1)
	n, err := r.takeNote(r.ids[0], time.Millisecond)
	require.NoError(t, err)
	n.Leave()
	first, err := r.Notes.Find(noteName(r.ids[0]))
	require.NoError(t, err)
	defer first.Leave()
	r.Now = func() time.Time { return time.Now().Add(time.Hour) }
	got, err := r.takenOver(t)
	require.NoError(t, err)
	require.ErrorContains(t, got[r.ids[0]].Err, "another process still tries to thaw it: ")
	assert.ErrorContains(t, got[r.ids[0]].Err, ", or another run")
}

// While the watchdog of an earlier run still tries to thaw a guest, a new run must not freeze this
// guest, because the earlier watchdog would thaw it during the new run's channel program. If the
// earlier watchdog has died, the new run thaws the guest.
func TestOneOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 2)
		n, err := r.Notes.Take(noteName(r.ids[0]))
		require.NoError(t, err)
		require.NoError(t, n.Write(Owned{}))
		left, err := r.Notes.Take(noteName(r.ids[1]))
		require.NoError(t, err)
		require.NoError(t, left.Write(Owned{}))
		left.Leave()
		w := r.open(t, ample)
		failed := w.Freeze()
		require.Len(t, failed, 2)
		for _, id := range r.ids {
			assert.Contains(t, failed[id], ErrOurs.Error())
		}
		ended := w.Thaw()
		<-r.ended
		assert.Empty(t, ended.Left)
		_, calls := r.guests[r.ids[0]].is()
		assert.Empty(t, calls)
		_, calls = r.guests[r.ids[1]].is()
		assert.Equal(t, []string{"thaw"}, calls)
		require.NoError(t, n.End())
		r.noNotes(t)
	})
}

// If the note about a guest's freeze cannot be written, the guest is not frozen.
func TestNoNote(t *testing.T) {
	r := newRig(t, 1)
	r.Notes = note.Dir("/dev/null/notes")
	w := r.open(t, ample)
	failed := w.Freeze()
	assert.Contains(t, failed[r.ids[0]], "not frozen, because its note cannot be")
	w.Thaw()
	<-r.ended
	_, calls := r.guests[r.ids[0]].is()
	assert.Empty(t, calls)
}

// If the watchdog of a run has died, the run itself tries to thaw the guests, for the longest time
// that one thaw may take.
func TestAloneThawsSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		w := r.open(t, 10*time.Second)
		require.Empty(t, w.Freeze())
		r.guests[r.ids[0]].stuck = 4 // the failing thaws take longer than five seconds
		w.ended = true
		w.thawing = ""
		w.watchdog = pipes{Reader: w.watchdog, Writer: io.Discard, close: w.watchdog.Close}
		w.thawAlone()
		assert.Empty(t, w.left)
		r.thawed(t)
		w.close()
		<-r.ended
	})
}

// The watchdog freezes at most AtOnce virtual machines at the same time, and any number of
// containers.
func TestFewAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 10)
		r.AtOnce = 2
		for _, g := range r.guests {
			g.takes = time.Second
		}
		box := pve.ID{VMID: 300, Kind: pve.LXC}
		r.guests[box] = &guest{takes: time.Second}
		r.ids = append(r.ids, box)
		w := r.open(t, 20*time.Second)
		began := time.Now()
		assert.Empty(t, w.Freeze())
		assert.Equal(t, 5*time.Second, time.Since(began))
		ended := w.Thaw()
		<-r.ended
		assert.Empty(t, ended.Lapsed)
		assert.Equal(t, time.Second, ended.Frozen[box]-4*time.Second)
		r.thawed(t)
	})
}

// takenOver calls TakeOver and returns the outcome for each guest that an earlier run left frozen.
func (r *rig) takenOver(t *testing.T) (map[pve.ID]TakenOver, error) {
	t.Helper()
	all := map[pve.ID]TakenOver{}
	err := r.TakeOver(t.Context(), func(id pve.ID, taken TakenOver) {
		assert.FileExists(t, filepath.Join(string(r.Notes), noteName(id)), "it is told before it is forgotten")
		all[id] = taken
	})
	return all, err
}

// When the process of a frozen guest ends, the freeze ends, too. If a guest that an earlier run
// left frozen was started again, and has no agent, the run reports the guest once and gives up. If
// the guest was started again, and a program other than snap froze it, the run does not thaw the
// guest.
func TestFrozenAndStartedAgain(t *testing.T) {
	for name, test := range map[string]struct {
		was, is string
		given   bool
	}{
		"another":   {"process 17 of 4000", "process 17 of 9000", true},
		"gone":      {"process 17 of 4000", "", true},
		"the same":  {"process 17 of 4000", "process 17 of 4000", false},
		"not known": {"", "process 17 of 9000", false},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1)
			g := r.guests[r.ids[0]]
			g.process = test.was
			n, err := r.takeNote(r.ids[0], ample)
			require.NoError(t, err)
			n.Leave()
			g.process, g.frozen, g.stuck = test.is, true, 1
			got, err := r.takenOver(t)
			require.NoError(t, err)
			_, calls := g.is()
			if !test.given {
				assert.NotErrorIs(t, got[r.ids[0]].Err, ErrGone)
				assert.Equal(t, []string{"thaw"}, calls)
				return
			}
			require.ErrorIs(t, got[r.ids[0]].Err, ErrGone)
			assert.Empty(t, calls)
			got, err = r.takenOver(t)
			require.NoError(t, err)
			assert.Empty(t, got, "said once")
		})
	}
}

// If a guest was started again during a window, the freeze did not last until the end of the
// channel program. The snapshot of a guest that was started again is not consistent. The watchdog
// does not thaw the guest's new process, not even if a program other than snap has frozen the new
// process.
func TestStartedAgainWhileFrozen(t *testing.T) {
	for name, frozenSince := range map[string]bool{"frozen by others": true, "running": false} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 2)
			for _, g := range r.guests {
				g.process = "process 17 of 4000"
			}
			w := r.open(t, ample)
			require.Empty(t, w.Freeze())
			g := r.guests[r.ids[0]]
			g.set(frozenSince)
			g.mu.Lock()
			g.process = "process 18 of 9000"
			g.mu.Unlock()
			ended := w.Thaw()
			<-r.ended
			assert.Len(t, ended.Lapsed, 1)
			assert.Contains(t, ended.Lapsed[r.ids[0]], "it was started again since then")
			assert.Empty(t, ended.Left)
			frozen, calls := g.is()
			assert.Equal(t, frozenSince, frozen)
			assert.NotContains(t, calls, "thaw")
			r.noNotes(t)
		})
	}
}
