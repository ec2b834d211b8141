package sim

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"snapwatch/internal/command"
	"snapwatch/internal/lock"
	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
	"snapwatch/lua"
)

// machinePool is a simulated pool, as one run sees the pool. The methods of machinePool have the
// effects of the channel programs of package lua.
type machinePool struct {
	*machine
	name   string
	locked bool // true if this run holds the pool's lock
}

func (p *machinePool) state() *poolState { return p.n.pools[p.name] }

// The method `read` is the first step of each method that reads the simulated pool. `read` returns
// an error if the pool cannot be read.
func (p *machinePool) read() error {
	if err := p.call(); err != nil {
		return err
	}
	if p.w.tick < p.state().suspended {
		p.hinder("suspended")
		return fmt.Errorf("pool %s is suspended", p.name)
	}
	return nil
}

// TryLock takes the simulated pool's lock. TryLock fails if another run holds this lock.
func (p *machinePool) TryLock(now time.Time) error {
	if err := p.call(); err != nil {
		return err
	}
	if p.w.tick < p.state().locked || p.w.busy[p.key()] {
		p.hinder("pool locked")
		return &lock.Busy{Path: p.name, PID: 1, Since: now}
	}
	if p.w.now.Before(p.otherUntil) {
		return &lock.Busy{Path: p.name, PID: 1, Since: now}
	}
	p.locked, p.w.busy[p.key()] = true, true
	return nil
}

func (p *machinePool) WaitLock(ctx context.Context, now time.Time) error {
	if until, limited := ctx.Value(deadline{}).(time.Time); p.w.now.Before(p.otherUntil) && (!limited || p.otherUntil.Before(until)) {
		p.pass(p.otherUntil.Sub(p.w.now))
	}
	return p.TryLock(now)
}

func (p *machinePool) key() string { return p.n.name + ":" + p.name }

func (p *machinePool) Unlock() {
	if p.locked {
		delete(p.w.busy, p.key())
	}
}

// write is the first step of each method that changes the simulated pool. On a suspended pool, a
// program that changes the pool never ends.
func (p *machinePool) write() error {
	if err := p.change(); err != nil {
		return err
	}
	if p.w.tick < p.state().suspended {
		p.hinder("suspended")
		return fmt.Errorf("pool %s is suspended: %w", p.name, command.ErrStillRunning)
	}
	if len(p.holds) > 0 {
		p.reach(duringProgram)
	}
	if p.w.tick < p.n.slowPrograms {
		p.hinder("slow")
		p.pass(3 * time.Second)
	}
	return p.whyOver()
}

func (p *machinePool) Check() error               { return p.read() }
func (p *machinePool) TXG() uint64                { return p.w.serial }
func (p *machinePool) Sync(context.Context) error { return p.write() }

// Space returns the size 0 for every pool, so that no run in the model warns of a full pool.
func (p *machinePool) Space(context.Context) (size, allocated uint64, err error) {
	return 0, 0, nil
}

func (p *machinePool) Children(_ context.Context, parents ...string) ([]zfs.Dataset, error) {
	return p.heads(func(name string) bool { return slices.Contains(parents, zfs.Parent(name)) })
}

func (p *machinePool) heads(wanted func(name string) bool) ([]zfs.Dataset, error) {
	if err := p.read(); err != nil {
		return nil, err
	}
	var list []zfs.Dataset
	for i, name := range sortedNames(p.n.sets) {
		if wanted(name) && !p.n.lacksDisk(p.w.tick, i) {
			head := p.w.head(p.n.sets[name])
			if p.w.Index {
				head.SnapshotsChanged = p.listChanged(p.n.sets[name], 5)
			}
			list = append(list, head)
		}
	}
	return list, nil
}

// lacksDisk reports whether, because of a simulated fault, the node's listings leave out disk
// number i.
func (n *node) lacksDisk(tick, i int) bool { return tick < n.lacking && i == n.lacks%len(n.sets) }

