// Package scan reads pools for package checker: the guests' disks with their newest snapshots,
// and the disks that were there before.
//
// A [Scanner] reads the pools, and keeps the newest snapshots in a [Cache]. An [Inventory]
// contains the disks that earlier scans found.
//
// # The cost
//
// One zfs list of a pool returns all disks with the names of their newest snapshots (prevsnap).
// Only snapshots that the cache does not contain are looked up. The snapshots of a disk are
// listed only if its newest snapshot is not managed, and only after a change if ZFS has the
// property snapshots_changed. docs/zfs-facts.md has the numbers.
//
// # Missing disks
//
// A disk that an earlier scan found and that is gone counts as missing until the inventory
// forgets the disk. An unreadable inventory is reported, and does not count as an empty one.
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

// Scanner reads pools. Scanning needs no root.
type Scanner struct {
	// Kstat is the directory of ZFS' kernel statistics, as [zfs.KstatDir]. LockDir is the
	// directory for the locks of listings, normally /run/lock.
	Kstat, LockDir string
	// Now returns the present time.
	Now func() time.Time
	// Cache contains facts about snapshots from earlier scans, so that unchanged facts are not
	// read again.
	Cache *Cache
	// Shared is the beginning of the names of the files through which processes of one user share
	// simultaneous scans. If Shared is "", processes do not share scans.
	Shared string
	// Trace is called with the argv of every program that is started, unless Trace is nil.
	Trace func(argv []string)
	// Run runs the program zfs; if Run is nil, the real zfs is started.
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

// Pool scans the datasets below the roots, all of one pool. Without roots, Pool only checks that
// the pool is imported. Pool returns at the latest when ctx ends, even if zfs hangs in the kernel.
// Pool returns no error: a failure is recorded in the returned pool. Even after a failure, each
// disk in the result was read completely.
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

// fail records that the pool could not be read, or could be read only in part.
func fail(pool *checker.Pool, err error) {
	pool.ReadAt = time.Time{}
	pool.Problem = problemText(pool.Name, err)
}

// readOrShare reads the pool. If another process of this user read the pool while this process
// waited for the lock, readOrShare uses the other process's result.
func (s Scanner) readOrShare(ctx context.Context, roots []string, pool *checker.Pool, asked time.Time) error {
	place := s.sharedScan(pool.Name, roots)
	turn, err := lock.WaitTurn(ctx, s.LockDir, listLock(pool.Name), s.Now())
	if err != nil {
		if other, ok := place.ifRecent(asked, s.Now()); ok {
			s.take(other, pool)
			return nil
		}
		return err
	}
	defer turn.Release()
	if other, ok := place.ifRecent(asked, s.Now()); ok && turn.Waited && other.Whole {
		s.take(other, pool)
		return nil
	}
	err = s.read(ctx, s.reader(turn), roots, pool, place)
	if turn.Note != "" {
		pool.Remarks = append(pool.Remarks, turn.Note)
	}
	return err
}

// take fills the argument pool from another process's scan, and stores the pending receives in the
// cache.
func (s Scanner) take(other scanned, pool *checker.Pool) {
	other.fill(pool)
	s.Cache.seePending(pool.Disks, other.Pending)
}

// listLock returns the name of the lock that allows only one listing of a pool at a time on this
// host.
func listLock(pool string) string { return "snapwatch-list-" + pool }

// reader returns a reader whose zfs processes inherit the locks, so that a hanging zfs keeps the
// locks.
func (s Scanner) reader(turn lock.Turn) zfs.Reader {
	return zfs.Reader{Inherit: turn.Files(), Trace: s.Trace, Run: s.Run}
}

// listing runs a listing of a pool while no other listing of the pool runs on this machine.
func (s Scanner) listing(ctx context.Context, pool string, list func(zfs.Reader) error) error {
	return s.locked(ctx, listLock(pool), list)
}

// asking reads a few datasets of a pool while no other process on this host makes a lookup in the
// pool. asking does not wait for a scan of the pool, which may take long. As scans and lookups have
// separate locks, at most two processes can hang on a pool: one scan and one lookup.
func (s Scanner) asking(ctx context.Context, pool string, ask func(zfs.Reader) error) error {
	return s.locked(ctx, "snapwatch-ask-"+pool, ask)
}

// askingAlone does the same as asking, but does not wait: askingAlone fails if another process
// makes a lookup in the pool now.
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

// read fills in the pool's disks. If a lookup is incomplete or zfs printed an error, the method
// reads the pool a second time, beginning with the heads. A disk is unreadable if neither the first
// nor the second reading gives an answer about it. If no time is left for the second reading, or
// the second reading fails, the result of the first reading counts. If read returns an error
// together with disks, the pool may have more disks.
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

// serious returns err, or nil if err is only about datasets that disappeared during the scan.
func serious(err error) error {
	if zfs.OnlyMissing(err) {
		return nil
	}
	return err
}

// readOnce reads the pool's disks once, and returns the answers from which it made the disks. If
// readOnce returns an error together with answers, the answers may lack datasets: zfs could not
// read a dataset, or a dataset disappeared meanwhile.
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

// otherVolume matches the names of a guest's volumes that are not disks.
var otherVolume = regexp.MustCompile(`^(vm|subvol|base|basevol)-\d+-(cloudinit|state|fleece)`)

// heads reads the heads of the disks, ordered by name. If [zfs.Complained] is true for the error,
// heads also returns all heads that were read completely.
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
		if zfs.InDrill(h.Name) {
			continue
		}
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
		pool.Remarks = append(pool.Remarks, fmt.Sprintf("managed snapshots on %d datasets whose names are not those of disks, such as %s: they are not watched", len(others), slices.Min(others)))
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
