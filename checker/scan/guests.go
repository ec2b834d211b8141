package scan

import (
	"context"
	"errors"
	"slices"
	"sync"

	"snapwatch/checker"
	"snapwatch/internal/zfs"
)

// Guests answers questions about guests' disks. The result has the answers by the disk's dataset.
// Guests first looks up exact names of snapshots. If the lookup of names does not answer a
// question, Guests lists the snapshots of the guest's disks, once after each change. A listing
// waits for the pool's scan lock; a lookup of names waits only for other lookups in the pool.
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
	g.findApart(ctx)
	g.configs(ctx)
	for _, c := range g.commons {
		g.answer(c)
	}
	for _, p := range g.pairs {
		g.answerPair(p)
	}
	return g.looked
}

// guests has the questions about guests' disks that [Scanner.Guests] answers, and the answers found
// so far.
type guests struct {
	scanner Scanner
	looked  map[string]*checker.Looked
	pairs   []pair
	commons []common
	// unconfigured has the disks whose snapshots must be searched for the guest's configuration.
	unconfigured []checker.Disk

	mu        sync.Mutex
	wanted    []string                  // full names to look up
	toList    []string                  // datasets to list
	snapshots map[string]zfs.Snapshot   // all snapshots found, by full name
	lists     map[string][]zfs.Snapshot // by dataset
	problems  map[string]string         // by pool
}

// pair is two disks with the same name. older is the disk whose newest snapshot is older.
type pair struct {
	older, newer checker.Disk
	same, known  bool
}

// common has the disks of one guest whose disks have different newest snapshots.
type common struct {
	disks []checker.Disk
	apart bool
	// oldest is the index of the disk whose newest snapshot is the oldest. No snapshot that the
	// disks have in common is newer than the newest snapshot of this disk.
	oldest int
	// row has each disk's snapshot at the newest time at which all disks have a snapshot; nil if
	// there is no such time.
	row   []zfs.Snapshot
	known bool
	// remembered is the cache entry about the disks in the field disks, nil if there is none.
	remembered *commonEntry
	positions  map[string]Position
	// asked contains the datasets for which a lookup of the field Ahead was made.
	asked map[string]bool
}

// ask adds a question to the round of lookups, and the names of snapshots that the answer needs.
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

// exact looks up all wanted names of snapshots, in all pools at the same time.
func (g *guests) exact(ctx context.Context) {
	g.eachPool(ctx, g.wanted, g.scanner.asking, func(r zfs.Reader, names []string) error {
		slices.Sort(names)
		found, err := r.Lookup(ctx, slices.Compact(names))
		if _, some := errors.AsType[zfs.Faults](err); some {
			err = nil // a snapshot that zfs cannot read is not a restore point
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		for _, s := range found {
			g.snapshots[s.FullName()] = s
		}
		return err
	})
}

// list reads the wanted lists of disks' snapshots.
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

// turn is a function that waits for a lock of a pool and then reads the pool, such as
// [Scanner.listing] and [Scanner.asking].
type turn func(ctx context.Context, pool string, read func(zfs.Reader) error) error

// eachPool waits for the lock of each pool, and then calls the function `read` with the names in
// this pool. A failure is recorded as a problem of the pool.
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

// inPools calls the function `read` once for each pool, with the names of the snapshots in this
// pool. All pools are read at the same time.
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

// compare decides whether the two datasets of a pair are copies of one disk: they are if the
// dataset with the newer snapshots also has the newest snapshot of the other dataset. If the lookup
// of this snapshot does not find it, compare requests lists of the snapshots of both datasets.
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

// problem returns why the pool of one of the disks could not be read, "" if all pools could be
// read.
func (g *guests) problem(disks ...checker.Disk) string {
	for _, d := range disks {
		if why := g.problems[zfs.Pool(d.Dataset)]; why != "" {
			return why
		}
	}
	return ""
}

// lookedUp returns the result of the lookups for the disk in the given dataset. The caller may
// change the result.
func (g *guests) lookedUp(dataset string) *checker.Looked {
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
		l := g.lookedUp(d.Dataset)
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
	a, b := g.lookedUp(p.older.Dataset), g.lookedUp(p.newer.Dataset)
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