// head returns the dataset as zfs get shows it: a local value hides the received value of the same
// property.
func (w *World) head(d *dataset) zfs.Dataset {
	head := w.disk(d).Dataset
	if head.Running.Source != zfs.SourceReceived {
		head.Running.Received = ""
	}
	return head
}

func (p *machinePool) Descendants(_ context.Context, roots ...string) ([]zfs.Dataset, error) {
	return p.heads(func(name string) bool {
		return zfs.WithinAny(name, roots)
	})
}

func (p *machinePool) Snapshots(_ context.Context, datasets []string, each func(zfs.Snapshot) error) error {
	return p.list(datasets, func(d *dataset) []zfs.Snapshot { return d.snaps }, each)
}

func (p *machinePool) Bookmarks(_ context.Context, datasets []string, each func(zfs.Snapshot) error) error {
	return p.list(datasets, func(d *dataset) []zfs.Snapshot { return d.marks }, each)
}

func (p *machinePool) list(datasets []string, of func(*dataset) []zfs.Snapshot, each func(zfs.Snapshot) error) error {
	if err := p.read(); err != nil {
		return err
	}
	for _, name := range datasets {
		d := p.n.sets[name]
		if d == nil {
			return missing(name)
		}
		for _, s := range of(d) {
			s.Dataset = name
			if err := each(s); err != nil {
				return err
			}
		}
	}
	return nil
}

// missing returns the error that zfs prints for a dataset that does not exist.
func missing(name string) error {
	return fmt.Errorf("cannot open '%s': dataset does not exist", name)
}

func (p *machinePool) Received(_ context.Context, datasets []string) (map[string]zfs.ReceivedLabels, error) {
	if err := p.read(); err != nil {
		return nil, err
	}
	if p.w.tick < p.n.unread {
		p.hinder("received labels unread")
		return nil, errFailed
	}
	all := map[string]zfs.ReceivedLabels{}
	for _, name := range datasets {
		if d := p.n.sets[name]; d != nil {
			all[name] = zfs.ReceivedLabels{Running: d.running.Received}
		}
	}
	return all, nil
}

func (p *machinePool) WrittenSince(_ context.Context, s zfs.Snapshot) (uint64, error) {
	if err := p.read(); err != nil {
		return 0, err
	}
	d := p.n.sets[s.Dataset]
	if d == nil || !d.has(s.Name) {
		return 0, missing(s.FullName())
	}
	return p.w.written(d, d.snaps[d.find(s.Name)]), nil
}

func (p *machinePool) History(_ context.Context, bookmarks []zfs.Snapshot) (zfs.History, error) {
	if err := p.read(); err != nil {
		return zfs.History{}, err
	}
	p.w.stats.Histories++
	return p.w.history(p.n, p.name, bookmarks), nil
}

// Snapshot has the effect of the channel program snapshot.lua on the simulated pool.
func (p *machinePool) Snapshot(_ context.Context, guests []lua.Guest, bookmarks []lua.Bookmark) (map[string]lua.Outcome, error) {
	for _, g := range guests {
		for _, k := range g.Disks {
			p.begins("program", k.Dataset)
			if k.Snapshot && strings.HasSuffix(g.Snapshot, "_stopped") {
				p.beginsStop(k.Dataset)
			}
		}
	}
	if len(bookmarks) > 0 {
		p.begins("bookmark", "")
	}
	if err := p.write(); err != nil {
		return nil, err
	}
	outcomes := map[string]lua.Outcome{}
	for _, g := range guests {
		if p.snapshots(g, outcomes) {
			p.labels(g, outcomes)
		}
	}
	for _, m := range bookmarks {
		o := outcomes[m.Dataset]
		if o.Bookmarks == nil {
			o.Bookmarks = map[string]syscall.Errno{}
		}
		o.Bookmarks[m.Name] = p.bookmark(m.Dataset, m.Name)
		outcomes[m.Dataset] = o
	}
	if p.w.tick < p.n.lost && p.chance.IntN(2) == 0 {
		p.hinder("result lost")
		for name := range outcomes {
			p.unclear[name] = true
		}
		return nil, errFailed
	}
	return outcomes, nil
}

