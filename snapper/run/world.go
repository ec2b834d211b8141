package run

import (
	"context"
	"time"

	"snapwatch/config"
	"snapwatch/internal/pve"
	"snapwatch/internal/quiesce"
	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
	"snapwatch/lua"
	"snapwatch/snapper"
	"snapwatch/snapper/index"
)

// World is all that a run reaches outside of this program. [Local] is the machine it runs
// on. The simulator has one of its own, which decides what fails, and in which order things
// happen that happen side by side.
type World interface {
	Time
	Proxmox
	Quiesce
	Records
	// Hostname returns the kernel's name for this host.
	Hostname() (string, error)
	// Pools returns the imported pools by name, in order.
	Pools() ([]string, error)
	// Pool returns the pool of that name, which need not be imported.
	Pool(name string) Pool
	// HookNotes are of the guests whose hooks are at work, or owed.
	HookNotes() Notes
	// Trusted returns why a hook must not be started, nil if it may be.
	Trusted(h config.Hook) error
	// Hook runs a hook to its end, or to that of ctx, and returns what it printed. It holds
	// the locks, too, should this process be killed. The error is a [command.ErrNotStarted]
	// where the hook never ran.
	Hook(ctx context.Context, h config.Hook, input string, env []string, locks []Note) (string, error)
}

// Notes are what [note.Dir] is.
type Notes interface {
	Take(name string) (Note, error)
	Find(name string) (Note, error)
	Read(name string, v any) error
	Names() ([]string, error)
}

// Note is what a [note.Note] is.
type Note interface {
	// Left is true for one that a process left behind that is gone.
	Left() bool
	Read(v any) error
	Write(v any) error
	End() error
	Leave()
}

// Time is the clock, and what waits or runs side by side.
type Time interface {
	// Now returns the time, in the zone of the node.
	Now() time.Time
	// Wait returns when d has passed, or with the error of ctx when that ends.
	Wait(ctx context.Context, d time.Duration) error
	// Timeout returns a context that ends after d, or with ctx.
	Timeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc)
	// After calls do once d has passed, beside the caller, unless cancel was called before.
	After(d time.Duration, do func()) (cancel func())
	// Lanes returns lanes for so many things at once, 0 for any number.
	Lanes(n int) Lanes
	// Gather starts the work side by side. Each call of next returns the indices of those
	// that ended and were not returned yet: of all of them, or of at least one when the
	// time is over that the first may wait for the others.
	Gather(within time.Duration, work ...func()) (next func() []int)
}

// Lanes run things side by side.
type Lanes interface {
	// Go starts do beside the caller as soon as a lane is free. wait returns when it has
	// ended.
	Go(do func()) (wait func())
}

// Proxmox is what Proxmox and systemd say of this node and its guests. What takes a
// context may hang; the rest reads files.
type Proxmox interface {
	// Installed reports whether this host is meant to be a Proxmox node.
	Installed() bool
	Cluster(ctx context.Context) (pve.Cluster, error)
	// List returns the guests of this node as Proxmox lists them.
	List(ctx context.Context) (map[pve.ID]pve.Listed, error)
	// RunState returns what QEMU itself says that a virtual machine does.
	RunState(ctx context.Context, vmid int) (string, error)
	// Process reports whether a guest's process is there.
	Process(id pve.ID) (bool, error)
	// Rebooting reports whether a guest that stopped will be started again.
	Rebooting(id pve.ID) bool
	// GuestConfig reads the configuration of one guest.
	GuestConfig(ctx context.Context, id pve.ID) (pve.Config, error)
	Uptime() (time.Duration, error)
	BootState(ctx context.Context) (string, error)
	Shutdown(ctx context.Context) snapper.Shutdown
	// RollingBack reports whether Proxmox is at work on a rollback of a guest.
	RollingBack(id pve.ID) bool
	// LockMigration takes the lock that Proxmox takes for the guest's replication and
	// migration, without waiting.
	LockMigration(id pve.ID) (release func(), err error)
	// LockGuest takes the lock that Proxmox takes while it starts, stops or rolls back a
	// guest, without waiting. Nobody may be kept waiting for it for long.
	LockGuest(id pve.ID) (release func(), err error)
}

