// Package scan reads pools: the guests' disks with their newest snapshots, and what was there
// before. What it learnt it keeps in a [Cache].
package scan

import (
	"cmp"
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
// zfs hangs where no signal reaches it. A failure is told in the result.
func (s Scanner) Pool(ctx context.Context, name string, roots []string) (pool checker.Pool) {
	defer func() {
		if e := recover(); e != nil {
			pool = checker.Pool{Name: name, Problem: fmt.Sprintf("internal error while reading pool %s: %v\n%s", name, e, debug.Stack())}
		}
	}()
	started := s.Now()
	pool = checker.Pool{Name: name, GUID: zfs.PoolGUID(s.Kstat, name)}
	err := zfs.CheckPool(s.Kstat, name)
	pool.Missing = errors.Is(err, zfs.ErrNotImported) || errors.Is(err, zfs.ErrNoZFS)
	switch {
	case err != nil:
	case len(roots) == 0:
		pool.ReadAt = started
	default:
		var note string
		note, err = s.inTurn(ctx, name, func(r zfs.Reader) error { return s.read(ctx, r, roots, &pool) })
		if note != "" {
			pool.Remarks = append(pool.Remarks, note)
		}
	}
	if err != nil {
		pool.Disks, pool.ReadAt = nil, time.Time{}
		pool.Problem = problemText(name, err)
	}
	pool.Took = s.Now().Sub(started)
	return pool
}

// inTurn runs a listing of a pool while no other runs on this machine, or else returns a
// note that says why not. Every zfs started for it inherits the lock, so that one that hangs
// keeps out the next.
func (s Scanner) inTurn(ctx context.Context, pool string, listing func(zfs.Reader) error) (note string, err error) {
	turn, err := lock.WaitTurn(ctx, s.LockDir, "snapwatch-list-"+pool, s.Now())
	if err != nil {
		return "", err
	}
	defer turn.Release()
	return turn.Note, listing(zfs.Reader{Inherit: turn.Files(), Trace: s.Trace, Run: s.Run})
}

// locked is [Scanner.inTurn] for who has no place for a note.
func (s Scanner) locked(ctx context.Context, pool string, listing func(zfs.Reader) error) error {
	_, err := s.inTurn(ctx, pool, listing)
	return err
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

// read fills in the pool's disks. What a lookup does not answer completely is read
// once more, from fresh heads, and so is all where something vanished; a disk that is not answered for then is unreadable. Where
// there is no time for that, what was read first stands.
func (s Scanner) read(ctx context.Context, r zfs.Reader, roots []string, pool *checker.Pool) error {
	heads, unanswered, err := s.readOnce(ctx, r, roots, pool)
	if ctx.Err() == nil && (zfs.OnlyMissing(err) || len(unanswered) > 0) {
		again := *pool
		fresh, _, failed := s.readOnce(ctx, r, roots, &again)
		if failed == nil || zfs.OnlyMissing(failed) || ctx.Err() == nil {
			*pool, heads, err = again, fresh, failed
		}
	}
	if err != nil && !zfs.OnlyMissing(err) {
		return err
	}
	known := map[string]bool{}
	for _, d := range pool.Disks {
		known[d.Dataset] = true
	}
	s.Cache.retain(roots, known)
	tokens := map[string]string{}
	for _, h := range heads {
		tokens[h.Name] = h.Token
	}
	s.Cache.seePending(pool.Disks, tokens)
	return nil
}

// readOnce fills in the pool's disks. It returns their heads, and which were not answered for,
// and why. An error with heads is that something vanished while zfs walked, which is left out.
func (s Scanner) readOnce(ctx context.Context, r zfs.Reader, roots []string, pool *checker.Pool) ([]zfs.Dataset, map[string]string, error) {
	pool.Remarks, pool.ReadAt = nil, s.Now()
	heads, vanished := s.heads(ctx, r, roots, pool)
	if vanished != nil && !zfs.OnlyMissing(vanished) {
		return nil, nil, vanished
	}
	found, unanswered, err := s.newest(ctx, r, heads, pool.ReadAt)
	if err != nil {
		return nil, nil, err
	}
	pool.Disks = disks(heads, found, unanswered, pool.ReadAt)
	return heads, unanswered, vanished
}

// otherVolume are the names of what a guest has beside its disks.
var otherVolume = regexp.MustCompile(`^(vm|subvol|base|basevol)-\d+-(cloudinit|state|fleece)`)

// heads reads the disks' heads, in order of their names. An error that says only what is
// missing comes with all others.
func (s Scanner) heads(ctx context.Context, r zfs.Reader, roots []string, pool *checker.Pool) ([]zfs.Dataset, error) {
	heads, err := r.Descendants(ctx, roots...)
	if err != nil && !zfs.OnlyMissing(err) {
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
		if !there[root] {
			pool.MissingRoots = append(pool.MissingRoots, root)
		}
	}
	slices.SortFunc(of, func(a, b zfs.Dataset) int { return strings.Compare(a.Name, b.Name) })
	return of, err
}

// disks joins heads with what was found out about their snapshots.
func disks(heads []zfs.Dataset, found map[string]*zfs.Snapshot, unanswered map[string]string, readAt time.Time) []checker.Disk {
	var all []checker.Disk
	for _, h := range heads {
		vmid, kind, _ := zfs.ParseDiskName(zfs.Base(h.Name))
		all = append(all, checker.Disk{
			Dataset:         h.Name,
			VMID:            vmid,
			Template:        kind == zfs.TemplateDisk,
			GUID:            h.GUID,
			Origin:          h.Origin,
			Created:         h.Creation,
			Newest:          found[h.Name],
			NewestOfAny:     h.NewestSnapshot,
			Receiving:       h.Inconsistent,
			PendingReceive:  h.ResumeToken,
			PendingSnapshot: zfs.ResumedSnapshot(h.Token),
			Running:         h.Running,
			NoSnap:          h.NoSnap,
			Changed:         changed(h),
			ReadAt:          readAt,
			HostClock:       latest(readAt, h.Creation, time.Unix(h.SnapshotsChanged, 0)),
			Problem:         cmp.Or(h.Problem, unanswered[h.Name]),
		})
	}
	return all
}

func changed(h zfs.Dataset) time.Time {
	if h.SnapshotsChanged == 0 {
		return time.Time{}
	}
	return time.Unix(h.SnapshotsChanged, 0)
}

func latest(times ...time.Time) time.Time { return slices.MaxFunc(times, time.Time.Compare) }