// snapshots takes a snapshot of each disk of a guest. If the snapshot of one disk fails, the guest
// gets no snapshot.
func (p *machinePool) snapshots(g lua.Guest, outcomes map[string]lua.Outcome) bool {
	var made []lua.Disk
	for _, k := range g.Disks {
		if !k.Snapshot {
			continue
		}
		var errno syscall.Errno
		d := p.n.sets[k.Dataset]
		o := lua.Outcome{Snapshot: &errno}
		o.ListChange = p.watched(d, k.TrackChanges, func() { errno = p.snapshot(g, k) })
		if errno == 0 && k.TrackChanges {
			s, _ := d.newest()
			o.GUID, o.CreateTXG, o.Creation = int64(s.GUID), int64(s.CreateTXG), s.Creation.Unix()
		}
		outcomes[k.Dataset] = o
		if errno == 0 {
			made = append(made, k)
			continue
		}
		p.hinder(errno.Error())
		for _, k := range made {
			p.n.sets[k.Dataset].destroy(g.Snapshot)
			delete(p.snapped, k.Dataset)
			delete(p.whileFrozen, k.Dataset+"@"+g.Snapshot)
			outcomes[k.Dataset] = lua.Outcome{Snapshot: new(syscall.Errno), Undone: new(syscall.Errno)}
		}
		return false
	}
	for _, k := range made {
		p.did[report.DidSnapshot]++
		if strings.HasSuffix(g.Snapshot, "_stopped") {
			p.w.say("%s: %s@%s", p.n.name, k.Dataset, g.Snapshot)
			p.stopTaken(k.Dataset)
		}
	}
	return true
}

func (p *machinePool) snapshot(g lua.Guest, k lua.Disk) syscall.Errno {
	d := p.n.sets[k.Dataset]
	switch {
	case d == nil:
		return syscall.ENOENT
	case p.w.Again && p.chance.IntN(16) == 0:
		return syscall.EAGAIN
	case g.RefuseReceiving && d.token:
		return syscall.EBUSY
	case d.has(g.Snapshot):
		return syscall.EEXIST
	case p.w.tick < p.state().full:
		return syscall.ENOSPC
	}
	p.w.snapshot(p.n, d, g.Snapshot)
	if p.snapped == nil {
		p.snapped, p.whileFrozen = map[string]bool{}, map[string]bool{}
	}
	p.snapped[d.name], p.whileFrozen[d.name+"@"+g.Snapshot] = true, p.w.guests[p.w.parse(d.name).vmid].frozen
	return 0
}

// The method `labels` sets label:running on a guest's disks and makes bookmarks of their new
// snapshots.
func (p *machinePool) labels(g lua.Guest, outcomes map[string]lua.Outcome) {
	for _, k := range g.Disks {
		o, d := outcomes[k.Dataset], p.n.sets[k.Dataset]
		if k.Label != "" {
			var errno syscall.Errno
			if d == nil {
				errno = syscall.ENOENT
				p.hinder("a dataset is gone")
			} else {
				p.did[report.DidLabel]++
				p.w.say("%s: label of %s is %s now, was %s", p.n.name, k.Dataset, k.Label, orDash(d.running.Own()))
				d.running = zfs.Property{Value: k.Label, Received: d.running.Received, Source: zfs.SourceLocal}
			}
			o.Label = &errno
		}
		if k.Bookmark {
			errno := p.bookmark(k.Dataset, g.Snapshot)
			o.Bookmark = &errno
		}
		if k.Config != "" && d != nil {
			p.checkKept(k.Dataset, g.Snapshot, k.Config)
			o.Config = new(syscall.Errno)
		}
		outcomes[k.Dataset] = o
	}
}

func (p *machinePool) bookmark(dataset, name string) syscall.Errno {
	d := p.n.sets[dataset]
	switch {
	case d == nil || !d.has(name):
		return syscall.ENOENT
	case slices.ContainsFunc(d.marks, func(m zfs.Snapshot) bool { return m.Name == name }):
		return syscall.EEXIST
	}
	d.marks = append(d.marks, d.snaps[d.find(name)])
	return 0
}

