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

	"snapwatch/internal/pve"
)

const (
	// watchdogTimeout is the longest time that the watchdog may take to start.
	watchdogTimeout = 10 * time.Second
	// If the watchdog of a run has died, the run itself tries to thaw the guests for aloneTimeout.
	// After aloneTimeout, the run leaves the thaw to the next run.
	aloneTimeout = thawTry
)

// Window is the time in which some guests are frozen.
type Window struct {
	host     Host
	budget   time.Duration
	guests   []pve.ID
	watchdog io.ReadWriteCloser
	said     chan string // closed when the watchdog has ended
	done     chan struct{}
	closed   sync.Once
	// The field `since` is the time when the run told the watchdog to freeze the guests, zero
	// before that time.
	since time.Time
	// frozen has, by guest, the number that Freeze of [Freezer] returned.
	frozen map[pve.ID]int
	failed map[pve.ID]string
	// others is the set of the guests that this window did not freeze and must not thaw.
	others map[pve.ID]bool
	// thawing is the reason why the watchdog began to thaw, "" if it has not begun.
	thawing string
	thawed  map[pve.ID]time.Duration
	lapsed  map[pve.ID]string
	left    map[pve.ID]string
	// ended is true after the last line from the watchdog has been read.
	ended bool
}

// Ended is the outcome of freezing the guests of a window.
type Ended struct {
	// Early is the reason why guests continued before the run told the watchdog to thaw them, "" if
	// all guests remained frozen. If Early is not "", a snapshot may have been taken while the
	// guests were writing.
	Early string
	// Frozen has, by guest, the longest time for which the guest may have been frozen: from the
	// beginning of the call that freezes to the end of the call that thaws.
	Frozen map[pve.ID]time.Duration
	// The map Lapsed has each guest that may have continued before it was thawed, with the reason.
	Lapsed map[pve.ID]string
	// The map Left has each guest that may still be frozen, with the reason.
	Left map[pve.ID]string
}

// Open starts the watchdog of a window and waits until the watchdog is ready. Open freezes no
// guest.
func (h Host) Open(guests []pve.ID, budget time.Duration) (*Window, error) {
	watchdog, err := h.Watchdog(budget, guests)
	if err != nil {
		return nil, err
	}
	w := &Window{
		host: h, budget: budget, guests: guests, watchdog: watchdog, said: make(chan string), done: make(chan struct{}),
		frozen: map[pve.ID]int{}, failed: map[pve.ID]string{}, others: map[pve.ID]bool{}, thawed: map[pve.ID]time.Duration{}, lapsed: map[pve.ID]string{}, left: map[pve.ID]string{},
	}
	go w.listen()
	select {
	case line, ok := <-w.said:
		if ok && line == saidReady {
			return w, nil
		}
		err = errors.New("the watchdog ended before it was ready")
	case <-time.After(watchdogTimeout):
		err = errors.New("the watchdog does not start")
	}
	w.close()
	return nil, err
}

func (w *Window) listen() {
	defer close(w.said)
	for s := bufio.NewScanner(w.watchdog); s.Scan(); {
		select {
		case w.said <- s.Text():
		case <-w.done:
			return
		}
	}
}

// close closes the pipes to the watchdog, so that the watchdog thaws all guests that it has frozen.
func (w *Window) close() {
	w.closed.Do(func() { close(w.done); _ = w.watchdog.Close() })
}

// Freeze freezes all guests of the window at the same time. Freeze returns the guests that could
// not be frozen, with the reasons. A guest that Freeze returns may nevertheless be frozen for a
// moment, because the guest's freeze may succeed late.
func (w *Window) Freeze() map[pve.ID]string {
	w.since = w.host.Now()
	if _, err := io.WriteString(w.watchdog, sayFreeze+"\n"); err == nil {
		over := time.NewTimer(w.budget)
		defer over.Stop()
		for len(w.frozen)+len(w.failed) < len(w.guests) && w.thawing == "" && w.hear(over.C) {
		}
	}
	for _, id := range w.guests {
		if w.frozen[id] == 0 && w.failed[id] == "" {
			w.failed[id] = "the watchdog did not freeze it in time"
		}
	}
	return w.failed
}

