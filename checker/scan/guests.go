package scan

import (
	"context"
	"errors"
	"slices"
	"sync"

	"snapwatch/checker"
	"snapwatch/internal/zfs"
)

// Guests looks up what is asked of guests' disks, and returns it by the disk's dataset.
// Exact names are looked up first; lists are read only where these do not answer, and once a
// change. Lists wait for each pool's lock as a scan does, names only for others that look up names.
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
	g.configs(ctx)
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
	// unconfigured are the disks whose guest's configuration is asked for.
	unconfigured []checker.Disk

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
	if q.Config != nil {
		g.unconfigured = append(g.unconfigured, *q.Config)
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

// exact looks up all names that are wanted, in all pools at the same time.
func (g *guests) exact(ctx context.Context) {
	g.eachPool(ctx, g.wanted, g.scanner.asking, func(r zfs.Reader, names []string) error {
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
	g.eachPool(ctx, g.toList, g.scanner.listing, func(r zfs.Reader, datasets []string) error {
		slices.Sort(datasets)
		return r.Snapshots(ctx, slices.Compact(datasets), func(s zfs.Snapshot) error {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.lists[s.Dataset] = append(g.lists[s.Dataset], s)
			return nil
		})
	})
}

// turn waits for a turn on a pool, as [Scanner.listing] and [Scanner.asking] do.
type turn func(ctx context.Context, pool string, read func(zfs.Reader) error) error

// eachPool reads the names of each pool in a turn there. A failure is the pool's problem.
func (g *guests) eachPool(ctx context.Context, names []string, inTurn turn, read func(r zfs.Reader, names []string) error) {
	inPools(names, func(pool string, of []string) {
		err := zfs.CheckPool(g.scanner.Kstat, pool)
		if err == nil {
			err = inTurn(ctx, pool, func(r zfs.Reader) error { return read(r, of) })
		}
		if err != nil {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.problems[pool] = "looking up snapshots: " + problemText(pool, err)
		}
	})
}

// inPools reads the names of each pool, all pools at the same time.
func inPools(names []string, read func(pool string, names []string)) {
	byPool := map[string][]string{}
	for _, name := range names {
		pool := zfs.Pool(name)
		byPool[pool] = append(byPool[pool], name)
	}
	var reading sync.WaitGroup
	for pool, of := range byPool {
		reading.Go(func() { read(pool, of) })
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

// problem is why something of the disks could not be read, "" if it could.
func (g *guests) problem(disks ...checker.Disk) string {
	for _, d := range disks {
		if why := g.problems[zfs.Pool(d.Dataset)]; why != "" {
			return why
		}
	}
	return ""
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
