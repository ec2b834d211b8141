package run

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"snapwatch/internal/command"
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

// follow starts the hooks that follow snapshots, as soon as these are there. begun are the
// guests whose before_snapshot was started.
func (h *hooks) follow(plan snapper.Plan, outcomes map[string]snapper.Outcome, begun []int) {
	if h.Final || !h.Config.Hooks.Any() {
		return
	}
	live, stopped := takenOf(plan, outcomes)
	live = slices.DeleteFunc(live, func(g hookGuest) bool { return len(g.Snapshots) == 0 && !slices.Contains(begun, g.VMID) })
	stopped = slices.DeleteFunc(stopped, func(g hookGuest) bool { return len(g.Snapshots) == 0 })
	h.after(afterStop, stopped)
	h.after(afterSnapshot, live)
}

// after starts hooks that nothing waits for but the end of the run. They are not ended
// with it: they may be what makes good what an earlier hook did.
func (h *hooks) after(on hookEvent, guests []hookGuest) {
	work := h.callsFor(on, guests)
	if work.none() {
		return
	}
	h.running = append(h.running, h.World.Lanes(0).Go(func() {
		ctx, cancel := h.World.Timeout(context.Background(), afterTimeout)
		defer cancel()
		failed := h.eachGuest(ctx, work.each)
		for _, vmid := range slices.Sorted(maps.Keys(failed)) {
			h.add(report.ProblemOf(report.Warning, failed[vmid]))
		}
		for _, c := range work.once {
			if err := h.startHook(ctx, c); err != nil {
				h.add(report.ProblemOf(report.Warning, err))
			}
		}
	}))
}

// before runs the hooks that snapshots wait for, and returns of which guests none may
// be taken, and why.
func (h *hooks) before(ctx context.Context, work hookWork) map[int]error {
	ctx, cancel := h.World.Timeout(ctx, beforeTimeout)
	defer cancel()
	failed := map[int]error{}
	for _, c := range work.once {
		if err := h.startHook(ctx, c); err != nil {
			for _, g := range c.guests {
				failed[g.VMID] = err
			}
		}
	}
	each := maps.Clone(work.each)
	maps.DeleteFunc(each, func(vmid int, _ []hookCall) bool { return failed[vmid] != nil })
	maps.Copy(failed, h.eachGuest(ctx, each))
	return failed
}

// eachGuest runs the hooks of guests side by side, those of one guest one after the
// other until one fails.
func (h *hooks) eachGuest(ctx context.Context, each map[int][]hookCall) map[int]error {
	var started []func()
	var mu sync.Mutex
	failed := map[int]error{}
	lanes := h.World.Lanes(hooksAtOnce)
	for _, vmid := range slices.Sorted(maps.Keys(each)) {
		started = append(started, lanes.Go(func() {
			for _, c := range each[vmid] {
				if err := h.startHook(ctx, c); err != nil {
					mu.Lock()
					defer mu.Unlock()
					failed[vmid] = err
					return
				}
			}
		}))
	}
	waitAll(started)
	return failed
}

// startHook runs one hook to its end.
func (h *hooks) startHook(ctx context.Context, c hookCall) error {
	if ctx.Err() != nil {
		return c.failed(fmt.Errorf("not started: %w; the hooks of a kind have %s together before snapshots, %s after them", context.Cause(ctx), beforeTimeout, afterTimeout), nil)
	}
	if err := h.World.Trusted(c.Hook); err != nil {
		return c.failed(fmt.Errorf("not started: %w", err), nil)
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
		return c.failed(hookError(err, ctx.Err(), c.Limit()), lines)
	}
	return nil
}

// failed says in a line how a hook ended, and the last it printed.
func (c hookCall) failed(err error, lines []string) error {
	text := c.says(err.Error())
	if len(lines) == 0 {
		return errors.New(text)
	}
	return &report.Printed{Err: errors.New(text), All: c.says(fmt.Sprintf("%v: %s", err, lines[len(lines)-1]))}
}

// hookError returns how a hook ended.
func hookError(err, timeout error, limit time.Duration) error {
	if errors.Is(timeout, context.Canceled) {
		return errors.New("killed, since the run was told to end")
	} else if timeout != nil {
		return fmt.Errorf("killed when its time was over (%s)", limit)
	} else if code := command.ExitCode(err); code >= 0 {
		return fmt.Errorf("exit status %d", code)
	}
	return err
}

// hookLines are the lines that a hook printed, shortened, without what could write more
// than text on a terminal.
func hookLines(said string) []string {
	var lines []string
	for line := range strings.Lines(said) {
		line = strings.Map(func(c rune) rune {
			if c == unicode.ReplacementChar || !unicode.IsPrint(c) {
				return ' '
			}
			return c
		}, strings.TrimSpace(line))
		if len(line) > maxHookLine {
			line = strings.ToValidUTF8(line[:maxHookLine], "") + "…"
		}
		if line != "" {
			lines = append(lines, line)
		}
	}
	if over := len(lines) - maxHookLines; over > 0 {
		lines = append(lines[:maxHookLines], fmt.Sprintf("(%d more lines)", over))
	}
	return lines
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

// guests are those that any of the hooks is for.
func (w hookWork) guests() []int {
	vmids := slices.Collect(maps.Keys(w.each))
	for _, c := range w.once {
		for _, g := range c.guests {
			vmids = append(vmids, g.VMID)
		}
	}
	return vmids
}
