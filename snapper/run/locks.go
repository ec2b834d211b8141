package run

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"snapwatch/internal/pve"
	"snapwatch/internal/quiesce"
	"snapwatch/internal/report"
	"snapwatch/snapper"
)

// maxLocked is the longest time for which a run holds the locks of guests that it does not
// freeze. Proxmox gives up starting a guest if the guest's lock is taken for 10 s.
const maxLocked = 2 * time.Second

const (
	// maxLockedFrozen is the longest time for which a run holds the locks of guests that it
	// freezes: the time until the guests are frozen, and the time of their channel programs.
	maxLockedFrozen = quiesce.MaxFreezing + maxLocked
	// maxMigrationLocked is the longest time for which a run prevents Proxmox's replication and
	// migration, which give up after 2 s (guest_migration_lock). A replication or migration may
	// begin during a freeze that takes longer than maxMigrationLocked, but not during a shorter
	// one.
	maxMigrationLocked = 1500 * time.Millisecond
)

// maxLook is the longest time that reading the files of locked guests may take. The remaining time
// of maxLocked is for the channel programs.
const maxLook = time.Second

// locks is the part of a run that takes guests' locks: the locks that Proxmox takes while it
// starts, stops or rolls back a guest. While a guest's lock is held, the run only reads files and
// starts channel programs for this guest.
type locks struct {
	Options
	*journal
	// The maps `before` and `now` have, by VMID, the number of runs in succession that skipped a
	// living guest. The map `before` does not count this run, the map `now` does. The map `looked`
	// has the VMIDs of the living guests whose locks this run tried to take.
	before, now map[int]int
	looked      map[int]bool
}

// skippedRuns returns, by VMID, the number of runs in succession that skipped a living guest, to be
// saved for the next run. If this run did not try to take a guest's lock, the number of skipping
// runs stays as it is in the map `saved`, because a run of another cron line may skip or snapshot
// this guest.
func (l *locks) skippedRuns(saved map[int]int, view snapper.NodeView) map[int]int {
	next := maps.Clone(l.now)
	for vmid, runs := range saved {
		if !l.looked[vmid] && view.Evidence[vmid].Alive() {
			next[vmid] = runs
		}
	}
	return next
}

// lease is the time for which a run holds the locks of guests.
type lease struct {
	over   atomic.Bool
	giveUp func()
}

// held reports whether the guests' locks are still held. A channel program may begin only while the
// locks are held.
func (l *lease) held() bool { return !l.over.Load() }

// newLease returns a lease of guests' locks. The argument `taken` has a function for each lock,
// which releases the lock. If the locks are still held after the time limit, the lease calls the
// function `late` and then releases the locks.
func newLease(world Time, limit time.Duration, taken []func(), late func()) *lease {
	l := &lease{}
	release := sync.OnceFunc(func() {
		l.over.Store(true)
		for _, give := range taken {
			give()
		}
	})
	cancel := world.After(limit, func() {
		late()
		release()
	})
	l.giveUp = func() {
		cancel()
		release()
	}
	return l
}

// take takes the locks of the guests that no other process has locked, and reads the guests' files.
// The guests' locks are held for at most the time limit.
func (l *locks) take(ctx context.Context, view snapper.NodeView, guests []int, limit time.Duration) (map[int]snapper.LastLook, *lease) {
	var taken []func()
	looks := map[int]snapper.LastLook{}
	for _, vmid := range guests {
		release, err := l.World.LockGuest(view.Evidence[vmid].Config.ID)
		if err == nil {
			taken = append(taken, release)
		}
		looks[vmid] = snapper.LastLook{LockErr: err}
	}
	lease := newLease(l.World, limit, taken, func() {
		if len(taken) > 0 {
			l.problem(report.Notice, "the locks of the guests %v were released after %s, before it was known whether their snapshots were taken", guests, limit)
		}
	})
	timeout, end := l.World.Timeout(ctx, maxLook)
	defer end()
	for vmid, look := range looks {
		looks[vmid] = l.look(timeout, view, vmid, look)
	}
	return looks, lease
}

// look takes the last look at a guest before its snapshots: it reads the guest's configuration and
// process files.
func (l *locks) look(ctx context.Context, view snapper.NodeView, vmid int, look snapper.LastLook) snapper.LastLook {
	id := view.Evidence[vmid].Config.ID
	if look.Config, look.Err = l.World.GuestConfig(ctx, id); look.Err == nil {
		look.Process, look.Err = l.World.Process(id)
	}
	look.Ended = look.Err == nil && !look.Process && view.Evidence[vmid].Process
	look.Gone = errors.Is(look.Err, fs.ErrNotExist)
	look.Rebooting = l.World.Rebooting(id)
	look.BusyRuns, look.RollingBack = l.before[vmid], l.World.RollingBack(id)
	return look
}

// atWork reports whether another process has a guest's lock: Proxmox holds the guest's lock during
// a whole migration, and while it moves a disk.
func (o Options) atWork(id pve.ID) bool {
	release, err := o.World.LockGuest(id)
	if err == nil {
		release()
	}
	return err != nil
}

// living takes the locks of the living guests for which the plans are. Some of the guests must wait
// for the next run. The list `ready` has the plans, without the disks of guests that must wait. The
// map `left` has, by dataset, the outcomes of the disks of guests that must wait. The map `looks`
// has, by VMID, the content of the guests' files.
func (l *locks) living(ctx context.Context, view snapper.NodeView, plans []snapper.GuestPlan, limit time.Duration) (ready []snapper.GuestPlan, left map[string]snapper.Outcome, looks map[int]snapper.LastLook, held *lease) {
	var all []int
	for _, g := range plans {
		for _, d := range g.Disks {
			all = append(all, view.UsersHere(d.Dataset)...)
		}
	}
	slices.Sort(all)
	looks, held = l.take(ctx, view, slices.Compact(all), limit)
	left = map[string]snapper.Outcome{}
	for _, g := range plans {
		g.Disks = slices.DeleteFunc(slices.Clone(g.Disks), func(d snapper.DiskPlan) bool {
			for _, vmid := range view.UsersHere(d.Dataset) {
				l.note(vmid, looks[vmid])
				if why := looks[vmid].Waits(); why != "" {
					left[d.Dataset] = snapper.Outcome{Living: true, Left: fmt.Sprintf("guest %d: left to the next run: %s", vmid, why)}
					return true
				}
			}
			return false
		})
		if len(g.Disks) > 0 {
			ready = append(ready, g)
		}
	}
	return ready, left, looks, held
}

// note counts this run among those that skipped a living guest, if another process has the guest's
// lock, or if the guest's files could not be read.
func (l *locks) note(vmid int, look snapper.LastLook) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.looked[vmid] = true
	if look.LockErr != nil || look.Err != nil {
		l.now[vmid] = l.before[vmid] + 1
	}
}

// usersOf returns the guests of this node that use the disks, by VMID.
func usersOf(disks []snapper.Disk) []int {
	var guests []int
	for _, d := range disks {
		guests = append(guests, d.Guests...)
	}
	slices.Sort(guests)
	return slices.Compact(guests)
}
