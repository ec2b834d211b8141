package checker

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"snapwatch/internal/text"
)

// Told is what a person was told of what is not well. The zero value is that of one who was
// told nothing.
type Told struct {
	// At is when something was told last.
	At time.Time `json:"at"`
	// Standing is what is not well and was told, by what it is about.
	Standing map[string]Standing `json:"standing"`
}

// Standing is one thing that is not well.
type Standing struct {
	State State `json:"state"`
	// Kind says what is wrong, in a word that does not change while it lasts.
	Kind  string    `json:"kind"`
	Since time.Time `json:"since"`
	// line is what is said of it.
	line string
}

// maxChanges is how many changes are told one by one.
const maxChanges = 50

// Update compares a report with what was told. It returns a line for each thing that began,
// got worse or better, is otherwise wrong than before, or ended; a reminder where nothing
// changed, something is not well, and the last word was remind ago; and no line where there is
// nothing to tell. A check that failed or found no disk ends nothing.
func (t Told) Update(r Report, remind time.Duration) (lines []string, next Told) {
	next = Told{At: t.At, Standing: map[string]Standing{}}
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
	blind := r.Failure != "" || len(r.Disks) == 0
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
	if len(lines) == 0 && len(next.Standing) > 0 && (ago >= remind || ago < 0) {
		lines = []string{"reminder: nothing has changed for " + text.Age(max(0, ago))}
	}
	if len(lines) > 0 {
		next.At = r.Now
	}
	return lines, next
}

// change is a word for how a thing that is not well changed, "" if it did not. What is not
// known is neither better nor worse than what is.
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

// theCheck stands for the check itself.
const theCheck = "check"

// standings are all things that a report speaks of, by what they are about, those that are
// well, too.
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
	case len(r.Disks) == 0:
		add(theCheck, Unknown, "no disk found", "no disk found")
	default:
		add(theCheck, OK, "works", "the check finds disks again")
	}
	for _, p := range r.Pools {
		add("pool "+p.Name, p.State, p.Verdict.String(), "pool "+p.Name+" "+p.Verdict.String()+": "+p.Reason)
	}
	for _, n := range r.Notes {
		if n.State != OK {
			add("note "+n.Text, n.State, "note", n.Text)
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
