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

// What the watchdog is told, and what it says; a guest's id and more follow.
const (
	sayFreeze = "freeze"
	sayThaw   = "thaw"

	saidReady   = "ready"
	saidFrozen  = "frozen"  // ID and how much of it
	saidFailed  = "failed"  // ID and why; it may be frozen for a moment all the same
	saidLeave   = "leave"   // ID and why: it was not begun to freeze it, and is not ours to thaw
	saidThawing = "thawing" // asked, or why not
	saidLapsed  = "lapsed"  // ID and why: it may have continued before it was thawed
	saidThawed  = "thawed"  // ID and for how long it was frozen, at most
	saidLeft    = "left"    // ID and why: it could not be thawed
	saidEnd     = "end"

	asked = "asked"
)

// Timeout is how long a guest may take to be frozen, or to say whether it is: half of
// the budget, so that time is left for the snapshot of the others.
func Timeout(budget time.Duration) time.Duration { return budget / 2 }

const (
	// thawTry is how long one call to thaw may take, and thawPause the time between
	// two, which doubles up to thawPauseMost.
	thawTry       = 30 * time.Second
	thawPause     = 100 * time.Millisecond
	thawPauseMost = 5 * time.Second
	// thawFor is how long it is tried.
	thawFor = 10 * time.Minute
)

// Watchdog freezes guests for at most its budget.
type Watchdog struct {
	Host
	Guests []pve.ID
	Budget time.Duration
	// Told ends the window as the end of what the watchdog reads does.
	Told <-chan struct{}

	mu  sync.Mutex
	out io.Writer
}

// held is a guest that the watchdog began to freeze, or that an earlier one did.
type held struct {
	id    pve.ID
	note  *note.Note
	since time.Time
	// frozen is how much of it was.
	frozen int
	err    error
}

// ours reports whether the guest may be frozen by us, now or earlier.
func (h held) ours() bool { return h.note != nil && !errors.Is(h.err, ErrForeign) }

// Run does what the lines of in say, and returns when every guest that it began to
// freeze is thawed, or when that was tried for thawFor. Then their notes stay.
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
			return nil // gone, or none is to be frozen after all
		}
	case <-g.Told:
		return nil
	}
	began := time.NewTimer(g.Budget)
	defer began.Stop()
	ctx, stop := context.WithTimeout(context.Background(), Timeout(g.Budget))
	defer stop()
	all := make(chan []held, 1)
	go func() { all <- g.freeze(ctx) }()
	why := asked
	select {
	case line := <-lines:
		if line != sayThaw {
			why = "the run that asked for it is gone"
		}
	case <-began.C:
		why = fmt.Sprintf("max_freeze (%s) is over", g.Budget)
	case <-g.Told:
		why = "told to end"
	}
	stop() // ends what still freezes, before anything is thawed
	g.say(saidThawing, why)
	err := g.thaw(<-all)
	g.say(saidEnd)
	return err
}

// say tells one line. Nobody may be there to read it.
func (g *Watchdog) say(words ...string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	line := strings.Join(strings.Fields(strings.Join(words, " ")), " ")
	_, _ = io.WriteString(g.out, line+"\n")
}

func (g *Watchdog) freeze(ctx context.Context) []held {
	all := make([]held, len(g.Guests))
	machines := make(chan struct{}, max(1, g.AtOnce))
	var wait sync.WaitGroup
	for i, id := range g.Guests {
		wait.Go(func() {
			if id.Kind == pve.QEMU {
				machines <- struct{}{}
				defer func() { <-machines }()
			}
			all[i] = g.freezeOne(ctx, id)
			switch err := all[i].err; {
			case err != nil && !all[i].ours():
				g.say(saidLeave, id.String(), err.Error())
			case err != nil:
				g.say(saidFailed, id.String(), err.Error())
			default:
				g.say(saidFrozen, id.String(), strconv.Itoa(all[i].frozen))
			}
		})
	}
	wait.Wait()
	return all
}

func (g *Watchdog) freezeOne(ctx context.Context, id pve.ID) held {
	h := held{id: id, since: g.Now()}
	if h.err = ctx.Err(); h.err != nil {
		return h
	}
	if h.note, h.err = g.own(id, g.Budget); h.err == nil {
		h.frozen, h.err = g.Freezer(id).Freeze(ctx)
	}
	return h
}

// thaw thaws all guests that may be frozen by us, at the same time.
func (g *Watchdog) thaw(all []held) error {
	ctx, stop := context.WithTimeout(context.Background(), thawFor)
	defer stop()
	errs := make([]error, len(all))
	var wait sync.WaitGroup
	for i, h := range all {
		if !h.ours() {
			endNote(h.note, true)
			continue
		}
		wait.Go(func() {
			at, lapsed, err := g.thawProven(ctx, h.id, h.frozen)
			endNote(h.note, err == nil)
			if errs[i] = err; err != nil {
				g.say(saidLeft, h.id.String(), err.Error())
				return
			}
			if lapsed != nil {
				g.say(saidLapsed, h.id.String(), lapsed.Error())
			}
			g.say(saidThawed, h.id.String(), at.Sub(h.since).String())
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}

// thawProven thaws a guest of which so much was frozen, and returns since when it is not
// frozen. lapsed is why it is not proven that all of it was frozen until then: no answer of
// a thaw counts as one.
func (h Host) thawProven(ctx context.Context, id pve.ID, frozen int) (at time.Time, lapsed, err error) {
	thawed, at, err := h.thaw(ctx, id, frozen)
	switch {
	case errors.Is(err, ErrGone), errors.Is(err, ErrLapsed):
		return at, err, nil
	case err != nil:
		return at, nil, err
	case thawed < frozen:
		lapsed = fmt.Errorf("%w: of %d that were frozen, the thaw found %d", ErrLapsed, frozen, thawed)
	}
	return at, lapsed, nil
}

// thaw tries until the guest is seen not to be frozen: by an answer that counts all that was,
// 0 where that is not known, or by its own word. It returns since when, and how much of it
// was frozen until then. The error wraps [ErrGone] where it ended, also where it was started
// again and somebody has frozen it since, and [ErrLapsed] where it continued before.
func (h Host) thaw(ctx context.Context, id pve.ID, frozen int) (thawed int, at time.Time, err error) {
	var o Owned
	_ = h.Notes.Read(noteName(id), &o) // without it the answers of the guest must do
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
	// Asked even after an error: the answer may have been lost, not the call.
	frozen, statusErr := f.Frozen(ctx)
	switch {
	case statusErr == nil && !frozen && errors.Is(err, ErrLapsed):
		return thawed, at, err
	case statusErr == nil && !frozen:
		return thawed, at, nil
	case err != nil:
		return thawed, at, err
	case statusErr != nil:
		return thawed, at, statusErr
	}
	return thawed, at, errors.New("it is still frozen")
}
