package scan

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"snapwatch/checker"
	"snapwatch/internal/zfs"
)

// Guests looks up what is asked of guests' disks, and returns it by the disk's dataset.
// Exact names are looked up first; lists are read only where these do not answer, and once a
// change. It waits for each pool's lock as a scan does.
func (s Scanner) Guests(ctx context.Context, questions []checker.GuestQuestion) map[string]*checker.Looked {
	g := guests{scanner: s, looked: map[string]*checker.Looked{}, snapshots: map[string]zfs.Snapshot{}, lists: map[string][]zfs.Snapshot{}, problems: map[string]string{}}
	for _, q := range questions {
		g.ask(q)
	}
	g.exact(ctx)
	for i := range g.pairs {
		g.compare(&g.pairs[i])
	}
	for i := range g.commons {
		g.match(&g.commons[i])
	}
	g.list(ctx)
	for i := range g.pairs {
		g.compareLists(&g.pairs[i])
	}
	for i := range g.commons {
		g.matchLists(&g.commons[i])
	}
	g.apart(ctx)
	for _, c := range g.commons {
		g.answer(c)
	}
	for _, p := range g.pairs {
		g.answerPair(p)
	}
	return g.looked
}

// guests is one round of looking up.
type guests struct {
	scanner Scanner
	looked  map[string]*checker.Looked
	pairs   []pair
	commons []common

	mu        sync.Mutex
	wanted    []string                  // full names to look up
	toList    []string                  // datasets to list
	snapshots map[string]zfs.Snapshot   // what was looked up, by full name
	lists     map[string][]zfs.Snapshot // by dataset
	problems  map[string]string         // by pool
}

// pair are two disks of one name, the older first.
type pair struct {
	older, newer checker.Disk
	same, known  bool
}

// common are the disks of a guest whose newest snapshots differ.
type common struct {
	disks []checker.Disk
	apart bool
	// oldest is where the disk is whose newest snapshot is the oldest: nothing that all have
	// is newer.
	oldest int
	// row is one snapshot of each disk, of the newest time that all have; nil for none.
	row   []zfs.Snapshot
	known bool
	// remembered is what the last round found, if that was of these disks.
	remembered *commonEntry
	positions  map[string]Position
	// asked are the datasets of which it was looked for since when they are ahead.
	asked map[string]bool
}

// ask takes in a question, and which names it needs.
func (g *guests) ask(q checker.GuestQuestion) {
	for i, a := range q.Compare {
		for _, b := range q.Compare[:i] {
			if a.Newest == nil || b.Newest == nil || a.Gone || b.Gone || a.Problem != "" || b.Problem != "" {
				continue
			}
			p := pair{older: a, newer: b}
			if b.Newest.Creation.Before(a.Newest.Creation) {
				p.older, p.newer = b, a
			}
			if p.same, p.known = g.scanner.Cache.recallPair(p); !p.known {
				g.wanted = append(g.wanted, p.newer.Dataset+"@"+p.older.Newest.Name)
			}
			g.pairs = append(g.pairs, p)
		}
	}
	if len(q.Common) == 0 {
		return
	}
	c := common{disks: q.Common, apart: q.Apart}
	for i, d := range c.disks {
		if d.Newest.Creation.Before(c.disks[c.oldest].Newest.Creation) {
			c.oldest = i
		}
	}
	c.remembered = g.scanner.Cache.recallCommon(c.disks)
	if c.remembered != nil && c.remembered.holds(c.disks) {
		c.row, c.known = c.remembered.snapshots(c.disks), true
	} else {
		g.wanted = append(g.wanted, c.names()...)
	}
	g.commons = append(g.commons, c)
}

// names are what the disks may have of the time that none can have in common anything newer
// than, whatever its class, and of the time that was the one before.
func (c *common) names() []string {
	var names []string
	at := c.disks[c.oldest].Newest.Name
	stem := at[:strings.LastIndexByte(at, '_')+1]
	for i, d := range c.disks {
		if i == c.oldest {
			continue
		}
		for class := zfs.Stopped; class <= zfs.Yearly; class++ {
			names = append(names, d.Dataset+"@"+stem+class.String())
		}
	}
	if c.remembered != nil {
		for _, s := range c.remembered.snapshots(c.disks) {
			names = append(names, s.FullName())
		}
	}
	return names
}

