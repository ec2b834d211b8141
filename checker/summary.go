package checker

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"snapwatch/internal/text"
	"snapwatch/internal/zfs"
)

// byComparison reports whether the comparison has a worse state than the verdict.
func (d Result) byComparison() bool {
	return d.Compared != nil && d.Compared.State.severity() > table[d.Verdict].States[d.Level].severity()
}

// Word names the fault of a disk: the disk's verdict, or the outcome of its comparison with the
// owner if the outcome has a worse state.
func (d Result) Word() string {
	if d.byComparison() {
		return d.Compared.Outcome.String()
	}
	return d.Verdict.String()
}

// Unproven reports whether the disk is silent because its newest snapshot is a _stopped one,
// although no owner has confirmed that this is the owner's newest snapshot.
func (d Result) Unproven() bool {
	return d.Verdict == Stopped && (d.Compared == nil || !d.Compared.Proven)
}

// FullReason returns the reasons for the disk's verdict and for the outcome of its comparison
// with the owner.
func (d Result) FullReason() string {
	switch {
	case d.Compared == nil || d.Reason == d.Compared.Reason:
		return d.Reason
	case d.Compared.Outcome == NotCompared:
		return d.Reason + "; " + d.Compared.Reason
	}
	return fmt.Sprintf("%s; %s: %s", d.Reason, d.Compared.Outcome, d.Compared.Reason)
}

// Brief returns the disk's verdict with its most important details.
func (d Result) Brief() string {
	switch {
	case d.byComparison() && d.Compared.Outcome == Lagging:
		return fmt.Sprintf("%s, lagging %s (limit %s)", d.Verdict, text.Age(d.Compared.Lag), d.Compared.Limit.Range.Spoken())
	case d.byComparison():
		return fmt.Sprintf("%s, %s", d.Verdict, d.Compared.Outcome)
	case d.Verdict == Unreadable:
		return d.Verdict.String() + ": " + text.Clip(d.Reason, 60)
	case d.Limit.Range == nil || d.Verdict == Future:
		return d.Verdict.String()
	}
	return fmt.Sprintf("%s %s (limit %s)", d.Verdict, text.Age(d.Age), d.Limit.Range.Spoken())
}

// Summary describes the report in one line that is short enough for a text message.
func (r Report) Summary() string {
	if r.Failure != "" {
		return r.Failure
	}
	// Among causes with the same state, the cause that is likely to have led to the others comes
	// first: pools, then late runs, then guests and their disks.
	causes := badPools(r)
	for _, n := range r.Notes {
		if !n.AboutProof() {
			causes = append(causes, cause{n.State, text.Clip(n.Text, 80)})
		}
	}
	causes = append(append(causes, badGuests(r)), badProofs(r)...)
	if r.NoDisk() {
		return strings.Join(append(worstFirst(causes), "no disk found"), ", ")
	}
	bad := worstFirst(append(causes, badDisks(r)))
	if len(bad) == 0 {
		if len(r.Guests) > 0 {
			bad = append(bad, fmt.Sprintf("%d of %d guests whole", r.CountGuests(GuestWhole), len(r.Guests)))
		}
		bad = append(bad, fmt.Sprintf("%d of %d disks fresh", r.Count(Fresh), len(r.Disks)))
	}
	return strings.Join(bad, ", ") + oldestText(r) + after("; ", quietDisks(r))
}

// badPools returns the causes that concern pools: first that the host has no ZFS, then the pools
// that alarm.
func badPools(r Report) []cause {
	var causes []cause
	for _, p := range r.Pools {
		if p.State != OK && p.Missing && strings.Contains(p.Problem, zfs.ErrNoZFS.Error()) {
			causes = []cause{{p.State, zfs.ErrNoZFS.Error()}}
		}
	}
	for _, p := range r.Pools {
		causes = append(causes, cause{p.State, "pool " + p.Name + " " + poolWord(p)})
	}
	return causes
}

// CountGuests returns the number of guests with the verdict.
func (r Report) CountGuests(v GuestVerdict) int {
	n := 0
	for i := range r.Guests {
		if r.Guests[i].Verdict == v {
			n++
		}
	}
	return n
}

