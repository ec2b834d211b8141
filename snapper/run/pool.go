package run

import (
	"cmp"
	"context"
	"errors"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"snapwatch/internal/command"
	"snapwatch/internal/lock"
	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
	"snapwatch/snapper"
	"snapwatch/snapper/index"
)

// pool is one pool of a run, with what was read from it.
type pool struct {
	name    string
	parents []string
	lock    *lock.Lock
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
func (r *run) openPool(ctx context.Context, name string, parents []string) *pool {
	return r.openPoolWith(ctx, name, parents, r.readPool)
}

func (r *run) openPoolWith(ctx context.Context, name string, parents []string, read func(context.Context, *pool) error) *pool {
	p := &pool{name: name, parents: parents}
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	if p.err = read(ctx, p); p.err != nil {
		return p
	}
	txg := zfs.PoolTXG(r.Kstat, name)
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
	if p.index, err = index.Load(index.Path(r.StateDir, p.name)); err != nil {
		r.problem(report.Warning, "pool %s: %v", p.name, err)
	}
	if err := r.readDisks(ctx, p, zfs.Reader.Children); err != nil {
		return err
	}
	p.keep()
	return nil
}

// readDisks reads the disks that a list of heads has. Where one of them went meanwhile it
// begins anew, once: that one must not cost the others their run.
func (r *run) readDisks(ctx context.Context, p *pool, list func(zfs.Reader, context.Context, ...string) ([]zfs.Dataset, error)) error {
	read := zfs.Reader{Inherit: p.inherit()}
	for again := false; ; again = true {
		p.disks, p.readAt = nil, r.Now()
		heads, err := list(read, ctx, p.parents...)
		if err = r.takeDisks(ctx, p, read, heads, err); again || !zfs.OnlyMissing(err) {
			return err
		}
	}
}

// finalTimeout is how long a run at the end of the host waits for another one, which
// cron may have left behind.
const finalTimeout = time.Minute

// lockPool takes the pool's lock, unless nothing will be changed.
func (r *run) lockPool(ctx context.Context, p *pool) error {
	err := zfs.CheckPool(r.Kstat, p.name)
	if err != nil || r.DryRun {
		return err
	}
	path := filepath.Join(r.LockDir, "snapwatch-"+p.name+".lock")
	if !r.Final {
		p.lock, err = lock.TryExclusive(path, r.start)
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, finalTimeout)
	defer cancel()
	p.lock, err = lock.Wait(ctx, path, r.start)
	return err
}

// takeDisks keeps those of the heads that are disks, and reads their snapshots. listErr
// is what went wrong with the listing; with heads it names datasets that are missing.
func (r *run) takeDisks(ctx context.Context, p *pool, read zfs.Reader, heads []zfs.Dataset, listErr error) error {
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
	if err := readSnapshots(ctx, read, p.recall()); err != nil {
		return err
	}
	return p.readWritten(ctx, read)
}

// readSnapshots lists the snapshots and bookmarks of the disks.
func readSnapshots(ctx context.Context, read zfs.Reader, disks []*snapper.Disk) error {
	byName := map[string]*snapper.Disk{}
	var names []string
	for _, d := range disks {
		byName[d.Name] = d
		if d.NewestSnapshot != "" || d.NewestUnknown {
			names = append(names, d.Name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	err := read.Snapshots(ctx, names, func(s zfs.Snapshot) error {
		if d := byName[s.Dataset]; d != nil {
			d.Snapshots = append(d.Snapshots, s)
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = read.Bookmarks(ctx, names, func(s zfs.Snapshot) error {
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

func (p *pool) close() {
	if p.lock != nil {
		_ = p.lock.Release()
	}
}

// finish runs a command that changes the pool, which goes on with the pool's lock when we wait
// no longer.
func (p *pool) finish(timeout context.Context, argv ...string) error {
	_, err := command.RunUnkillable(timeout, command.Cmd{Argv: argv, Inherit: p.inherit()})
	return err
}

// sync returns when the pool has written all that waited to be written (zpool-sync(8)).
func (p *pool) sync(timeout context.Context) error {
	return p.finish(timeout, "zpool", "sync", p.name)
}

// inheritReceived gives a dataset's local label up for the received one. A channel program
// cannot: its inherit forgets the received value for good (zfs-program(8)).
func (p *pool) inheritReceived(timeout context.Context, dataset string) error {
	return p.finish(timeout, "zfs", "inherit", "-S", zfs.LabelRunning, dataset)
}
