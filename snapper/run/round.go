package run

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"snapwatch/internal/report"
	"snapwatch/internal/text"
	"snapwatch/internal/zfs"
	"snapwatch/snapper"
)

const (
	// A round begins when the run has read all pools. After roundTimeout, a round begins with the
	// pools that the run has read so far.
	roundTimeout = 30 * time.Second
	// listTimeout is the longest time that reading one pool may take. A pool whose devices hang
	// never answers; a pool with very many snapshots takes minutes.
	listTimeout = 10 * time.Minute
	// answerTimeout is the longest time that a pool may take to answer the questions of a plan,
	// because all pools of the round wait for these answers.
	answerTimeout = time.Minute
)

// rounds reads all pools and carries out plans for them. Most pools are handled in one round, so
// that a guest with disks on several pools gets its snapshots in one round. A pool that answers
// late gets a round of its own, so that a hung pool does not prevent the snapshots on the other
// pools. After the last round, rounds reports all results.
func (r *run) rounds(ctx context.Context, view snapper.NodeView, parents map[string][]string) (snapper.Plan, error) {
	next := r.openPools(ctx, parents, readPool)
	var all []*pool
	defer func() { unlockAll(all) }()
	var whole snapper.Plan
	outcomes := map[string]snapper.Outcome{}
	for len(all) < len(parents) {
		pools := next()
		first := len(all) == 0
		all = append(all, pools...)
		r.disks += count(pools)
		seen := view
		var err error
		if !first { // before a later round the guests are read again
			seen, err = r.readGuests(ctx)
		}
		var plan snapper.Plan
		if err == nil {
			seen, plan, err = r.plan(ctx, seen, pools, whole)
		}
		if err != nil && first {
			return snapper.Plan{}, err
		}
		if err != nil { // the report still has the results of earlier rounds
			r.reportLate(parents, all[:len(all)-len(pools)], err)
			break
		}
		for _, p := range pools {
			r.report.Pools = append(r.report.Pools, r.reportPool(p, r.start))
		}
		view = seen
		if !r.DryRun {
			maps.Copy(outcomes, r.carryOut(ctx, view, pools, plan, plannedDisks(all)))
		}
		for _, p := range pools {
			p.carriedOut = true
		}
		whole.Add(plan)
	}
	r.finish(ctx, view, all, whole, outcomes)
	return whole, nil
}

// finish reports the outcomes of the plan, and saves the report and the state for the next run.
func (r *run) finish(ctx context.Context, view snapper.NodeView, pools []*pool, plan snapper.Plan, outcomes map[string]snapper.Outcome) {
	var problems []report.Problem
	r.report.Disks, problems = plan.Report(outcomes)
	for _, p := range problems {
		r.note(p)
	}
	r.reportGuests(view, r.atWork, pools, r.start)
	r.reportRoom(ctx, pools)
	reportKept(pools)
	r.tell()
	r.record(func(latest report.Run, saved report.State) {
		r.report.CarryOver(latest.Quiesced, func(vmid int) bool {
			how, _ := r.Config.HowFor(vmid)
			_, here := view.Cluster.Guests[vmid]
			return how != "" && here
		})
		r.merge(latest, pools)
		r.reportDue(pools, plan)
		r.state = saved
		r.state.Checked = nextChecked(saved.Checked, pools, outcomes, plan.AbandonedLater, r.start)
		r.state.Signs = nextSigns(saved.Signs, pools, r.Adopt)
		r.state.SlowHistory = nextSlow(saved.SlowHistory, pools)
		r.state.Busy = r.locks.skippedRuns(saved.Busy, view)
		r.state.SeenStopped = view.SeenStopped()
		r.state.Configs = r.captures.keptRecords(saved.Configs, outcomes, pools)
		r.succeeded(r.World.Now())
	})
}

// nextSigns returns, by the disk's guid, the signs that disks were received from another host, for
// the next run. nextSigns keeps the sign of a disk that is missing now, because the disk's pool may
// be imported again. A disk's sign is dropped if a guest was seen running on the disk here, or if a
// person adopted the disk.
func nextSigns(before map[string]string, pools []*pool, adopted []string) map[string]string {
	next := map[string]string{}
	maps.Copy(next, before)
	for _, p := range readable(pools) {
		for i := range p.disks {
			d := &p.disks[i]
			guid := strconv.FormatUint(d.GUID, 10)
			before, known := before[guid]
			switch {
			case d.AdoptedBy(adopted):
				next[guid] = "" // drops the sign of a disk that a person adopted
			case len(d.Guests) > 0 && d.State.Alive():
				delete(next, guid)
			case known && before == "":
			case d.CameFrom(d.Sign) != "":
				next[guid] = d.CameFrom(d.Sign)
			}
		}
	}
	return next
}

// openPools begins to read the pools side by side, and returns the function `next`. Each call of
// next returns the pools that the run has read since the previous call. A call of next waits until
// all pools are read, but after roundTimeout the call waits only until at least one pool is read.
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
		slices.SortFunc(some, func(a, b *pool) int { return strings.Compare(a.name, b.name) })
		return some
	}
}

