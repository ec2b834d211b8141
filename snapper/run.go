// Package snapper is the primary mode: it snapshots the disks of running guests,
// rotates the snapshots, and keeps the label that says where a guest runs.
//
// A run reads (guests.go, pools.go), decides (state.go, table.go, plan.go,
// retention.go: pure functions of what was read and the time), and applies
// (apply.go, destroy.go: the only writers). When in doubt it changes nothing and
// says so: a _stopped snapshot taken on a guess silences the alarm for ever.
package snapper

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"snapwatch/config"
	"snapwatch/internal/pve"
	"snapwatch/internal/zfs"
)

// Options is all that a run is told.
type Options struct {
	Config config.Config
	// Keep is the retention of this run, before overrides.
	Keep config.Keep
	// Node is the name the caller expects this node to have, "" for any.
	Node string
	// DryRun ends the run after planning.
	DryRun bool
	// Adopt takes over disks that were never labelled but have managed snapshots.
	Adopt bool
	PVE   pve.Host
	// Kstat, LockDir and StateDir are where ZFS tells about pools, where locks lie
	// and where the report is kept.
	Kstat, LockDir, StateDir string
	// Now is the clock.
	Now func() time.Time
}

// run is one run under way.
type run struct {
	Options
	start    time.Time
	previous Report
	// mu guards report while pools are worked on side by side.
	mu     sync.Mutex
	report Report
}

// Run makes one run and returns its plan and its report. The error is for a run that
// could not begin: nothing was changed then. ctx ends the run between two steps,
// never within a channel program.
func Run(ctx context.Context, o Options) (Plan, Report, error) {
	r := &run{Options: o, start: o.Now()}
	r.report = Report{Start: r.start, Retention: o.Keep.String(), Counts: map[Event]int{DidSnapshot: 0, DidDestroy: 0, DidLabel: 0, DidBookmark: 0, DidFail: 0}}
	if o.Config.Role == "replica" {
		return Plan{}, r.report, errors.New("the configuration says role: replica: this host receives snapshots, it takes none")
	}
	var err error
	if r.previous, err = last(o.StateDir); err != nil {
		r.report.problem(Notice, "the report of the last run is not used: %v", err)
	}
	r.report.LastSuccess = r.previous.LastSuccess
	plan, err := r.do(ctx)
	if err != nil {
		return plan, r.report, err
	}
	if !o.DryRun {
		if err := r.report.save(o.StateDir); err != nil {
			r.report.problem(Warning, "the report of this run is not kept: %v", err)
		}
	}
	return plan, r.report, nil
}

func (r *run) do(ctx context.Context) (Plan, error) {
	g, err := r.readGuests(ctx)
	if err != nil {
		return Plan{}, err
	}
	if err := r.checkNode(g.cluster); err != nil {
		return Plan{}, err
	}
	r.report.Node = g.cluster.Node
	parents, err := r.parents(g.cluster)
	if err != nil {
		return Plan{}, err
	}
	pools := r.openPools(ctx, parents)
	defer func() {
		for _, p := range pools {
			p.close()
		}
	}()
	r.askRunStates(ctx, g, r.unlabelled(pools, g.cluster))
	g, release, err := r.settled(ctx, g, pools)
	defer release()
	if err != nil {
		return Plan{}, err
	}
	r.states(g, pools)
	plan := MakePlan(r.planned(pools), r.policy(g.cluster), r.Now())
	r.reportGuests(g, pools)
	if !r.DryRun {
		r.applyAll(ctx, pools, plan)
	}
	r.reportPlan(plan)
	r.finish()
	return plan, nil
}

// settled returns the guests' states to plan with. Where the plan would take a guest
// for stopped, that is looked at twice.
func (r *run) settled(ctx context.Context, g guests, pools []*pool) (guests, func(), error) {
	r.states(g.supposeStopped(), pools)
	supposed := MakePlan(r.planned(pools), r.policy(g.cluster), r.Now())
	var stops []int
	for _, dataset := range supposed.finalDisks() {
		for _, vmid := range r.claims(g.cluster, Disk{Head: zfs.Head{Name: dataset}, VMID: vmidOf(dataset)}) {
			if _, here := g.evidence[vmid]; here && !slices.Contains(stops, vmid) {
				stops = append(stops, vmid)
			}
		}
	}
	if len(stops) == 0 {
		return g, func() {}, nil
	}
	second, release, err := r.confirm(ctx, g, stops)
	if err != nil {
		return second, release, err
	}
	r.askRunStates(ctx, second, r.unlabelled(pools, second.cluster))
	return second, release, nil
}