// Quiesce freezes guests while their snapshots are taken.
type Quiesce interface {
	// Frozen reports whether somebody holds the guest frozen.
	Frozen(ctx context.Context, id pve.ID) (bool, error)
	// FreezesAtOnce returns how many virtual machines are frozen at the same time.
	FreezesAtOnce() int
	// TakeOver thaws the guests that earlier runs froze and whose watchdogs are gone. It
	// tells what became of each before it forgets that it was frozen.
	TakeOver(ctx context.Context, tell func(pve.ID, quiesce.TakenOver)) error
	// OpenWindow prepares the freezing of guests for no longer than budget.
	OpenWindow(guests []pve.ID, budget time.Duration) (Window, error)
}

// Window is the time for which guests are frozen.
type Window interface {
	// Freeze freezes the guests. It returns why some could not be.
	Freeze() map[pve.ID]string
	Thaw() quiesce.Ended
}

// Records are the files that a run leaves for the next one, and for others.
type Records interface {
	// LastReport returns the report of that name, empty where there is none.
	LastReport(name string) (report.Run, error)
	SaveReport(name string, r *report.Run) error
	LoadState() (report.State, error)
	SaveState(s report.State) error
}

// Pool is one pool. All that is started on it while its lock is taken keeps the lock until
// it ends, even if nobody waits for it any more.
type Pool interface {
	// TryLock takes the pool's lock, which no two runs have at once. The error is a
	// [lock.Busy] where another run has it. WaitLock waits for it until ctx ends.
	TryLock(now time.Time) error
	WaitLock(ctx context.Context, now time.Time) error
	// Unlock gives it up, if it was taken.
	Unlock()

	// Check returns why the pool cannot be asked, nil if it can.
	Check() error
	// TXG returns the transaction group that the pool is in, 0 where that is not known.
	TXG() uint64
	// Children lists the datasets directly below the parents, Descendants those anywhere
	// below, and the roots.
	Children(ctx context.Context, parents ...string) ([]zfs.Dataset, error)
	Descendants(ctx context.Context, roots ...string) ([]zfs.Dataset, error)
	Snapshots(ctx context.Context, datasets []string, each func(zfs.Snapshot) error) error
	Bookmarks(ctx context.Context, datasets []string, each func(zfs.Snapshot) error) error
	Received(ctx context.Context, datasets []string) (map[string]zfs.ReceivedLabels, error)
	// Pinned returns what keeps snapshots, by full name, from being destroyed.
	Pinned(ctx context.Context, fullNames []string) (map[string]zfs.Pin, error)
	WrittenSince(ctx context.Context, s zfs.Snapshot) (uint64, error)
	History(ctx context.Context, bookmarks []zfs.Snapshot) (zfs.History, error)
	// LoadIndex returns what earlier runs remember of the pool.
	LoadIndex() (index.Index, error)
	SaveIndex(x *index.Index) error

	// What follows changes the pool, and continues when ctx ends before it does: then the
	// error is a [command.ErrStillRunning].

	// Snapshot and Destroy run a channel program each.
	Snapshot(ctx context.Context, guests []lua.Guest, bookmarks []lua.Bookmark) (map[string]lua.Outcome, error)
	Destroy(ctx context.Context, disks []lua.DestroyRequest) (map[string]lua.Destroyed, error)
	// DestroyBookmark destroys a bookmark. Channel programs cannot before a ZFS of 2026
	// (openzfs #18992).
	DestroyBookmark(ctx context.Context, b zfs.Snapshot) error
	// InheritReceived gives a dataset's local label up for the received one. A channel
	// program's inherit forgets the received value for good (zfs-program(8)).
	InheritReceived(ctx context.Context, dataset string) error
	// SetConsistent notes on snapshots, by their full names, that their guests were frozen
	// until they were made. That is known only afterwards.
	SetConsistent(ctx context.Context, snapshots []string) error
	// Sync returns when the pool has written all that waited to be written (zpool-sync(8)).
	Sync(ctx context.Context) error
}