// openPool takes the pool's lock and reads its disks. If openPool fails, the error is stored in the
// returned pool, so that the run continues with the other pools.
func (r *run) openPool(ctx context.Context, name string, parents []string, read func(context.Context, *pool) error) *pool {
	p := &pool{Pool: r.World.Pool(name), journal: r.journal, Options: r.Options, name: name, parents: parents}
	ctx, cancel := r.World.Timeout(ctx, listTimeout)
	defer cancel()
	if p.err = p.lock(ctx, r.start); p.err == nil {
		p.err = read(ctx, p)
	}
	if p.err != nil {
		return p
	}
	txg := p.TXG()
	// Another run may have worked on the pool, and saved its state, after this run began.
	state := savedState(r.World, r.state)
	p.slowHistory = state.SlowHistory[name]
	for i := range p.disks {
		d := &p.disks[i]
		keep, _ := r.Config.KeepFor(d.Name, d.VMID, r.Keep)
		d.Retention = snapper.RetentionOf(keep)
		d.Ignored = cmp.Or(r.Config.IgnoredFor(d.Name, d.VMID), d.Problem, d.Unlabelled)
		before, known := state.Signs[strconv.FormatUint(d.GUID, 10)]
		if !d.AdoptedBy(r.Adopt) && (!known || before != "") {
			d.Sign = d.CameFrom(before)
		}
		d.Checked, d.PoolTXG, d.ReceivedUnread = state.CheckedOf(d.Name, d.GUID), txg, true
	}
	return p
}

// readPool reads the disks directly below the datasets in parents.
func readPool(ctx context.Context, p *pool) error { return p.readIndexed(ctx, Pool.Children) }

// readIndexed reads the disks of the pool, and takes their snapshots from the index where possible.
// The argument `list` is a function that returns the datasets of the disks.
func (p *pool) readIndexed(ctx context.Context, list func(Pool, context.Context, ...string) ([]zfs.Dataset, error)) error {
	var err error
	if p.index, err = p.LoadIndex(); err != nil {
		p.problem(report.Warning, "pool %s: %v", p.name, err)
	}
	if err := p.readDisks(ctx, list); err != nil {
		return err
	}
	p.keep()
	return nil
}

// plan makes a plan for the pools, and finds the answers to the questions that the plan asks. The
// first result is the view of the guests, updated with the answers. The argument `before` is the
// plan of the earlier rounds of this run.
func (r *run) plan(ctx context.Context, view snapper.NodeView, pools []*pool, before snapper.Plan) (snapper.NodeView, snapper.Plan, error) {
	policy := policy(r.Options, view.Cluster)
	policy.MaxDestroys = r.mayDestroy(before)
	policy.MaxBookmarkDestroys = max(0, policy.MaxBookmarkDestroys-len(before.DestroyBookmarks))
	view = r.askRunStates(ctx, view, pools, policy.Names)
	for times := 0; ; times++ {
		if ctx.Err() != nil {
			return view, snapper.Plan{}, context.Cause(ctx)
		}
		for _, p := range pools {
			view.Assign(p.disks, r.Config.Replicas)
		}
		plan := snapper.MakePlan(plannedDisks(pools), policy, r.World.Now())
		switch {
		case plan.Ask.None() && view.ListErr != nil:
			return view, plan.ToldOnce(), nil
		case plan.Ask.None():
			return view, plan, nil
		case times >= snapper.MaxAsked:
			unanswered(pools, plan.Ask)
			view.LooksDone = true
		default:
			view = r.answer(ctx, view, pools, plan.Ask, policy.Names)
		}
	}
}

// answer reads the facts that a plan asks for. The second look at the guests comes last, so that it
// is recent when the guests get their _stopped snapshots.
func (r *run) answer(ctx context.Context, view snapper.NodeView, pools []*pool, ask snapper.Questions, names snapper.Names) snapper.NodeView {
	eachPool(r.World, readable(pools), func(p *pool) {
		limited, cancel := r.World.Timeout(ctx, answerTimeout)
		defer cancel()
		p.readReceived(limited, ask.Received)
		p.readBookmarks(limited, ask.Bookmarks)
		p.readHistory(ctx, ask.Histories, r.start)
		for i := range p.disks {
			d := &p.disks[i]
			d.Ignored = cmp.Or(d.Ignored, d.Problem)
		}
	})
	if len(ask.Looks) == 0 {
		return view
	}
	r.progress("seemingly stopped: %s; looking again in %s", text.Count(len(ask.Looks), "guest"), r.confirmPause())
	second, err := r.lookAgain(ctx, view, ask.Looks)
	if err != nil {
		// The first look at the guests shows which guests are alive. Only a second look can prove
		// that a guest stopped.
		r.problem(report.Warning, "a second look at the guests failed, so no guest counts as stopped: %v", err)
		view.LooksDone = true
		return view
	}
	return r.askRunStates(ctx, second, pools, names)
}

// unanswered records, for each disk in the questions, that the run could not read the facts about
// the disk. plan calls unanswered if the plan still asks questions after all attempts to answer
// them.
func unanswered(pools []*pool, ask snapper.Questions) {
	const why = "it still could not be read after three tries"
	for _, p := range pools {
		for i := range p.disks {
			d := &p.disks[i]
			if slices.Contains(ask.Received, d.Name) {
				d.ReceivedProblem = why
			}
			if slices.Contains(ask.Histories, d.Name) {
				d.HistoryProblem = why
			}
			if slices.Contains(ask.Bookmarks, d.Name) {
				d.Bookmarks, d.Recalled, d.BookmarksUnread = nil, false, true
			}
		}
	}
}

// reportRoom reports the pools that are too full for the next snapshots. reportRoom sends no mail
// about a pool that the last run also reported: check and the metrics show the lack of space as
// long as it lasts.
func (r *run) reportRoom(ctx context.Context, pools []*pool) {
	if r.Final {
		return
	}
	known := r.previous.RoomsAt(r.start)
	r.report.Rooms = map[string]report.Room{}
	for _, p := range worked(pools) {
		room, before := p.room(ctx, r.start), known[p.name]
		r.report.Rooms[p.name] = room
		p.tellRoom(room.Full, room.FullCritical && !before.FullCritical)
		p.tellRoom(room.Short, before.Short == "")
	}
}
