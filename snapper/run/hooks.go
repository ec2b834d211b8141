package run

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"snapwatch/internal/report"
	"snapwatch/snapper"
)

// Hooks of different guests run side by side, and all of a kind within a time: what
// waits for them is the snapshots of the guests that have any, or the end of the run.
const (
	hooksAtOnce   = 8
	beforeTimeout = 2 * time.Minute
	afterTimeout  = 15 * time.Minute
)

// How much of what a hook prints is kept, in lines and bytes of a line.
const (
	maxHookLines = 50
	maxHookLine  = 300
)

// hooks runs the programs of the admin around snapshots. What they say is collected apart:
// those that run after snapshots do so beside the rest of the run.
type hooks struct {
	Options
	node     string
	mu       sync.Mutex
	problems []report.Problem
	// running wait for the hooks that were started.
	running []func()
}

func (h *hooks) add(p report.Problem) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.problems = append(h.problems, p)
}

// end waits for the hooks and returns what they said.
func (h *hooks) end() []report.Problem {
	waitAll(h.running)
	return h.problems
}

// due are the hooks that the snapshots of living guests wait for.
func (h *hooks) due(plan snapper.Plan) hookWork { return h.callsFor(beforeSnapshot, dueFor(plan)) }

// followStops starts after_stop for the guests that have all their _stopped snapshots and
// labels. turns are those of oweStops: what failed stays owed.
func (h *hooks) followStops(plan snapper.Plan, outcomes map[string]snapper.Outcome, turns map[int]*turn) {
	_, stopped := takenOf(plan, outcomes)
	var ready []hookGuest
	for _, g := range stopped {
		t := turns[g.VMID]
		switch {
		case len(g.Errors) > 0:
			t.end()
		case len(g.Snapshots) > 0:
			h.owe(t, afterStop, g)
			ready = append(ready, g)
			continue
		}
		delete(turns, g.VMID)
	}
	for vmid, t := range turns {
		if !slices.ContainsFunc(ready, func(g hookGuest) bool { return g.VMID == vmid }) { // it was left to the next run
			h.paid(t, afterStop)
			t.end()
			delete(turns, vmid)
		}
	}
	h.after(afterStop, ready, turns)
}

// follow starts the hooks that follow the snapshots of living guests, as soon as these are
// there. turns are those of the guests whose before_snapshot was started.
func (h *hooks) follow(plan snapper.Plan, outcomes map[string]snapper.Outcome, turns map[int]*turn) {
	live, _ := takenOf(plan, outcomes)
	for vmid := range turns {
		if !slices.ContainsFunc(live, func(g hookGuest) bool { return g.VMID == vmid }) {
			live = append(live, hookGuest{VMID: vmid, Snapshots: []hookSnapshot{}})
		}
	}
	live = slices.DeleteFunc(live, func(g hookGuest) bool { return len(g.Snapshots) == 0 && turns[g.VMID] == nil })
	h.after(afterSnapshot, live, turns)
}

// after starts hooks that nothing waits for but the end of the run, for each guest in its
// turn, which ends with them. They are not ended with the run: they may be what makes good
// what an earlier hook did.
func (h *hooks) after(on hookEvent, guests []hookGuest, taken map[int]*turn) {
	work := h.callsFor(on, guests)
	for vmid, t := range taken {
		if !slices.Contains(work.guests(), vmid) {
			h.paid(t, on)
			t.end()
		}
	}
	if work.none() {
		return
	}
	h.running = append(h.running, h.World.Lanes(0).Go(func() {
		ctx, cancel := h.World.Timeout(context.Background(), afterTimeout)
		defer cancel()
		turns := &turns{hooks: h, on: on, taken: maps.Clone(taken)}
		if turns.taken == nil {
			turns.taken = map[int]*turn{}
		}
		failed := h.eachGuest(ctx, work.each, func(g hookGuest) error { return turns.begin(ctx, g) }, func(vmid int) {
			if !work.perRun(vmid) {
				turns.end(vmid)
			}
		})
		for _, vmid := range slices.Sorted(maps.Keys(failed)) {
			h.add(report.ProblemOf(report.Warning, failed[vmid]))
		}
		for _, c := range work.once {
			c.guests = slices.DeleteFunc(c.guests, func(g hookGuest) bool {
				err := turns.begin(ctx, g)
				if err != nil && failed[g.VMID] == nil {
					h.add(report.ProblemOf(report.Warning, c.failed(err, nil)))
				}
				return err != nil
			})
			if len(c.guests) == 0 {
				continue
			}
			if _, err := h.startHook(ctx, c); err != nil {
				h.add(report.ProblemOf(report.Warning, err))
			}
		}
		for _, vmid := range work.guests() {
			turns.end(vmid)
		}
	}))
}

