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

// World is everything that a run reaches outside of this program. [Local] is the World of the
// machine on which the run happens. The simulator (test/sim) has a World of its own. The
// simulator's World decides which steps fail, and it decides the order of steps that run side by
// side.
type World interface {
	Time
	Proxmox
	Quiesce
	Records
	// Hostname returns the kernel's name for this host.
	Hostname() (string, error)
	// Pools returns the names of the imported pools, in alphabetical order.
	Pools() ([]string, error)
	// Pool returns the pool with the given name, even if no imported pool has the name.
	Pool(name string) Pool
	// HookNotes returns the directory of the notes about hooks that are running or must still run.
	HookNotes() Notes
	// Trusted returns the reason why a hook must not be started, such as that a user other than
	// root may change its program. Trusted returns nil if the hook may be started.
	Trusted(h config.Hook) error
	// Hook runs a hook until it ends or ctx ends, and returns the hook's output. The hook inherits
	// the locks of its guests, so that the locks remain taken if this process is killed. The error
	// is a [command.ErrNotStarted] if the hook was never started, and a [command.ErrStillRunning] if
	// the hook was killed and has not ended.
	Hook(ctx context.Context, h config.Hook, input string, env []string, locks []Note) (string, error)
}

// Notes has the methods of [note.Dir] that a run needs. [note.Dir] is the directory with the notes
// about hooks.
type Notes interface {
	Take(name string) (Note, error)
	Find(name string) (Note, error)
	Read(name string, v any) error
	Names() ([]string, error)
}

// Note has the methods of [note.Note] that a run needs. [note.Note] is a locked file about work
// that must be ended.
type Note interface {
	// Left reports whether the note was left by a process that is gone.
	Left() bool
	Read(v any) error
	Write(v any) error
	End() error
	Leave()
}

// Time is the clock, with the means to wait and to run functions side by side.
type Time interface {
	// Now returns the time, in the time zone of the node.
	Now() time.Time
	// Wait returns after d. If ctx ends before d has passed, Wait returns the error of ctx.
	Wait(ctx context.Context, d time.Duration) error
	// Timeout returns a context that ends after d, or when ctx ends.
	Timeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc)
	// After waits for the time d and then calls the function `do`, side by side with the caller. If
	// `cancel` is called before d has passed, After does not call `do`.
	After(d time.Duration, do func()) (cancel func())
	// Lanes returns a [Lanes] that runs at most n functions at the same time. If n is 0, any number
	// of functions may run at the same time.
	Lanes(n int) Lanes
	// Gather starts the functions in the list `work`, side by side, and returns the function
	// `next`. Each call of `next` returns the indices of the functions that have ended since the
	// call before. The first call waits until all functions have ended, but only until the time
	// `within` has passed since the start. After this time, each call waits only until one function
	// has ended.
	Gather(within time.Duration, work ...func()) (next func() []int)
}

// Lanes runs functions side by side, a limited number at the same time.
type Lanes interface {
	// Go starts the function `do`, side by side with the caller, as soon as the limit on running
	// functions allows the start. The returned function `wait` waits until the function `do` has
	// ended.
	Go(do func()) (wait func())
}

// Proxmox reads facts about this node and its guests from Proxmox and systemd. Methods with a
// context may hang; the other methods read files.
type Proxmox interface {
	// Installed reports whether Proxmox is installed on this host.
	Installed() bool
	Cluster(ctx context.Context) (pve.Cluster, error)
	// List returns the guests of this node as Proxmox lists them.
	List(ctx context.Context) (map[pve.ID]pve.Listed, error)
	// RunState returns the state of a virtual machine, as QEMU itself reports it.
	RunState(ctx context.Context, vmid int) (string, error)
	// Process reports whether a guest's process exists.
	Process(id pve.ID) (bool, error)
	// Rebooting reports whether Proxmox will start a stopped guest again.
	Rebooting(id pve.ID) bool
	// GuestConfig reads the configuration of one guest.
	GuestConfig(ctx context.Context, id pve.ID) (pve.Config, error)
	Uptime() (time.Duration, error)
	BootState(ctx context.Context) (string, error)
	Shutdown(ctx context.Context) snapper.Shutdown
	// RollingBack reports whether Proxmox is rolling a guest back.
	RollingBack(id pve.ID) bool
	// LockMigration takes the lock that Proxmox takes for the guest's replication and migration.
	// LockMigration returns an error, without waiting, if the lock is taken.
	LockMigration(id pve.ID) (release func(), err error)
	// LockGuest takes the lock that Proxmox takes while it starts, stops or rolls back a guest.
	// LockGuest returns an error, without waiting, if the lock is taken. A guest's lock must be
	// released soon, because Proxmox's programs may be waiting for the lock.
	LockGuest(id pve.ID) (release func(), err error)
}

