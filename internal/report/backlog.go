package report

import "time"

// Backlog records, from day to day, the number of due snapshots below some datasets. A due snapshot
// is one that the retention drops but that no run has destroyed yet. Snapshots may arrive
// at night and be destroyed during the day, so two days are compared by the smallest number of each
// day.
type Backlog struct {
	// Due is the number of due snapshots, without snapshots that have a hold or a clone. At is the
	// time when a run counted the due snapshots.
	Due int       `json:"due"`
	At  time.Time `json:"at"`
	// Least is the smallest number of due snapshots in the current day. Since is the beginning of
	// the current day. A day lasts from one run to the first run at least twenty-four hours later.
	Since time.Time `json:"since,omitzero"`
	Least int       `json:"least,omitempty"`
	// Yesterday is the smallest number of due snapshots on the day before the current day, and
	// Before is the smallest number on the day before that day. Yesterday and Before are 0 if no
	// snapshots were due on the respective day.
	Yesterday int `json:"yesterday,omitempty"`
	Before    int `json:"before,omitempty"`
}

// With returns the backlog b, updated after one more run. The argument `due` is the number of due
// snapshots that this run left.
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

// BacklogsAt returns, by datasets, each backlog in the report that is still valid at the time now.
func (r *Run) BacklogsAt(now time.Time) map[string]Backlog {
	return selectEntries(r.Backlogs, func(b Backlog) bool { return !b.At.After(now) && now.Sub(b.At) <= backlogFor })
}

// selectEntries returns a new map with those entries of the map `all` for whose values the function
// `counts` returns true.
func selectEntries[V any](all map[string]V, counts func(V) bool) map[string]V {
	counting := map[string]V{}
	for name, v := range all {
		if counts(v) {
			counting[name] = v
		}
	}
	return counting
}

// Grows reports whether Before is more than 0, and both Yesterday and Least are larger than Before.
// If Before is 0, there is no proof that the backlog grows, because many snapshots may have become
// due in one day.
func (b Backlog) Grows() bool { return b.Before > 0 && b.Yesterday > b.Before && b.Least > b.Before }