func vmidOf(dataset string) int {
	vmid, _, _ := zfs.ParseDiskName(zfs.Base(dataset))
	return vmid
}

// checkNode refuses to run under a name that is not this node's.
func (r *run) checkNode(c pve.Cluster) error {
	for _, want := range []string{r.Node, r.Config.Node} {
		short, _, _ := strings.Cut(want, ".")
		if want != "" && short != c.Node {
			return fmt.Errorf("this node is %s, not %s (see /etc/pve/local)", c.Node, want)
		}
	}
	return nil
}

// parents returns the datasets whose children are disks, by pool.
func (r *run) parents(c pve.Cluster) (map[string][]string, error) {
	all := slices.Clone(r.Config.Datasets)
	if len(all) == 0 {
		for _, s := range c.Storages {
			all = append(all, s.Dataset)
		}
	}
	if len(all) == 0 {
		return nil, errors.New("no ZFS storage is enabled on this node in /etc/pve/storage.cfg, and none is named under datasets in the configuration")
	}
	byPool := map[string][]string{}
	for _, dataset := range all {
		if pool := zfs.Pool(dataset); !slices.Contains(byPool[pool], dataset) {
			byPool[pool] = append(byPool[pool], dataset)
		}
	}
	return byPool, nil
}

func (r *run) openPools(ctx context.Context, parents map[string][]string) []*pool {
	pools := make([]*pool, 0, len(parents))
	var wait sync.WaitGroup
	var mu sync.Mutex
	for name, datasets := range parents {
		wait.Go(func() {
			p := r.openPool(ctx, name, datasets)
			mu.Lock()
			defer mu.Unlock()
			pools = append(pools, p)
		})
	}
	wait.Wait()
	slices.SortFunc(pools, func(a, b *pool) int { return strings.Compare(a.name, b.name) })
	for _, p := range pools {
		r.reportPool(p)
		for i := range p.disks {
			r.configure(&p.disks[i])
		}
	}
	return pools
}

// configure fills in what the configuration says of a disk.
func (r *run) configure(d *Disk) {
	keep, _ := r.Config.KeepFor(d.Name, d.VMID, r.Keep)
	d.Retention = RetentionOf(keep)
	d.Ignored = r.Config.IgnoredFor(d.Name, d.VMID)
}

// RetentionOf turns the configuration's words into the planner's classes.
func RetentionOf(keep config.Keep) Retention {
	r := Retention{}
	for _, class := range zfs.Rotating() {
		if n, named := keep[class.String()]; named {
			r[class] = n
		}
	}
	return r
}

func (r *run) policy(c pve.Cluster) Policy {
	hostname, err := os.Hostname()
	if err != nil {
		hostname = c.Node
	}
	return Policy{
		Names:           Names{Node: c.Node, Hostname: hostname, Peers: slices.DeleteFunc(slices.Clone(c.Nodes), func(n string) bool { return n == c.Node })},
		Bookmarks:       r.Config.Bookmarks,
		StoppedGrace:    r.Config.StoppedGrace.Std(),
		RefreshStopped:  r.Config.RefreshStopped.Std(),
		AdoptPeerLabels: r.Config.AdoptPeerLabels,
		Adopt:           r.Adopt,
		MaxDestroys:     r.Config.MaxDestroys,
	}
}

// planned are the disks of all pools that could be read.
func (r *run) planned(pools []*pool) []Disk {
	var disks []Disk
	for _, p := range pools {
		if p.err == nil {
			disks = append(disks, p.disks...)
		}
	}
	return disks
}

// unlabelled are the guests with a disk whose label does not name this node.
func (r *run) unlabelled(pools []*pool, c pve.Cluster) map[int]bool {
	vmids := map[int]bool{}
	names := r.policy(c).Names
	for _, d := range r.planned(pools) {
		if names.Classify(d.Running) != OwnLabel {
			vmids[d.VMID] = true
		}
	}
	return vmids
}

func (r *run) applyAll(ctx context.Context, pools []*pool, plan Plan) {
	var wait sync.WaitGroup
	for _, p := range pools {
		if p.err == nil {
			wait.Go(func() { r.reportApplied(r.apply(ctx, p, plan)) })
		}
	}
	wait.Wait()
}
