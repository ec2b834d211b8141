// Package run makes one run of snap, prune, unblock or finalize. The package reads guests and
// pools, asks package snapper for a plan, and carries out the plan.
//
// [Run], [Prune] and [Unblock] are the entry points. Package run reaches everything outside of this
// program through [World], so that test/sim can play a run against simulated hosts and pools.
//
// # The order
//
// round.go makes the plan: it reads guests (guests.go) and pools (pool.go), which are locked and
// read side by side. A pool that answers late gets a round of its own. apply.go has the order of
// the steps: hooks and freezes, snapshots (snapshots.go), then labels, bookmarks (bookmarks.go),
// and destroys (destroy.go) last. Only snapshots.go, bookmarks.go and destroy.go change
// snapshots, labels and bookmarks of a pool.
//
// # How a run ends
//
// A run may be killed at any moment. A step that must be ended, such as a freeze or an owed hook,
// has a note before the step begins, and the next run ends the step ([TakeOver]). report.go and
// journal.go record the steps and the problems of a run.
package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"snapwatch/config"
	"snapwatch/internal/pve"
	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
	"snapwatch/snapper"
)

// Options has the settings of a run and its World.
type Options struct {
	Config config.Config
	// Keep is the retention of this run, for each disk without a retention of its own in the
	// configuration.
	Keep config.Keep
	// Node is the name that this node must have for the run to begin, "" for any name.
	Node string
	// DryRun ends the run after the plan is made, before it changes anything.
	DryRun bool
	// Adopt names the guests and disks that snap must treat as this node's own, see
	// [snapper.Policy].
	Adopt []string
	// Final is true for the run at the shutdown of the host, after the guests have stopped: if
	// [snapper.Shutdown] proves that the host shuts down, the guests that ran here get their
	// _stopped snapshots. A run with Final takes only _stopped snapshots, and saves no report.
	Final bool
	// World has the methods by which the run reaches pools, Proxmox, files and the clock.
	World World
	// At each step of a long run, the run passes the name of the step to the function Progress.
	// Progress may be nil.
	Progress func(string)
	// The run passes each of its problems to the function Tell once. The run passes problems of
	// hooks after the hooks have ended, and all other problems before the run saves the report.
	// Tell is nil if the caller reads the problems in the report.
	Tell func([]report.Problem)
}

func (o Options) progress(format string, args ...any) {
	if o.Progress != nil {
		o.Progress(fmt.Sprintf(format, args...))
	}
}

// run is the state of one run of snap, prune, unblock or finalize.
type run struct {
	Options
	*journal
	start time.Time
	// name is the name of the file of the run's report, for example that of snap.
	name string
	// previous is the report of the last run of the same command.
	previous report.Run
	// state is first the state that the previous run saved. The run changes state to the state for
	// the next run.
	state report.State
	// disks is the number of disks that the run has read.
	disks    int
	captures *captures
	hooks    *hooks
	locks    *locks
	// reported is the number of problems that the saved report of this run has.
	reported int
}

// Run makes one run of snap and returns its plan and its report. An error of Run means that the run
// could not begin. A run that could not begin changed nothing, with two exceptions: it thawed the
// guests that an earlier run left frozen, and it started the hooks that an earlier run owes. The
// report always lists the guests that an earlier run left frozen. The end of ctx stops the run
// between two steps, never within a channel program.
func Run(ctx context.Context, o Options) (snapper.Plan, report.Run, error) {
	r := newRun(o, report.Name)
	defer r.tell()
	if !o.DryRun {
		r.takeOver(ctx, r.World)
	}
	err := r.mayTake()
	if err != nil {
		return snapper.Plan{}, r.report, err
	}
	if r.state, err = o.World.LoadState(); err != nil {
		r.problem(report.Notice, "the state that the last run left is not used: %v", err)
	}
	plan, err := r.do(ctx)
	if err != nil {
		r.hooks.settleWithoutPlan(ctx)
		return plan, r.report, err
	}
	r.tell()
	r.endHooks()
	return plan, r.report, nil
}

// Possible returns the reason why every run of [Run] fails on this host, nil if a run may succeed.
// To find the reason, Possible reads only the configuration of snapwatch and the files of Proxmox.
func Possible(ctx context.Context, o Options) error {
	r := newRun(o, report.Name)
	if err := r.mayTake(); err != nil {
		return err
	}
	cluster, err := o.World.Cluster(ctx)
	if err != nil {
		return err
	}
	if err := r.isNode(cluster); err != nil {
		return err
	}
	_, err = parents(o.Config, cluster)
	return err
}

