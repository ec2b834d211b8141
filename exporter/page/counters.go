package page

import (
	"slices"

	"snapwatch/checker"
)

// counter counts guests and is a link that shows just them.
type counter struct {
	Name, Meaning, Colour, Link string
	Count                       int
	Current                     bool
}

// head is a column's head.
type head struct {
	Name, Link string
	// Sorted is what aria-sort says: ascending, descending, "" for neither.
	Sorted string
}

func stateCounters(guests []guest, q query) []counter {
	counts := map[checker.State]int{}
	for _, g := range guests {
		counts[g.State]++
	}
	all := []counter{{"all", "every guest", "plain", q.with(func(q *query) { q.State, q.Verdict = "", "" }), len(guests), q.State == "" && q.Verdict == ""}}
	for _, s := range []checker.State{checker.Critical, checker.Unknown, checker.Warning, checker.OK} {
		name := s.String()
		all = append(all, counter{
			name, "guests whose state is " + name, s.Colour(),
			q.with(func(q *query) { q.State, q.Verdict = name, "" }), counts[s], q.State == name,
		})
	}
	return all
}

// verdictCounters count what is said of the guests, in the colour of the worst.
func verdictCounters(guests []guest, q query) []counter {
	var all []counter
	for _, word := range words() {
		of := slices.DeleteFunc(slices.Clone(guests), func(g guest) bool { return g.Word != word.name })
		if len(of) == 0 && q.Verdict != word.name {
			continue
		}
		c := counter{
			word.name, word.meaning, "grey",
			q.with(func(q *query) { q.State, q.Verdict = "", word.name }), len(of), q.Verdict == word.name,
		}
		if len(of) > 0 {
			c.Colour = of[0].Colour()
		}
		all = append(all, c)
	}
	return all
}

// word is one that a guest may be called by.
type word struct{ name, meaning string }

// words are the verdicts on guests, and what else is said of a disk that alarms more than its
// guest.
func words() []word {
	var all []word
	add := func(name, meaning string) {
		if !slices.ContainsFunc(all, func(w word) bool { return w.name == name }) {
			all = append(all, word{name, meaning})
		}
	}
	for _, row := range checker.GuestVerdicts() {
		add(row.Name, row.Meaning)
	}
	for _, row := range checker.Verdicts() {
		add(row.Name, "of a disk: "+row.Meaning)
	}
	for _, row := range checker.Outcomes() {
		add(row.Name, "of a disk: "+row.Meaning)
	}
	return all
}

func heads(q query) []head {
	by := func(order string) string { return q.with(func(q *query) { q.Sort = order }) }
	age := head{Name: "Age here", Link: by("age")}
	switch q.Sort {
	case "age":
		age.Link, age.Sorted = by("newest"), "descending"
	case "newest":
		age.Sorted = "ascending"
	}
	guest, state := head{Name: "Guest", Link: by("guest")}, head{Name: "State", Link: by("worst")}
	if q.Sort == "guest" {
		guest.Sorted = "ascending"
	}
	if q.Sort == "worst" {
		state.Sorted = "descending"
	}
	return []head{guest, state, age}
}
