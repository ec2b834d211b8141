package run

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"snapwatch/internal/command"
	"snapwatch/internal/report"
	"snapwatch/snapper"
)

// Hooks of different guests run side by side, and all hooks of an event, such as before_snapshot,
// must end within the limit of the event. A guest with a before_snapshot hook gets its snapshots
// after this hook has ended. The run ends after all hooks that follow snapshots have ended.
const (
	hooksAtOnce   = 8
	beforeTimeout = 2 * time.Minute
	afterTimeout  = 15 * time.Minute
)

// A run keeps at most maxHookLines lines of a hook's output, and at most maxHookLine bytes of each
// line.
const (
	maxHookLines = 50
	maxHookLine  = 300
)

// hooks starts the programs that the configuration names under hooks:, before and after snapshots.
type hooks struct {
	Options
	*journal
	node string
	// The field `running` has a function for each started batch of hooks. The function waits until
	// all hooks of the batch have ended.
	running []func()
}

// end waits until all hooks that the run started have ended.
func (h *hooks) end() { waitAll(h.running) }

// dueHooks returns the hooks that must end before the snapshots of living guests are taken.
func (h *hooks) dueHooks(plan snapper.Plan) hookWork { return h.callsFor(beforeSnapshot, dueFor(plan)) }

// follow starts the after_snapshot hooks of living guests, once the snapshots exist. The argument
// `noted` has, by VMID, a [turn] for each guest whose before_snapshot was started or whose
// after_snapshot must run.
func (h *hooks) follow(plan snapper.Plan, outcomes map[string]snapper.Outcome, noted map[int]*turn) {
	live, _ := takenOf(plan, outcomes)
	prepared := func(vmid int) bool { return noted[vmid] != nil && noted[vmid].lock != nil }
	live = slices.DeleteFunc(live, func(g hookGuest) bool { return len(g.Snapshots) == 0 && !prepared(g.VMID) })
	for vmid := range noted {
		if prepared(vmid) && !slices.ContainsFunc(live, func(g hookGuest) bool { return g.VMID == vmid }) {
			live = append(live, hookGuest{VMID: vmid, Snapshots: []hookSnapshot{}})
		}
	}
	slices.SortFunc(live, func(a, b hookGuest) int { return a.VMID - b.VMID })
	h.startAfter(afterSnapshot, live, noted)
}

// startAfter starts hooks of the events after_snapshot, after_stop and after_prune. The run waits
// for the started hooks only at its end. The hooks of a guest run during the guest's [turn], which
// ends after the guest's last hook. Hooks after snapshots are not killed when the run must end,
// because they may undo what an earlier hook did. All after_snapshot hooks of a guest are started,
// even after one of these hooks failed, because each hook may undo what a before_snapshot hook did.
// If a guest has a turn in the argument `noted` but no hook of the event, the note of the turn is
// removed.
func (h *hooks) startAfter(on hookEvent, guests []hookGuest, noted map[int]*turn) {
	work := h.callsFor(on, guests)
	for vmid, t := range noted {
		if !slices.Contains(work.guests(), vmid) {
			h.endTurn(t)
		}
	}
	if work.none() {
		return
	}
	turns := &turns{hooks: h, on: on, all: true, taken: map[int]*turn{}}
	// The notes of all guests are written before the first hook starts.
	for _, g := range guests {
		if slices.Contains(work.guests(), g.VMID) {
			if t := noted[g.VMID]; t != nil {
				turns.taken[g.VMID] = t
			}
			h.owe(turns.of(g.VMID), on, g)
		}
	}
	h.running = append(h.running, h.World.Lanes(0).Go(func() {
		ctx, cancel := h.World.Timeout(context.Background(), afterTimeout)
		defer cancel()
		failed := h.eachGuest(ctx, work.each, turns, func(vmid int) {
			if !work.perRun(vmid) {
				turns.end(vmid)
			}
		})
		for _, c := range work.once {
			c.guests = slices.DeleteFunc(slices.Clone(c.guests), func(g hookGuest) bool {
				err := turns.beginTurn(ctx, g)
				if err != nil && failed[g.VMID] == nil {
					h.note(report.ProblemOf(report.Warning, c.failed(err, nil)))
				}
				return err != nil
			})
			if len(c.guests) == 0 {
				continue
			}
			if _, err := h.startHook(ctx, c, turns); err != nil {
				h.note(report.ProblemOf(report.Warning, err))
			}
		}
		for _, vmid := range work.guests() {
			turns.end(vmid)
		}
	}))
}

