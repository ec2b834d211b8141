package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"snapwatch/internal/note"
	"snapwatch/internal/report"
)

// While hooks that another run started for a guest are running, this run waits, and checks every
// turnPause whether these hooks have ended.
const turnPause = time.Second

// maxSameOwed is the largest number of notes about the same hook of one guest: each round, and each
// run that works at the same time, may leave a note about this hook.
const maxSameOwed = 20

// turn is the time in which hooks run for one guest: from the start of the first hook before the
// guest's snapshots until the end of the last hook after the snapshots. A turn has two notes, in
// the fields `lock` and `owed`. A field is nil if this run did not write its note.
type turn struct {
	vmid int
	// While the note in the field `lock` is locked, only this round starts hooks for the guest. The
	// hooks inherit the lock, so the lock is held as long as the hooks live, even if this run is
	// killed.
	lock Note
	// The note in the field `owed` names the hooks that must still run after the snapshots: if this
	// run is killed, the next run starts these hooks. The note in the field `owed` may exist while
	// another run holds the lock of the guest's hooks.
	owed  Note
	since time.Time
	// earlier has the guest's _stopped snapshots that earlier runs took or tried to take, except
	// the _stopped snapshots that this run takes again.
	earlier []hookSnapshot
	// The field `used` is true if a hook was started in this turn. The field `late` is true if the
	// hook that the note in the field `owed` names could not be started yet.
	used, late bool
	// stuck is true if a hook of this turn is still running although it was killed. If a hook is
	// stuck, this run does not unlock the note in the field `lock`: the hook has inherited the
	// lock, which remains held until the hook ends.
	stuck bool
}

// owedHook is the content of a note about a hook that must still run for a guest.
type owedHook struct {
	On    hookEvent `json:"on"`
	Since time.Time `json:"since"`
	Guest hookGuest `json:"guest"`
}

// takeLock takes the lock of a guest's hooks, after the hooks of other rounds and runs for this
// guest have ended.
func (h *hooks) takeLock(ctx context.Context, vmid int) (Note, error) {
	for {
		n, err := h.World.HookNotes().Take(strconv.Itoa(vmid))
		if !isBusy(err) {
			return n, err
		}
		if h.World.Wait(ctx, turnPause) != nil {
			return nil, fmt.Errorf("not started: hooks of guest %d that were started earlier are still running", vmid)
		}
	}
}

func isBusy(err error) bool {
	_, busy := errors.AsType[*note.Busy](err)
	return busy
}

// owe writes a note that the hooks of an event must run for a guest. owe writes no note if the
// configuration has no hook of the event for the guest.
func (h *hooks) owe(t *turn, on hookEvent, guest hookGuest) {
	if h.callsFor(on, []hookGuest{guest}).none() {
		return
	}
	if t.since.IsZero() {
		t.since = h.World.Now()
	}
	var err error
	if t.owed == nil {
		t.owed, err = h.newOwed(guest.VMID, on)
	}
	if err == nil {
		err = t.owed.Write(owedHook{on, t.since, guest})
	}
	if err != nil {
		h.note(report.ProblemOf(report.Warning, fmt.Errorf("if this run is killed, no later run starts the hook: %w", err)))
	}
}

// newOwed returns a new note for an owed hook, under a number that no other note about this hook of
// the guest has.
func (h *hooks) newOwed(vmid int, on hookEvent) (n Note, err error) {
	for i := range maxSameOwed {
		n, err = h.World.HookNotes().Take(owedName(vmid, on, i))
		switch {
		case err == nil && n.Left():
			// The note with the number i exists, and is about a hook that a killed run left to the
			// next run.
			n.Leave()
			err = fmt.Errorf("too many hooks of guest %d still have to run", vmid)
		case !isBusy(err):
			return n, err
		}
	}
	return nil, err
}

func owedName(vmid int, on hookEvent, number int) string {
	return fmt.Sprintf("%d.%s.%d", vmid, on, number)
}

// leftNotes takes over the notes that other rounds and runs left about hooks that a guest is owed.
func (h *hooks) leftNotes(vmid int, on hookEvent) (left []Note) {
	for i := range maxSameOwed {
		n, err := h.World.HookNotes().Find(owedName(vmid, on, i))
		switch {
		case err != nil: // there is no such note, or another run holds it
		case n.Left():
			left = append(left, n)
		default:
			n.Leave()
		}
	}
	return left
}

