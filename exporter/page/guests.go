package page

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"snapwatch/checker"
	"snapwatch/internal/text"
	"snapwatch/internal/zfs"
)

// guest is one guest on the page: a row of the table that can be opened to show the guest's
// disks.
type guest struct {
	checker.GuestLine
	// Here has all disks of the guest on this host, also further copies and excluded disks, the
	// worst first.
	Here []*checker.Result
	// Word describes the guest: the guest's verdict, or the verdict or outcome of a disk with a
	// worse state than the guest.
	Word string
	// Age is the age of the guest's restore point, or without a restore point of its oldest disk.
	// Since is the creation time from which Age is counted, zero if there is no snapshot.
	Age   time.Duration
	Since time.Time
	// Open is true if the page shows the guest's disks below the guest.
	Open bool

	// The field was has the worst state that the guest's now unreadable disks had when they were
	// last read.
	was checker.State
}

// endless is the age of a guest or disk without a snapshot. A guest or disk without a snapshot is
// sorted as older than every guest or disk with a snapshot.
const endless = time.Duration(1<<63 - 1)

// guestsOf returns the guests of the report, in the order of [checker.Report.GuestLines].
func guestsOf(f Facts) []guest {
	order := map[string]int{} // of the disks: the worst first
	for i := range f.Report.Disks {
		order[f.Report.Disks[i].Dataset] = i
	}
	var guests []guest
	for _, line := range f.Report.GuestLines() {
		g := guest{GuestLine: line}
		for _, dataset := range slices.Concat(line.Disks, line.Others) {
			g.Here = append(g.Here, &f.Report.Disks[order[dataset]])
		}
		slices.SortFunc(g.Here, func(a, b *checker.Result) int { return order[a.Dataset] - order[b.Dataset] })
		f.look(&g)
		guests = append(guests, g)
	}
	return guests
}

// asked returns the guests that match the query, in the order that the query requests.
func (q query) asked(guests []guest) []guest {
	guests = slices.DeleteFunc(slices.Clone(guests), func(g guest) bool { return !q.matches(g) })
	sortGuests(guests, q.Sort)
	for i := range guests {
		g := &guests[i]
		holds := slices.ContainsFunc(g.Here, func(d *checker.Result) bool { return d.Dataset == q.Disk })
		g.Open = g.VMID == q.Guest || holds || len(guests) == 1
	}
	return guests
}

func (f Facts) look(g *guest) {
	g.Word = g.Verdict.String()
	if len(g.Here) == 0 {
		g.Age = endless
	}
	if g.State != g.Guest.State {
		g.Word = g.Here[0].Word()
	}
	for _, d := range g.Here {
		if was, known := f.lastKnown(d); known {
			g.was = checker.Worst(g.was, was.State)
		}
		if !g.serves(d) {
			continue
		}
		switch {
		case d.Newest == nil:
			g.Age = endless
		case g.Age < d.Age || g.Since.IsZero():
			g.Age, g.Since = max(g.Age, d.Age), d.Newest.Creation
		}
	}
	if g.Point != nil {
		g.Age, g.Since = g.GuestLine.Age, g.Point.Created
	}
}

// lastKnown returns the last known verdict on a disk that is unreadable because its last reading is
// too old: the verdict at the time of this reading. known is false for all other disks.
func (f Facts) lastKnown(d *checker.Result) (was checker.Judgement, known bool) {
	if d.Verdict != checker.Unreadable || d.ReadAt.IsZero() || d.Problem != "" || d.Unlisted != "" {
		return was, false
	}
	policy := checker.NewPolicy(f.Config)
	return checker.Judge(&d.Disk, &policy, d.ReadAt), true
}

func sortGuests(guests []guest, by string) {
	age := func(a, b guest) int { return cmp.Compare(b.Age, a.Age) }
	order := map[string]func(a, b guest) int{
		"worst": func(a, b guest) int {
			if by := cmp.Or(worse(a.State, b.State), worse(a.was, b.was), worse(a.proofState(), b.proofState())); by != 0 || a.State == checker.OK {
				return by // those that are well in the report's own order
			}
			return cmp.Or(cmp.Compare(a.Verdict, b.Verdict), age(a, b))
		},
		"guest": func(a, b guest) int {
			return cmp.Or(cmp.Compare(a.VMID, b.VMID), strings.Compare(a.Cluster, b.Cluster))
		},
		"age":    age,
		"newest": func(a, b guest) int { return age(b, a) },
	}[by]
	slices.SortStableFunc(guests, order)
}

// worse compares two states so that the worse state is sorted first.
func worse(a, b checker.State) int {
	switch {
	case a == b:
		return 0
	case checker.Worst(a, b) == a:
		return -1
	}
	return 1
}

// Anchor returns the HTML id of the guest's row on the page.
func (g guest) Anchor() string {
	anchor := "guest-" + strconv.Itoa(g.VMID)
	if g.Cluster != "" {
		anchor += "-" + url.PathEscape(g.Cluster)
	}
	return anchor
}

// Never reports whether a disk of the guest has no snapshot, or no disk of the guest is
// on this host.
func (g guest) Never() bool { return g.Age == endless }

// cause returns the disk that makes the guest alarm, nil if no disk does.
func (g guest) cause() *checker.Result {
	for _, d := range g.Here {
		if d.Dataset == g.Because && g.State == g.Guest.State || g.State != g.Guest.State && d.State == g.State {
			return d
		}
	}
	return nil
}

