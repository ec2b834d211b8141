package quiesce

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"snapwatch/internal/pve"
)

// What the watchdog is told, and what it says; a guest's id and more follow.
const (
	sayFreeze = "freeze"
	sayThaw   = "thaw"

	saidReady   = "ready"
	saidFrozen  = "frozen"  // ID
	saidFailed  = "failed"  // ID and why
	saidThawing = "thawing" // asked, or why not
	saidLapsed  = "lapsed"  // ID and why: it went on by itself before
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

// Watchdog holds guests still for at most its budget.
type Watchdog struct {
	Host
	Guests []pve.ID
	Budget time.Duration
	// Told ends the window as the end of what the watchdog reads does.
	Told <-chan struct{}

	mu  sync.Mutex
	out io.Writer
}

// held is a guest that the watchdog began to freeze.
type held struct {
	id    pve.ID
	since time.Time
	err   error
}

// Run does what the lines of in say, and returns when every guest that it began to
// freeze goes on, or when that was tried for ten minutes.
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
	var wait sync.WaitGroup
	for i, id := range g.Guests {
		wait.Go(func() {
			all[i] = held{id: id, since: g.Now()}
			if all[i].err = g.Freezer(id).Freeze(ctx); all[i].err != nil {
				g.say(saidFailed, id.String(), all[i].err.Error())
				return
			}
			g.say(saidFrozen, id.String())
		})
	}
	wait.Wait()
	return all
}

// thaw lets all guests go on that may be frozen by us, at the same time.
func (g *Watchdog) thaw(all []held) error {
	ctx, stop := context.WithTimeout(context.Background(), thawFor)
	defer stop()
	errs := make([]error, len(all))
	var wait sync.WaitGroup
	for i, h := range all {
		if errors.Is(h.err, ErrForeign) {
			continue
		}
		wait.Go(func() {
			at, err := g.Host.thaw(ctx, h.id)
			if errors.Is(err, ErrLapsed) {
				g.say(saidLapsed, h.id.String(), err.Error())
				err = nil
			}
			if errs[i] = err; err != nil {
				g.say(saidLeft, h.id.String(), err.Error())
				return
			}
			g.say(saidThawed, h.id.String(), at.Sub(h.since).String())
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}

// thaw tries until the guest is seen to go on, and returns since when it does. The error
// wraps [ErrLapsed] where it did before it was told to.
func (h Host) thaw(ctx context.Context, id pve.ID) (time.Time, error) {
	for pause := thawPause; ; pause = min(2*pause, thawPauseMost) {
		at, err := h.thawOnce(ctx, h.Freezer(id))
		if err == nil || errors.Is(err, ErrLapsed) {
			return at, err
		}
		select {
		case <-ctx.Done():
			return at, err
		case <-time.After(pause):
		}
	}
}

func (h Host) thawOnce(ctx context.Context, f Freezer) (time.Time, error) {
	ctx, stop := context.WithTimeout(ctx, thawTry)
	defer stop()
	err := f.Thaw(ctx)
	at := h.Now()
	if errors.Is(err, ErrGone) {
		return at, nil
	}
	// Asked even after an error: the answer may have been lost, not the call.
	frozen, statusErr := f.Frozen(ctx)
	switch {
	case statusErr == nil && !frozen && errors.Is(err, ErrLapsed):
		return at, err
	case statusErr == nil && !frozen:
		return at, nil
	case err != nil:
		return at, err
	case statusErr != nil:
		return at, statusErr
	}
	return at, errors.New("it is still frozen")
}