// startBefore starts the before_snapshot hooks, and waits until they have ended. The map `failed`
// has, by VMID, the reason why a guest must get no snapshot. The map `begun` has, by VMID, the
// [turn] of each guest for which a hook was started, and whose after_snapshot must therefore run.
func (h *hooks) startBefore(ctx context.Context, work hookWork) (failed map[int]error, begun map[int]*turn) {
	ctx, cancel := h.World.Timeout(ctx, beforeTimeout)
	defer cancel()
	turns := &turns{hooks: h, on: afterSnapshot, taken: map[int]*turn{}}
	failed = map[int]error{}
	for _, c := range work.once {
		c.guests = slices.DeleteFunc(c.guests, func(g hookGuest) bool {
			if err := turns.beginTurn(ctx, g); err != nil && failed[g.VMID] == nil {
				failed[g.VMID] = c.failed(err, nil)
			}
			return failed[g.VMID] != nil
		})
		if len(c.guests) == 0 {
			continue
		}
		_, err := h.startHook(ctx, c, turns)
		for _, g := range c.guests {
			if err != nil {
				failed[g.VMID] = err
			}
		}
	}
	each := maps.Clone(work.each)
	maps.DeleteFunc(each, func(vmid int, _ []hookCall) bool { return failed[vmid] != nil })
	for vmid, errs := range h.eachGuest(ctx, each, turns, func(int) {}) {
		failed[vmid] = errs[0]
	}
	return failed, turns.used()
}

// eachGuest runs the hooks of different guests side by side, and the hooks of one guest one after
// the other. If turns.all is true, eachGuest reports the failures of the hooks. After the last hook
// of a guest, eachGuest calls the function `ended` with the guest's VMID.
func (h *hooks) eachGuest(ctx context.Context, each map[int][]hookCall, turns *turns, ended func(vmid int)) map[int][]error {
	var started []func()
	var mu sync.Mutex
	failed := map[int][]error{}
	lanes := h.World.Lanes(hooksAtOnce)
	for _, vmid := range slices.Sorted(maps.Keys(each)) {
		started = append(started, lanes.Go(func() {
			errs := h.oneGuest(ctx, each[vmid], turns)
			for _, err := range errs {
				if turns.all {
					h.note(report.ProblemOf(report.Warning, err))
				}
			}
			ended(vmid)
			if len(errs) > 0 {
				mu.Lock()
				defer mu.Unlock()
				failed[vmid] = errs
			}
		}))
	}
	waitAll(started)
	return failed
}

func (h *hooks) oneGuest(ctx context.Context, calls []hookCall, turns *turns) (errs []error) {
	for i, c := range calls {
		if err := turns.beginTurn(ctx, c.guests[0]); err != nil {
			return append(errs, c.failed(err, nil))
		}
		started, err := h.startHook(ctx, c, turns)
		if err != nil {
			errs = append(errs, err)
		}
		if ctx.Err() != nil && !started && i == 0 {
			turns.of(c.guests[0].VMID).late = true
			return errs
		}
		if err != nil && !turns.all {
			return errs
		}
	}
	return errs
}

// startHook starts one hook, waits until the hook ends, and reports whether the hook was started.
// The hook belongs to the turns of all guests in c.
func (h *hooks) startHook(ctx context.Context, c hookCall, turns *turns) (started bool, err error) {
	if ctx.Err() != nil {
		return false, c.failed(fmt.Errorf("not started: %w; all hooks before snapshots together may take %s, and all hooks after snapshots %s", context.Cause(ctx), beforeTimeout, afterTimeout), nil)
	}
	if err := h.World.Trusted(c.Hook); err != nil {
		return false, c.failed(fmt.Errorf("not started: %w", err), nil)
	}
	ctx, cancel := h.World.Timeout(ctx, c.Limit())
	defer cancel()
	h.progress("hook %s", c)
	said, err := h.World.Hook(ctx, c.Hook, c.input(), c.environment(), turns.locks(c.guests))
	if errors.Is(err, command.ErrNotStarted) {
		return false, c.failed(err, nil)
	}
	turns.use(c.guests, errors.Is(err, command.ErrStillRunning))
	lines := hookLines(said)
	for _, line := range lines {
		h.note(report.Problem{Severity: report.Notice, Text: c.says(line), Kept: new(string)})
	}
	if err != nil {
		return true, c.failed(hookError(err, ctx.Err(), c.Limit()), lines)
	}
	return true, nil
}

// hookWork has the calls of an event's hooks: the field `once` has the calls for all guests
// together, and the field `each` has, by VMID, the calls for one guest.
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

// guests returns the VMIDs of all guests for which at least one of the hooks starts.
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

// perRun reports whether one of the hooks that start once for all guests includes the guest.
func (w hookWork) perRun(vmid int) bool {
	return slices.ContainsFunc(w.once, func(c hookCall) bool {
		return slices.ContainsFunc(c.guests, func(g hookGuest) bool { return g.VMID == vmid })
	})
}