// badGuests counts the guests that alarm, for example "2 of 40 guests torn". If the guests that
// alarm have several verdicts, the text has, for each verdict, the number of guests with a worse
// state than all of their disks.
func badGuests(r Report) cause {
	counts, alone := map[string]int{}, map[string]int{}
	all := 0
	worst := OK
	for i := range r.Guests {
		g := &r.Guests[i]
		if g.State == OK {
			continue
		}
		all++
		worst = Worst(worst, g.State)
		counts[g.Verdict.String()]++
		if g.Alone {
			alone[g.Verdict.String()]++
		}
	}
	switch len(counts) {
	case 0:
		return cause{}
	case 1:
		for word := range counts {
			return cause{worst, fmt.Sprintf("%d of %d guests %s", all, len(r.Guests), word)}
		}
	}
	var words []string
	for _, row := range guestTable {
		if n := alone[row.Name]; n > 0 {
			words = append(words, fmt.Sprintf("%d %s", n, row.Name))
		}
	}
	text := fmt.Sprintf("%d of %d guests alarm", all, len(r.Guests))
	if len(words) > 0 {
		text += " (" + strings.Join(words, ", ") + ")"
	}
	return cause{worst, text}
}

// cause is one fault in the report: the state that the fault gives the report, and a text about the
// fault.
type cause struct {
	State State
	Text  string
}

// worstFirst returns the texts of the causes that alarm, the worst first.
func worstFirst(causes []cause) []string {
	slices.SortStableFunc(causes, func(a, b cause) int { return cmp.Compare(b.State.severity(), a.State.severity()) })
	var texts []string
	for _, c := range causes {
		if c.State != OK {
			texts = append(texts, c.Text)
		}
	}
	return texts
}

// badDisks counts the disks that alarm, for example "2 of 41 disks stale".
func badDisks(r Report) cause {
	counts, worst := map[string]int{}, map[string]State{}
	all := cause{State: OK}
	for _, d := range r.Disks {
		if d.State == OK {
			continue
		}
		counts[d.Word()]++
		if d.State.severity() > worst[d.Word()].severity() {
			worst[d.Word()] = d.State
		}
		if d.State.severity() > all.State.severity() {
			all.State = d.State
		}
	}
	var words []cause
	for _, word := range alarmWords() {
		if n := counts[word]; n > 0 {
			words = append(words, cause{worst[word], fmt.Sprintf("%d %s", n, word)})
		}
	}
	texts := worstFirst(words)
	if len(texts) == 1 {
		count, verdict, _ := strings.Cut(texts[0], " ")
		all.Text = fmt.Sprintf("%s of %d disks %s", count, len(r.Disks), verdict)
	} else {
		all.Text = fmt.Sprintf("%s of %d disks", strings.Join(texts, ", "), len(r.Disks))
	}
	return all
}

// alarmWords returns all values of [Result.Word], beginning with the verdicts in their order.
func alarmWords() []string {
	var words []string
	for _, row := range table {
		words = append(words, row.Name)
	}
	for _, row := range outcomes {
		if !slices.Contains(words, row.Name) {
			words = append(words, row.Name)
		}
	}
	return words
}

// quietDisks counts the disks that do not alarm although they are not fresh. Stopped disks without
// an owner's confirmation are counted separately.
func quietDisks(r Report) string {
	quiet := func(d Result) bool { return d.State == OK }
	var words []string
	count := func(n int, word string) {
		if n > 0 {
			words = append(words, fmt.Sprintf("%d %s", n, word))
		}
	}
	for _, row := range table {
		n := r.countBy(row.Verdict, quiet)
		switch row.Verdict {
		case Fresh:
		case Stopped:
			unproven := r.countBy(Stopped, func(d Result) bool { return quiet(d) && d.Unproven() })
			count(n-unproven, row.Name)
			count(unproven, row.Name+" (unproven)")
		default:
			count(n, row.Name)
		}
	}
	return strings.Join(words, ", ")
}

func oldestText(r Report) string {
	d := r.Oldest()
	if d == nil {
		return ""
	}
	return fmt.Sprintf(", oldest %s %s (limit %s)", d.Name(), text.Age(d.Age), d.Limit.Range.Spoken())
}

func after(separator, text string) string {
	if text == "" {
		return ""
	}
	return separator + text
}

func poolWord(p PoolResult) string {
	switch p.Verdict {
	case PoolIncomplete:
		return "lacks a dataset"
	case PoolErrors:
		return "has errors"
	case PoolScrub:
		return "needs a scrub"
	}
	return p.Verdict.String()
}
