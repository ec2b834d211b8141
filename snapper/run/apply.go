package run

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"snapwatch/internal/report"
	"snapwatch/snapper"
)

// restTimeout limits a pool's wait after its new snapshots were taken: the run waits for the new
// snapshots on the other pools, and then destroys old snapshots on this pool. The run waits because
// it holds guests' locks while it takes snapshots, and destroys at the same time would make it hold
// the locks for longer. After restTimeout, the run no longer waits, so that a slow pool does not
// prevent the destroys on the other pools. The run releases the locks of the slow pool's guests
// after maxLocked, which is much shorter than restTimeout.
const restTimeout = 30 * time.Second

// One channel program snapshots at most maxTogether disks of living guests. The run holds the
// guests' locks while the channel program runs, so the channel program must end within a second.
const maxTogether = 50

// carryOut carries out the plan for the given pools and returns the outcomes of the disks. The
// argument named read has all disks that the run has read, on all pools. The order is:
//
//  1. Destroy the bookmarks of discarded histories on the disks of guests that stopped, so that
//     no program sends from such a bookmark. While a guest that stopped is locked, nothing but
//     its _stopped snapshots is made.
//  2. Take the _stopped snapshots of the guests that stopped, one guest after the other, each
//     under its lock, and start the hooks that follow these snapshots.
//  3. Destroy the bookmarks of discarded histories on the remaining disks.
//  4. Run the hooks that must end before the snapshots of living guests. A guest whose hook
//     fails gets no snapshot.
//  5. Take the snapshots of living guests that must be frozen, one guest or group after the
//     other.
//  6. Take the snapshots of the living guests that are not frozen, on all pools side by side. When
//     all pools have their snapshots, start the hooks that follow the snapshots of living guests.
//     On a pool that has its snapshots, step 7 may begin before the hooks.
//  7. On each pool, bookmark older snapshots, replace local labels by received ones, and
//     destroy the snapshots that the retention drops. Snapshots in Waiting, which exceed
//     max_destroys, are destroyed last, in place of snapshots that ZFS refused to destroy.
func (r *run) carryOut(ctx context.Context, view snapper.NodeView, pools []*pool, plan snapper.Plan, read []snapper.Disk) map[string]snapper.Outcome {
	pools = readable(pools)
	r.captures.round(plan, plannedDisks(pools))

	eachPool(r.World, pools, func(p *pool) { p.destroyAbandoned(ctx, plan.ForPool(p.name).AbandonedOfStops) })
	r.hooks.settle(func(o owedHook) string { return stopUndone(o, view, read, plan) })
	stopping := r.hooks.oweStops(plan)
	outcomes := r.takeStops(ctx, view, pools, plan.Stops())
	r.hooks.followStops(plan, outcomes, stopping, read)
	eachPool(r.World, pools, func(p *pool) { p.destroyAbandoned(ctx, plan.ForPool(p.name).Abandoned) })

	failed, owed := r.hooks.startBefore(ctx, r.hooks.dueHooks(plan))
	ready, refused := plan.Without(failed)
	maps.Copy(outcomes, refused)
	r.hooks.oweAll(afterSnapshot, dueFor(ready), owed)
	freezer := &freezer{
		Options: r.Options, journal: r.journal, start: r.start, previous: r.previous.Quiesced,
		view: view, pools: pools, locks: r.locks, captures: r.captures,
	}
	taken := freezer.take(ctx, ready.Frozen())

	var mu sync.Mutex
	var work, rest []func()
	for _, p := range pools {
		work = append(work, func() {
			got := r.takeLiving(ctx, view, p, ready.ForPool(p.name).Guests)
			mu.Lock()
			defer mu.Unlock()
			maps.Copy(taken, got)
		})
	}
	ended := r.World.Gather(restTimeout, work...)
	lanes := r.World.Lanes(0)
	for n := 0; n < len(pools); {
		for _, i := range ended() {
			mu.Lock()
			known := maps.Clone(outcomes)
			maps.Copy(known, taken)
			mu.Unlock()
			rest = append(rest, lanes.Go(func() { pools[i].finishPlan(ctx, ready.ForPool(pools[i].name), known) }))
			n++
		}
	}
	maps.Copy(taken, refused)
	r.hooks.follow(plan, taken, owed)
	waitAll(rest)
	r.destroyMore(ctx, pools, func([]snapper.Destroy) {})
	maps.Copy(outcomes, taken)
	return outcomes
}

