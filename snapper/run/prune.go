package run

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"snapwatch/internal/pve"
	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
	"snapwatch/snapper"
)

// Prune destroys the snapshots that the retention drops of copies on this host, and returns the
// plan and the report of the run. An error of Prune means that the run could not begin and destroyed
// nothing. The end of ctx stops the run between two steps, never within a channel program.
func Prune(ctx context.Context, o Options) (snapper.Plan, report.Run, error) {
	r := newRun(o, report.PruneName)
	defer r.tell()
	if !o.DryRun {
		r.takeOver(ctx, r.World)
	}
	plan, err := r.prune(ctx)
	if err != nil {
		r.hooks.settleWithoutPlan(ctx)
	}
	r.tell()
	if err == nil && !o.DryRun {
		r.endHooks()
	}
	return plan, r.report, err
}

// PossiblePrune returns the reason why every run of [Prune] fails on this host, nil if a run of
// prune may succeed.
func PossiblePrune(ctx context.Context, o Options) error {
	_, _, err := newRun(o, report.PruneName).whoseDisks(ctx)
	return err
}

func (r *run) prune(ctx context.Context) (snapper.Plan, error) {
	cluster, node, err := r.whoseDisks(ctx)
	if err != nil {
		return snapper.Plan{}, err
	}
	if r.state, err = r.signs(); err != nil {
		return snapper.Plan{}, err
	}
	below, err := roots(r.Options)
	if err != nil {
		return snapper.Plan{}, err
	}
	// An after_stop hook that an earlier run left is not started by prune but by the next run of
	// snap, because prune does not check whether a guest stopped.
	r.hooks.settle(func(owedHook) string { return waits })
	owed := map[int]*turn{}
	next := r.openPools(ctx, below, readCopies)
	var pools []*pool
	defer func() { unlockAll(pools) }()
	var whole snapper.Plan
	r.report.Interrupted = map[string]report.Interrupted{}
	for len(pools) < len(below) {
		some := next()
		pools = append(pools, some...)
		for _, p := range some {
			r.report.Pools = append(r.report.Pools, r.reportPool(p, r.start))
			r.noteInterrupted(p)
		}
		r.copies(ctx, cluster, some)
		r.disks += count(some)
		policy := snapper.PrunePolicy{
			Node: node && r.Config.Role != "replica", Bookmarks: r.Config.Bookmarks,
			StoppedGrace: r.Config.StoppedGrace.Std(), MaxDestroys: r.mayDestroy(whole),
		}
		plan := snapper.PlanPrune(plannedDisks(some), policy, r.report.Interrupted, r.start)
		whole.Add(plan)
		if !r.DryRun {
			owe := func(next []snapper.Destroy) { r.hooks.oweAll(afterPrune, losingGuests(pools, next), owed) }
			owe(plan.Destroys)
			eachPool(r.World, readable(some), func(p *pool) { p.finishPlan(ctx, plan.ForPool(p.name), nil) })
			r.destroyMore(ctx, readable(some), owe)
		}
		for _, p := range some {
			p.carriedOut = true
		}
	}
	var problems []report.Problem
	r.report.Disks, problems = whole.Report(nil)
	for _, p := range problems {
		r.note(p)
	}
	r.reportUnread(cluster)
	for i := range r.report.Disks {
		d := &r.report.Disks[i]
		if d.Reason == unlisted {
			d.Error = unlisted
		}
	}
	r.hooks.startAfter(afterPrune, losingGuests(pools, nil), owed)
	reportKept(pools)
	r.tell()
	r.record(func(latest report.Run, _ report.State) {
		r.merge(latest, pools)
		r.reportDue(pools, whole)
		r.succeeded(r.World.Now())
	})
	return whole, nil
}

// whoseDisks reads the configurations of this node's guests. A host without Proxmox has no guests.
// If Proxmox's files cannot be read, any disk may belong to a guest, so whoseDisks returns an
// error.
func (r *run) whoseDisks(ctx context.Context) (cluster pve.Cluster, node bool, err error) {
	timeout, cancel := r.World.Timeout(ctx, configTimeout)
	defer cancel()
	cluster, err = r.World.Cluster(timeout)
	if errors.Is(err, pve.ErrNotPVE) && !r.World.Installed() {
		return pve.Cluster{}, false, nil
	}
	if err != nil {
		return pve.Cluster{}, true, fmt.Errorf("it is unknown which disks belong to guests of this node, so nothing is pruned: %w", err)
	}
	return cluster, true, r.isNode(cluster)
}

// signs reads state.json, in which runs of snap record the disks that were received from another
// host. Without state.json, prune might treat a copy as a guest's disk, or treat a disk that a
// person adopted as a copy.
func (o Options) signs() (report.State, error) {
	state, err := o.World.LoadState()
	if err != nil {
		return report.State{}, fmt.Errorf("it is unknown which disks are copies, so no snapshot is destroyed until snap has run again: %w", err)
	}
	return state, nil
}

