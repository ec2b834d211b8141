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
	"snapwatch/internal/report"
	"snapwatch/snapper"
)

// maxLocked is how long a run holds the locks of guests that it does not freeze. Who wants
// to start one of them gives up after 10 s.
const maxLocked = 2 * time.Second

const (
	// maxLockedFrozen is how long a run holds the locks of guests that it freezes, at most.
	maxLockedFrozen = 8 * time.Second
	// maxMigrationLocked is how long it keeps out Proxmox's replication and migration, which
	// give up after 2 s (guest_migration_lock). That is long enough for a freeze that is quick.
	maxMigrationLocked = 1500 * time.Millisecond
)

// maxLook is how long a look at the files of locked guests may take: what is left of
// maxLocked is for their programs.
const maxLook = time.Second

// locks takes the locks that Proxmox takes while it starts, stops or rolls back a guest.
// While one is held only files are read, and only programs for its guest begin.
type locks struct {
	Options
	*journal
	// before says how many runs have waited for a living guest, now how many will have. looked
	// are the living guests whose locks this run has tried.
	before, now map[int]int
	looked      map[int]bool
}

// next says how many runs will have waited for living guests. That of a guest whose lock this
// run did not try stays: another run may be about its disks.
func (l *locks) next(view snapper.NodeView) map[int]int {
	next := maps.Clone(l.now)
	for vmid, runs := range l.before {
		if !l.looked[vmid] && view.Evidence[vmid].Alive() {
			next[vmid] = runs
		}
	}
	return next
}

// lease is the time for which locks are held.
type lease struct {
	over   atomic.Bool
	giveUp func()
}

// held reports whether the locks are still held, so that a program may begin.
func (l *lease) held() bool { return !l.over.Load() }

// newLease holds what was taken for limit at most.
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

// take takes the locks of guests, as far as they can be had, and looks at the guests' files.
// They are held for limit at most.
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
			l.problem(report.Notice, "the locks of the guests %v were given up after %s, before their snapshots were known to be made", guests, limit)
		}
	})
	timeout, end := l.World.Timeout(ctx, maxLook)
	defer end()
	for vmid, look := range looks {
		looks[vmid] = l.look(timeout, view, vmid, look)
	}
	return looks, lease
}

// look looks at the files of a guest.
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

// atWork reports whether somebody holds a guest's lock, as Proxmox does during all of a
// migration and while it moves a disk.
func (r *run) atWork(id pve.ID) bool {
	release, err := r.World.LockGuest(id)
	if err == nil {
		release()
	}
	return err != nil
}

// living takes the locks of the living guests that plans are for. It returns the plans
// without the disks of guests that must wait, what becomes of these, and what the guests'
// files say.
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

// note counts the runs in which a living guest's lock was busy.
func (l *locks) note(vmid int, look snapper.LastLook) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.looked[vmid] = true
	if look.LockErr != nil || look.Err != nil {
		l.now[vmid] = l.before[vmid] + 1
	}
}

// usersOf are the guests of this node that use the disks, by VMID.
func usersOf(disks []snapper.Disk) []int {
	var guests []int
	for _, d := range disks {
		guests = append(guests, d.Guests...)
	}
	slices.Sort(guests)
	return slices.Compact(guests)
}