// exact looks up all names that are wanted, in all pools at the same time.
func (g *guests) exact(ctx context.Context) {
	g.eachPool(ctx, g.wanted, func(ctx context.Context, r zfs.Reader, names []string) error {
		slices.Sort(names)
		found, err := r.Lookup(ctx, slices.Compact(names))
		if _, some := errors.AsType[zfs.Faults](err); some {
			err = nil // what cannot be read is not there to start from
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		for _, s := range found {
			g.snapshots[s.FullName()] = s
		}
		return err
	})
}

// list reads the lists that are wanted.
func (g *guests) list(ctx context.Context) {
	g.eachPool(ctx, g.toList, func(ctx context.Context, r zfs.Reader, datasets []string) error {
		slices.Sort(datasets)
		return r.Snapshots(ctx, slices.Compact(datasets), func(s zfs.Snapshot) error {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.lists[s.Dataset] = append(g.lists[s.Dataset], s)
			return nil
		})
	})
}

// eachPool runs a listing for the names of each pool. A failure is the pool's problem.
func (g *guests) eachPool(ctx context.Context, names []string, listing func(context.Context, zfs.Reader, []string) error) {
	byPool := map[string][]string{}
	for _, name := range names {
		pool := zfs.Pool(name)
		byPool[pool] = append(byPool[pool], name)
	}
	var reading sync.WaitGroup
	for pool, of := range byPool {
		reading.Go(func() {
			err := zfs.CheckPool(g.scanner.Kstat, pool)
			if err == nil {
				err = g.scanner.locked(ctx, pool, func(r zfs.Reader) error { return listing(ctx, r, of) })
			}
			if err != nil {
				g.mu.Lock()
				defer g.mu.Unlock()
				g.problems[pool] = "looking up snapshots: " + problemText(pool, err)
			}
		})
	}
	reading.Wait()
}

// compare decides on a pair by the one name that was looked up, or has both listed.
func (g *guests) compare(p *pair) {
	if p.known {
		return
	}
	if s, has := g.snapshots[p.newer.Dataset+"@"+p.older.Newest.Name]; has && s.GUID == p.older.Newest.GUID {
		p.same, p.known = true, true
		return
	}
	g.toList = append(g.toList, p.older.Dataset, p.newer.Dataset)
}

func (g *guests) compareLists(p *pair) {
	if p.known || g.problem(p.older, p.newer) != "" {
		return
	}
	p.known = true
	guids := map[uint64]bool{}
	for _, s := range g.lists[p.older.Dataset] {
		guids[s.GUID] = true
	}
	p.same = slices.ContainsFunc(g.lists[p.newer.Dataset], func(s zfs.Snapshot) bool { return guids[s.GUID] })
}

// match decides on the newest time in common by the names that were looked up, or has all
// disks listed. Nothing in common can be newer than the oldest of the newest; and where that
// disk has not changed, nothing newer than what it had in common before is in common now.
func (g *guests) match(c *common) {
	if c.known || g.problem(c.disks...) != "" {
		return
	}
	lists := make([][]zfs.Snapshot, len(c.disks))
	for i, d := range c.disks {
		lists[i] = []zfs.Snapshot{*d.Newest}
	}
	for _, name := range c.names() {
		dataset, _, _ := strings.Cut(name, "@")
		at := slices.IndexFunc(c.disks, func(d checker.Disk) bool { return d.Dataset == dataset })
		if s, has := g.snapshots[name]; has {
			lists[at] = append(lists[at], s)
		}
	}
	row := checker.CommonPoint(lists)
	oldest := c.disks[c.oldest]
	best := row != nil && row[c.oldest].Name == oldest.Newest.Name
	before := row != nil && c.remembered.stays(oldest)
	if best || before {
		c.row, c.known = row, true
		return
	}
	for _, d := range c.disks {
		g.toList = append(g.toList, d.Dataset)
	}
}

func (g *guests) matchLists(c *common) {
	if c.known || g.problem(c.disks...) != "" {
		return
	}
	var lists [][]zfs.Snapshot
	for _, d := range c.disks {
		lists = append(lists, g.lists[d.Dataset])
	}
	c.row, c.known = checker.CommonPoint(lists), true
}

// problem is why something of the disks could not be read, "" if it could.
func (g *guests) problem(disks ...checker.Disk) string {
	for _, d := range disks {
		if why := g.problems[zfs.Pool(d.Dataset)]; why != "" {
			return why
		}
	}
	return ""
}

// apart finds since when the disks that are ahead have been so. That is asked only where it
// matters, and once of each point.
func (g *guests) apart(ctx context.Context) {
	byPool := map[string][]Position{}
	for i := range g.commons {
		c := &g.commons[i]
		c.positions, c.asked = map[string]Position{}, map[string]bool{}
		if c.row == nil {
			continue
		}
		for k, s := range c.row {
			if c.disks[k].Newest.Name == s.Name {
				continue
			}
			since, asked := c.remembered.ahead(s)
			g.of(s.Dataset).Ahead, c.asked[s.Dataset] = since, asked
			if c.apart && !asked {
				at := Position{Dataset: s.Dataset, CreateTXG: s.CreateTXG}
				c.positions[s.Dataset], c.asked[s.Dataset] = at, true
				byPool[zfs.Pool(s.Dataset)] = append(byPool[zfs.Pool(s.Dataset)], at)
			}
		}
	}
	var reading sync.WaitGroup
	for pool, positions := range byPool {
		reading.Go(func() {
			since := g.scanner.BehindSince(ctx, pool, positions)
			g.mu.Lock()
			defer g.mu.Unlock()
			for i := range g.commons {
				c := &g.commons[i]
				for dataset, at := range c.positions {
					if created, known := since[at]; known {
						g.of(dataset).Ahead = created
					}
				}
			}
		})
	}
	reading.Wait()
}

// of is what is said of a disk.
func (g *guests) of(dataset string) *checker.Looked {
	if g.looked[dataset] == nil {
		g.looked[dataset] = &checker.Looked{}
	}
	return g.looked[dataset]
}

func (g *guests) answer(c common) {
	problem := g.problem(c.disks...)
	row := c.row
	if !c.known && c.remembered != nil {
		row = c.remembered.snapshots(c.disks) // as last known
	}
	var among []string
	for _, d := range c.disks {
		among = append(among, d.Dataset)
	}
	for i, d := range c.disks {
		l := g.of(d.Dataset)
		l.Problem, l.Among = problem, checker.Among(among)
		if row != nil {
			l.Points = []zfs.Snapshot{row[i]}
		}
	}
	if c.known {
		g.scanner.Cache.keepCommon(c, g.looked)
	}
}

func (g *guests) answerPair(p pair) {
	a, b := g.of(p.older.Dataset), g.of(p.newer.Dataset)
	switch {
	case !p.known:
		why := g.problem(p.older, p.newer)
		a.Problem, b.Problem = why, why
		return
	case p.same:
		a.Same, b.Same = append(a.Same, p.newer.Dataset), append(b.Same, p.older.Dataset)
	default:
		a.Others, b.Others = append(a.Others, p.newer.Dataset), append(b.Others, p.older.Dataset)
	}
	g.scanner.Cache.keepPair(p)
}

// guestRounds is how often what was looked up may show that more must be: which datasets are
// copies of one disk, what the disks have in common, and since when they have nothing newer.
const guestRounds = 3

// LookAtGuests returns the pools with what judging their guests needs to know beside what was
// read, by how judge judges them. It waits no longer than until ctx ends; then what is known
// decides.
func (s Scanner) LookAtGuests(ctx context.Context, pools []checker.Pool, judge func([]checker.Pool) checker.Report) []checker.Pool {
	asked := ""
	for range guestRounds {
		questions := judge(pools).Questions
		ask := inWords(questions)
		if ask == asked || ctx.Err() != nil {
			break
		}
		asked = ask
		pools = WithLooked(pools, s.Guests(ctx, questions))
	}
	return pools
}

// WithLooked returns the pools with what was looked up of their disks. The lists of those that
// it concerns are copies.
func WithLooked(pools []checker.Pool, looked map[string]*checker.Looked) []checker.Pool {
	if len(looked) == 0 {
		return pools
	}
	pools = slices.Clone(pools)
	for i := range pools {
		copied := false
		for k := range pools[i].Disks {
			l := looked[pools[i].Disks[k].Dataset]
			if l == nil {
				continue
			}
			if !copied {
				pools[i].Disks, copied = slices.Clone(pools[i].Disks), true
			}
			pools[i].Disks[k].Looked = l
		}
	}
	return pools
}

// inWords tells questions from others.
func inWords(questions []checker.GuestQuestion) string {
	var words strings.Builder
	for _, q := range questions {
		for _, d := range append(slices.Clone(q.Compare), q.Common...) {
			words.WriteString(d.Dataset + "\n")
		}
		fmt.Fprintln(&words, len(q.Compare), q.Apart)
	}
	return words.String()
}
