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
	"snapwatch/internal/zfs"
	"snapwatch/snapper"
	"snapwatch/snapper/index"
)

// pool is one pool of a run, with what was read from it.
type pool struct {
	Pool
	Options
	*journal
	name    string
	parents []string
	disks   []snapper.Disk
	err     error
	// inTurns lets its disks be listed in turns, see readInTurns.
	inTurns bool
	// readAt is when the reading of its disks began.
	readAt time.Time
	// index is what earlier runs remember of the disks. indexMu guards it while guests are
	// snapshotted side by side.
	index   index.Index
	indexMu sync.Mutex
	// hangs: a step that changes the pool has not ended, and no other is begun.
	hangs atomic.Bool
	// partly: not all of its disks could be listed.
	partly bool
	// slowHistory is when the reading of its history took too long, zero if it did not.
	slowHistory time.Time
	// carriedOut: its part of the plan was.
	carriedOut bool
	// unfinished are the disks whose discarded bookmarks could not all be destroyed.
	unfinished map[string]bool
	// destroyed are the snapshots that this run destroyed, due those that it was to and did not
	// try to, the oldest first.
	destroyed []zfs.Snapshot
	due       []snapper.Destroy
	// stuck: a program that was to destroy failed, and no other is begun.
	stuck bool
}

func unlockAll(pools []*pool) {
	for _, p := range pools {
		p.Unlock()
	}
}

// lock takes the pool's lock, unless nothing will be changed.
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

// finalTimeout is how long a run at the end of the host waits for another one, which
// cron may have left behind.
const finalTimeout = time.Minute

// readDisks reads the disks that a list of heads has. Where one of them went meanwhile it
// begins again, once: that one must not cost the others their run.
func (p *pool) readDisks(ctx context.Context, list func(Pool, context.Context, ...string) ([]zfs.Dataset, error)) error {
	for again := false; ; again = true {
		p.disks, p.readAt = nil, p.World.Now()
		heads, err := list(p.Pool, ctx, p.parents...)
		if err = p.takeDisks(ctx, heads, err); again || !zfs.OnlyMissing(err) {
			return err
		}
	}
}

// takeDisks keeps those of the heads that are disks, and reads their snapshots. listErr
// is what went wrong with the listing; with heads it names datasets that are missing.
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
		p.problem(report.Warning, "pool %s: there was no time to list the snapshots of %d of %d disks: they are left alone, and the next run begins with them", p.name, n, len(p.disks))
	}
	if p.inTurns {
		return nil
	}
	return p.readWritten(ctx)
}

// readSnapshots lists the snapshots and bookmarks of the disks. One without snapshots may
// have bookmarks: they stay when somebody destroys its snapshots for room. One that never
// had a snapshot has none; before OpenZFS 2.2 no disk tells that.
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

// faultsOf lets what could not be read of some disks be the problem of these alone.
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

// lacks reports whether a dataset is known not to be there: the run has listed all that lies
// beside it. A run may look at some datasets only, and a storage may be disabled for a while.
func (p *pool) lacks(dataset string) bool {
	return p.err == nil && !p.partly && slices.Contains(p.parents, zfs.Parent(dataset)) &&
		!slices.ContainsFunc(p.disks, func(d snapper.Disk) bool { return d.Name == dataset })
}

// renamed reports whether a dataset of the pool has another name now.
func (p *pool) renamed(dataset string, guid uint64) bool {
	return zfs.Pool(dataset) == p.name && guid != 0 &&
		slices.ContainsFunc(p.disks, func(d snapper.Disk) bool { return d.GUID == guid && d.Name != dataset })
}

// busy returns since when another run holds the pool, false if none does.
func (p *pool) busy() (*lock.Busy, bool) {
	busy, ok := errors.AsType[*lock.Busy](p.err)
	return busy, ok
}
