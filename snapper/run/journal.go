package run

import (
	"maps"
	"slices"
	"sync"

	"snapwatch/internal/report"
)

// journal collects what a run has to tell, from all that happens side by side.
type journal struct {
	mu     sync.Mutex
	report report.Run
	// incomplete: not all guests could be looked at.
	incomplete bool
	// said is how many of the problems were told to listener, which may be nil, telling is held
	// meanwhile.
	said     int
	listener func([]report.Problem)
	telling  sync.Mutex
}

// tell tells the problems that were not told yet. That comes before anything is kept by which a
// later run would take them for told: a run that is killed in between tells them twice, not never.
func (j *journal) tell() {
	j.telling.Lock()
	defer j.telling.Unlock()
	j.mu.Lock()
	problems := slices.Clone(j.report.Problems[j.said:])
	j.said = len(j.report.Problems)
	j.mu.Unlock()
	if j.listener != nil && len(problems) > 0 {
		j.listener(problems)
	}
}

// sofar returns the report as it is now.
func (j *journal) sofar() report.Run {
	j.mu.Lock()
	defer j.mu.Unlock()
	r := j.report
	r.Problems, r.Counts = slices.Clone(r.Problems), maps.Clone(r.Counts)
	return r
}

func (j *journal) problem(severity report.Severity, format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.report.Add(severity, format, args...)
}

func (j *journal) note(p report.Problem) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.report.Note(p)
}

func (j *journal) count(e report.Event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.report.Counts[e]++
}

// gather runs the work side by side, and returns when all of it has ended.
func gather(world Time, work ...func()) {
	lanes := world.Lanes(0)
	var started []func()
	for _, do := range work {
		started = append(started, lanes.Go(do))
	}
	waitAll(started)
}

// eachPool does something on pools side by side.
func eachPool(world Time, pools []*pool, do func(*pool)) {
	var work []func()
	for _, p := range pools {
		work = append(work, func() { do(p) })
	}
	gather(world, work...)
}

// waitAll returns when all that lanes run has ended.
func waitAll(waits []func()) {
	for _, wait := range waits {
		wait()
	}
}
