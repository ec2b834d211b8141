package run

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"snapwatch/internal/pve"
	"snapwatch/internal/report"
	"snapwatch/snapper"
)

const (
	// roundTimeout is how long the pools that were read wait for one that was not.
	roundTimeout = 30 * time.Second
	// listTimeout is how long the reading of one pool may take. A pool whose disks
	// are stuck never answers; one with very many snapshots takes minutes.
	listTimeout = 10 * time.Minute
)

// rounds reads all pools and works on them: on most in one round, so that a guest
// with disks on several is treated as one; on a pool that answers late in a round of
// its own, so that a hung one does not keep the others from their snapshots.
func (r *run) rounds(ctx context.Context, g snapper.NodeView, parents map[string][]string) (snapper.Plan, error) {
	next := r.openPools(ctx, parents, r.readPool)
	var all []*pool
	defer func() {
		for _, p := range all {
			p.Unlock()
		}
	}()
	var whole snapper.Plan
	for len(all) < len(parents) {
		pools := next()
		first := len(all) == 0
		all = append(all, pools...)
		seen := g
		var err error
		if !first { // what is known of the guests is old by now
			seen, err = r.readGuests(ctx)
		}
		var plan snapper.Plan
		if err == nil {
			seen, plan, err = r.round(ctx, seen, pools, whole)
		}
		if err != nil && first {
			return snapper.Plan{}, err
		}
		if err != nil { // the report tells what earlier rounds did
			r.reportLate(parents, all[:len(all)-len(pools)], err)
			break
		}
		g = seen
		whole.Add(plan)
	}
	r.reportGuests(g, all)
	r.state = r.nextState(all)
	r.report.CarryOver(r.previous.Quiesced, func(vmid int) bool {
		how, _ := r.Config.HowFor(vmid)
		_, here := g.Cluster.Guests[vmid]
		return how != "" && here
	})
	r.recallCaptures(all)
	r.finish()
	return whole, nil
}

// openPools reads pools side by side. next returns those that are read: as many as are
// missing, or those that there are after roundTimeout, at least one.
func (r *run) openPools(ctx context.Context, byPool map[string][]string, read func(context.Context, *pool) error) (next func() []*pool) {
	var work []func()
	pools := make([]*pool, len(byPool))
	for i, name := range slices.Sorted(maps.Keys(byPool)) {
		work = append(work, func() { pools[i] = r.openPool(ctx, name, byPool[name], read) })
	}
	ended := r.World.Gather(roundTimeout, work...)
	return func() []*pool {
		var some []*pool
		for _, i := range ended() {
			some = append(some, pools[i])
		}
		return some
	}
}

// round plans for the pools and carries the plan out. It returns what is known of the
// guests after its last look at them, too. before is what earlier rounds of this run have
// planned already.
func (r *run) round(ctx context.Context, g snapper.NodeView, pools []*pool, before snapper.Plan) (snapper.NodeView, snapper.Plan, error) {
	slices.SortFunc(pools, func(a, b *pool) int { return strings.Compare(a.name, b.name) })
	for _, p := range pools {
		r.reportPool(p)
	}
	r.askRunStates(ctx, g, pools)
	g, release := r.confirmStops(ctx, g, pools)
	defer release()
	if ctx.Err() != nil {
		return g, snapper.Plan{}, ctx.Err()
	}
	r.listFailed = g.ListErr != nil
	r.kinds = kindsOf(g.Cluster)
	for _, p := range pools {
		g.Assign(p.disks, r.Config.Replicas)
	}
	policy := r.policy(g.Cluster)
	r.readReceived(ctx, pools, policy.Names)
	policy.MaxDestroys = max(0, policy.MaxDestroys-len(before.Destroys))
	policy.MaxBookmarkDestroys = max(0, policy.MaxBookmarkDestroys-len(before.DestroyBookmarks))
	r.readHistories(ctx, pools)
	plan := r.makePlan(pools, g.Cluster, policy)
	if r.lookAtBookmarks(ctx, pools, plan) {
		plan = r.makePlan(pools, g.Cluster, policy)
	}
	if !r.DryRun {
		r.capture(plan, g, r.planned(pools))
		r.carryOut(ctx, pools, plan, release)
	}
	for _, dataset := range plan.AbandonedLater {
		r.unfinished(dataset)
	}
	r.reportPlan(plan)
	return g, plan, nil
}