// before runs the hooks that snapshots wait for. It returns of which guests none may be taken,
// and why, and the turns of those for which one was started: it is owed to them that
// after_snapshot follows.
func (h *hooks) before(ctx context.Context, work hookWork) (failed map[int]error, begun map[int]*turn) {
	ctx, cancel := h.World.Timeout(ctx, beforeTimeout)
	defer cancel()
	turns := &turns{hooks: h, on: afterSnapshot, taken: map[int]*turn{}}
	failed = map[int]error{}
	for _, c := range work.once {
		c.guests = slices.DeleteFunc(c.guests, func(g hookGuest) bool {
			if err := turns.begin(ctx, g); err != nil && failed[g.VMID] == nil {
				failed[g.VMID] = c.failed(err, nil)
			}
			return failed[g.VMID] != nil
		})
		if len(c.guests) == 0 {
			continue
		}
		started, err := h.startHook(ctx, c)
		for _, g := range c.guests {
			turns.use(g.VMID, started)
			if err != nil {
				failed[g.VMID] = err
			}
		}
	}
	each := maps.Clone(work.each)
	maps.DeleteFunc(each, func(vmid int, _ []hookCall) bool { return failed[vmid] != nil })
	maps.Copy(failed, h.eachGuest(ctx, each, func(g hookGuest) error { return turns.begin(ctx, g) }, func(vmid int) { turns.use(vmid, true) }))
	return failed, turns.used()
}

// eachGuest runs the hooks of guests side by side, those of one guest one after the other
// until one fails. begin is called before the first of a guest, and ended after the last, if
// any was started.
func (h *hooks) eachGuest(ctx context.Context, each map[int][]hookCall, begin func(hookGuest) error, ended func(vmid int)) map[int]error {
	var started []func()
	var mu sync.Mutex
	failed := map[int]error{}
	lanes := h.World.Lanes(hooksAtOnce)
	for _, vmid := range slices.Sorted(maps.Keys(each)) {
		started = append(started, lanes.Go(func() {
			any, err := h.oneGuest(ctx, each[vmid], begin)
			if any {
				ended(vmid)
			}
			if err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed[vmid] = err
			}
		}))
	}
	waitAll(started)
	return failed
}

func (h *hooks) oneGuest(ctx context.Context, calls []hookCall, begin func(hookGuest) error) (any bool, err error) {
	if err := begin(calls[0].guests[0]); err != nil {
		return false, calls[0].failed(err, nil)
	}
	for _, c := range calls {
		started, err := h.startHook(ctx, c)
		if any = any || started; err != nil {
			return any, err
		}
	}
	return any, nil
}

// startHook runs one hook to its end, and returns whether it was started.
func (h *hooks) startHook(ctx context.Context, c hookCall) (started bool, err error) {
	if ctx.Err() != nil {
		return false, c.failed(fmt.Errorf("not started: %w; the hooks of a kind have %s together before snapshots, %s after them", context.Cause(ctx), beforeTimeout, afterTimeout), nil)
	}
	if err := h.World.Trusted(c.Hook); err != nil {
		return false, c.failed(fmt.Errorf("not started: %w", err), nil)
	}
	ctx, cancel := h.World.Timeout(ctx, c.Limit())
	defer cancel()
	h.progress("hook %s", c)
	said, err := h.World.Hook(ctx, c.Hook, c.input(), c.environment())
	lines := hookLines(said)
	for _, line := range lines {
		h.add(report.Problem{Severity: report.Notice, Text: c.says(line), Kept: new(string)})
	}
	if err != nil {
		return true, c.failed(hookError(err, ctx.Err(), c.Limit()), lines)
	}
	return true, nil
}

// hookWork are the hooks of an event: those for all guests and those of each.
type hookWork struct {
	once []hookCall
	each map[int][]hookCall
}

func (h *hooks) callsFor(on hookEvent, guests []hookGuest) hookWork {
	if h.Final || h.DryRun {
		return hookWork{}
	}
	var w hookWork
	w.once, w.each = calls(hooksFor(h.Config.Hooks, on), on, h.node, guests)
	return w
}

func (w hookWork) none() bool { return len(w.once)+len(w.each) == 0 }

// guests are those that any of the hooks is for, by VMID.
func (w hookWork) guests() []int {
	vmids := slices.Collect(maps.Keys(w.each))
	for _, c := range w.once {
		for _, g := range c.guests {
			vmids = append(vmids, g.VMID)
		}
	}
	slices.Sort(vmids)
	return slices.Compact(vmids)
}

// perRun reports whether a guest is among those that a hook is started for together.
func (w hookWork) perRun(vmid int) bool {
	return slices.ContainsFunc(w.once, func(c hookCall) bool {
		return slices.ContainsFunc(c.guests, func(g hookGuest) bool { return g.VMID == vmid })
	})
}
