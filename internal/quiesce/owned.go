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

// Owned is the note of a guest that we freeze.
type Owned struct {
	// How is agent or cgroup.
	How string `json:"how"`
	// Run is the process of the run that wanted it.
	Run int `json:"run"`
	// Since is when it began, Until when it is to end at the latest.
	Since time.Time `json:"since"`
	Until time.Time `json:"until"`
	// Process tells the guest's process from any later one of it, "" where that is not known.
	Process string `json:"process,omitempty"`
}

// endGrace is how long after the end of its budget a watchdog may take to thaw, before
// others call its guests left frozen.
const endGrace = time.Minute

func noteName(id pve.ID) string { return string(id.Kind) + "-" + fmt.Sprint(id.VMID) }

func noteID(name string) (pve.ID, bool) { return ParseID(strings.Replace(name, "-", "/", 1)) }

func howOf(id pve.ID) string {
	if id.Kind == pve.LXC {
		return "cgroup"
	}
	return "agent"
}

// own takes the note of a guest for budget, before it is frozen. The error is ErrOurs where
// an earlier freeze has not ended: a note that was left behind is returned with it.
func (h Host) own(id pve.ID, budget time.Duration) (*note.Note, error) {
	n, err := h.Notes.Take(noteName(id))
	if _, busy := errors.AsType[*note.Busy](err); busy {
		return nil, fmt.Errorf("%w: %w", ErrOurs, err)
	}
	if err != nil {
		return nil, fmt.Errorf("not frozen without a note of it: %w", err)
	}
	if n.Left() {
		return n, ErrOurs
	}
	now := h.Now()
	process, _ := h.Process(id)
	if err := n.Write(Owned{How: howOf(id), Run: os.Getppid(), Since: now, Until: now.Add(budget), Process: process}); err != nil {
		return nil, errors.Join(fmt.Errorf("not frozen without a note of it: %w", err), n.End())
	}
	return n, nil
}

// endNote gives a note up, which may be nil: it is removed if the guest was seen thawed, or
// is gone.
func endNote(n *note.Note, ended bool) {
	switch {
	case n == nil:
	case !ended || n.End() != nil:
		n.Leave()
	}
}

// endLeft removes the note of a guest that was thawed without its watchdog, which the kernel
// may still be ending. One that hangs keeps its note: it may thaw again.
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

// TakenOver is what became of a guest that an earlier run froze, and that nobody saw thawed.
type TakenOver struct {
	// Since is when that run froze it, zero where that is not known.
	Since time.Time
	// Thawed: it was frozen until now.
	Thawed bool
	// Err is why it may be frozen yet. It wraps [ErrGone] where we have nothing to thaw any
	// more, and that was not seen before.
	Err error
}

// TakeOver thaws the guests that earlier runs froze and whose watchdogs are gone. Each is
// tried once, for thawTry at most: the next run tries again. It leaves those alone that another
// run is at work on, until their time is over. It tells what became of each, and forgets only
// then that it was frozen: whoever is killed in between leaves that to the next run. The error
// says why it is not known which those are.
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
		return TakenOver{Since: o.Since, Err: fmt.Errorf("the watchdog of the run that froze it (process %d) still tries to thaw it", o.Run)}, nil, true
	case err != nil:
		return TakenOver{Err: err}, nil, true
	case !n.Left(): // nothing was frozen yet
		endNote(n, true)
		return t, nil, false
	}
	_ = n.Read(&o) // the guest's name says enough
	if err := h.another(id, o); err != nil {
		return TakenOver{Since: o.Since, Err: err}, n, true
	}
	thawed, _, err := h.thawOnce(ctx, h.Freezer(id), 0)
	if errors.Is(err, ErrLapsed) {
		err = nil
	}
	return TakenOver{Since: o.Since, Thawed: thawed > 0, Err: err}, n, true
}

// another returns an [ErrGone] where what was frozen has ended and nothing or something else
// runs in its place: that is not ours to thaw, and it may have no agent that could say so.
func (h Host) another(id pve.ID, o Owned) error {
	process, err := h.Process(id)
	switch {
	case err != nil || o.Process == "" || process == o.Process:
		return nil
	case process == "":
		return ErrGone
	}
	return fmt.Errorf("%w: it was started again since", ErrGone)
}
