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

// Prune destroys what the retention drops of the copies on this host, and returns its
// plan and its report. The error is for a run that could not begin: nothing was changed
// then. ctx ends the run between two steps, never within a channel program.
func Prune(ctx context.Context, o Options) (snapper.Plan, report.Run, error) {
	r := newRun(o, report.PruneName)
	plan, err := r.prune(ctx)
	if err == nil && !o.DryRun {
		r.save(report.PruneName)
		r.endHooks(report.PruneName)
	}
	return plan, r.report, err
}

func (r *run) prune(ctx context.Context) (snapper.Plan, error) {
	cluster, node, err := r.whoseDisks(ctx)
	if err != nil {
		return snapper.Plan{}, err
	}
	roots, err := r.roots()
	if err != nil {
		return snapper.Plan{}, err
	}
	next := r.openPools(ctx, roots, r.readCopies)
	var pools []*pool
	defer func() {
		for _, p := range pools {
			p.Unlock()
		}
	}()
	var whole snapper.Plan
	r.report.Tokens = r.unreadTokens(roots)
	for len(pools) < len(roots) {
		some := next()
		pools = append(pools, some...)
		for _, p := range some {
			r.reportPool(p)
			r.noteTokens(p)
		}
		r.copies(cluster, some)
		policy := snapper.PrunePolicy{
			Node: node && r.Config.Role != "replica", Bookmarks: r.Config.Bookmarks,
			StoppedGrace: r.Config.StoppedGrace.Std(), MaxDestroys: max(0, r.Config.MaxDestroys-len(whole.Destroys)),
		}
		plan := snapper.PlanPrune(r.planned(some), policy, r.report.Tokens, r.start)
		if !r.DryRun {
			r.applyAll(ctx, some, plan, nil, func(map[string]snapper.Outcome) {})
		}
		r.reportPlan(plan)
		whole.Add(plan)
	}
	r.finish()
	r.after(afterPrune, destroyed(r.destroyed))
	return whole, nil
}

// whoseDisks reads which guests are this node's. A host without Proxmox has none; one
// whose Proxmox cannot be read may have any.
func (r *run) whoseDisks(ctx context.Context) (cluster pve.Cluster, node bool, err error) {
	timeout, cancel := r.World.Timeout(ctx, configTimeout)
	defer cancel()
	cluster, err = r.World.Cluster(timeout)
	if errors.Is(err, pve.ErrNotPVE) && !r.World.Installed() {
		return pve.Cluster{}, false, nil
	}
	if err != nil {
		return pve.Cluster{}, true, fmt.Errorf("which disks are of this node's own guests is not known, so nothing is pruned: %w", err)
	}
	r.report.Node = cluster.Node
	return cluster, true, r.checkNode(cluster)
}

// roots are the datasets below which copies are looked for, by pool: those of the
// configuration, or every pool. None lies below another.
func (r *run) roots() (map[string][]string, error) {
	all := slices.Clone(r.Config.Datasets)
	if len(all) == 0 {
		pools, err := r.World.Pools()
		if err != nil {
			return nil, err
		}
		all = pools
	}
	all = append(all, r.Config.Replicas...)
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

// readCopies reads the disks anywhere below the pool's roots.
func (r *run) readCopies(ctx context.Context, p *pool) error {
	if err := r.lockPool(ctx, p); err != nil {
		return err
	}
	return r.readDisks(ctx, p, Pool.Descendants)
}

// copies says of each disk whether it is one: State is Replica, Elsewhere or Orphan
// only where no guest of this node has it.
func (r *run) copies(cluster pve.Cluster, pools []*pool) {
	for _, p := range pools {
		for i := range p.disks {
			d := &p.disks[i]
			d.State, d.Why = snapper.Orphan, "no guest of this host has it"
			guests := snapper.NodeView{Cluster: cluster}
			claims := guests.GuestsOf(*d)
			for _, vmid := range claims {
				if where, elsewhere := cluster.Elsewhere[vmid]; elsewhere {
					d.State, d.Why = snapper.Elsewhere, fmt.Sprintf("guest %d is configured on node %s", vmid, where)
				}
			}
			for _, vmid := range claims {
				if _, here := cluster.Guests[vmid]; here {
					d.State, d.Why = snapper.Unknown, fmt.Sprintf("guest %d of this node has it", vmid)
				}
			}
			if r.isReplica(d.Name) {
				d.State, d.Why = snapper.Replica, "listed under replicas in the configuration"
				r.checkUnused(cluster, guests.Users(*d), d)
			}
		}
	}
}

// isReplica tells whether the configuration says that a dataset is received.
func (r *run) isReplica(dataset string) bool {
	return slices.ContainsFunc(r.Config.Replicas, func(root string) bool { return zfs.Within(dataset, root) })
}

// checkUnused looks whether one of the guests that may use it runs on a disk that is listed
// as a copy.
func (r *run) checkUnused(cluster pve.Cluster, users []int, d *snapper.Disk) {
	for _, vmid := range users {
		guest, here := cluster.Guests[vmid]
		if !here {
			continue
		}
		if lives, err := r.World.Process(guest.ID); lives || err != nil {
			d.State, d.Why = snapper.Unknown, fmt.Sprintf("guest %d of this node runs, or that is not known, though the disk is listed under replicas", vmid)
		}
	}
}

// unreadTokens is what is known of interrupted receives in pools that are not asked.
func (r *run) unreadTokens(roots map[string][]string) map[string]time.Time {
	tokens := maps.Clone(r.previous.Tokens)
	maps.DeleteFunc(tokens, func(dataset string, _ time.Time) bool { return roots[zfs.Pool(dataset)] != nil })
	if tokens == nil {
		tokens = map[string]time.Time{}
	}
	return tokens
}

// noteTokens remembers since when each disk of a pool has an interrupted receive: ZFS
// does not tell.
func (r *run) noteTokens(p *pool) {
	for dataset, since := range r.previous.Tokens {
		if p.err != nil && zfs.Pool(dataset) == p.name {
			r.report.Tokens[dataset] = since
		}
	}
	for _, d := range p.disks {
		if !d.ResumeToken {
			continue
		}
		r.report.Tokens[d.Name] = r.start
		if since, known := r.previous.Tokens[d.Name]; known {
			r.report.Tokens[d.Name] = since
		}
	}
}
