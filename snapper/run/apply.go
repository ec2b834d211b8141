package run

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"snapwatch/snapper"
)

// restTimeout is how long the pools whose snapshots are taken wait for one whose are not,
// before their old snapshots go: nothing is destroyed while a guest is locked.
const restTimeout = 30 * time.Second

// maxTogether is how many disks of living guests get their snapshots in one program. Their
// guests are locked meanwhile, so that it must take less than a second.
const maxTogether = 50

// carryOut carries the plan out, and returns what became of the disks' snapshots. In order:
//
//  1. It destroys abandoned bookmarks: those of a history that a receive or a rollback has
//     discarded, so that nobody may send from them. First come the disks of guests that
//     stopped, since nothing else is done while such a guest is locked.
//  2. It takes the _stopped snapshots of the guests that stopped, one guest after the other,
//     each under its lock, and starts the hooks that follow.
//  3. It destroys the abandoned bookmarks of all other disks.
//  4. It runs the hooks that living guests' snapshots wait for. A guest whose hook fails
//     gets none.
//  5. It takes the snapshots of living guests that are to be frozen, one guest or group after
//     the other.
//  6. It takes those of all other living guests, on all pools side by side, and starts the
//     hooks that follow.
//  7. On each pool it bookmarks older snapshots, gives up labels for received ones, and
//     destroys what the retention lets go. What waits comes last, where the run may destroy
//     more after that.
func (r *run) carryOut(ctx context.Context, view snapper.NodeView, pools []*pool, plan snapper.Plan) map[string]snapper.Outcome {
	pools = readable(pools)
	r.captures.round(plan, planned(pools))

	eachPool(r.World, pools, func(p *pool) { p.destroyAbandoned(ctx, plan.ForPool(p.name).AbandonedOfStops) })
	r.hooks.settle(func(o owedHook) string { return stopUndone(o, view, planned(pools), plan) })
	stopping := r.hooks.oweStops(plan)
	outcomes := r.takeStops(ctx, view, pools, plan.Stops())
	r.hooks.followStops(plan, outcomes, stopping)
	eachPool(r.World, pools, func(p *pool) { p.destroyAbandoned(ctx, plan.ForPool(p.name).Abandoned) })

	failed, owed := r.hooks.before(ctx, r.hooks.due(plan))
	ready, refused := plan.Without(failed)
	maps.Copy(outcomes, refused)
	r.hooks.oweAll(afterSnapshot, dueFor(ready), owed)
	taken := newFreezer(r, view, pools).take(ctx, ready.Frozen())

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
	r.destroyMore(ctx, pools)
	maps.Copy(outcomes, taken)
	for _, p := range pools {
		p.carriedOut = true
	}
	return outcomes
}

// takeLiving takes the snapshots of living guests on a pool, some guests in one program.
// Their locks are held meanwhile. A guest that Proxmox works on may have to wait.
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

// takeStops takes the _stopped snapshots of guests that stopped.
func (r *run) takeStops(ctx context.Context, view snapper.NodeView, pools []*pool, stops []snapper.Stop) map[string]snapper.Outcome {
	outcomes := map[string]snapper.Outcome{}
	for _, s := range stops {
		maps.Copy(outcomes, r.takeStop(ctx, view, pools, s))
	}
	return outcomes
}

// takeStop takes the _stopped snapshots of one guest, in one channel program on each of its
// pools, side by side, and sets its labels. Meanwhile it holds the lock of each guest that
// uses the disks, so that nobody can start it, for maxLocked at most.
func (r *run) takeStop(ctx context.Context, view snapper.NodeView, pools []*pool, s snapper.Stop) map[string]snapper.Outcome {
	disks := stopDisks(pools, s)
	syncPools(r.World, pools, s.Plans) // else they would write what waits while the guest is locked
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
	return takeOnPools(ctx, r.World, pools, r.captures.fill(s.Plans, view, looks), lease)
}

// takeOnPools takes the snapshots of one guest or group, in one channel program on each pool,
// on all pools side by side.
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

// syncPools lets the pools of plans write what waits to be written. What fails here fails for
// the snapshots, too, and is told there.
func syncPools(world Time, pools []*pool, plans []snapper.GuestPlan) {
	busy := slices.DeleteFunc(slices.Clone(pools), func(p *pool) bool {
		return !slices.ContainsFunc(plans, func(g snapper.GuestPlan) bool { return g.Pool == p.name })
	})
	eachPool(world, busy, func(p *pool) { _ = p.within(soonTimeout, p.Sync) })
}

// stopDisks are the disks that a stopped guest's plan is about.
func stopDisks(pools []*pool, s snapper.Stop) []snapper.Disk {
	return slices.DeleteFunc(planned(pools), func(d snapper.Disk) bool {
		return !slices.ContainsFunc(s.Plans, func(g snapper.GuestPlan) bool {
			return slices.ContainsFunc(g.Disks, func(k snapper.DiskPlan) bool { return k.Dataset == d.Name })
		})
	})
}