// Quiesce freezes guests while their snapshots are taken.
type Quiesce interface {
	// Frozen reports whether the guest is frozen now, whatever program froze it.
	Frozen(ctx context.Context, id pve.ID) (bool, error)
	// FreezesAtOnce returns the number of virtual machines that are frozen at the same time.
	FreezesAtOnce() int
	// TakeOver thaws the guests that earlier runs froze and whose watchdogs are gone. TakeOver
	// calls `tell` with the result for each guest. When `tell` has returned, TakeOver removes the
	// note that the guest was frozen.
	TakeOver(ctx context.Context, tell func(pve.ID, quiesce.TakenOver)) error
	// OpenWindow prepares to freeze the guests for at most the duration `budget`.
	OpenWindow(guests []pve.ID, budget time.Duration) (Window, error)
}

// Window is the time for which guests are frozen.
type Window interface {
	// Freeze freezes the guests. Freeze returns the guests that could not be frozen, with the
	// reasons.
	Freeze() map[pve.ID]string
	Thaw() quiesce.Ended
}

// Records reads and writes the files that a run saves for the next run, and for other programs.
type Records interface {
	// LastReport returns the report that was saved under the given name, or an empty report if no
	// report was saved under the name.
	LastReport(name string) (report.Run, error)
	SaveReport(name string, r *report.Run) error
	LoadState() (report.State, error)
	// LockRecords takes the lock of the state and the reports, so that no run replaces the entries
	// which another run saved after they were read. LockRecords waits for the lock until ctx ends.
	LockRecords(ctx context.Context) (release func(), err error)
	SaveState(s report.State) error
}

// Pool reads and changes one ZFS pool. A command that is started while the pool's lock is taken
// keeps the lock until the command ends, even if the run no longer waits for the command.
type Pool interface {
	// TryLock takes the pool's lock. At most one run can have the lock of a pool. If a second run
	// has the lock, the error is a [lock.Busy]. WaitLock waits for the lock until ctx ends.
	TryLock(now time.Time) error
	WaitLock(ctx context.Context, now time.Time) error
	// Unlock releases the pool's lock, if this run has taken it.
	Unlock()

	// Check returns the reason why the pool cannot be read, nil if the pool can be read.
	Check() error
	// TXG returns the pool's present transaction group, 0 if unknown.
	TXG() uint64
	// Space returns the size and the allocated bytes of the pool. Space may hang. A call of Space
	// that hangs does not keep the pool's lock.
	Space(ctx context.Context) (size, allocated uint64, err error)
	// Children lists the datasets directly below the datasets in parents. Descendants lists the
	// roots and the datasets at any depth below them.
	Children(ctx context.Context, parents ...string) ([]zfs.Dataset, error)
	Descendants(ctx context.Context, roots ...string) ([]zfs.Dataset, error)
	Snapshots(ctx context.Context, datasets []string, each func(zfs.Snapshot) error) error
	Bookmarks(ctx context.Context, datasets []string, each func(zfs.Snapshot) error) error
	Received(ctx context.Context, datasets []string) (map[string]zfs.ReceivedLabels, error)
	// Pinned returns the holds and clones that prevent ZFS from destroying the given snapshots, by
	// the full names of the snapshots.
	Pinned(ctx context.Context, fullNames []string) (map[string]zfs.Pin, error)
	WrittenSince(ctx context.Context, s zfs.Snapshot) (uint64, error)
	History(ctx context.Context, bookmarks []zfs.Snapshot) (zfs.History, error)
	// LoadIndex returns the index that earlier runs saved for the pool.
	LoadIndex() (index.Index, error)
	SaveIndex(x *index.Index) error

	// All methods from here on change the pool. If ctx ends, the change continues, and the error is
	// a [command.ErrStillRunning].

	// Each call of Snapshot or Destroy runs one channel program.
	Snapshot(ctx context.Context, guests []lua.Guest, bookmarks []lua.Bookmark) (map[string]lua.Outcome, error)
	Destroy(ctx context.Context, disks []lua.DestroyRequest) (map[string]lua.Destroyed, error)
	// DestroyBookmark destroys a bookmark, by a command: a channel program can destroy bookmarks
	// only on a ZFS of 2026 or later (openzfs #18992).
	DestroyBookmark(ctx context.Context, b zfs.Snapshot) error
	// InheritReceived replaces a dataset's local label by the received label, by a command: the
	// inherit of a channel program would lose the received value for good (zfs-program(8)).
	InheritReceived(ctx context.Context, dataset string) error
	// SetConsistent marks snapshots, given by their full names, with a property. The mark of
	// SetConsistent says that the guests were frozen until the snapshots were taken. A run cannot
	// set the mark while it takes the snapshots, because it does not yet know whether the guests
	// remain frozen until the snapshots exist.
	SetConsistent(ctx context.Context, snapshots []string) error
	// Sync makes the pool write its pending data, and waits until the data are written
	// (zpool-sync(8)).
	Sync(ctx context.Context) error
}
