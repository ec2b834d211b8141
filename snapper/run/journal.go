package run

import (
	"maps"
	"slices"
	"sync"

	"snapwatch/internal/report"
)

// journal collects the problems and counts of a run, from steps that run side by side.
type journal struct {
	mu     sync.Mutex
	report report.Run
	// incomplete is true if the run could not read the state of all guests.
	incomplete bool
	// The field `said` is the number of problems, from the beginning of the report, that were
	// already passed to the function `listener`. The field `listener` may be nil. The mutex
	// `telling` is locked while the listener is called.
	said     int
	listener func([]report.Problem)
	telling  sync.Mutex
}

// tell passes the new problems to the listener, which prints them. A file from which later runs
// conclude that the problems were printed must be written only after the call of tell: if a run is
// killed between the two, the problems are printed twice. If the file were written first, the
// problems would never be printed.
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

// sofar returns a copy of the run's report, with the problems and counts that the run has recorded
// up to now.
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

// gather runs the functions side by side, and waits until all of the functions have ended.
func gather(world Time, work ...func()) {
	lanes := world.Lanes(0)
	var started []func()
	for _, do := range work {
		started = append(started, lanes.Go(do))
	}
	waitAll(started)
}

// eachPool calls the function `do` once for each pool, with all calls side by side.
func eachPool(world Time, pools []*pool, do func(*pool)) {
	var work []func()
	for _, p := range pools {
		work = append(work, func() { do(p) })
	}
	gather(world, work...)
}

// waitAll calls all functions in the list. Each function in the list waits for the end of one
// started function.
func waitAll(waits []func()) {
	for _, wait := range waits {
		wait()
	}
}
