package checker

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"snapwatch/internal/text"
)

// Told records the faults that a check reported to a person. The zero value of Told means that no
// fault was reported yet.
type Told struct {
	// At is the time at which check last reported faults to a person.
	At time.Time `json:"at"`
	// Checked is the time of the last run of check.
	Checked time.Time `json:"checked"`
	// Standing has, by the fault's subject, the faults that were reported and still exist.
	Standing map[string]Standing `json:"standing"`
}

// Standing is one fault that still exists.
type Standing struct {
	State State `json:"state"`
	// Kind is a word for the kind of fault, for example the verdict; a change of Kind is
	// reported.
	Kind  string    `json:"kind"`
	Since time.Time `json:"since"`
	// line is the text that describes the fault to a person.
	line string
}

// maxChanges is the greatest number of changed faults that one report lists.
const maxChanges = 50

// Update compares a report of check with the faults that were reported to a person before. Update
// returns a line for each fault that began, got worse or better, changed its kind, or ended. If a
// fault exists and no fault changed, Update returns a reminder when the time since the last report
// is at least the argument remind. If a check failed or found no disk, no fault counts as ended.
func (t Told) Update(r Report, remind time.Duration) (lines []string, next Told) {
	next = Told{At: t.At, Checked: r.Now, Standing: map[string]Standing{}}
	all := standings(r)
	for _, key := range slices.Sorted(maps.Keys(all)) {
		is := all[key]
		was, stood := t.Standing[key]
		is.Since = r.Now
		if stood {
			is.Since = was.Since
		}
		if is.State == OK {
			continue
		}
		next.Standing[key] = is
		if word := change(was, is, stood); word != "" {
			lines = append(lines, word+": "+is.line)
		}
	}
	blind := r.Failure != "" || r.NoDisk()
	for _, key := range slices.Sorted(maps.Keys(t.Standing)) {
		is, here := all[key]
		was := t.Standing[key]
		switch lasted := text.Age(max(0, r.Now.Sub(was.Since))); {
		case here && is.State != OK:
		case here:
			lines = append(lines, fmt.Sprintf("ended after %s: %s", lasted, is.line))
		case blind && key != theCheck:
			next.Standing[key] = was
		default:
			lines = append(lines, fmt.Sprintf("ended after %s: %s is not reported any more", lasted, text.Plain(key)))
		}
	}
	if more := len(lines) - maxChanges; more > 0 {
		lines = append(lines[:maxChanges], fmt.Sprintf("… and %d more changes", more))
	}
	ago := r.Now.Sub(t.At)
	if len(lines) == 0 && len(next.Standing) > 0 && (ago >= remind-t.remindEarly(r.Now, remind) || ago < 0) {
		lines = []string{"reminder: nothing has changed for " + text.Age(max(0, ago))}
	}
	if len(lines) > 0 {
		next.At = r.Now
	}
	return lines, next
}

// remindEarly returns how long before its due time a reminder may be sent. The check that is
// nearest to the due time sends the reminder. A daily check does not start to the second, and a day
// has 23 hours when clocks change, so exact due times would skip every second reminder.
func (t Told) remindEarly(now time.Time, remind time.Duration) time.Duration {
	return max(0, min(now.Sub(t.Checked)/2, remind/12))
}

// change returns a word for the change of a fault since the last check, "" if the fault did not
// change. The state Unknown counts as neither better nor worse than any other state.
func change(was, is Standing, stood bool) string {
	switch {
	case !stood:
		return "began"
	case was.State == is.State && was.Kind == is.Kind:
		return ""
	case was.State == is.State, was.State == Unknown, is.State == Unknown:
		return "now"
	case is.State.severity() > was.State.severity():
		return "worse"
	}
	return "better"
}

// theCheck is the subject of faults of the check itself.
const theCheck = "check"

// standings returns the state of every disk, guest, pool and note of a report, also of those
// without a fault.
func standings(r Report) map[string]Standing {
	all := map[string]Standing{}
	add := func(key string, state State, kind, words string) {
		if was, twice := all[key]; !twice || state.severity() > was.State.severity() {
			all[key] = Standing{State: state, Kind: kind, line: text.Plain(fmt.Sprintf("%s %s", state, words))}
		}
	}
	switch {
	case r.Failure != "":
		add(theCheck, Unknown, "failed", r.Failure)
	case r.NoDisk():
		add(theCheck, Unknown, "no disk found", "no disk found")
	default:
		add(theCheck, OK, "works", "the check finds disks again")
	}
	for _, p := range r.Pools {
		add("pool "+p.Name, p.State, p.Verdict.String(), "pool "+p.Name+" "+p.Verdict.String()+": "+p.Reason)
	}
	for _, n := range r.Notes {
		if n.State != OK {
			add("note "+cmp.Or(n.Subject, n.Text), n.State, cmp.Or(n.kind, "note"), n.Text)
		}
	}
	for i := range r.Guests {
		g := &r.Guests[i]
		about := fmt.Sprintf("guest %d", g.VMID)
		if g.Cluster != "" {
			about += " of " + g.Cluster
		}
		add(about, g.State, g.Verdict.String(), about+" "+g.Verdict.String())
	}
	for i := range r.Disks {
		d := &r.Disks[i]
		kind := d.Verdict.String()
		if d.Compared != nil && d.Compared.State != OK {
			kind += ", " + d.Compared.Outcome.String()
		}
		add(d.Dataset, d.State, kind, d.Dataset+" "+d.Brief())
	}
	return all
}
