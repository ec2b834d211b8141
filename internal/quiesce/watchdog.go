package quiesce

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"snapwatch/internal/note"
	"snapwatch/internal/pve"
)

// The first words of the lines to and from the watchdog. After the first word, a line may have a
// guest's id and further words.
const (
	sayFreeze = "freeze"
	sayThaw   = "thaw"

	saidReady   = "ready"
	saidFrozen  = "frozen"  // ID and the number of frozen file systems, 1 for a container
	saidFailed  = "failed"  // ID and reason; yet the guest may freeze for a moment
	saidLeave   = "leave"   // ID and reason: this watchdog must not thaw the guest
	saidThawing = "thawing" // "asked", or another reason why the watchdog begins to thaw
	saidLapsed  = "lapsed"  // ID and reason: the guest may have continued before it was thawed
	saidThawed  = "thawed"  // ID and the longest time for which the guest may have been frozen
	saidLeft    = "left"    // ID and reason: the guest could not be thawed
	saidEnd     = "end"

	asked = "asked"
)

// MaxFreezing is the longest time that freezing all guests may take, however large the budget is.
// The run holds the guests' locks while it freezes the guests and takes the snapshots, and Proxmox
// waits only ten seconds for a guest's lock.
const MaxFreezing = 6 * time.Second

// Timeout returns the time that freezing one guest may take: half of the budget, so that time is
// left for the snapshots, and at most MaxFreezing.
func Timeout(budget time.Duration) time.Duration { return min(budget/2, MaxFreezing) }

const (
	// thawTry is the longest time that one call to thaw a guest may take. thawPause is the pause
	// between the first call and the second. Each later pause between two calls is twice as long as
	// the pause before it, up to thawPauseMost.
	thawTry       = 30 * time.Second
	thawPause     = 100 * time.Millisecond
	thawPauseMost = 5 * time.Second
	// thawFor is the time after which the watchdog gives up thawing.
	thawFor = 10 * time.Minute
)

// Watchdog freezes guests for at most its budget, and then thaws the guests.
type Watchdog struct {
	Host
	Guests []pve.ID
	Budget time.Duration
	// When the channel Told is closed, the watchdog thaws its guests. The watchdog also thaws its
	// guests at the end of its input.
	Told <-chan struct{}

	mu  sync.Mutex
	out io.Writer
}

// heldGuest is a guest that this watchdog, or the watchdog of an earlier run, began to freeze.
type heldGuest struct {
	id    pve.ID
	note  *note.Note
	since time.Time
	// frozen is the number that Freeze of [Freezer] returned: the number of frozen file systems, or
	// 1 for a container.
	frozen int
	err    error
}

// ours reports whether this or an earlier watchdog may have frozen the guest.
func (h heldGuest) ours() bool { return h.note != nil && !errors.Is(h.err, ErrForeign) }

// Run reads commands, one a line, from the reader `in`, and carries them out until every guest that
// Run began to freeze is thawed. If a guest cannot be thawed within thawFor, Run gives up on this
// guest and keeps the guest's note.
func (g *Watchdog) Run(in io.Reader, out io.Writer) error {
	g.out = out
	lines := make(chan string)
	done := make(chan struct{})
	defer close(done)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(in); s.Scan(); {
			select {
			case lines <- s.Text():
			case <-done:
				return
			}
		}
	}()
	g.say(saidReady)
	select {
	case line := <-lines:
		if line != sayFreeze {
			return nil // the run has ended, or no longer wants to freeze
		}
	case <-g.Told:
		return nil
	}
	began := time.NewTimer(g.Budget)
	defer began.Stop()
	ctx, stop := context.WithTimeout(context.Background(), Timeout(g.Budget))
	defer stop()
	all := g.freeze(ctx)
	why := asked
	select {
	case line := <-lines:
		if line != sayThaw {
			why = "the run that wanted the freeze has ended"
		}
	case <-began.C:
		why = fmt.Sprintf("max_freeze (%s) is over", g.Budget)
	case <-g.Told:
		why = "told to end"
	}
	stop() // end all freezing before the thaw begins
	g.say(saidThawing, why)
	err := g.thaw(all)
	g.say(saidEnd)
	return err
}

// say writes one line to the run that started the watchdog. say ignores errors of writing, because
// the run may have ended.
func (g *Watchdog) say(words ...string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	line := strings.Join(strings.Fields(strings.Join(words, " ")), " ")
	_, _ = io.WriteString(g.out, line+"\n")
}

// freeze begins to freeze all guests, and returns, in the order of the guests, a channel for the
// result of each guest.
func (g *Watchdog) freeze(ctx context.Context) []chan heldGuest {
	all := make([]chan heldGuest, len(g.Guests))
	machines := make(chan struct{}, max(1, g.AtOnce))
	for i, id := range g.Guests {
		all[i] = make(chan heldGuest, 1)
		go func() {
			h := g.freezeNext(ctx, id, machines)
			switch err := h.err; {
			case err != nil && !h.ours():
				g.say(saidLeave, id.String(), err.Error())
			case err != nil:
				g.say(saidFailed, id.String(), err.Error())
			default:
				g.say(saidFrozen, id.String(), strconv.Itoa(h.frozen))
			}
			all[i] <- h
		}()
	}
	return all
}

