package report

import "time"

// Backlog is how much was due in a place and not destroyed, from day to day. Snapshots that
// a night brings and the next day's runs destroy come and go, so days are compared by the
// least that was due in them.
type Backlog struct {
	// Due is how many snapshots were to be destroyed and are still there, without those that
	// are held or cloned, and At when that was counted.
	Due int       `json:"due"`
	At  time.Time `json:"at"`
	// Since is when the day under way began, a day being what passes from run to run, and
	// Least is the least that was due in it.
	Since time.Time `json:"since,omitzero"`
	Least int       `json:"least,omitempty"`
	// Yesterday and Before are those of the two days before it, 0 where there were none.
	Yesterday int `json:"yesterday,omitempty"`
	Before    int `json:"before,omitempty"`
}

// With returns the backlog after a run that left so many.
func (b Backlog) With(due int, now time.Time) Backlog {
	const day = 24 * time.Hour
	switch passed := now.Sub(b.Since); {
	case b.Since.IsZero() || passed < 0:
		b = Backlog{Since: now, Least: due}
	case passed >= day:
		b = Backlog{Since: now, Least: due, Yesterday: b.Least, Before: b.Yesterday}
	}
	b.Due, b.At, b.Least = due, now, min(b.Least, due)
	return b
}

// backlogFor is how long a backlog counts that no run has counted again: until the next run, if
// there is one a week.
const backlogFor = 8 * 24 * time.Hour

// BacklogsAt returns those of the run's backlogs that count at a time.
func (r *Run) BacklogsAt(now time.Time) map[string]Backlog {
	return those(r.Backlogs, func(b Backlog) bool { return !b.At.After(now) && now.Sub(b.At) <= backlogFor })
}

// those returns the entries that count, in a map of their own.
func those[V any](all map[string]V, counts func(V) bool) map[string]V {
	counting := map[string]V{}
	for name, v := range all {
		if counts(v) {
			counting[name] = v
		}
	}
	return counting
}

// Grows reports whether more was always due than a day before. Where nothing was, much may
// have come at once: the next days show whether it goes.
func (b Backlog) Grows() bool { return b.Before > 0 && b.Yesterday > b.Before && b.Least > b.Before }
