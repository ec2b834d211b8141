// Package run is one run of snap, prune, unblock or finalize: it reads (guests.go,
// pool.go), lets package snapper decide, and applies (apply.go, destroy.go and
// bookmarks.go, the only writers). [Run] tells it from top to bottom. All that it reaches
// outside is behind [World].
package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"snapwatch/config"
	"snapwatch/internal/pve"
	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
	"snapwatch/snapper"
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
	// Final makes this the run at the end of the host: once the guests are down, those
	// that ran here get their _stopped snapshots, by the proof of [Shutdown]. Nothing
	// else is done, and no report is kept.
	Final bool
	// World is where all of it happens.
	World World
	// Progress is told what a long run is at, nil if nobody is there to read it.
	Progress func(string)
}

// run is one run under way.
type run struct {
	Options
	start    time.Time
	previous report.Run
	// state is what the last run left for this one, and in the end what this one leaves.
	state report.State
	// listFailed is true when Proxmox could not be asked which guests run.
	listFailed bool
	// kinds says by VMID what a guest is run by.
	kinds map[int]pve.Kind
	// mu guards report while pools are worked on side by side.
	mu     sync.Mutex
	report report.Run
	// stuck are the disks whose abandoned bookmarks could not all be destroyed.
	stuck map[string]bool
	// destroyed are the snapshots that this run destroyed.
	destroyed []zfs.Snapshot
	hooks     hookLog
}

// Run makes one run and returns its plan and its report. The error is for a run that
// could not begin: nothing was changed then. ctx ends the run between two steps,
// never within a channel program.
func Run(ctx context.Context, o Options) (snapper.Plan, report.Run, error) {
	r := newRun(o, report.Name)
	if o.Config.Role == "replica" {
		return snapper.Plan{}, r.report, errors.New("the configuration says role: replica: this host receives snapshots, it takes none (snapwatch prune rotates them)")
	}
	var err error
	if r.state, err = o.World.LoadState(); err != nil {
		r.report.Add(report.Notice, "what the last run left for this one is not used: %v", err)
	}
	plan, err := r.do(ctx)
	if err != nil {
		return plan, r.report, err
	}
	if !o.DryRun && !o.Final {
		r.saveState()
		r.save(report.Name)
	}
	r.endHooks(report.Name)
	return plan, r.report, nil
}

// newRun begins a run with what the last one of its kind left.
func newRun(o Options, name string) *run {
	r := &run{Options: o, start: o.World.Now()}
	r.report = report.Run{Start: r.start, Retention: o.Keep.String(), Counts: map[report.Event]int{}}
	r.report.Configs = map[string]report.Kept{}
	for _, event := range report.Events() {
		r.report.Counts[event] = 0
	}
	var err error
	if r.previous, err = o.World.LastReport(name); err != nil {
		r.report.Add(report.Notice, "the report of the last run is not used: %v", err)
	}
	r.report.LastSuccess = r.previous.LastSuccess
	return r
}

// saveState keeps what the next run needs. Without it that one looks at more.
func (r *run) saveState() {
	if err := r.World.SaveState(r.state); err != nil {
		r.report.Add(report.Warning, "what the next run is to know is not kept: %v", err)
	}
}

func (r *run) save(name string) {
	if err := r.World.SaveReport(name, &r.report); err != nil {
		r.report.Add(report.Warning, "the report of this run is not kept: %v", err)
	}
}

func (r *run) progress(format string, args ...any) {
	if r.Progress != nil {
		r.Progress(fmt.Sprintf(format, args...))
	}
}

func (r *run) do(ctx context.Context) (snapper.Plan, error) {
	g, err := r.readGuests(ctx)
	if err != nil {
		return snapper.Plan{}, err
	}
	if err := r.checkNode(g.Cluster); err != nil {
		return snapper.Plan{}, err
	}
	r.report.Node = g.Cluster.Node
	parents, err := r.parents(g.Cluster)
	if err != nil {
		return snapper.Plan{}, err
	}
	return r.rounds(ctx, g, parents)
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

// configure fills in what the configuration says of a disk.
func (r *run) configure(d *snapper.Disk) {
	keep, _ := r.Config.KeepFor(d.Name, d.VMID, r.Keep)
	d.Retention = snapper.RetentionOf(keep)
	d.Checked = r.state.Checked[d.Name]
	d.Ignored = cmp.Or(r.Config.IgnoredFor(d.Name, d.VMID), d.Unlabelled)
}

func (r *run) policy(c pve.Cluster) snapper.Policy {
	hostname, err := r.World.Hostname()
	if err != nil {
		hostname = c.Node
	}
	return snapper.Policy{
		Names:               snapper.Names{Node: c.Node, Hostname: hostname, Peers: slices.DeleteFunc(slices.Clone(c.Nodes), func(n string) bool { return n == c.Node })},
		Bookmarks:           r.Config.Bookmarks,
		StoppedGrace:        r.Config.StoppedGrace.Std(),
		RefreshStopped:      r.Config.RefreshStopped.Std(),
		AdoptPeerLabels:     r.Config.AdoptPeerLabels,
		Adopt:               r.Adopt,
		Quiesced:            r.Config.Quiesced,
		MaxDestroys:         r.Config.MaxDestroys,
		MaxBookmarkDestroys: snapper.MaxBookmarkDestroys,
	}
}

// planned are the disks of all pools that could be read.
func (r *run) planned(pools []*pool) []snapper.Disk {
	var disks []snapper.Disk
	for _, p := range pools {
		if p.err == nil {
			disks = append(disks, p.disks...)
		}
	}
	return disks
}
