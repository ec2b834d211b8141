package page

import (
	"slices"

	"snapwatch/checker"
)

// counter is a number of guests on the page, with a link that shows only these guests.
type counter struct {
	Name, Meaning, Colour, Link string
	Count                       int
	Current                     bool
}

// head is the heading of a column in the page's table.
type head struct {
	Name, Link string
	// Sorted is the column's HTML attribute aria-sort: ascending, descending, or "" for neither.
	Sorted string
}

func stateCounters(guests []guest, q query) []counter {
	counts := map[checker.State]int{}
	for _, g := range guests {
		counts[g.State]++
	}
	all := []counter{{"all", "every guest", "plain", q.changedURL(func(q *query) { q.State, q.Verdict = "", "" }), len(guests), q.State == "" && q.Verdict == ""}}
	for _, s := range []checker.State{checker.Critical, checker.Unknown, checker.Warning, checker.OK} {
		name := s.String()
		all = append(all, counter{
			name, "guests whose state is " + name, s.Colour(),
			q.changedURL(func(q *query) { q.State, q.Verdict = name, "" }), counts[s], q.State == name,
		})
	}
	return all
}

// verdictCounters returns a counter for each word that describes guests. A counter has the colour
// of the worst guest that it counts.
func verdictCounters(guests []guest, q query) []counter {
	var all []counter
	for _, word := range words() {
		of := slices.DeleteFunc(slices.Clone(guests), func(g guest) bool { return g.Word != word.name })
		if len(of) == 0 && q.Verdict != word.name {
			continue
		}
		c := counter{
			word.name, word.meaning, "grey",
			q.changedURL(func(q *query) { q.State, q.Verdict = "", word.name }), len(of), q.Verdict == word.name,
		}
		if len(of) > 0 {
			c.Colour = of[0].Colour()
		}
		all = append(all, c)
	}
	return all
}

// word has the name of a verdict or outcome by which the page describes a guest, and an explanation
// of this name.
type word struct{ name, meaning string }

// words returns the verdicts on guests, and the verdicts and outcomes of disks, which describe a
// guest if one of its disks has a worse state than the guest.
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
	by := func(order string) string { return q.changedURL(func(q *query) { q.Sort = order }) }
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
