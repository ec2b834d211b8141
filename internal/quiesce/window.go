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
	// watchdogTimeout is how long the watchdog may take to start.
	watchdogTimeout = 10 * time.Second
	// aloneTimeout is how long a run whose watchdog is gone tries to thaw. The note stays for
	// the next run.
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
	// since is when the watchdog was told to freeze, zero before.
	since time.Time
	// frozen is how much of each was.
	frozen map[pve.ID]int
	failed map[pve.ID]string
	// others are those that this window has nothing to thaw of.
	others map[pve.ID]bool
	// thawing is why the watchdog began to thaw, "" before.
	thawing string
	thawed  map[pve.ID]time.Duration
	lapsed  map[pve.ID]string
	left    map[pve.ID]string
	// ended is true when the watchdog says nothing any more.
	ended bool
}

// Ended is what became of a window.
type Ended struct {
	// Early is why guests went on before they were told to, "" if they didn't: a
	// snapshot that was made meanwhile may be one of guests that write.
	Early string
	// Frozen is for how long each guest was frozen at most, from the call that
	// freezes to the end of the one that thaws.
	Frozen map[pve.ID]time.Duration
	// Lapsed are those of which it is not proven that they were frozen until they were
	// thawed, and why.
	Lapsed map[pve.ID]string
	// Left are those that may be frozen yet, and why.
	Left map[pve.ID]string
}

// Open starts the watchdog of a window and returns when it is ready. Nothing is frozen
// yet.
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
		err = errors.New("the watchdog that is to thaw them ended before it was ready")
	case <-time.After(watchdogTimeout):
		err = errors.New("the watchdog that is to thaw them does not start")
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

// close leaves the watchdog alone: one that has something to thaw thaws it.
func (w *Window) close() {
	w.closed.Do(func() { close(w.done); _ = w.watchdog.Close() })
}

// Freeze holds the guests still, all at the same time. It returns why some could not
// be; those may be frozen for a moment all the same.
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
			w.failed[id] = "the watchdog did not get so far"
		}
	}
	return w.failed
}

// hear takes one line in. It is false when there are no more, or when it is time.
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

// thawTimeout is how long a run whose guests are frozen for so long already waits
// for them to go on: until a fifth of the budget is left, so that a thaw that hangs
// delays the run by less than the budget, and for another fifth at least.
func (w *Window) thawTimeout(held time.Duration) time.Duration {
	return max(w.budget/5, w.budget*4/5-held)
}

// Thaw lets the guests go on. It waits until they do, but not for longer than its
// timeout; then the watchdog continues to try without us.
func (w *Window) Thaw() Ended {
	defer w.close()
	_, _ = io.WriteString(w.watchdog, sayThaw+"\n") // one that has ended said why
	over := time.NewTimer(w.thawTimeout(w.host.Now().Sub(w.since)))
	defer over.Stop()
	for len(w.unsettled()) > 0 && w.hear(over.C) {
	}
	if w.thawing == "" || w.ended {
		w.thawAlone()
	}
	if w.thawing == "" {
		w.thawing = "the watchdog that was to thaw them ended or hangs"
	}
	ended := Ended{Frozen: w.thawed, Lapsed: w.lapsed, Left: w.left}
	if w.thawing != asked {
		ended.Early = w.thawing
	}
	for _, id := range w.unsettled() {
		w.thawed[id] = w.host.Now().Sub(w.since) // so far
		w.left[id] = "whether it is thawed is not known yet; the watchdog tries for " + thawFor.String()
	}
	return ended
}

// unsettled are the guests that may be frozen, and of which nothing was said.
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

// thawAlone thaws without the watchdog.
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