// freezeNext freezes a guest. A virtual machine first waits for a free place in the channel
// machines.
func (g *Watchdog) freezeNext(ctx context.Context, id pve.ID, machines chan struct{}) heldGuest {
	h := heldGuest{id: id}
	if id.Kind == pve.QEMU {
		select {
		case machines <- struct{}{}:
			defer func() { <-machines }()
		case <-ctx.Done():
		}
	}
	if h.since, h.err = g.Now(), ctx.Err(); h.err != nil {
		return h
	}
	if h.note, h.err = g.takeNote(id, g.Budget); h.err == nil {
		h.frozen, h.err = g.Freezer(id).Freeze(ctx)
	}
	return h
}

// errFreezing means that the call that freezes a guest has not ended, although its time is over.
var errFreezing = errors.New("the call that freezes it has not ended")

// thaw thaws all guests that snapwatch may have frozen, all at the same time. thaw waits for the
// end of the call that freezes a guest before it thaws this guest. If the call that freezes one
// guest hangs, the other guests are thawed without delay.
func (g *Watchdog) thaw(all []chan heldGuest) error {
	ctx, stop := context.WithTimeout(context.Background(), thawFor)
	defer stop()
	errs := make([]error, len(all))
	var wait sync.WaitGroup
	for i, c := range all {
		wait.Go(func() {
			select {
			case h := <-c:
				errs[i] = g.thawHeld(ctx, h)
			case <-ctx.Done():
				errs[i] = errFreezing
				g.say(saidLeft, g.Guests[i].String(), errFreezing.Error())
			}
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}

// thawHeld thaws a guest if snapwatch may have frozen it.
func (g *Watchdog) thawHeld(ctx context.Context, h heldGuest) error {
	if !h.ours() {
		endNote(h.note, true)
		return nil
	}
	at, lapsed, err := g.thawProven(ctx, h.id, h.frozen)
	endNote(h.note, err == nil)
	if err != nil {
		g.say(saidLeft, h.id.String(), err.Error())
		return err
	}
	if lapsed != nil {
		g.say(saidLapsed, h.id.String(), lapsed.Error())
	}
	g.say(saidThawed, h.id.String(), at.Sub(h.since).String())
	return nil
}

// thawProven thaws a guest and returns the time from which the guest is no longer frozen. The
// argument `frozen` is the number that Freeze of [Freezer] returned. If Thaw returns a smaller
// number than Freeze did, the error `lapsed` is the reason why the guest may have continued before
// the thaw. If both numbers are equal, `lapsed` is nil.
func (h Host) thawProven(ctx context.Context, id pve.ID, frozen int) (at time.Time, lapsed, err error) {
	thawed, at, err := h.thaw(ctx, id, frozen)
	switch {
	case errors.Is(err, ErrGone), errors.Is(err, ErrLapsed):
		return at, err, nil
	case err != nil:
		return at, nil, err
	case thawed < frozen:
		lapsed = fmt.Errorf("%w: %d parts of the guest were frozen, and %d at the thaw", ErrLapsed, frozen, thawed)
	}
	return at, lapsed, nil
}

// thaw repeats the thaw until the guest is seen to be thawed. A guest counts as thawed if Thaw of
// [Freezer] returned the number in the argument `frozen`, or if the guest says that it is not
// frozen. The argument `frozen` is the number that Freeze of [Freezer] returned, 0 if unknown. thaw
// returns the number that Thaw returned, and the time of the thaw. The error wraps [ErrGone] if the
// frozen process ended, and [ErrLapsed] if the guest continued before the thaw.
func (h Host) thaw(ctx context.Context, id pve.ID, frozen int) (thawed int, at time.Time, err error) {
	var o Owned
	_ = h.Notes.Read(noteName(id), &o) // without the note, only the guest's answers show whether it is frozen
	for pause := thawPause; ; pause = min(2*pause, thawPauseMost) {
		if err := h.another(id, o); err != nil {
			return thawed, h.Now(), err
		}
		n, at, err := h.thawOnce(ctx, h.Freezer(id), frozen)
		thawed += n
		if err == nil || errors.Is(err, ErrGone) || errors.Is(err, ErrLapsed) {
			return thawed, at, err
		}
		select {
		case <-ctx.Done():
			return thawed, at, err
		case <-time.After(pause):
		}
	}
}

func (h Host) thawOnce(ctx context.Context, f Freezer, was int) (thawed int, at time.Time, err error) {
	ctx, stop := context.WithTimeout(ctx, thawTry)
	defer stop()
	thawed, err = f.Thaw(ctx)
	at = h.Now()
	if errors.Is(err, ErrGone) || err == nil && was > 0 && thawed >= was {
		return thawed, at, err
	}
	// Ask for the guest's state even after an error of Thaw: the guest may have thawed although the
	// answer to Thaw was lost.
	frozen, statusErr := f.Frozen(ctx)
	switch {
	case statusErr == nil && !frozen && errors.Is(err, ErrLapsed):
		return thawed, at, err
	case statusErr == nil && !frozen:
		return thawed, at, nil
	case errors.Is(err, ErrLapsed): // without an answer now, the guest does not count as thawed
		return thawed, at, errors.New(err.Error())
	case err != nil:
		return thawed, at, err
	case statusErr != nil:
		return thawed, at, statusErr
	}
	return thawed, at, errors.New("it is still frozen")
}
