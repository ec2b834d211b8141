// Package scan reads pools for package checker: the guests' disks with their newest snapshots,
// and what was there before.
//
// [Scanner] is the entry. What it learnt it keeps in a [Cache], and the disks that were seen in
// an [Inventory].
//
// # The cost
//
// One listing a pool gives all disks with the name of their newest snapshot (prevsnap). Only
// names that are not known yet are looked up. A disk whose newest snapshot is not managed is
// listed, once a change where ZFS tells of changes. docs/zfs-facts.md has the numbers.
//
// # What is missing
//
// A disk that was seen and is gone is missing until its inventory forgets it. An inventory that
// cannot be read is told, and is not taken for an empty one.
package scan

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"snapwatch/checker"
	"snapwatch/internal/lock"
	"snapwatch/internal/zfs"
)

// Scanner reads pools. It needs no root.
type Scanner struct {
	// Kstat is [zfs.KstatDir]; LockDir holds the locks of listings, /run/lock.
	Kstat, LockDir string
	// Now is the clock.
	Now func() time.Time
	// Cache saves asking again for what has not changed.
	Cache *Cache
	// Shared begins the names of the files by which processes of one user that scan at the
	// same time share what they read; "" shares nothing.
	Shared string
	// Trace is told the argv of every program started; nil tells nobody.
	Trace func(argv []string)
	// Run runs zfs; nil starts it.
	Run zfs.Run
}

// All scans every pool at the same time.
func (s Scanner) All(ctx context.Context, targets Targets) []checker.Pool {
	names := targets.Pools()
	pools := make([]checker.Pool, len(names))
	var scans sync.WaitGroup
	for i, name := range names {
		scans.Go(func() { pools[i] = s.Pool(ctx, name, targets[name]) })
	}
	scans.Wait()
	return pools
}

// Pool scans the datasets below the roots, all of one pool; with no roots it only
// looks whether the pool is there. It returns when ctx ends at the latest, even if
// zfs hangs where no signal reaches it. A failure is told in the result; disks beside
// it were read, and are whole.
func (s Scanner) Pool(ctx context.Context, name string, roots []string) (pool checker.Pool) {
	defer func() {
		if e := recover(); e != nil {
			pool = checker.Pool{Name: name, Problem: fmt.Sprintf("internal error while reading pool %s: %v\n%s", name, e, debug.Stack())}
		}
	}()
	started := s.Now()
	pool = checker.Pool{Name: name, GUID: zfs.PoolGUID(s.Kstat, name)}
	state, err := zfs.PoolState(s.Kstat, name)
	pool.ZFSState = state
	pool.Missing = errors.Is(err, zfs.ErrNotImported) || errors.Is(err, zfs.ErrNoZFS)
	switch {
	case err != nil:
	case len(roots) == 0:
		pool.ReadAt = started
	default:
		err = s.readOrShare(ctx, roots, &pool, started)
	}
	if err != nil {
		fail(&pool, err)
	}
	pool.Took = s.Now().Sub(started)
	return pool
}

// fail says that the pool could not be read, or not all of it.
func fail(pool *checker.Pool, err error) {
	pool.ReadAt = time.Time{}
	pool.Problem = problemText(pool.Name, err)
}

// readOrShare reads the pool, or takes what another process of this user read of it while
// this one waited for its turn.
func (s Scanner) readOrShare(ctx context.Context, roots []string, pool *checker.Pool, asked time.Time) error {
	place := s.sharedScan(pool.Name, roots)
	turn, err := lock.WaitTurn(ctx, s.LockDir, listLock(pool.Name), s.Now())
	if err != nil {
		if other, ok := place.since(asked, s.Now()); ok {
			s.take(other, pool)
			return nil
		}
		return err
	}
	defer turn.Release()
	if other, ok := place.since(asked, s.Now()); ok && turn.Waited && other.Whole {
		s.take(other, pool)
		return nil
	}
	err = s.read(ctx, s.reader(turn), roots, pool, place)
	if turn.Note != "" {
		pool.Remarks = append(pool.Remarks, turn.Note)
	}
	return err
}

// take fills in what another process read, and remembers it as if it were read here.
func (s Scanner) take(other scanned, pool *checker.Pool) {
	other.into(pool)
	s.Cache.seePending(pool.Disks, other.Pending)
}

// listLock is the lock for listings of a pool: at most one runs on this machine.
func listLock(pool string) string { return "snapwatch-list-" + pool }

// reader starts each zfs with the locks, so that one that hangs keeps out the next.
func (s Scanner) reader(turn lock.Turn) zfs.Reader {
	return zfs.Reader{Inherit: turn.Files(), Trace: s.Trace, Run: s.Run}
}

// listing runs a listing of a pool while no other runs on this machine.
func (s Scanner) listing(ctx context.Context, pool string, list func(zfs.Reader) error) error {
	return s.locked(ctx, listLock(pool), list)
}

// asking runs what asks a pool of a few datasets, while nobody else on this machine does. It
// waits for no scan, which may take long: two processes at most hang on a pool.
func (s Scanner) asking(ctx context.Context, pool string, ask func(zfs.Reader) error) error {
	return s.locked(ctx, "snapwatch-ask-"+pool, ask)
}

// askingAlone is asking where nobody else asks the pool now, and else does nothing.
func (s Scanner) askingAlone(ctx context.Context, pool string, ask func(zfs.Reader) error) error {
	atOnce, cancel := context.WithCancel(ctx)
	cancel()
	return s.locked(atOnce, "snapwatch-ask-"+pool, ask)
}

func (s Scanner) locked(ctx context.Context, name string, read func(zfs.Reader) error) error {
	turn, err := lock.WaitTurn(ctx, s.LockDir, name, s.Now())
	if err != nil {
		return err
	}
	defer turn.Release()
	return read(s.reader(turn))
}

