package run

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"snapwatch/internal/command"
	"snapwatch/internal/files"
	"snapwatch/internal/lock"
	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
	"snapwatch/lua"
	"snapwatch/snapper/index"
)

// localPool is a pool of this machine, read and changed by the programs zfs and zpool.
type localPool struct {
	local Local
	name  string
	lock  *lock.Lock
}

// lockPath returns the path of the pool's lock file. Only root may open the directory of the lock
// files, because a user who can open a lock file can take the lock and block all runs.
func (p *localPool) lockPath() (string, error) {
	return filepath.Join(p.local.LockDir, "pool-"+p.name+".lock"), files.Directory(p.local.LockDir, 0o700)
}

func (p *localPool) TryLock(now time.Time) error {
	path, err := p.lockPath()
	if err == nil {
		p.lock, err = lock.TryExclusive(path, now)
	}
	return err
}

func (p *localPool) WaitLock(ctx context.Context, now time.Time) error {
	path, err := p.lockPath()
	if err == nil {
		p.lock, err = lock.Wait(ctx, path, now)
	}
	return err
}

func (p *localPool) Unlock() {
	if p.lock != nil {
		_ = p.lock.Release()
	}
}

// inherit returns the open files that each program of the run inherits: the pool's lock file. The
// pool remains locked as long as a program with the inherited lock file runs.
func (p *localPool) inherit() []*os.File {
	if p.lock == nil {
		return nil
	}
	return []*os.File{p.lock.File()}
}

func (p *localPool) reader() zfs.Reader { return zfs.Reader{Inherit: p.inherit()} }

func (p *localPool) Check() error { return zfs.CheckPool(p.local.Kstat, p.name) }

func (p *localPool) TXG() uint64 { return zfs.PoolTXG(p.local.Kstat, p.name) }

func (p *localPool) Space(ctx context.Context) (size, allocated uint64, err error) {
	return zfs.Reader{}.Space(ctx, p.name)
}

func (p *localPool) Children(ctx context.Context, parents ...string) ([]zfs.Dataset, error) {
	return p.reader().Children(ctx, parents...)
}

func (p *localPool) Descendants(ctx context.Context, roots ...string) ([]zfs.Dataset, error) {
	return p.reader().Descendants(ctx, roots...)
}

func (p *localPool) Snapshots(ctx context.Context, datasets []string, each func(zfs.Snapshot) error) error {
	return p.reader().Snapshots(ctx, datasets, each)
}

func (p *localPool) Bookmarks(ctx context.Context, datasets []string, each func(zfs.Snapshot) error) error {
	return p.reader().Bookmarks(ctx, datasets, each)
}

func (p *localPool) Received(ctx context.Context, datasets []string) (map[string]zfs.ReceivedLabels, error) {
	return p.reader().Received(ctx, datasets)
}

func (p *localPool) Pinned(ctx context.Context, fullNames []string) (map[string]zfs.Pin, error) {
	return p.reader().Pinned(ctx, fullNames)
}

func (p *localPool) WrittenSince(ctx context.Context, s zfs.Snapshot) (uint64, error) {
	return p.reader().WrittenSince(ctx, s)
}

func (p *localPool) History(ctx context.Context, bookmarks []zfs.Snapshot) (zfs.History, error) {
	return p.reader().History(ctx, p.name, bookmarks)
}

func (p *localPool) LoadIndex() (index.Index, error) {
	return index.Load(index.Path(p.local.StateDir, p.name))
}

func (p *localPool) SaveIndex(x *index.Index) error {
	return x.Save(index.Path(p.local.StateDir, p.name))
}

func (p *localPool) program() lua.Program { return lua.Program{Pool: p.name, Inherit: p.inherit()} }

func (p *localPool) Snapshot(ctx context.Context, guests []lua.Guest, bookmarks []lua.Bookmark) (map[string]lua.Outcome, error) {
	return p.program().Snapshot(ctx, guests, bookmarks)
}

func (p *localPool) Destroy(ctx context.Context, disks []lua.DestroyRequest) (map[string]lua.Destroyed, error) {
	return p.program().Destroy(ctx, disks)
}

func (p *localPool) DestroyBookmark(ctx context.Context, b zfs.Snapshot) error {
	return p.finish(ctx, "zfs", "destroy", b.Dataset+"#"+b.Name)
}

func (p *localPool) InheritReceived(ctx context.Context, dataset string) error {
	return p.finish(ctx, "zfs", "inherit", "-S", zfs.LabelRunning, dataset)
}

func (p *localPool) SetConsistent(ctx context.Context, snapshots []string) error {
	return p.finish(ctx, append([]string{"zfs", "set", zfs.Consistent + "=" + string(report.Application)}, snapshots...)...)
}

func (p *localPool) Sync(ctx context.Context) error { return p.finish(ctx, "zpool", "sync", p.name) }

// finish runs a command that changes the pool. When ctx ends, finish stops waiting for the command,
// which continues and keeps the pool locked.
func (p *localPool) finish(ctx context.Context, argv ...string) error {
	_, err := command.RunUnkillable(ctx, command.Cmd{Argv: argv, Inherit: p.inherit()})
	return err
}