// Destroy has the effect of the channel program destroy.lua on the simulated pool.
func (p *machinePool) Destroy(_ context.Context, disks []lua.DestroyRequest) (map[string]lua.Destroyed, error) {
	if err := p.write(); err != nil {
		return nil, err
	}
	results := map[string]lua.Destroyed{}
	for _, k := range disks {
		p.begins("destroy", k.Dataset)
		var got lua.Destroyed
		change := p.watched(p.n.sets[k.Dataset], k.Watch, func() { got = p.destroy(k) })
		got.ListChange = change
		results[k.Dataset] = got
	}
	return results, nil
}

func (p *machinePool) destroy(k lua.DestroyRequest) lua.Destroyed {
	d := p.n.sets[k.Dataset]
	if d != nil && d.token {
		return lua.Destroyed{Receiving: 1}
	}
	for _, keeper := range k.Keepers {
		if d == nil || !d.has(keeper) {
			return lua.Destroyed{Missing: keeper}
		}
	}
	stopped := func(name string) bool { return strings.HasSuffix(name, "_stopped") }
	if d != nil && !p.replica && p.w.before[d.name] == nil && slices.ContainsFunc(k.Destroy, stopped) {
		p.w.before[d.name] = slices.Concat(d.snaps, d.marks)
	}
	got := lua.Destroyed{Gone: map[string]syscall.Errno{}}
	for _, name := range k.Destroy {
		if k.Check {
			got.Gone[name] = 0
			continue
		}
		if d == nil || !d.has(name) {
			got.Gone[name] = syscall.ENOENT
			continue
		}
		switch {
		case p.unblocks && p.send == p.name:
			p.sent = true
			got.Gone[name] = syscall.EBUSY
			continue
		case p.unblocks:
		case p.unclear[k.Dataset]:
			p.w.recordBroken("%s destroyed %s@%s, although it is unknown whether the disk has its new snapshot", p.n.name, k.Dataset, name)
		case p.replica:
			p.w.mayPrune(d, name)
			d.changed = p.Now()
		default:
			p.w.mayGo(p.n, d, name)
			p.w.stats.Destroyed++
		}
		d.destroy(name)
		p.did[report.DidDestroy]++
		got.Gone[name] = 0
	}
	return got
}

func (p *machinePool) Pinned(context.Context, []string) (map[string]zfs.Pin, error) { return nil, nil }

func (p *machinePool) DestroyBookmark(_ context.Context, b zfs.Snapshot) error {
	if err := p.write(); err != nil {
		return err
	}
	p.begins("destroy", b.Dataset)
	d := p.n.sets[b.Dataset]
	if d == nil {
		return missing(b.Dataset)
	}
	if d.discarded[b.CreateTXG] && p.snapped[d.name] && b.CreateTXG >= p.w.reach(d) && !p.w.descends(d, b.GUID) {
		p.w.recordBroken("%s destroyed the bookmark %s#%s of a discarded history only after it had snapshotted the disk", p.n.name, d.name, b.Name)
	}
	p.w.unmark(d, b.Name)
	return nil
}

// SetConsistent checks, for each snapshot that a run marks as consistent, that the snapshot's guest
// was frozen.
func (p *machinePool) SetConsistent(_ context.Context, snapshots []string) error {
	if err := p.write(); err != nil {
		return err
	}
	for _, name := range snapshots {
		dataset, _, _ := strings.Cut(name, "@")
		p.begins("note", dataset)
		if !p.whileFrozen[name] {
			p.w.recordBroken("%s notes that %s is consistent, but its guest was not frozen", p.n.name, name)
		}
	}
	return nil
}

func (p *machinePool) InheritReceived(_ context.Context, dataset string) error {
	if err := p.write(); err != nil {
		return err
	}
	p.begins("inherit", "")
	d := p.n.sets[dataset]
	if d == nil {
		return missing(dataset)
	}
	d.running = zfs.Property{Value: d.running.Received, Received: d.running.Received, Source: zfs.SourceReceived}
	p.did[report.DidLabel]++
	return nil
}
