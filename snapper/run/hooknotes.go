package run

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"snapwatch/internal/note"
	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
	"snapwatch/snapper"
)

// turnPause is the time between two looks whether the hooks of a guest have ended.
const turnPause = time.Second

// turn is a guest's turn of hooks: from the first that is started before its snapshots until
// the last that follows them has ended. Its note is held meanwhile, so that no other round or
// run starts any, and says what is owed: a run that is killed leaves it to the next.
type turn struct {
	*note.Note
	owed []owedHook
}

// owedHook is what is to be run for a guest yet.
type owedHook struct {
	On    hookEvent `json:"on"`
	Since time.Time `json:"since"`
	Guest hookGuest `json:"guest"`
}

// take returns the guest's turn, without waiting. The error is a [*note.Busy] while hooks of it
// are at work.
func (h *hooks) take(vmid int) (*turn, error) {
	n, err := h.World.HookNotes().Take(strconv.Itoa(vmid))
	if err != nil {
		return nil, err
	}
	t := &turn{Note: n}
	if n.Left {
		if err := n.Read(&t.owed); err != nil {
			h.add(report.Problem{Severity: report.Warning, Text: fmt.Sprintf("which hooks an earlier run owes guest %d is not known, and given up: %v", vmid, err)})
		}
	}
	return t, nil
}

// wait returns the guest's turn when the hooks of another round or run have ended.
func (h *hooks) wait(ctx context.Context, vmid int) (*turn, error) {
	for {
		t, err := h.take(vmid)
		if _, busy := errors.AsType[*note.Busy](err); !busy {
			return t, err
		}
		if h.World.Wait(ctx, turnPause) != nil {
			return nil, fmt.Errorf("not started: hooks of guest %d that were started earlier are still at work", vmid)
		}
	}
}

// owe notes that a hook is to run for a guest.
func (h *hooks) owe(t *turn, on hookEvent, guest hookGuest) {
	if t == nil || len(hooksFor(h.Config.Hooks, on)) == 0 {
		return
	}
	t.owed = append(slices.DeleteFunc(t.owed, func(o owedHook) bool { return o.On == on }), owedHook{on, h.World.Now(), guest})
	h.write(t)
}

// paid notes that a hook has run, whatever came of it, or is not owed after all.
func (h *hooks) paid(t *turn, on hookEvent) {
	t.owed = slices.DeleteFunc(t.owed, func(o owedHook) bool { return o.On == on })
	h.write(t)
}

func (h *hooks) write(t *turn) {
	if err := t.Write(t.owed); err != nil {
		h.add(report.ProblemOf(report.Warning, fmt.Errorf("a hook that is owed is forgotten if this run is killed: %w", err)))
	}
}

// end ends a turn. What is owed yet is left to the next run.
func (t *turn) end() {
	switch {
	case t == nil:
	case len(t.owed) > 0 || t.End() != nil:
		t.Leave()
	}
}

// Owed names the hooks that are noted and have not run yet: what a run that ends now leaves
// to the next.
func Owed(w World) []string {
	notes := w.HookNotes()
	names, _ := notes.Names() // where none can be read, none can be named
	var all []string
	for _, vmid := range names {
		var owed []owedHook
		if notes.Read(vmid, &owed) != nil {
			continue // it has just ended
		}
		for _, o := range owed {
			all = append(all, fmt.Sprintf("%s is owed to guest %s", o.On, vmid))
		}
	}
	return all
}

// turns are those of the guests whose hooks of a kind are started, side by side.
type turns struct {
	*hooks
	// on is owed from the begin of a turn until its end.
	on    hookEvent
	mu    sync.Mutex
	taken map[int]*turn
	began map[int]bool
}

// begin waits for a guest's turn, unless it has begun.
func (s *turns) begin(ctx context.Context, g hookGuest) error {
	s.mu.Lock()
	t := s.taken[g.VMID]
	s.mu.Unlock()
	if t == nil {
		var err error
		if t, err = s.wait(ctx, g.VMID); err != nil {
			return err
		}
		s.mu.Lock()
		s.taken[g.VMID] = t
		s.mu.Unlock()
	}
	s.owe(t, s.on, g)
	return nil
}

