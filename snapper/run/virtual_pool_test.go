package run

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"snapwatch/internal/command"
	"snapwatch/internal/lock"
	"snapwatch/internal/zfs"
	"snapwatch/lua"
	"snapwatch/snapper"
	"snapwatch/snapper/index"
)

// virtualPool is a pool of a [virtualWorld]. The function fields of a virtualPool make steps on the
// pool take long, hang or fail. If a function field is nil, the steps of this field succeed
// immediately.
type virtualPool struct {
	w         *virtualWorld
	name      string
	heads     []zfs.Dataset
	snapshots map[string][]zfs.Snapshot
	bookmarks map[string][]zfs.Snapshot
	txg       uint64
	history   zfs.History
	onHistory func(ctx context.Context) error // if not nil, reading the history fails with its error
	index     index.Index

	// busy is true if another run has the lock of the simulated pool. onLock is called when a run
	// takes the lock.
	busy     bool
	onLock   func()
	unlocked atomic.Int64 // the number of times that a run released the lock
	slowList time.Duration
	// failList is the error that listing the disks returns together with the listed disks.
	failList error
	// endless has the disks on which listing the snapshots never ends. listed has all disks on
	// which a run began to list the snapshots.
	endless, listed []string
	// slowLists is the time that each listing of disks' snapshots takes.
	slowLists   time.Duration
	onBookmarks func() error
	onBookmark  func() syscall.Errno // returns the errno of making a bookmark
	onReceived  func(context.Context) error
	onSync      func(context.Context) error
	// onSnapshot returns the result of a channel program that takes snapshots. If onSnapshot
	// returns neither outcomes nor an error, the channel program succeeds.
	onSnapshot func(context.Context, []lua.Guest) (map[string]lua.Outcome, error)
	// onDestroy is called for each destroy of a snapshot, and returns the errno of this destroy. If
	// onDestroy is nil, each destroy succeeds.
	onDestroy func(dataset, name string) syscall.Errno
	// receiving has the disks that are being received: a channel program destroys no snapshots of
	// such a disk.
	receiving []string
	// failDestroy is the error of each channel program that destroys snapshots on the pool, nil for
	// no error.
	failDestroy error
	// failBookmark is the error of destroying a bookmark, nil for no error.
	failBookmark error
	// size and allocated are the pool's size and allocated bytes that zpool prints. If spaceHangs
	// is true, zpool hangs and prints no sizes.
	size, allocated uint64
	spaceHangs      bool
	// programs has, for each channel program of the run, the names of the snapshots that the run
	// told the program to take.
	programs [][]string
}

// hang acts as a command of ZFS that never ends: it waits until ctx ends.
func hang(ctx context.Context) error {
	<-ctx.Done()
	return fmt.Errorf("zfs: %w", command.ErrStillRunning)
}

// hangs makes every command that changes the simulated pool hang.
func (p *virtualPool) hangs() {
	p.onSync = hang
	p.onSnapshot = func(ctx context.Context, _ []lua.Guest) (map[string]lua.Outcome, error) { return nil, hang(ctx) }
}

// virtualSnapshot returns a managed snapshot of a dataset. The argument `ago` is the snapshot's
// age.
func virtualSnapshot(dataset string, ago time.Duration, class zfs.Class, txg uint64) zfs.Snapshot {
	at := time.Now().Add(-ago)
	return zfs.Snapshot{Dataset: dataset, Name: zfs.FormatSnapshotName(at, class), GUID: txg + 500_000, CreateTXG: txg, Creation: at}
}

func (p *virtualPool) addDisk(name string, guid uint64) {
	s := virtualSnapshot(name, 15*time.Minute, zfs.Frequently, 900)
	s.GUID += guid
	p.snapshots[name] = []zfs.Snapshot{s}
	p.heads = append(p.heads, zfs.Dataset{Name: name, GUID: guid, NewestSnapshot: s.Name, SnapshotsChanged: s.Creation.Unix(), Written: 5, Running: zfs.Property{Value: "pve1", Source: zfs.SourceLocal}})
}

// addOlder adds to a disk a snapshot that is older than all other snapshots of the disk.
func (p *virtualPool) addOlder(s zfs.Snapshot) {
	p.snapshots[s.Dataset] = append([]zfs.Snapshot{s}, p.snapshots[s.Dataset]...)
}

