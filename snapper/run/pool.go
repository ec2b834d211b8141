package run

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"snapwatch/internal/lock"
	"snapwatch/internal/report"
	"snapwatch/internal/text"
	"snapwatch/internal/zfs"
	"snapwatch/snapper"
	"snapwatch/snapper/index"
)

// pool is a ZFS pool in a run, with the disks and the index that the run has read.
type pool struct {
	Pool
	Options
	*journal
	name    string
	parents []string
	disks   []snapper.Disk
	err     error
	// inTurns is true if prune lists the snapshots of only a few of the pool's disks in each turn,
	// see readInTurns.
	inTurns bool
	// readAt is the time at which the reading of the pool's disks began.
	readAt time.Time
	// index has, by disk, the list of snapshots that an earlier run saved. indexMu guards index
	// while channel programs take the snapshots of several guests side by side.
	index   index.Index
	indexMu sync.Mutex
	// hangs is true if a command that changes the pool did not end in time. While hangs is true,
	// the run begins no command that changes this pool.
	hangs atomic.Bool
	// partly is true if some disks of the pool could not be listed.
	partly bool
	// slowHistory is the time of the last run in which reading the pool's history exceeded
	// historyTimeout, zero if there was no such run.
	slowHistory time.Time
	// carriedOut is true if the run has made a plan for the pool, and has carried out the plan. In
	// a dry run, carriedOut is true as soon as the plan is made.
	carriedOut bool
	// unfinished has the disks on which a bookmark of a discarded history could not be destroyed.
	unfinished map[string]bool
	// destroyed has the snapshots that this run destroyed. due has the snapshots that the retention
	// drops, except those that this run tried to destroy.
	destroyed []zfs.Snapshot
	due       []snapper.Destroy
	// kept has the names of the snapshots that ZFS did not destroy because of a hold or a clone.
	kept map[pin][]string
	// refused has the disks on which a channel program refused to destroy snapshots in this run.
	refused map[string]bool
	// stuck is true if a channel program that destroys snapshots on this pool failed. While stuck
	// is true, the run starts no program that destroys snapshots on this pool.
	stuck bool
}

func unlockAll(pools []*pool) {
	for _, p := range pools {
		p.Unlock()
	}
}

// lock takes the pool's lock, except in a dry run, which changes nothing.
func (p *pool) lock(ctx context.Context, now time.Time) error {
	if err := p.Check(); err != nil || p.DryRun {
		return err
	}
	if !p.Final {
		return p.TryLock(now)
	}
	ctx, cancel := p.World.Timeout(ctx, finalTimeout)
	defer cancel()
	return p.WaitLock(ctx, now)
}

// At the shutdown of the host, a run that cron started may have the pool's lock. finalTimeout is
// the time for which finalize waits for this lock.
const finalTimeout = time.Minute

// readDisks reads the disks of the pool. The argument `list` is a function that returns the
// datasets of the disks. If a dataset disappears during the reading, readDisks reads the pool a
// second time, so that one missing dataset does not prevent the snapshots of the remaining disks.
func (p *pool) readDisks(ctx context.Context, list func(Pool, context.Context, ...string) ([]zfs.Dataset, error)) error {
	for again := false; ; again = true {
		p.disks, p.readAt = nil, p.World.Now()
		heads, err := list(p.Pool, ctx, p.parents...)
		if err = p.takeDisks(ctx, heads, err); again || !zfs.OnlyMissing(err) {
			return err
		}
	}
}

// takeDisks keeps the datasets that are disks, and reads their snapshots. listErr is the error of
// listing the datasets. If some datasets were listed, listErr is only about the datasets that are
// missing.
func (p *pool) takeDisks(ctx context.Context, heads []zfs.Dataset, listErr error) error {
	if listErr != nil && len(heads) == 0 {
		return listErr
	}
	if p.partly = listErr != nil; p.partly {
		p.problem(report.Warning, "pool %s: %v", p.name, listErr)
	}
	for _, h := range heads {
		if vmid, _, ok := zfs.ParseDiskName(zfs.Base(h.Name)); ok {
			p.disks = append(p.disks, snapper.Disk{Dataset: h, VMID: vmid})
		}
	}
	read := p.readSnapshots
	if p.inTurns {
		read = p.readInTurns
	}
	if err := read(ctx, p.recall()); err != nil {
		return err
	}
	for _, d := range p.disks {
		if why := cmp.Or(d.Problem, d.Unlabelled); why != "" && why != unlisted {
			p.problem(report.Warning, "%s is left alone: %s", d.Name, why)
		}
	}
	if n := len(p.disksWhere(func(d *snapper.Disk) bool { return d.Problem == unlisted })); n > 0 {
		p.problem(report.Warning, "pool %s: there was no time to list the snapshots of %d of %s: they are left alone, and the next run begins with them", p.name, n, text.Count(len(p.disks), "disk"))
	}
	if p.inTurns {
		return nil
	}
	return p.readWritten(ctx)
}

