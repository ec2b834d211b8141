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
	mostHookLines = 50
	mostHookLine  = 300
)

// hookLog collects what hooks say. Those that run after snapshots do so beside the
// rest of the run.
type hookLog struct {
	mu       sync.Mutex
	problems []report.Problem
	// running wait for the hooks that were started.
	running []func()
}

func (l *hookLog) add(severity report.Severity, format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.problems = append(l.problems, report.Problem{Severity: severity, Text: fmt.Sprintf(format, args...)})
}

// endHooks waits for the hooks and tells what they said, also in the report that is
// kept under that name, unless a later run has left its own there meanwhile.
func (r *run) endHooks(name string) {
	waitAll(r.hooks.running)
	for _, p := range r.hooks.problems {
		r.report.Add(p.Severity, "%s", p.Text)
	}
	if len(r.hooks.problems) == 0 {
		return
	}
	if kept, err := r.World.LastReport(name); err == nil && kept.Start.Equal(r.report.Start) {
		r.save(name)
	}
}

// carryOut applies the plan with the hooks around its snapshots. First come the guests that
// stopped, whose locks release gives up as soon as they have their snapshots: who wants to
// start one waits for ten seconds only, or a hook may want to start it elsewhere. Nothing
// else is begun before.
func (r *run) carryOut(ctx context.Context, pools []*pool, plan snapper.Plan, release func()) {
	final, rest := plan.Split()
	stopped := r.takeFinal(ctx, pools, final)
	release()
	r.afterSnapshots(final, stopped, nil)
	waiting := r.callsFor(beforeSnapshot, dueFor(rest))
	ready, refused := rest.Without(r.before(ctx, waiting))
	r.reportApplied(refused)
	final.Guests, final.Abandoned, final.Notes = nil, nil, nil
	ready.Add(final)
	r.applyAll(ctx, pools, ready, stopped, func(outcomes map[string]snapper.Outcome) {
		maps.Copy(outcomes, refused)
		r.afterSnapshots(rest, outcomes, waiting.guests())
	})
}

// afterSnapshots starts the hooks that follow snapshots, as soon as these are there.
// begun are the guests whose before_snapshot was started.
func (r *run) afterSnapshots(plan snapper.Plan, outcomes map[string]snapper.Outcome, begun []int) {
	if r.Final || !r.Config.Hooks.Any() {
		return
	}
	live, stopped := takenOf(plan, outcomes)
	live = slices.DeleteFunc(live, func(g hookGuest) bool { return len(g.Snapshots) == 0 && !slices.Contains(begun, g.VMID) })
	stopped = slices.DeleteFunc(stopped, func(g hookGuest) bool { return len(g.Snapshots) == 0 })
	r.after(afterStop, stopped)
	r.after(afterSnapshot, live)
}

// after starts hooks that nothing waits for but the end of the run. They are not ended
// with it: they may be what makes good what an earlier hook did.
func (r *run) after(on hookEvent, guests []hookGuest) {
	work := r.callsFor(on, guests)
	if work.none() {
		return
	}
	r.hooks.running = append(r.hooks.running, r.World.Lanes(0).Go(func() {
		ctx, cancel := r.World.Timeout(context.Background(), afterTimeout)
		defer cancel()
		failed := r.eachGuest(ctx, work.each)
		for _, vmid := range slices.Sorted(maps.Keys(failed)) {
			r.hooks.add(report.Warning, "%v", failed[vmid])
		}
		for _, c := range work.once {
			if err := r.startHook(ctx, c); err != nil {
				r.hooks.add(report.Warning, "%v", err)
			}
		}
	}))
}

// before runs the hooks that snapshots wait for, and returns of which guests none may
// be taken, and why.
func (r *run) before(ctx context.Context, work hookWork) map[int]error {
	ctx, cancel := r.World.Timeout(ctx, beforeTimeout)
	defer cancel()
	failed := map[int]error{}
	for _, c := range work.once {
		if err := r.startHook(ctx, c); err != nil {
			for _, g := range c.guests {
				failed[g.VMID] = err
			}
		}
	}
	each := maps.Clone(work.each)
	maps.DeleteFunc(each, func(vmid int, _ []hookCall) bool { return failed[vmid] != nil })
	maps.Copy(failed, r.eachGuest(ctx, each))
	return failed
}

// eachGuest runs the hooks of guests side by side, those of one guest one after the
// other until one fails.
func (r *run) eachGuest(ctx context.Context, each map[int][]hookCall) map[int]error {
	var started []func()
	var mu sync.Mutex
	failed := map[int]error{}
	lanes := r.World.Lanes(hooksAtOnce)
	for _, vmid := range slices.Sorted(maps.Keys(each)) {
		started = append(started, lanes.Go(func() {
			for _, c := range each[vmid] {
				if err := r.startHook(ctx, c); err != nil {
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
func (r *run) startHook(ctx context.Context, c hookCall) error {
	if ctx.Err() != nil {
		return fmt.Errorf("hook %s: not started: %w (the hooks of a kind have %s together before snapshots, %s after them)", c, ctx.Err(), beforeTimeout, afterTimeout)
	}
	if err := r.World.Trusted(c.Hook); err != nil {
		return fmt.Errorf("hook %s: not started: %w", c, err)
	}
	ctx, cancel := r.World.Timeout(ctx, c.Limit())
	defer cancel()
	r.progress("hook %s", c)
	said, err := r.World.Hook(ctx, c.Hook, c.input(), c.environment())
	lines := spoken(said)
	for _, line := range lines {
		r.hooks.add(report.Notice, "hook %s: %s", c, line)
	}
	if err != nil {
		return fmt.Errorf("hook %s: %w", c, hookError(err, ctx.Err(), c.Limit(), lines))
	}
	return nil
}

// hookError says in a line how a hook ended, and the last it said.
func hookError(err, timeout error, limit time.Duration, lines []string) error {
	if errors.Is(timeout, context.Canceled) {
		err = errors.New("killed, since the run was told to end")
	} else if timeout != nil {
		err = fmt.Errorf("killed when its time was over (%s)", limit)
	} else if code := command.ExitCode(err); code >= 0 {
		err = fmt.Errorf("exit status %d", code)
	}
	if len(lines) > 0 {
		err = fmt.Errorf("%w: %s", err, lines[len(lines)-1])
	}
	return err
}

// spoken are the lines that a hook printed, shortened, without what could write more
// than text on a terminal.
func spoken(said string) []string {
	var lines []string
	for line := range strings.Lines(said) {
		line = strings.Map(func(c rune) rune {
			if c == unicode.ReplacementChar || !unicode.IsPrint(c) {
				return ' '
			}
			return c
		}, strings.TrimSpace(line))
		if len(line) > mostHookLine {
			line = strings.ToValidUTF8(line[:mostHookLine], "") + "…"
		}
		if line != "" {
			lines = append(lines, line)
		}
	}
	if over := len(lines) - mostHookLines; over > 0 {
		lines = append(lines[:mostHookLines], fmt.Sprintf("(%d more lines)", over))
	}
	return lines
}

// hookWork are the hooks of an event: those for all guests and those of each.
type hookWork struct {
	once []hookCall
	each map[int][]hookCall
}

func (r *run) callsFor(on hookEvent, guests []hookGuest) hookWork {
	if r.Final || r.DryRun {
		return hookWork{}
	}
	var w hookWork
	w.once, w.each = calls(hooksFor(r.Config.Hooks, on), on, r.report.Node, guests)
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