// remember enters all disks of the pool, with their snapshots, into the index.
func (p *virtualPool) remember() {
	for _, h := range p.heads {
		p.index.Keep(&snapper.Disk{Dataset: h, Snapshots: p.snapshots[h.Name], Bookmarks: p.bookmarks[h.Name]}, time.Now().Add(-time.Second))
	}
}

func (p *virtualPool) TryLock(now time.Time) error {
	if p.busy {
		return &lock.Busy{Path: p.name, PID: 1, Since: now}
	}
	if p.onLock != nil {
		p.onLock()
	}
	return nil
}

func (p *virtualPool) WaitLock(context.Context, time.Time) error { return nil }
func (p *virtualPool) Unlock()                                   { p.unlocked.Add(1) }
func (p *virtualPool) Check() error                              { return nil }
func (p *virtualPool) TXG() uint64                               { return p.txg }

func (p *virtualPool) Space(ctx context.Context) (size, allocated uint64, err error) {
	if p.spaceHangs {
		return 0, 0, hang(ctx)
	}
	return p.size, p.allocated, nil
}

func (p *virtualPool) Children(context.Context, ...string) ([]zfs.Dataset, error) {
	time.Sleep(p.slowList)
	return slices.Clone(p.heads), p.failList
}

func (p *virtualPool) Descendants(ctx context.Context, roots ...string) ([]zfs.Dataset, error) {
	heads, err := p.Children(ctx)
	return slices.DeleteFunc(heads, func(h zfs.Dataset) bool { return !zfs.WithinAny(h.Name, roots) }), err
}