// mayTake returns an error on a host that receives copies, where snap must take no snapshots.
func (o Options) mayTake() error {
	if o.Config.Role == "replica" {
		return errors.New("the configuration says role: replica: this host receives snapshots, and must not take any (snapwatch prune rotates them)")
	}
	return nil
}

// newRun returns a run that has begun, with the report of the last run of the same kind.
func newRun(o Options, name string) *run {
	r := &run{Options: o, journal: &journal{listener: o.Tell}, start: o.World.Now(), name: name}
	r.hooks = &hooks{Options: o, journal: r.journal}
	r.report = report.Run{Start: r.start, Retention: o.Keep.String(), Counts: map[report.Event]int{}}
	for _, event := range report.Events() {
		r.report.Counts[event] = 0
	}
	var err error
	if r.previous, err = o.World.LastReport(name); err != nil {
		r.problem(report.Notice, "the report of the last run is not used: %v", err)
	}
	r.hooks.node = r.previous.Node
	r.report.LastSuccess, r.report.Sightings = r.previous.SuccessBefore(r.start), r.previous.SightingsAt(r.start)
	return r
}

func (r *run) do(ctx context.Context) (snapper.Plan, error) {
	view, err := r.readGuests(ctx)
	if err != nil {
		return snapper.Plan{}, err
	}
	if err := r.isNode(view.Cluster); err != nil {
		return snapper.Plan{}, err
	}
	parents, err := parents(r.Config, view.Cluster)
	if err != nil {
		return snapper.Plan{}, err
	}
	r.locks = &locks{Options: r.Options, journal: r.journal, before: r.state.Busy, now: map[int]int{}, looked: map[int]bool{}}
	r.captures = newCaptures(r.Options, r.journal, view.Cluster.Node, r.state.Configs)
	return r.rounds(ctx, view, parents)
}

// isNode records this node's name for the report, and returns an error if the option Node has
// another name.
func (r *run) isNode(c pve.Cluster) error {
	for _, want := range []string{r.Node, r.Config.Node} {
		short, _, _ := strings.Cut(want, ".")
		if want != "" && short != c.Node {
			return fmt.Errorf("this node is %s, not %s (see /etc/pve/local)", c.Node, want)
		}
	}
	r.report.Node, r.hooks.node = c.Node, c.Node
	return nil
}

// parents returns, by pool, the datasets whose children are disks: the datasets in the
// configuration, or the datasets of Proxmox's storages if the configuration names none.
func parents(cfg config.Config, c pve.Cluster) (map[string][]string, error) {
	all := slices.Clone(cfg.Datasets)
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

func policy(o Options, c pve.Cluster) snapper.Policy {
	hostname, err := o.World.Hostname()
	if err != nil {
		hostname = c.Node
	}
	return snapper.Policy{
		Names:               snapper.Names{Node: c.Node, Hostname: hostname, Peers: slices.DeleteFunc(slices.Clone(c.Nodes), func(n string) bool { return n == c.Node })},
		Bookmarks:           o.Config.Bookmarks,
		StoppedGrace:        o.Config.StoppedGrace.Std(),
		RefreshStopped:      o.Config.RefreshStopped.Std(),
		AdoptPeerLabels:     o.Config.AdoptPeerLabels,
		Adopt:               o.Adopt,
		Final:               o.Final,
		Quiesced:            o.Config.Quiesced,
		MaxBookmarkDestroys: snapper.MaxBookmarkDestroys,
	}
}

// plannedDisks returns the disks of all pools that could be read.
func plannedDisks(pools []*pool) []snapper.Disk {
	disks := make([]snapper.Disk, 0, count(pools))
	for _, p := range readable(pools) {
		disks = append(disks, p.disks...)
	}
	return disks
}

// count returns the number of disks of all pools that could be read.
func count(pools []*pool) (n int) {
	for _, p := range readable(pools) {
		n += len(p.disks)
	}
	return n
}

// readable returns the pools that could be read.
func readable(pools []*pool) []*pool {
	return slices.DeleteFunc(slices.Clone(pools), func(p *pool) bool { return p.err != nil })
}
