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
	name    string
	parents []string
	disks   []snapper.Disk
	err     error
	// readAt is when the reading of its disks began.
	readAt time.Time
	// index is what earlier runs remember of the disks; remembered are those that it
	// answers for in this run.
	index      index.Index
	remembered map[string]bool
	// hangs: a step that changes the pool goes on, and no other is begun.
	hangs atomic.Bool
	// mu guards index while several units are snapshotted side by side.
	mu sync.Mutex
}

// openPool takes the pool's lock and reads its disks. What goes wrong is kept in the
// pool, so that the others go on.
func (r *run) openPool(ctx context.Context, name string, parents []string, read func(context.Context, *pool) error) *pool {
	p := &pool{Pool: r.World.Pool(name), name: name, parents: parents}
	ctx, cancel := r.World.Timeout(ctx, listTimeout)
	defer cancel()
	if p.err = read(ctx, p); p.err != nil {
		return p
	}
	txg := p.TXG()
	for i := range p.disks {
		r.configure(&p.disks[i])
		p.disks[i].PoolTXG = txg
	}
	return p
}

// readPool reads the disks directly below the pool's parents.
func (r *run) readPool(ctx context.Context, p *pool) error {
	if err := r.lockPool(ctx, p); err != nil {
		return err
	}
	var err error
	if p.index, err = p.LoadIndex(); err != nil {
		r.problem(report.Warning, "pool %s: %v", p.name, err)
	}
	if err := r.readDisks(ctx, p, Pool.Children); err != nil {
		return err
	}
	p.keep()
	return nil
}

// readDisks reads the disks that a list of heads has. Where one of them went meanwhile it
// begins anew, once: that one must not cost the others their run.
func (r *run) readDisks(ctx context.Context, p *pool, list func(Pool, context.Context, ...string) ([]zfs.Dataset, error)) error {
	for again := false; ; again = true {
		p.disks, p.readAt = nil, r.World.Now()
		heads, err := list(p, ctx, p.parents...)
		if err = r.takeDisks(ctx, p, heads, err); again || !zfs.OnlyMissing(err) {
			return err
		}
	}
}

// finalTimeout is how long a run at the end of the host waits for another one, which
// cron may have left behind.
const finalTimeout = time.Minute

// lockPool takes the pool's lock, unless nothing will be changed.
func (r *run) lockPool(ctx context.Context, p *pool) error {
	if err := p.Check(); err != nil || r.DryRun {
		return err
	}
	if !r.Final {
		return p.TryLock(r.start)
	}
	ctx, cancel := r.World.Timeout(ctx, finalTimeout)
	defer cancel()
	return p.WaitLock(ctx, r.start)
}

// takeDisks keeps those of the heads that are disks, and reads their snapshots. listErr
// is what went wrong with the listing; with heads it names datasets that are missing.
func (r *run) takeDisks(ctx context.Context, p *pool, heads []zfs.Dataset, listErr error) error {
	if listErr != nil && len(heads) == 0 {
		return listErr
	}
	if listErr != nil {
		r.problem(report.Warning, "pool %s: %v", p.name, listErr)
	}
	for _, h := range heads {
		if vmid, _, ok := zfs.ParseDiskName(zfs.Base(h.Name)); ok {
			p.disks = append(p.disks, snapper.Disk{Dataset: h, VMID: vmid})
			if h.Unlabelled != "" {
				r.problem(report.Warning, "%s is left alone: %s", h.Name, h.Unlabelled)
			}
		}
	}
	if err := p.readSnapshots(ctx, p.recall()); err != nil {
		return err
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
	if err != nil {
		return err
	}
	err = p.Bookmarks(ctx, names, func(s zfs.Snapshot) error {
		if d := byName[s.Dataset]; d != nil {
			d.Bookmarks = append(d.Bookmarks, s)
		}
		return nil
	})
	if err != nil {
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

// busy returns since when another run holds the pool, false if none does.
func (p *pool) busy() (*lock.Busy, bool) {
	busy, ok := errors.AsType[*lock.Busy](p.err)
	return busy, ok
}
