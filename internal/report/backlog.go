package report

import "time"

// Backlog records, from day to day, the number of snapshots below some datasets that were due for
// destruction but not destroyed. Runs may destroy during the day the snapshots that arrive at
// night, so days are compared by the smallest number of the day.
type Backlog struct {
	// Due is the number of snapshots that were due and still exist, without held or cloned ones. At
	// is the time when a run counted the due snapshots.
	Due int       `json:"due"`
	At  time.Time `json:"at"`
	// Since is the beginning of the day to which Least belongs. A day lasts from one run to the
	// first run at least twenty-four hours later. Least is the smallest number of due snapshots in
	// the current day.
	Since time.Time `json:"since,omitzero"`
	Least int       `json:"least,omitempty"`
	// Yesterday and Before are the smallest numbers of due snapshots on the two days before, 0 if
	// none were due.
	Yesterday int `json:"yesterday,omitempty"`
	Before    int `json:"before,omitempty"`
}

// With returns the backlog after a run that left the given number of due snapshots.
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

// backlogFor is the time for which the record of a backlog is valid if no run counts the due
// snapshots again: long enough for one run a week.
const backlogFor = 8 * 24 * time.Hour

// BacklogsAt returns the backlogs in the report that are still valid at the time now.
func (r *Run) BacklogsAt(now time.Time) map[string]Backlog {
	return those(r.Backlogs, func(b Backlog) bool { return !b.At.After(now) && now.Sub(b.At) <= backlogFor })
}

// those returns a new map with the entries of all for which the function counts returns true.
func those[V any](all map[string]V, counts func(V) bool) map[string]V {
	counting := map[string]V{}
	for name, v := range all {
		if counts(v) {
			counting[name] = v
		}
	}
	return counting
}

// Grows reports whether the backlog was larger on each of the last two days than on the day before.
// A day without a backlog proves no growth, because many snapshots may have become due in one day.
func (b Backlog) Grows() bool { return b.Before > 0 && b.Yesterday > b.Before && b.Least > b.Before }