// takeLiving takes the snapshots of living guests on a pool, with several guests in one channel
// program. While a channel program runs, takeLiving holds the guests' locks. A guest on which
// Proxmox is working may get no snapshot in this run.
func (r *run) takeLiving(ctx context.Context, view snapper.NodeView, p *pool, plans []snapper.GuestPlan) map[string]snapper.Outcome {
	outcomes := map[string]snapper.Outcome{}
	for len(plans) > 0 {
		n, disks := 0, 0
		for ; n < len(plans) && (n == 0 || disks+len(plans[n].Disks) <= maxTogether); n++ {
			disks += len(plans[n].Disks)
		}
		together, left, looks, lease := r.locks.living(ctx, view, plans[:n], maxLocked)
		plans = plans[n:]
		maps.Copy(outcomes, left)
		maps.Copy(outcomes, p.takeSnapshots(ctx, r.captures.fill(together, view, looks), lease, programTimeout))
		lease.giveUp()
	}
	return outcomes
}

// takeStops takes the _stopped snapshots of the disks of all guests that stopped, one guest after
// the other.
func (r *run) takeStops(ctx context.Context, view snapper.NodeView, pools []*pool, stops []snapper.Stop) map[string]snapper.Outcome {
	outcomes := map[string]snapper.Outcome{}
	for _, s := range stops {
		maps.Copy(outcomes, r.takeStop(ctx, view, pools, s))
	}
	return outcomes
}

// takeStop takes the _stopped snapshots of one guest and sets its labels, in one channel program on
// each of the guest's pools, side by side. While the channel programs run, takeStop holds the lock
// of each guest that uses the disks, so that nobody can start the guests. takeStop holds each lock
// for at most maxLocked.
func (r *run) takeStop(ctx context.Context, view snapper.NodeView, pools []*pool, s snapper.Stop) map[string]snapper.Outcome {
	disks := stopDisks(pools, s)
	// Without the sync before the lock, the pools would write their pending data while the guest is
	// locked.
	syncPools(r.World, pools, s.Plans)
	left := func(format string, args ...any) map[string]snapper.Outcome {
		outcomes := map[string]snapper.Outcome{}
		for _, d := range disks {
			outcomes[d.Name] = snapper.Outcome{Left: fmt.Sprintf("guest %d: ", s.VMID) + fmt.Sprintf(format, args...)}
		}
		return outcomes
	}
	looks, lease := r.locks.take(ctx, view, usersOf(disks), maxLocked)
	defer lease.giveUp()
	for _, l := range looks {
		if l.LockErr != nil {
			return left("stopped, but Proxmox works on it: %v", l.LockErr)
		}
	}
	if why := view.StillStopped(disks, r.Config.Replicas, looks); why != "" {
		return left("it seemed stopped, and is left to the next run: %s", why)
	}
	outcomes := takeOnPools(ctx, r.World, pools, r.captures.fill(s.Plans, view, looks), lease)
	if !lease.held() {
		r.lookAfter(ctx, view, pools, s, looks, outcomes)
	}
	return outcomes
}