// oweAll writes, for each of the guests, a note that the hooks of an event must run, and adds the
// turn of the guest to the map `noted`.
func (h *hooks) oweAll(on hookEvent, guests []hookGuest, noted map[int]*turn) {
	for _, g := range guests {
		t := noted[g.VMID]
		if t == nil {
			t = &turn{vmid: g.VMID}
		}
		if h.owe(t, on, g); t.owed != nil {
			noted[g.VMID] = t
		}
	}
}

// endTurn reports the problems of a guest's hooks, and then ends the turn of these hooks. If a hook
// could not be started, endTurn keeps its note for the next run.
func (h *hooks) endTurn(t *turn) {
	h.tell()
	if t.owed != nil && (t.late || t.owed.End() != nil) {
		t.owed.Leave()
	}
	if t.lock != nil && !t.stuck && t.lock.End() != nil {
		t.lock.Leave()
	}
	t.owed, t.lock = nil, nil
}

// Owed returns one text for each hook that has a note and has not run yet. If the run ends now, the
// next run must start these hooks.
func Owed(w World) []string {
	notes := w.HookNotes()
	names, _ := notes.Names() // if the notes cannot be read, Owed names no hook
	var all []string
	for _, name := range names {
		var o owedHook
		if !strings.Contains(name, ".") || notes.Read(name, &o) != nil {
			continue // the note is a lock, or its hook has just ended
		}
		all = append(all, fmt.Sprintf("%s is owed to guest %d", o.On, o.Guest.VMID))
	}
	return slices.Compact(all)
}

// turns has, by VMID, the turn in which the hooks of one event run for a guest. The turns of
// different guests run side by side.
type turns struct {
	*hooks
	// The field `on` is the event, such as after_snapshot, whose hooks the next run must start if
	// this run is killed during a turn.
	on hookEvent
	// The field `all` is true if all hooks of a guest are started even after one of these hooks
	// failed, and false if a failed hook prevents the guest's later hooks.
	all   bool
	mu    sync.Mutex
	taken map[int]*turn
}

// beginTurn waits until the hooks that other runs started for the guest have ended, and begins the
// guest's turn.
func (s *turns) beginTurn(ctx context.Context, g hookGuest) error {
	t := s.of(g.VMID)
	if t.stuck {
		t.late = true
		return fmt.Errorf("not started: a hook of guest %d that was killed is still running", g.VMID)
	}
	if t.lock == nil {
		var err error
		if t.lock, err = s.takeLock(ctx, g.VMID); err != nil {
			t.lock, t.late = nil, true
			return err
		}
	}
	s.owe(t, s.on, g)
	return nil
}

func (s *turns) of(vmid int) *turn {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken[vmid] == nil {
		s.taken[vmid] = &turn{vmid: vmid}
	}
	return s.taken[vmid]
}

// end ends the turn of a guest's hooks.
func (s *turns) end(vmid int) {
	s.mu.Lock()
	t := s.taken[vmid]
	delete(s.taken, vmid)
	s.mu.Unlock()
	if t != nil {
		s.endTurn(t)
	}
}

// use sets the fields `used` and `stuck` in the turns of the guests for which a hook was started.
func (s *turns) use(guests []hookGuest, stuck bool) {
	for _, g := range guests {
		t := s.of(g.VMID)
		t.used, t.stuck = true, stuck
	}
}

// used returns the turns of the guests for which a hook was started, and ends the turns of the
// guests for which no hook was started.
func (s *turns) used() map[int]*turn {
	for vmid, t := range s.taken {
		if !t.used {
			t.late = false // no hook was started, so no after_snapshot must follow
			s.endTurn(t)
			delete(s.taken, vmid)
		}
	}
	return s.taken
}

// locks returns the notes that are the locks of the given guests' hooks; the hooks inherit these
// locks.
func (s *turns) locks(guests []hookGuest) []Note {
	var list []Note
	for _, g := range guests {
		list = append(list, s.of(g.VMID).lock)
	}
	return list
}
