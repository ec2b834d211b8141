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

// turnPause is the time between two looks whether the hooks of a guest have ended.
const turnPause = time.Second

// maxSameOwed is how often the same hook may be owed to a guest, by rounds and runs that are
// at work beside each other.
const maxSameOwed = 20

// turn is a guest's turn of hooks: from the first that is started before its snapshots until
// the last that follows them has ended. It has two notes, and what is nil was not noted.
type turn struct {
	vmid int
	// lock keeps the hooks of other rounds and runs away. The hooks inherit it, so that it is
	// held for as long as they live, even where this run is killed.
	lock Note
	// owed says what is to follow: a run that is killed leaves it to the next. Others may
	// hold the lock meanwhile.
	owed  Note
	since time.Time
	// used: a hook was started in it. late: what is owed could not begin yet.
	used, late bool
}

// owedHook is what a note says that is to be run for a guest yet.
type owedHook struct {
	On    hookEvent `json:"on"`
	Since time.Time `json:"since"`
	Guest hookGuest `json:"guest"`
}

// takeLock takes the lock of a guest's hooks when those of other rounds and runs have ended.
func (h *hooks) takeLock(ctx context.Context, vmid int) (Note, error) {
	for {
		n, err := h.World.HookNotes().Take(strconv.Itoa(vmid))
		if !isBusy(err) {
			return n, err
		}
		if h.World.Wait(ctx, turnPause) != nil {
			return nil, fmt.Errorf("not started: hooks of guest %d that were started earlier are still at work", vmid)
		}
	}
}

func isBusy(err error) bool {
	_, busy := errors.AsType[*note.Busy](err)
	return busy
}

// owe notes that the hooks of an event are to run for a guest, unless none is for it.
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
		h.note(report.ProblemOf(report.Warning, fmt.Errorf("a hook that is owed is forgotten if this run is killed: %w", err)))
	}
}

// newOwed returns a new note, which others of the same name do not keep waiting.
func (h *hooks) newOwed(vmid int, on hookEvent) (n Note, err error) {
	for i := range maxSameOwed {
		n, err = h.World.HookNotes().Take(fmt.Sprintf("%d.%s.%d", vmid, on, i))
		switch {
		case err == nil && n.Left(): // owed by a run that was killed
			n.Leave()
			err = fmt.Errorf("guest %d is owed too many already", vmid)
		case !isBusy(err):
			return n, err
		}
	}
	return nil, err
}

// oweAll notes that the hooks of an event are to run for guests, beside what is noted already.
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

// endTurn ends a turn, and tells before what went wrong in it. What could not begin is left to
// the next run.
func (h *hooks) endTurn(t *turn) {
	h.tell()
	if t.owed != nil && (t.late || t.owed.End() != nil) {
		t.owed.Leave()
	}
	if t.lock != nil && t.lock.End() != nil {
		t.lock.Leave()
	}
	t.owed, t.lock = nil, nil
}

// Owed names the hooks that are noted and have not run yet: what a run that ends now leaves
// to the next.
func Owed(w World) []string {
	notes := w.HookNotes()
	names, _ := notes.Names() // where none can be read, none can be named
	var all []string
	for _, name := range names {
		var o owedHook
		if !strings.Contains(name, ".") || notes.Read(name, &o) != nil {
			continue // no hook is owed, or it has just ended
		}
		all = append(all, fmt.Sprintf("%s is owed to guest %d", o.On, o.Guest.VMID))
	}
	return slices.Compact(all)
}

// turns are those of the guests whose hooks of a kind are started, side by side.
type turns struct {
	*hooks
	// on is what is owed from the begin of a turn until its end.
	on hookEvent
	// all hooks of a guest are started, whatever becomes of them; else until one fails.
	all   bool
	mu    sync.Mutex
	taken map[int]*turn
}

// begin waits until the hooks of a guest may be started.
func (s *turns) begin(ctx context.Context, g hookGuest) error {
	t := s.of(g.VMID)
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

// end ends a guest's turn.
func (s *turns) end(vmid int) {
	s.mu.Lock()
	t := s.taken[vmid]
	delete(s.taken, vmid)
	s.mu.Unlock()
	if t != nil {
		s.endTurn(t)
	}
}

// use notes that a hook of guests was started.
func (s *turns) use(guests []hookGuest) {
	for _, g := range guests {
		s.of(g.VMID).used = true
	}
}

// used returns the turns in which a hook was started, and ends the others.
func (s *turns) used() map[int]*turn {
	for vmid, t := range s.taken {
		if !t.used {
			t.late = false // it follows no hook
			s.endTurn(t)
			delete(s.taken, vmid)
		}
	}
	return s.taken
}

// locks are what hooks for these guests inherit.
func (s *turns) locks(guests []hookGuest) []Note {
	var list []Note
	for _, g := range guests {
		list = append(list, s.of(g.VMID).lock)
	}
	return list
}