// lookAfter looks at a guest after its _stopped snapshots, because the guest's lock was released
// before the channel programs ended: the guest may have been started before its snapshots existed.
// If the guest lives, lookAfter sets the labels of its disks to this node, and records in the
// outcomes that the snapshots are wrong.
func (r *run) lookAfter(ctx context.Context, view snapper.NodeView, pools []*pool, s snapper.Stop, looks map[int]snapper.LastLook, outcomes map[string]snapper.Outcome) {
	var unknown error
	lives := false
	for _, vmid := range slices.Sorted(maps.Keys(looks)) {
		process, err := r.World.Process(view.Evidence[vmid].Config.ID)
		lives, unknown = lives || process, cmp.Or(unknown, err)
	}
	if !lives && unknown == nil {
		return
	}
	var running []snapper.GuestPlan
	for _, g := range s.Plans {
		g.Disks = slices.DeleteFunc(slices.Clone(g.Disks), func(d snapper.DiskPlan) bool {
			o := outcomes[d.Dataset]
			return o.Err != nil || o.Left != ""
		})
		for i, d := range g.Disks {
			o := outcomes[d.Dataset]
			if lives {
				o.Left, o.Living, o.Wrong = fmt.Sprintf("guest %d was started while its last snapshot was taken, because the pool took longer than %s: the guest runs although the snapshot is called _stopped; the next run takes a regular snapshot", s.VMID, maxLocked), true, true
			} else {
				o.Err = fmt.Errorf("it is unknown whether guest %d was started while its last snapshot was taken, because the pool took longer than %s: %w", s.VMID, maxLocked, unknown)
			}
			outcomes[d.Dataset] = o
			g.Disks[i] = snapper.DiskPlan{Dataset: d.Dataset, VMID: d.VMID, Label: view.Cluster.Node}
		}
		if lives && len(g.Disks) > 0 {
			running = append(running, g)
		}
	}
	// No lock is necessary to label the disks of a living guest: if the guest stops meanwhile, the
	// next run takes its _stopped snapshots.
	lease := newLease(r.World, soonTimeout, nil, func() {})
	defer lease.giveUp()
	for dataset, o := range takeOnPools(ctx, r.World, pools, running, lease) {
		if o.Err != nil {
			r.problem(report.Warning, "%s is still labelled stopped, although its guest runs: %v", dataset, o.Err)
		}
	}
}

// takeOnPools takes the snapshots of one guest or group, in one channel program on each pool, on
// all pools side by side.
func takeOnPools(ctx context.Context, world Time, pools []*pool, plans []snapper.GuestPlan, lease *lease) map[string]snapper.Outcome {
	outcomes := map[string]snapper.Outcome{}
	var mu sync.Mutex
	eachPool(world, pools, func(p *pool) {
		mine := slices.DeleteFunc(slices.Clone(plans), func(g snapper.GuestPlan) bool { return g.Pool != p.name })
		got := p.takeSnapshots(ctx, mine, lease, soonTimeout)
		mu.Lock()
		defer mu.Unlock()
		maps.Copy(outcomes, got)
	})
	return outcomes
}

// syncPools makes the pools of the given plans write their pending data. syncPools ignores errors
// of syncing, because taking the snapshots fails with the same error and reports it.
func syncPools(world Time, pools []*pool, plans []snapper.GuestPlan) {
	busy := slices.DeleteFunc(slices.Clone(pools), func(p *pool) bool {
		return !slices.ContainsFunc(plans, func(g snapper.GuestPlan) bool { return g.Pool == p.name })
	})
	eachPool(world, busy, func(p *pool) { _ = p.within(soonTimeout, p.Sync) })
}

// stopDisks returns the names of the disks in the plan for one guest that stopped.
func stopDisks(pools []*pool, s snapper.Stop) []snapper.Disk {
	return slices.DeleteFunc(plannedDisks(pools), func(d snapper.Disk) bool {
		return !slices.ContainsFunc(s.Plans, func(g snapper.GuestPlan) bool {
			return slices.ContainsFunc(g.Disks, func(k snapper.DiskPlan) bool { return k.Dataset == d.Name })
		})
	})
}