// makePlan plans for the disks that this run is about.
func (r *run) makePlan(pools []*pool, c pve.Cluster, policy snapper.Policy) snapper.Plan {
	plan := snapper.MakePlan(r.aimedAt(pools, c), policy, r.World.Now())
	if r.Final {
		return plan.FinalOnly()
	}
	return plan
}

// aimedAt are the disks that this run is about.
func (r *run) aimedAt(pools []*pool, c pve.Cluster) []snapper.Disk {
	if r.Final {
		return snapper.RanHere(r.planned(pools), r.policy(c).Names)
	}
	return r.planned(pools)
}

// confirmStops returns the guests' states to plan with. Where the plan would take a guest
// for stopped, that is looked at twice, with the guest's lock held until release.
func (r *run) confirmStops(ctx context.Context, g snapper.NodeView, pools []*pool) (settled snapper.NodeView, release func()) {
	stops := g.Stops(r.aimedAt(pools, g.Cluster), r.Config.Replicas, r.policy(g.Cluster), r.World.Now())
	if len(stops) == 0 {
		return g, func() {}
	}
	r.progress("%d guests seem stopped: looking again in %s", len(stops), r.confirmPause())
	second, release, err := r.confirm(ctx, g, stops)
	if err != nil {
		// The first look stands for the guests that live; it proves no stop.
		r.problem(report.Warning, "a second look at the guests failed, so no stop is believed: %v", err)
		return g, release
	}
	r.askRunStates(ctx, second, pools)
	return second, release
}

// takeFinal takes the _stopped snapshots and sets the labels of the guests that stopped, on
// all pools side by side. Their abandoned bookmarks go first.
func (r *run) takeFinal(ctx context.Context, pools []*pool, final snapper.Plan) map[string]snapper.Outcome {
	var mu sync.Mutex
	all := map[string]snapper.Outcome{}
	if len(final.Guests) == 0 {
		return all
	}
	r.eachPool(applyable(pools), func(p *pool) {
		r.destroyAbandoned(ctx, p, final.Abandoned)
		outcomes := r.applyGuests(ctx, p, final.Guests)
		r.reportApplied(outcomes)
		mu.Lock()
		defer mu.Unlock()
		maps.Copy(all, outcomes)
	})
	return all
}

// applyAll carries the plan out on all pools side by side: what must not be found goes
// first, then come the guests that are to be frozen, and then all the rest. before is what
// became of disks already. taken is told what became of the others as soon as every pool has
// its snapshots, while the rest is still done.
func (r *run) applyAll(ctx context.Context, pools []*pool, plan snapper.Plan, before map[string]snapper.Outcome, taken func(map[string]snapper.Outcome)) {
	work := applyable(pools)
	r.eachPool(work, func(p *pool) { r.destroyAbandoned(ctx, p, plan.Abandoned) })
	units, others := frozenUnits(plan.Guests)
	frozen := r.applyFrozen(ctx, work, units)
	plan.Guests = others
	var mu sync.Mutex
	var rest []func()
	all := map[string]snapper.Outcome{}
	r.eachPool(work, func(p *pool) {
		outcomes := r.applySnapshots(ctx, p, plan, frozen[p.name])
		r.reportApplied(outcomes)
		known := map[string]snapper.Outcome{}
		maps.Copy(known, before)
		maps.Copy(known, outcomes)
		ended := r.World.Lanes(0).Go(func() { r.applyRest(ctx, p, plan, known) })
		mu.Lock()
		defer mu.Unlock()
		maps.Copy(all, outcomes)
		rest = append(rest, ended)
	})
	taken(all)
	waitAll(rest)
}

func (r *run) eachPool(pools map[string]*pool, do func(*pool)) {
	var waits []func()
	lanes := r.World.Lanes(0)
	for _, name := range slices.Sorted(maps.Keys(pools)) {
		waits = append(waits, lanes.Go(func() { do(pools[name]) }))
	}
	waitAll(waits)
}

// waitAll returns when all that lanes run has ended.
func waitAll(waits []func()) {
	for _, wait := range waits {
		wait()
	}
}
