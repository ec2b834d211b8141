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

// turnPause is the time between two checks whether the hooks that another run started for a guest
// have ended.
const turnPause = time.Second

// maxSameOwed is the largest number of times that rounds and runs working at the same time may
// leave the same hook to be run for a guest.
const maxSameOwed = 20

// turn is the time in which hooks run for one guest: from the start of the first hook before the
// guest's snapshots until the end of the last hook after the snapshots. A turn has two notes, lock
// and owed; a note is nil if it was not written.
type turn struct {
	vmid int
	// While lock is held, other rounds and runs start no hooks for the guest. The hooks inherit the
	// lock, so it is held as long as the hooks live, even if this run is killed.
	lock Note
	// owed records the hooks that must still run after the snapshots: if this run is killed, the
	// next run starts these hooks. Another run may hold the lock of the guest's hooks while the
	// note owed exists.
	owed  Note
	since time.Time
	// earlier has the _stopped snapshots that earlier runs took or tried to take of the guest, and
	// that this run does not take again.
	earlier []hookSnapshot
	// used is true if a hook was started in this turn. late is true if the hook in the note owed
	// could not be started yet.
	used, late bool
	// stuck is true if a hook of this turn is still running although it was killed. Then the lock
	// is not released: it is held until the hook ends, because the hook inherited it.
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

// newOwed returns a new note for an owed hook, under a number that no other note uses.
func (h *hooks) newOwed(vmid int, on hookEvent) (n Note, err error) {
	for i := range maxSameOwed {
		n, err = h.World.HookNotes().Take(owedName(vmid, on, i))
		switch {
		case err == nil && n.Left():
			// The number belongs to a hook that a killed run left to the next run.
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

// leftNotes takes the notes about owed hooks of a guest that other rounds and runs left.
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

// oweAll writes notes that the hooks of an event must run for guests, and adds a turn for each
// guest to noted.
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

// endTurn ends the turn of a guest's hooks, after reporting the problems of the hooks. A hook that
// could not be started is left to the next run.
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

// Owed returns texts about the hooks that have a note and have not run yet, which a run that ends
// now leaves to the next run.
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

// turns has, for each guest, the turn in which the hooks of one event run; the turns of different
// guests run side by side.
type turns struct {
	*hooks
	// on is the event, such as after_snapshot, whose hooks the next run must start if this run is
	// killed during a turn.
	on hookEvent
	// all is true if all hooks of a guest are started even after one of them failed, and false if
	// a failed hook prevents the guest's later hooks.
	all   bool
	mu    sync.Mutex
	taken map[int]*turn
}

// begin begins the turn of a guest, after the hooks that other runs started for the guest have
// ended.
func (s *turns) begin(ctx context.Context, g hookGuest) error {
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

// use records in the turns of the guests that a hook was started for these guests, and whether the
// hook is stuck.
func (s *turns) use(guests []hookGuest, stuck bool) {
	for _, g := range guests {
		t := s.of(g.VMID)
		t.used, t.stuck = true, stuck
	}
}

// used returns the turns of guests for which a hook was started, and ends the turns of the other
// guests.
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

// locks returns the locks of the given guests' hooks, which the hooks inherit.
func (s *turns) locks(guests []hookGuest) []Note {
	var list []Note
	for _, g := range guests {
		list = append(list, s.of(g.VMID).lock)
	}
	return list
}