func problemText(pool string, err error) string {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("reading pool %s took too long: %v", pool, err)
	case errors.Is(err, context.Canceled):
		return fmt.Sprintf("reading pool %s was given up: %v", pool, err)
	}
	return err.Error()
}

// read fills in the pool's disks. Where a lookup does not answer completely, or zfs complained, all
// is read once more, from fresh heads; a disk that is answered for neither time is unreadable.
// Where there is no time for that, or it fails, what was read first stands. An error with disks is
// that others may be there.
func (s Scanner) read(ctx context.Context, r zfs.Reader, roots []string, pool *checker.Pool, place sharedScan) error {
	first := *pool
	a, err := s.readOnce(ctx, r, roots, pool, place)
	if ctx.Err() == nil && (err != nil && a != nil || a != nil && len(a.unanswered) > 0) {
		place.publish(*pool, serious(err), a.digests(), false)
		again := first
		if fresh, failed := s.readOnce(ctx, r, roots, &again, sharedScan{}); fresh != nil {
			again.Disks = better(again.Disks, pool.Disks, serious(failed))
			*pool, a.heads, err = again, append(a.heads, fresh.heads...), failed
		}
	}
	if a == nil {
		return err
	}
	err = serious(err)
	if err == nil {
		known := map[string]bool{}
		for _, d := range pool.Disks {
			known[d.Dataset] = true
		}
		s.Cache.retain(roots, known, pool.ReadAt)
	}
	place.publish(*pool, err, a.digests(), ctx.Err() == nil)
	s.Cache.seePending(pool.Disks, a.digests())
	return err
}

// serious is what is wrong but for what vanished meanwhile.
func serious(err error) error {
	if zfs.OnlyMissing(err) {
		return nil
	}
	return err
}

// better returns the disks of the second look, and those of the first that the second answered for
// less; where it failed in part, those too that it did not see.
func better(second, first []checker.Disk, failed error) []checker.Disk {
	worth := func(d checker.Disk) int {
		switch {
		case d.Problem != "":
			return 0
		case d.Unlisted != "":
			return 1
		}
		return 2
	}
	answered := map[string]checker.Disk{}
	for _, d := range first {
		if worth(d) > 0 {
			answered[d.Dataset] = d
		}
	}
	for i, d := range second {
		if before := answered[d.Dataset]; before.GUID == d.GUID && worth(before) > worth(d) {
			second[i] = before
		}
		delete(answered, d.Dataset)
	}
	if failed != nil {
		for _, dataset := range sortedKeys(answered) {
			second = append(second, answered[dataset])
		}
		slices.SortFunc(second, func(a, b checker.Disk) int { return strings.Compare(a.Dataset, b.Dataset) })
	}
	return second
}

// readOnce fills in the pool's disks, and returns the answers that they are from. An error with
// answers is that zfs complained while it walked: of something that vanished, which is left out,
// or of what it could not read.
func (s Scanner) readOnce(ctx context.Context, r zfs.Reader, roots []string, pool *checker.Pool, place sharedScan) (*answers, error) {
	pool.Remarks, pool.ReadAt = nil, s.Now()
	heads, complaint := s.heads(ctx, r, roots, pool)
	if complaint != nil && !zfs.Complained(complaint) || len(heads) == 0 && complaint != nil && !zfs.OnlyMissing(complaint) {
		return nil, complaint
	}
	a, err := s.lookUpKnown(ctx, r, heads, pool.ReadAt)
	if err == nil && len(a.list) > 0 {
		some := *pool
		some.Disks = a.soFar().disks()
		place.publish(some, serious(complaint), a.digests(), false)
		err = s.listRest(ctx, r, a)
	}
	if !s.finish(a, err) {
		return nil, err
	}
	pool.Disks = a.disks()
	return a, complaint
}

// otherVolume are the names of what a guest has beside its disks.
var otherVolume = regexp.MustCompile(`^(vm|subvol|base|basevol)-\d+-(cloudinit|state|fleece)`)

// heads reads the disks' heads, in order of their names. An error of which [zfs.Complained] is
// true comes with all that are whole.
func (s Scanner) heads(ctx context.Context, r zfs.Reader, roots []string, pool *checker.Pool) ([]zfs.Dataset, error) {
	heads, err := r.Descendants(ctx, roots...)
	if err != nil && !zfs.Complained(err) {
		return nil, err
	}
	var others []string
	there := map[string]bool{}
	var of []zfs.Dataset
	for _, h := range heads {
		there[h.Name] = true
		if _, _, isDisk := zfs.ParseDiskName(zfs.Base(h.Name)); isDisk {
			of = append(of, h)
			if h.Unlabelled != "" {
				pool.Remarks = append(pool.Remarks, fmt.Sprintf("%s: %s", h.Name, h.Unlabelled))
			}
		} else if checker.IsManaged(h.NewestSnapshot) && !otherVolume.MatchString(zfs.Base(h.Name)) {
			others = append(others, h.Name)
		}
	}
	if len(others) > 0 {
		pool.Remarks = append(pool.Remarks, fmt.Sprintf("managed snapshots on %d datasets whose names are no disk's, such as %s: they are not watched", len(others), slices.Min(others)))
	}
	pool.MissingRoots = nil
	for _, root := range roots {
		if !there[root] && (err == nil || zfs.OnlyMissing(err)) {
			pool.MissingRoots = append(pool.MissingRoots, root)
		}
	}
	slices.SortFunc(of, func(a, b zfs.Dataset) int { return strings.Compare(a.Name, b.Name) })
	return of, err
}