// end ends a guest's turn, if it has begun: what was owed has run.
func (s *turns) end(vmid int) {
	s.mu.Lock()
	t := s.taken[vmid]
	delete(s.taken, vmid)
	s.mu.Unlock()
	if t != nil {
		s.paid(t, s.on)
		t.end()
	}
}

// use notes that a hook of a guest's turn was started.
func (s *turns) use(vmid int, started bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.began == nil {
		s.began = map[int]bool{}
	}
	s.began[vmid] = s.began[vmid] || started
}

// used returns the turns in which a hook was started, and ends the others.
func (s *turns) used() map[int]*turn {
	for _, vmid := range slices.Collect(maps.Keys(s.taken)) {
		if !s.began[vmid] {
			s.end(vmid)
		}
	}
	return s.taken
}

// oweStops takes the turns of guests that stop, and notes that their after_stop is owed,
// before there is a _stopped snapshot. One whose hooks are still at work is not noted.
func (h *hooks) oweStops(plan snapper.Plan) map[int]*turn {
	turns := map[int]*turn{}
	if h.Final || len(hooksFor(h.Config.Hooks, afterStop)) == 0 {
		return turns
	}
	guests := map[int]*hookGuest{}
	for _, g := range plan.Guests {
		for _, d := range g.Disks {
			if g.Class == zfs.Stopped && d.Snapshot {
				entry(guests, d.VMID).add(d.Dataset, g.Snapshot, g.Class)
			}
		}
	}
	for _, g := range sorted(guests) {
		if t, err := h.take(g.VMID); err == nil {
			h.owe(t, afterStop, g)
			turns[g.VMID] = t
		}
	}
	return turns
}

// settle runs the hooks that earlier runs owe, or gives them up aloud. after_stop waits until
// all disks have their label: then the guest is known to be off, and its _stopped snapshot is
// there.
func (h *hooks) settle(view snapper.NodeView, disks []snapper.Disk, plan snapper.Plan) {
	if h.Final || h.DryRun {
		return
	}
	names, err := h.World.HookNotes().Names()
	if err != nil {
		h.add(report.ProblemOf(report.Warning, fmt.Errorf("which hooks earlier runs owe is not known: %w", err)))
	}
	for _, name := range names {
		vmid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		t, err := h.take(vmid)
		if err != nil {
			continue // at work
		}
		h.settleTurn(t, vmid, view, disks, plan)
	}
}

func (h *hooks) settleTurn(t *turn, vmid int, view snapper.NodeView, disks []snapper.Disk, plan snapper.Plan) {
	for _, o := range slices.Clone(t.owed) {
		why := ""
		switch {
		case len(hooksFor(h.Config.Hooks, o.On)) == 0:
			h.paid(t, o.On)
			continue
		case o.On == afterStop:
			why = stopUndone(o, view, disks, plan)
		}
		switch {
		case why == waits:
		case why != "":
			h.paid(t, o.On)
			h.add(report.Problem{Severity: report.Warning, Text: fmt.Sprintf("hook %s, for guest %d: owed since %s, and given up: %s", o.On, vmid, o.Since.Local().Format(time.DateTime), why)})
		default:
			if o.On != afterStop {
				o.Guest.Errors = append(o.Guest.Errors, "the run that began this ended before this hook did")
			}
			h.after(o.On, []hookGuest{o.Guest}, map[int]*turn{vmid: t})
			return // its turn ends with it
		}
	}
	t.end()
}

// waits is why an owed hook stays owed.
const waits = "waits"

// stopUndone returns why an after_stop that is owed cannot run now, "" if it can.
func stopUndone(o owedHook, view snapper.NodeView, disks []snapper.Disk, plan snapper.Plan) string {
	vmid := o.Guest.VMID
	_, here := view.Cluster.Guests[vmid]
	switch {
	case !here:
		return "the guest is not configured on this node any more"
	case view.Evidence[vmid].Alive():
		return "the guest runs again"
	}
	for _, s := range plan.Stops() {
		if s.VMID == vmid {
			return waits // for this run's own attempt
		}
	}
	for _, s := range o.Guest.Snapshots {
		i := slices.IndexFunc(disks, func(d snapper.Disk) bool { return d.Name == s.Dataset })
		if i < 0 || disks[i].Running.Own() != zfs.Stopped.String() || !slices.ContainsFunc(disks[i].Snapshots, func(have zfs.Snapshot) bool { return have.Name == s.Name }) {
			return waits
		}
	}
	return ""
}