func (p *virtualPool) Snapshots(ctx context.Context, datasets []string, each func(zfs.Snapshot) error) error {
	if p.slowLists > 0 && len(datasets) > 0 {
		select {
		case <-time.After(p.slowLists):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	p.listed = append(p.listed, datasets...)
	for _, d := range datasets {
		if slices.Contains(p.endless, d) {
			<-ctx.Done()
			return ctx.Err()
		}
	}
	return eachOf(p.snapshots, datasets, each)
}

func (p *virtualPool) Bookmarks(_ context.Context, datasets []string, each func(zfs.Snapshot) error) error {
	if p.onBookmarks != nil && len(datasets) > 0 {
		return p.onBookmarks()
	}
	return eachOf(p.bookmarks, datasets, each)
}

func eachOf(all map[string][]zfs.Snapshot, datasets []string, each func(zfs.Snapshot) error) error {
	for _, d := range datasets {
		for _, s := range all[d] {
			if err := each(s); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *virtualPool) Received(ctx context.Context, datasets []string) (map[string]zfs.ReceivedLabels, error) {
	if p.onReceived != nil {
		return nil, p.onReceived(ctx)
	}
	labels := map[string]zfs.ReceivedLabels{}
	for _, d := range datasets {
		labels[d] = zfs.ReceivedLabels{}
	}
	return labels, nil
}

func (p *virtualPool) WrittenSince(context.Context, zfs.Snapshot) (uint64, error) { return 0, nil }

func (p *virtualPool) History(ctx context.Context, _ []zfs.Snapshot) (zfs.History, error) {
	p.w.log("%s: history", p.name)
	if p.onHistory != nil {
		return zfs.History{}, p.onHistory(ctx)
	}
	return p.history, nil
}

func (p *virtualPool) LoadIndex() (index.Index, error) { return p.index, nil }
func (p *virtualPool) SaveIndex(x *index.Index) error {
	p.index = *x
	return nil
}

func (p *virtualPool) Snapshot(ctx context.Context, guests []lua.Guest, bookmarks []lua.Bookmark) (map[string]lua.Outcome, error) {
	if len(bookmarks) > 0 {
		return p.bookmark(bookmarks), nil
	}
	var names []string
	for _, g := range guests {
		for _, d := range g.Disks {
			names = append(names, d.Dataset+"@"+g.Snapshot)
		}
	}
	p.w.log("%s: snapshot %v", p.name, names)
	p.programs = append(p.programs, names)
	if p.onSnapshot != nil {
		if got, err := p.onSnapshot(ctx, guests); got != nil || err != nil {
			return got, err
		}
	}
	return p.snapshot(guests), nil
}

func (p *virtualPool) snapshot(guests []lua.Guest) map[string]lua.Outcome {
	got := map[string]lua.Outcome{}
	for _, g := range guests {
		for _, d := range g.Disks {
			o := lua.Outcome{}
			i := slices.IndexFunc(p.heads, func(h zfs.Dataset) bool { return h.Name == d.Dataset })
			if d.Snapshot {
				p.txg++
				p.snapshots[d.Dataset] = append(p.snapshots[d.Dataset], zfs.Snapshot{Dataset: d.Dataset, Name: g.Snapshot, GUID: p.txg + 9000, CreateTXG: p.txg, Creation: time.Now()})
				o.Snapshot = new(syscall.Errno)
				p.heads[i].NewestSnapshot, p.heads[i].SnapshotsChanged, p.heads[i].Written = g.Snapshot, time.Now().Unix(), 0
			}
			if d.Label != "" {
				p.heads[i].Running = zfs.Property{Value: d.Label, Source: zfs.SourceLocal}
				o.Label = new(syscall.Errno)
			}
			if d.Bookmark {
				o.Bookmark = new(syscall.Errno)
			}
			got[d.Dataset] = o
		}
	}
	return got
}

func (p *virtualPool) bookmark(bookmarks []lua.Bookmark) map[string]lua.Outcome {
	got := map[string]lua.Outcome{}
	for _, b := range bookmarks {
		o := got[b.Dataset]
		if o.Bookmarks == nil {
			o.Bookmarks = map[string]syscall.Errno{}
		}
		o.Bookmarks[b.Name] = 0
		if p.onBookmark != nil {
			o.Bookmarks[b.Name] = p.onBookmark()
		}
		got[b.Dataset] = o
	}
	return got
}

func (p *virtualPool) Destroy(_ context.Context, disks []lua.DestroyRequest) (map[string]lua.Destroyed, error) {
	if p.failDestroy != nil {
		return nil, p.failDestroy
	}
	got := map[string]lua.Destroyed{}
	for _, d := range disks {
		if d.Check { // nothing prevents the destroys
			got[d.Dataset] = lua.Destroyed{Gone: map[string]syscall.Errno{}}
			for _, name := range d.Destroy {
				got[d.Dataset].Gone[name] = 0
			}
			continue
		}
		i := slices.IndexFunc(p.heads, func(h zfs.Dataset) bool { return h.Name == d.Dataset })
		changed := lua.ListChange{Before: p.heads[i].SnapshotsChanged, After: time.Now().Unix()}
		p.heads[i].SnapshotsChanged = changed.After
		if slices.Contains(p.receiving, d.Dataset) {
			p.w.log("%s: %s is being received", p.name, d.Dataset)
			got[d.Dataset] = lua.Destroyed{Receiving: 1}
			continue
		}
		got[d.Dataset] = lua.Destroyed{Gone: map[string]syscall.Errno{}, ListChange: changed}
		for _, name := range d.Destroy {
			var errno syscall.Errno
			if p.onDestroy != nil {
				errno = p.onDestroy(d.Dataset, name)
			}
			if errno != 0 {
				p.w.log("%s: cannot destroy %s@%s", p.name, d.Dataset, name)
			} else {
				p.w.log("%s: destroy %s@%s", p.name, d.Dataset, name)
				p.snapshots[d.Dataset] = slices.DeleteFunc(p.snapshots[d.Dataset], func(s zfs.Snapshot) bool { return s.Name == name })
			}
			got[d.Dataset].Gone[name] = errno
		}
	}
	return got, nil
}

func (p *virtualPool) Pinned(context.Context, []string) (map[string]zfs.Pin, error) {
	return nil, nil
}

func (p *virtualPool) DestroyBookmark(_ context.Context, b zfs.Snapshot) error {
	if p.failBookmark != nil {
		return p.failBookmark
	}
	p.w.log("%s: destroy %s#%s", p.name, b.Dataset, b.Name)
	return nil
}

func (p *virtualPool) InheritReceived(context.Context, string) error { return nil }

func (p *virtualPool) SetConsistent(_ context.Context, snapshots []string) error {
	p.w.log("%s: consistent %v", p.name, snapshots)
	return nil
}

func (p *virtualPool) Sync(ctx context.Context) error {
	p.w.log("%s: sync", p.name)
	if p.onSync != nil {
		return p.onSync(ctx)
	}
	return nil
}