// hear waits for one line from the watchdog. hear returns false if the watchdog's output ends, or
// if the channel `over` delivers a value before the watchdog writes a line.
func (w *Window) hear(over <-chan time.Time) bool {
	select {
	case line, ok := <-w.said:
		if w.ended = !ok; ok {
			w.take(line)
		}
		return ok
	case <-over:
		return false
	}
}

func (w *Window) take(line string) {
	word, rest, _ := strings.Cut(line, " ")
	name, more, _ := strings.Cut(rest, " ")
	id, _ := ParseID(name)
	switch word {
	case saidFrozen:
		w.frozen[id], _ = strconv.Atoi(more)
	case saidFailed, saidLeave:
		w.failed[id], w.others[id] = more, word == saidLeave
	case saidThawing:
		w.thawing = rest
	case saidLapsed:
		w.lapsed[id] = more
	case saidThawed:
		if d, err := time.ParseDuration(more); err == nil {
			w.thawed[id] = d
		}
	case saidLeft:
		w.left[id] = more
	}
}

// thawTimeout returns the time that a run waits for its guests to thaw. held is the time for which
// the guests have been frozen so far. The run waits until only a fifth of the budget is left, and
// at least for a fifth of the budget. A thaw that hangs therefore delays the run by less than the
// budget.
func (w *Window) thawTimeout(held time.Duration) time.Duration {
	return max(w.budget/5, w.budget*4/5-held)
}

// Thaw thaws the guests, and waits for at most thawTimeout until all guests are thawed. After
// thawTimeout, this run stops waiting, and the watchdog continues to try to thaw the guests. If
// Freeze was not called, Thaw ends the watchdog and does nothing else.
func (w *Window) Thaw() Ended {
	defer w.close()
	if w.since.IsZero() {
		return Ended{} // no guest is frozen
	}
	_, _ = io.WriteString(w.watchdog, sayThaw+"\n") // a watchdog that has ended has already given its reason
	over := time.NewTimer(w.thawTimeout(w.host.Now().Sub(w.since)))
	defer over.Stop()
	for len(w.unsettled()) > 0 && w.hear(over.C) {
	}
	if w.thawing == "" || w.ended {
		w.thawAlone()
	}
	if w.thawing == "" {
		w.thawing = "the watchdog ended or hangs"
	}
	ended := Ended{Frozen: w.thawed, Lapsed: w.lapsed, Left: w.left}
	if w.thawing != asked {
		ended.Early = w.thawing
	}
	for _, id := range w.unsettled() {
		w.thawed[id] = w.host.Now().Sub(w.since) // the time of the freeze up to now
		w.left[id] = "it may still be frozen: the watchdog tries to thaw it for " + thawFor.String()
	}
	return ended
}

// unsettled returns the guests that the watchdog may have frozen and whose thaw it has not
// reported.
func (w *Window) unsettled() []pve.ID {
	var open []pve.ID
	for _, id := range w.guests {
		_, thawed := w.thawed[id]
		if !thawed && w.left[id] == "" && !w.others[id] {
			open = append(open, id)
		}
	}
	return open
}

// thawAlone thaws the guests of the window in this process, because the watchdog has died.
func (w *Window) thawAlone() {
	ctx, stop := context.WithTimeout(context.Background(), aloneTimeout)
	defer stop()
	var wait sync.WaitGroup
	var mu sync.Mutex
	for _, id := range w.unsettled() {
		wait.Go(func() {
			at, lapsed, err := w.host.thawProven(ctx, id, w.frozen[id])
			if err == nil {
				w.host.endLeft(ctx, id)
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				w.left[id] = fmt.Sprintf("thaw it by hand: %v", err)
				return
			}
			if lapsed != nil {
				w.lapsed[id] = lapsed.Error()
			}
			w.thawed[id] = at.Sub(w.since)
		})
	}
	wait.Wait()
}
