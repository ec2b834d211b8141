package checker

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"snapwatch/internal/text"
)

// GuestLine is the line about one guest in a table of guests.
type GuestLine struct {
	Guest
	// State is the worst of the states of the guest and its disks.
	State State
	// News describes the faults of the guest and its disks. If the guest does not alarm although
	// its verdict is not whole, News says why. News is "" if the guest's verdict and the age of the
	// restore point already say all.
	News string
}

// Colour returns the colour of the guest's verdict, or of the line's state if a disk has a worse
// state than the guest.
func (l GuestLine) Colour() string {
	if l.State != l.Guest.State {
		return l.State.Colour()
	}
	return l.Guest.Colour()
}

// GuestLines returns a line for each guest of the report, the worst state first.
func (r Report) GuestLines() []GuestLine {
	alarming := map[string]*Result{}
	for i := range r.Disks {
		if d := &r.Disks[i]; d.State != OK {
			alarming[d.Dataset] = d
		}
	}
	failing := map[string]bool{} // pools that say themselves what is wrong
	for _, p := range r.Pools {
		failing[p.Name] = p.State != OK
	}
	lines := make([]GuestLine, len(r.Guests))
	for i, g := range r.Guests {
		var disks []*Result
		for _, name := range slices.Concat(g.Disks, g.Others) {
			if d := alarming[name]; d != nil {
				disks = append(disks, d)
			}
		}
		lines[i] = newGuestLine(g, disks, failing)
	}
	slices.SortStableFunc(lines, func(a, b GuestLine) int { return b.State.severity() - a.State.severity() })
	return lines
}

func newGuestLine(g Guest, alarming []*Result, failing map[string]bool) GuestLine {
	l := GuestLine{Guest: g, State: g.State}
	var news []string
	switch {
	case g.State != OK && (g.Alone || g.Because == "" && g.Verdict != GuestStopped):
		news = append(news, g.Reason)
	case g.State == OK && g.Verdict != GuestWhole && g.Verdict != GuestStopped:
		news = append(news, g.Reason)
	}
	slices.SortStableFunc(alarming, func(a, b *Result) int {
		return cmp.Or(b.State.severity()-a.State.severity(), cmp.Compare(a.Verdict, b.Verdict))
	})
	var briefs []string
	names := map[string][]string{} // names of disks, by the text about these disks
	for _, d := range alarming {
		l.State = Worst(l.State, d.State)
		name, brief := d.Name(), d.brief(failing[poolOf(d.Disk)])
		if slices.ContainsFunc(slices.Concat(g.Disks, g.Others), func(other string) bool {
			return other != d.Dataset && strings.HasSuffix(other, "/"+name)
		}) {
			name = d.Dataset
		}
		if names[brief] == nil {
			briefs = append(briefs, brief)
		}
		names[brief] = append(names[brief], name)
	}
	for _, brief := range briefs {
		news = append(news, firstNames(names[brief])+" "+brief)
	}
	l.News = strings.Join(news, "; ")
	return l
}

// brief says why the disk alarms, but does not repeat the fault of a failing pool.
func (d Result) brief(poolFails bool) string {
	switch c := d.Compared; {
	case d.byComparison() && c.Outcome != Lagging:
		return c.Outcome.String() + ": " + c.Reason
	case d.byComparison():
	case d.Verdict == Unreadable && poolFails:
		return d.Verdict.String()
	case d.Limit.Range == nil || d.Verdict == Future || d.Verdict == Unreadable:
		return d.Verdict.String() + ": " + d.Reason
	}
	return d.Brief()
}

// News returns the disk's full reason without the facts that have columns of their own in a table
// of disks: the newest snapshot, the age of this snapshot, and the limit. News leaves out that a
// fresh disk is in sync with its owner.
func (d Result) News() string {
	news := d.FullReason()
	if c := d.Compared; c != nil && (c.Outcome == NotCompared || d.Verdict == Fresh && c.Outcome == InSync) {
		news = d.Reason
	}
	if d.Newest != nil {
		news = strings.TrimPrefix(news, fmt.Sprintf("newest %s is %s old", d.Newest.Name, text.Age(d.Age)))
	}
	return strings.TrimLeft(strings.TrimPrefix(news, " ("+d.Limit.String()+")"), ",; ")
}