// roots returns, by pool, the roots: the datasets below which prune looks for copies. The roots are
// the datasets in the configuration, or whole pools if the configuration names no dataset. No root
// is below a second root.
func roots(o Options) (map[string][]string, error) {
	all := slices.Clone(o.Config.Datasets)
	if len(all) == 0 {
		pools, err := o.World.Pools()
		if err != nil {
			return nil, err
		}
		all = pools
	}
	all = append(all, o.Config.Replicas...)
	slices.Sort(all)
	byPool := map[string][]string{}
	for _, dataset := range slices.Compact(all) {
		within := func(root string) bool { return root != dataset && zfs.Within(dataset, root) }
		if pool := zfs.Pool(dataset); !slices.ContainsFunc(all, within) {
			byPool[pool] = append(byPool[pool], dataset)
		}
	}
	if len(byPool) == 0 {
		return nil, errors.New("no pool is imported on this host")
	}
	return byPool, nil
}

// readCopies reads the disks at any depth below the pool's roots, the datasets below which prune
// looks for copies.
func readCopies(ctx context.Context, p *pool) error {
	p.inTurns = true
	return p.readIndexed(ctx, Pool.Descendants)
}

// copies finds out which disks of the pools are copies. Only a disk that no guest of this node uses
// gets the state Replica, Elsewhere or Orphan. If Proxmox's replication sends the disk to this
// node, the disk's field Replicated becomes true. If snap on this node bookmarks the disk's
// snapshots, the field Bookmarking becomes true, and the run lists the disk's bookmarks again,
// because an earlier run's list may be outdated.
func (r *run) copies(ctx context.Context, cluster pve.Cluster, pools []*pool) {
	o := r.Options
	var bookmarked []string
	if cluster.Node != "" && r.Config.Role != "replica" {
		// An error of parents means that snap cannot run on this host, so snap bookmarks no disk.
		byPool, _ := parents(r.Config, cluster)
		bookmarked = slices.Concat(slices.Collect(maps.Values(byPool))...)
	}
	for _, p := range pools {
		for i := range p.disks {
			d := &p.disks[i]
			d.State, d.Why = snapper.Orphan, "it belongs to no guest of this host"
			guests := snapper.NodeView{Cluster: cluster}
			claims := guests.GuestsOf(*d)
			for _, vmid := range claims {
				if where, elsewhere := cluster.Elsewhere[vmid]; elsewhere {
					d.State, d.Why = snapper.Elsewhere, fmt.Sprintf("guest %d is configured on node %s", vmid, where)
				}
			}
			for _, vmid := range append(claims, guests.Naming(*d)...) {
				if _, here := cluster.Guests[vmid]; here {
					d.State, d.Why = snapper.Unknown, fmt.Sprintf("it belongs to guest %d of this node", vmid)
				}
			}
			if zfs.WithinAny(d.Name, o.Config.Replicas) {
				d.State, d.Why = snapper.Replica, "listed under replicas in the configuration"
				checkUnused(o.World, cluster, guests.Users(*d), d)
			}
			if why := guests.MayBeUsed(*d); why != "" {
				d.State, d.Why = snapper.Unknown, why
			}
			d.Bookmarking = snapper.Bookmarking(d, bookmarked)
			d.Replicated = cluster.ReplicatedHere[snapper.VmidOf(d.Name)] && slices.ContainsFunc(cluster.Storages, func(s pve.Storage) bool { return s.Dataset == zfs.Parent(d.Name) })
		}
		waits := p.disksWhere(func(d *snapper.Disk) bool { return d.Bookmarking && d.Recalled })
		if err := p.listBookmarks(ctx, waits); err != nil {
			p.problem(report.Warning, "pool %s: bookmarks could not be listed, so snapshots that may still need one are kept: %v", p.name, err)
		}
	}
}

// checkUnused checks a disk that the configuration lists as a copy. If a guest that may use the
// disk runs, or may run, checkUnused sets the state of the disk to Unknown.
func checkUnused(world Proxmox, cluster pve.Cluster, users []int, d *snapper.Disk) {
	for _, vmid := range users {
		guest, here := cluster.Guests[vmid]
		if !here {
			continue
		}
		if lives, err := world.Process(guest.ID); lives || err != nil {
			d.State, d.Why = snapper.Unknown, fmt.Sprintf("guest %d of this node runs, or may run, although the disk is listed under replicas", vmid)
		}
	}
}

// noteInterrupted records, for each disk of a pool on which a receive was interrupted, the time at
// which a run first found the interrupted receive.
func (r *run) noteInterrupted(p *pool) {
	for _, d := range p.disks {
		if !d.ResumeToken {
			continue
		}
		newest := uint64(0)
		for _, s := range d.Snapshots {
			if _, ours := s.Class(); ours && d.Problem == "" {
				// If the disk has a problem, its list of snapshots may be incomplete.
				newest = s.GUID
			}
		}
		before := r.previous.Interrupted[d.Name]
		if before.Ahead(r.start) {
			p.problem(report.Notice, "%s: its interrupted receive was noted at %s, by a clock that was ahead: its age counts from now", d.Name, before.Seen.Format(time.DateTime))
		}
		r.report.Interrupted[d.Name] = before.Again(d.Token, newest, r.start)
	}
}
