package run

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"snapwatch/config"
	"snapwatch/internal/command"
	"snapwatch/internal/files"
	"snapwatch/internal/lock"
	"snapwatch/internal/note"
	"snapwatch/internal/pve"
	"snapwatch/internal/quiesce"
	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
	"snapwatch/snapper"
)

// Local is the World of the machine on which this process runs. The embedded Host reads Proxmox's
// files.
type Local struct {
	pve.Host
	// Freezers freezes and thaws guests.
	Freezers quiesce.Host
	// Kstat is the directory in which ZFS publishes the state of pools. LockDir is the directory of
	// root's locks. StateDir is the directory with last-run.json, state.json and the other files of
	// runs.
	Kstat, LockDir, StateDir string
	// Clock returns the present time; it is [time.Now], except in tests.
	Clock func() time.Time
}

var _ World = Local{}

// Now implements [Time].
func (l Local) Now() time.Time { return l.Clock() }

// Wait implements [Time].
func (Local) Wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Timeout implements [Time].
func (Local) Timeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, d)
}

// After implements [Time].
func (Local) After(d time.Duration, do func()) (cancel func()) {
	timer := time.AfterFunc(d, do)
	return func() { timer.Stop() }
}

// lanes is a channel that limits the number of functions that run at the same time. The channel has
// an entry for each function that runs. lanes is nil if there is no limit.
type lanes chan struct{}

// Lanes implements [Time].
func (Local) Lanes(n int) Lanes {
	if n == 0 {
		return lanes(nil)
	}
	return make(lanes, n)
}

// Go implements [Lanes].
func (l lanes) Go(do func()) (wait func()) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if l != nil {
			l <- struct{}{}
			defer func() { <-l }()
		}
		do()
	}()
	return func() { <-ended }
}

// Gather implements [Time].
func (Local) Gather(within time.Duration, work ...func()) (next func() []int) {
	ended := make(chan int, len(work))
	for i, do := range work {
		go func() {
			do()
			ended <- i
		}()
	}
	missing, late, over := len(work), false, time.After(within)
	return func() []int {
		var some []int
		for len(some) < missing && (!late || len(some) == 0 || len(ended) > 0) {
			select {
			case i := <-ended:
				some = append(some, i)
			case <-over:
				late = true
			}
		}
		missing -= len(some)
		return some
	}
}

// List implements [Proxmox].
func (Local) List(ctx context.Context) (map[pve.ID]pve.Listed, error) { return pve.List(ctx) }

// RunState implements [Proxmox].
func (Local) RunState(ctx context.Context, vmid int) (string, error) { return pve.RunState(ctx, vmid) }

// Shutdown asks systemd for the states that prove a shutdown of the host.
func (l Local) Shutdown(ctx context.Context) snapper.Shutdown {
	var s snapper.Shutdown
	if s.System, s.Err = l.SystemState(ctx); s.Err != nil {
		return s
	}
	if s.Guests, s.Err = l.UnitState(ctx, "pve-guests.service"); s.Err != nil {
		return s
	}
	s.HA, s.Err = l.UnitState(ctx, "pve-ha-lrm.service")
	return s
}

// LockGuest takes Proxmox's lock of a guest in shared mode. If the directory of the locks is
// missing, Proxmox has not locked any guest since boot, and LockGuest creates the directory as
// Proxmox does.
func (l Local) LockGuest(id pve.ID) (release func(), err error) {
	path := l.ConfigLock(id)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	taken, err := lock.TryShared(path)
	if err != nil {
		return nil, err
	}
	return func() { _ = taken.Release() }, nil
}

// LockMigration takes the lock of a guest that Proxmox's function guest_migration_lock takes
// (PVE::GuestHelpers).
func (l Local) LockMigration(id pve.ID) (release func(), err error) {
	path := l.MigrationLock(id)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	taken, err := lock.TryShared(path)
	if err != nil {
		return nil, err
	}
	return func() { _ = taken.Release() }, nil
}

// Frozen implements [Quiesce].
func (l Local) Frozen(ctx context.Context, id pve.ID) (bool, error) {
	return l.Freezers.Freezer(id).Frozen(ctx)
}

// FreezesAtOnce implements [Quiesce].
func (l Local) FreezesAtOnce() int { return max(1, l.Freezers.AtOnce) }

// TakeOver implements [Quiesce].
func (l Local) TakeOver(ctx context.Context, tell func(pve.ID, quiesce.TakenOver)) error {
	return l.Freezers.TakeOver(ctx, tell)
}

// OpenWindow implements [Quiesce].
func (l Local) OpenWindow(guests []pve.ID, budget time.Duration) (Window, error) {
	w, err := l.Freezers.Open(guests, budget)
	if err != nil {
		return nil, err // returning the nil pointer w would give a Window that is not nil
	}
	return w, nil
}

// LastReport implements [Records].
func (l Local) LastReport(name string) (report.Run, error) { return report.Last(l.StateDir, name) }

// SaveReport implements [Records].
func (l Local) SaveReport(name string, r *report.Run) error { return r.Save(l.StateDir, name) }

// LoadState implements [Records].
func (l Local) LoadState() (report.State, error) { return report.LoadState(l.StateDir) }

// SaveState implements [Records].
func (l Local) SaveState(s report.State) error { return s.Save(l.StateDir) }

// LockRecords implements [Records].
func (l Local) LockRecords(ctx context.Context) (release func(), err error) {
	if err := files.Directory(l.LockDir, 0o700); err != nil {
		return nil, err
	}
	taken, err := lock.Wait(ctx, filepath.Join(l.LockDir, "records.lock"), l.Clock())
	if err != nil {
		return nil, err
	}
	return func() { _ = taken.Release() }, nil
}

// Hostname implements [World].
func (Local) Hostname() (string, error) { return os.Hostname() }

// Pools implements [World].
func (l Local) Pools() ([]string, error) { return zfs.Pools(l.Kstat) }

// Pool implements [World].
func (l Local) Pool(name string) Pool { return &localPool{local: l, name: name} }

// HookNotes implements [World]. The notes are in StateDir, so that owed hooks outlive a shutdown of
// the host. Other users may read StateDir, because the exporter reads files there.
func (l Local) HookNotes() Notes {
	// An error of creating StateDir is ignored, because writing a note about a hook into a missing
	// StateDir returns an error.
	_ = files.Directory(l.StateDir, 0o755)
	return localNotes{note.Dir(filepath.Join(l.StateDir, "hooks"))}
}

// localNotes implements the interface Notes with the directory of the notes about hooks.
type localNotes struct{ note.Dir }

func (d localNotes) Take(name string) (Note, error) { return noteOf(d.Dir.Take(name)) }
func (d localNotes) Find(name string) (Note, error) { return noteOf(d.Dir.Find(name)) }

func noteOf(n *note.Note, err error) (Note, error) {
	if err != nil {
		return nil, err // returning the nil pointer n would give a Note that is not nil
	}
	return n, nil
}

// Trusted implements [World].
func (Local) Trusted(h config.Hook) error { return h.Trusted() }

// Hook implements [World].
func (Local) Hook(ctx context.Context, h config.Hook, input string, env []string, locks []Note) (string, error) {
	c := command.Cmd{Argv: h.Argv, Stdin: input}
	for _, l := range locks {
		c.Inherit = append(c.Inherit, l.(*note.Note).File())
	}
	return command.RunHook(ctx, c, env)
}