// readSnapshots lists the snapshots and bookmarks of the given disks and stores them in the disks.
// A disk without snapshots may still have bookmarks, because bookmarks remain when a person
// destroys all snapshots to free space. A disk that never had a snapshot has no bookmarks. Before
// OpenZFS 2.2, no property shows whether a disk ever had a snapshot.
func (p *pool) readSnapshots(ctx context.Context, disks []*snapper.Disk) error {
	byName := map[string]*snapper.Disk{}
	var names, listed []string
	tells := slices.ContainsFunc(p.disks, func(d snapper.Disk) bool { return d.SnapshotsChanged != 0 })
	for _, d := range disks {
		byName[d.Name] = d
		if d.NewestSnapshot != "" || d.NewestUnknown || d.SnapshotsChanged != 0 || !tells {
			names = append(names, d.Name)
		}
		if d.NewestSnapshot != "" || d.NewestUnknown {
			listed = append(listed, d.Name)
		}
	}
	err := p.Snapshots(ctx, listed, func(s zfs.Snapshot) error {
		if d := byName[s.Dataset]; d != nil {
			d.Snapshots = append(d.Snapshots, s)
		}
		return nil
	})
	if err = faultsOf(disks, err); err != nil {
		return err
	}
	err = p.Bookmarks(ctx, names, func(s zfs.Snapshot) error {
		if d := byName[s.Dataset]; d != nil {
			d.Bookmarks = append(d.Bookmarks, s)
		}
		return nil
	})
	if err = faultsOf(disks, err); err != nil {
		return err
	}
	for _, d := range disks {
		slices.SortStableFunc(d.Snapshots, func(a, b zfs.Snapshot) int { return cmp.Compare(a.CreateTXG, b.CreateTXG) })
		if n := len(d.Snapshots); d.NewestUnknown && n > 0 {
			d.NewestSnapshot = d.Snapshots[n-1].Name
		}
	}
	return nil
}

// faultsOf records the error of reading a single disk as the Problem of this disk. If err has only
// errors about single disks, faultsOf returns nil, so that the run continues with the remaining
// disks. Otherwise faultsOf returns err.
func faultsOf(disks []*snapper.Disk, err error) error {
	faults, some := errors.AsType[zfs.Faults](err)
	if !some {
		return err
	}
	for _, d := range disks {
		d.Problem = cmp.Or(d.Problem, faults[d.Name])
	}
	return nil
}

// lacks reports whether a dataset is known to be missing: the run has listed all children of the
// dataset's parent, and the dataset is not among these children. If the run did not list the
// dataset's parent, the dataset may exist: a run may read only some datasets, and a storage may be
// disabled for a while.
func (p *pool) lacks(dataset string) bool {
	return p.err == nil && !p.partly && slices.Contains(p.parents, zfs.Parent(dataset)) &&
		!slices.ContainsFunc(p.disks, func(d snapper.Disk) bool { return d.Name == dataset })
}

// renamed reports whether a dataset of the pool has a new name since an earlier run.
func (p *pool) renamed(dataset string, guid uint64) bool {
	return zfs.Pool(dataset) == p.name && guid != 0 &&
		slices.ContainsFunc(p.disks, func(d snapper.Disk) bool { return d.GUID == guid && d.Name != dataset })
}

// busy returns the error of locking the pool if another run holds the pool's lock. The second
// result is false if no other run holds the lock.
func (p *pool) busy() (*lock.Busy, bool) {
	busy, ok := errors.AsType[*lock.Busy](p.err)
	return busy, ok
}
