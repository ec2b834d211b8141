package quiesce

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"snapwatch/internal/note"
	"snapwatch/internal/pve"
)

// Owned is the content of the note about a guest that snapwatch is about to freeze or has frozen.
type Owned struct {
	// How is the way in which the guest is frozen: "agent" or "cgroup".
	How string `json:"how"`
	// Run is the process number of the run of snap that started the watchdog.
	Run int `json:"run"`
	// Since is the time of the freeze. Until is the time at which the watchdog must thaw the guest.
	Since time.Time `json:"since"`
	Until time.Time `json:"until"`
	// Process identifies the guest's process (see [pve.Host.ProcessID]), "" if it is unknown.
	Process string `json:"process,omitempty"`
}

// endGrace is the time that a watchdog may need to thaw its guests after the end of its budget. The
// budget is the longest time of a freeze. After endGrace, runs report the guests of this watchdog
// as left frozen.
const endGrace = time.Minute

func noteName(id pve.ID) string { return string(id.Kind) + "-" + fmt.Sprint(id.VMID) }

func noteID(name string) (pve.ID, bool) { return ParseID(strings.Replace(name, "-", "/", 1)) }

func howOf(id pve.ID) string {
	if id.Kind == pve.LXC {
		return "cgroup"
	}
	return "agent"
}

// takeNote takes the note about the freeze of a guest, before the freeze. The argument budget
// is the longest time that the freeze will last. If an earlier freeze of the guest has not ended,
// the error is ErrOurs. If a dead process left the note, takeNote returns the note together with
// ErrOurs.
func (h Host) takeNote(id pve.ID, budget time.Duration) (*note.Note, error) {
	n, err := h.Notes.Take(noteName(id))
	if _, busy := errors.AsType[*note.Busy](err); busy {
		return nil, fmt.Errorf("%w: %w", ErrOurs, err)
	}
	if err != nil {
		return nil, fmt.Errorf("not frozen, because its note cannot be created: %w", err)
	}
	if n.Left() {
		return n, ErrOurs
	}
	now := h.Now()
	process, _ := h.Process(id)
	if err := n.Write(Owned{How: howOf(id), Run: os.Getppid(), Since: now, Until: now.Add(budget), Process: process}); err != nil {
		return nil, errors.Join(fmt.Errorf("not frozen, because its note cannot be written: %w", err), n.End())
	}
	return n, nil
}

// endNote removes the note n about a frozen guest if ended is true: the guest was seen thawed, or
// no longer exists. If ended is false, endNote releases n and keeps the file. n may be nil.
func endNote(n *note.Note, ended bool) {
	switch {
	case n == nil:
	case !ended || n.End() != nil:
		n.Leave()
	}
}

// endLeft removes the note of a guest that the run thawed without the watchdog. endLeft waits a
// short time for a watchdog that is still exiting. A watchdog that hangs keeps its note, because
// the watchdog may thaw the guest again.
func (h Host) endLeft(ctx context.Context, id pve.ID) {
	ctx, stop := context.WithTimeout(ctx, watchdogTimeout/10)
	defer stop()
	for {
		n, err := h.Notes.Find(noteName(id))
		if err == nil {
			endNote(n, true)
		}
		if _, busy := errors.AsType[*note.Busy](err); !busy {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(look):
		}
	}
}

// TakenOver is the outcome for a guest that an earlier run froze and that no run has seen thawed
// since then.
type TakenOver struct {
	// Since is the time when the earlier run froze the guest, zero if the time is unknown.
	Since time.Time
	// Thawed is true if the guest was still frozen and TakeOver thawed it.
	Thawed bool
	// Err is the reason why the guest may still be frozen. Err wraps [ErrGone] if the frozen
	// process ended before anybody saw it thawed.
	Err error
}

// TakeOver thaws the guests that earlier runs froze and whose watchdogs have died. TakeOver tries
// each guest once, for at most thawTry; the next run tries again. If a second run freezes a guest
// while TakeOver is at work, TakeOver does not thaw this guest before the budget of the second run
// is over. TakeOver passes the outcome for each guest to the function `tell`, and then removes the
// guest's note. If a run is killed before TakeOver calls `tell`, the note remains, and the next run
// tries to thaw the guest. TakeOver returns an error if the notes cannot be listed.
func (h Host) TakeOver(ctx context.Context, tell func(pve.ID, TakenOver)) error {
	names, err := h.Notes.Names()
	if err != nil {
		return err
	}
	type taken struct {
		id   pve.ID
		note *note.Note
		TakenOver
	}
	all := make([]taken, len(names))
	var wait sync.WaitGroup
	for i, name := range names {
		id, ok := noteID(name)
		if !ok {
			continue
		}
		wait.Go(func() {
			if t, n, any := h.takeOver(ctx, id); any {
				all[i] = taken{id, n, t}
			}
		})
	}
	wait.Wait()
	slices.SortFunc(all, func(a, b taken) int { return a.id.VMID - b.id.VMID })
	for _, t := range all {
		if t.id.VMID != 0 {
			tell(t.id, t.TakenOver)
			endNote(t.note, t.Err == nil || errors.Is(t.Err, ErrGone))
		}
	}
	return nil
}

func (h Host) takeOver(ctx context.Context, id pve.ID) (t TakenOver, n *note.Note, any bool) {
	n, err := h.Notes.Find(noteName(id))
	var o Owned
	switch _, busy := errors.AsType[*note.Busy](err); {
	case errors.Is(err, fs.ErrNotExist):
		return t, nil, false
	case busy:
		if h.Notes.Read(noteName(id), &o) != nil || h.Now().Before(o.Until.Add(endGrace)) {
			return t, nil, false
		}
		return TakenOver{Since: o.Since, Err: fmt.Errorf("another process still tries to thaw it: the watchdog of the run that froze it (process %d), or another run", o.Run)}, nil, true
	case err != nil:
		return TakenOver{Err: err}, nil, true
	case !n.Left(): // an empty note: the watchdog died before it froze the guest
		endNote(n, true)
		return t, nil, false
	}
	_ = n.Read(&o) // if the content cannot be read, the note's name has the VMID
	if err := h.another(id, o); err != nil {
		return TakenOver{Since: o.Since, Err: err}, n, true
	}
	thawed, _, err := h.thawOnce(ctx, h.Freezer(id), 0)
	if errors.Is(err, ErrLapsed) {
		err = nil
	}
	return TakenOver{Since: o.Since, Thawed: thawed > 0, Err: err}, n, true
}

// another returns [ErrGone] if the guest's present process is not the process that snapwatch froze.
// The guest may have a new process by now. snapwatch must not thaw the new process, which may not
// even have a guest agent.
func (h Host) another(id pve.ID, o Owned) error {
	process, err := h.Process(id)
	switch {
	case err != nil || o.Process == "" || process == o.Process:
		return nil
	case process == "":
		return ErrGone
	}
	return fmt.Errorf("%w: it was started again since then", ErrGone)
}