// serves reports whether the guest's verdict depends on the disk.
func (g guest) serves(d *checker.Result) bool {
	return len(g.Disks) == 0 || slices.Contains(g.Disks, d.Dataset)
}

// Limit returns the age limit that the guest exceeds, a limit without a range if the guest
// exceeds none.
func (g guest) Limit() checker.Limit {
	if d := g.cause(); d != nil && g.State != checker.OK && d.Verdict == checker.Stale && !blind(d) && g.serves(d) {
		return d.Limit
	}
	return checker.Limit{}
}

// LimitName returns which of the two limits [guest.Limit] is: warning or critical.
func (g guest) LimitName() string {
	if d := g.cause(); d != nil && d.Level == checker.BeyondCritical {
		return "critical"
	}
	return "warning"
}

// explainState explains the guest's state, without its verdict, age and limit, which have columns
// of their own.
func (f Facts) explainState(g guest) string {
	d := g.cause()
	if d == nil {
		return g.ownReason()
	}
	why := f.whyOf(d)
	if !g.serves(d) {
		return strings.TrimSuffix(fmt.Sprintf("%s: %s; %s", d.Dataset, d.Brief(), why), "; ")
	}
	alike := func(other *checker.Result) bool { return other.Verdict == d.Verdict && other.State == d.State }
	if why == "" || !slices.ContainsFunc(g.Here, func(other *checker.Result) bool { return !alike(other) }) {
		return why
	}
	return d.Name() + ": " + why
}

// ownReason returns the reason of a guest's verdict if no disk of the guest has the same reason.
// ownReason returns "" if the verdict needs no reason.
func (g guest) ownReason() string {
	switch {
	case g.Verdict == checker.GuestWhole:
		return ""
	case g.Verdict == checker.GuestStopped && g.State == checker.OK:
		if slices.ContainsFunc(g.Here, func(d *checker.Result) bool { return d.Unproven() }) {
			return unproven
		}
		return ""
	}
	return g.Reason
}

// unproven explains the word unproven of a stopped disk on the page.
const unproven = "unproven: the newest snapshot says that the guest is off, and no owner has confirmed this"

// whyOf explains a disk's state, without its verdict, age and limit and without the answers of
// other hosts, which have columns of their own.
func (f Facts) whyOf(d *checker.Result) string {
	if was, known := f.lastKnown(d); known {
		return unreadable(d, was)
	}
	if d.Verdict == checker.Stopped && d.State == checker.OK {
		if d.Unproven() {
			return unproven
		}
		return ""
	}
	if blind(d) && d.State != checker.OK {
		return runs(d)
	}
	alone := *d
	if c := d.Compared; c != nil && slices.Contains([]checker.Outcome{checker.NotCompared, checker.InSync, checker.Lagging}, c.Outcome) {
		alone.Compared = nil
	}
	news := strings.Replace(alone.News(), " ("+d.Limit.String()+")", "", 1)
	if word := d.Word(); news == "" && (word == checker.Stale.String() || word == checker.Lagging.String()) {
		return f.stuck(d)
	}
	return news
}

// runs returns a text that explains a disk whose newest snapshot here is a _stopped one although
// the disk's guest runs on the owner. The returned text says which snapshots are missing.
func runs(d *checker.Result) string {
	owner := siteName(d.Compared.Owner)
	for _, e := range d.Evidence {
		if e.Node == d.Compared.Owner && e.Newest != nil && e.Newest.GUID != d.Newest.GUID {
			return fmt.Sprintf("the guest runs on %s, but its new snapshots do not arrive here: the newest snapshot here is from when the guest was off", owner)
		}
	}
	return fmt.Sprintf("the guest has run on %s for %s and got no snapshot there: the newest snapshot here is from when the guest was off", owner, text.Age(d.Compared.Lag))
}

// stuck returns a text that says why a stale disk has no newer snapshots: nobody took newer ones,
// or they do not arrive here.
func (f Facts) stuck(d *checker.Result) string {
	c := d.Compared
	switch {
	case f.own(d.Disk):
		return "no newer snapshot was taken here"
	case c != nil && c.Outcome == checker.Lagging:
		return "newer snapshots of " + siteName(c.Owner) + " do not arrive here"
	case c != nil && c.Outcome == checker.InSync:
		return siteName(c.Owner) + " has taken no newer snapshot"
	}
	return "no newer snapshot has arrived"
}

// unreadable returns the verdict and the age that a disk had when it was last read, in words.
func unreadable(d *checker.Result, was checker.Judgement) string {
	word := was.Verdict.String()
	if was.Limit.Range != nil && d.Newest != nil {
		word += " " + text.Age(was.Age)
	}
	return fmt.Sprintf("was %s when last read, %s ago", word, text.Age(d.Age-was.Age))
}

// matches reports whether the query selects the guest.
func (q query) matches(g guest) bool {
	return (q.State == "" || g.State.String() == q.State) &&
		(q.Verdict == "" || g.Word == q.Verdict) &&
		(q.Pool == "" || slices.ContainsFunc(g.Here, func(d *checker.Result) bool { return zfs.Pool(d.Dataset) == q.Pool })) &&
		(q.Text == "" || strings.Contains(strings.ToLower(strings.Join(g.names(), "\n")), strings.ToLower(q.Text)))
}

// names returns the texts in which a search finds the guest: its name, id and cluster, and the
// names of its disks.
func (g guest) names() []string {
	names := []string{g.Name, g.ID, g.Cluster}
	for _, d := range g.Here {
		names = append(names, d.Dataset)
	}
	return append(names, g.Lacking...)
}
