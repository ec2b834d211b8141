package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"snapwatch/config"
	"snapwatch/internal/pve"
	"snapwatch/internal/quiesce"
	"snapwatch/internal/report"
	"snapwatch/snapper"
)

// freezer freezes guests, takes their snapshots, and thaws the guests.
type freezer struct {
	Options
	*journal
	start    time.Time
	previous []report.Quiesced
	view     snapper.NodeView
	pools    []*pool
	locks    *locks
	captures *captures
}

// take takes the snapshots of guests and groups that must be frozen. A window is the time of one
// freeze, and each guest or group has a window of its own. The next window begins only after the
// guests of the window before are thawed. A guest that cannot be frozen gets its snapshot without a
// freeze.
func (f *freezer) take(ctx context.Context, list []snapper.Frozen) map[string]snapper.Outcome {
	all := map[string]snapper.Outcome{}
	for _, u := range f.ask(ctx, list) {
		// ask starts pvesh, which is slow, so the run asks all guests before it locks the first
		// one.
		maps.Copy(all, f.takeOne(ctx, u))
	}
	return all
}

// takeOne freezes a guest or the guests of a group, takes their snapshots, and thaws the guests.
// takeOne enters the results of the freezes in the report.
func (f *freezer) takeOne(ctx context.Context, u snapper.Frozen) map[string]snapper.Outcome {
	// Without the sync before the freeze, the pools would write their pending data while the guests
	// are frozen.
	syncPools(f.World, f.pools, u.Plans)
	limit := min(maxLocked+f.Config.MaxFreeze.Std(), maxLockedFrozen)
	ready, left, looks, lease := f.locks.living(ctx, f.view, u.Plans, limit)
	defer lease.giveUp()
	freezes, apart := f.lockOut(f.needed(u.Freezes, ready), looks)
	defer apart.giveUp()
	result := freezeResult{freezes: freezes, view: f.view, lacks: f.lacks}
	outcomes := f.takeFrozen(ctx, f.captures.fill(ready, f.view, looks), &result, lease)
	maps.Copy(outcomes, left)
	apart.giveUp()
	lease.giveUp()
	f.note(u, f.tell(u, result, outcomes), outcomes)
	return outcomes
}

// needed returns the freezes of the guests that use a disk of which the plans take a snapshot. A
// guest without a snapshot in the plans is not frozen, and gets no result of a freeze: the outcomes
// of the guest's disks already say why these disks get no snapshot now.
func (f *freezer) needed(list []snapper.Freeze, plans []snapper.GuestPlan) []snapper.Freeze {
	var used []int
	for _, g := range plans {
		for _, d := range g.Disks {
			if d.Snapshot {
				used = append(append(used, d.VMID), f.view.UsersHere(d.Dataset)...)
			}
		}
	}
	return slices.DeleteFunc(slices.Clone(list), func(z snapper.Freeze) bool { return !slices.Contains(used, z.VMID) })
}

// note sets, on the new snapshots of the guests in the map, the property that marks a snapshot as
// consistent. The run need not hold the guests' locks during a call of note.
func (f *freezer) note(u snapper.Frozen, consistent map[int]bool, outcomes map[string]snapper.Outcome) {
	eachPool(f.World, f.pools, func(p *pool) {
		var names []string
		for _, g := range u.Plans {
			for _, d := range g.Disks {
				if o := outcomes[d.Dataset]; g.Pool == p.name && consistent[d.VMID] && o.Snapshot != "" {
					names = append(names, d.Dataset+"@"+o.Snapshot)
				}
			}
		}
		if len(names) == 0 {
			return
		}
		if err := p.within(soonTimeout, func(timeout context.Context) error { return p.SetConsistent(timeout, names) }); err != nil {
			f.problem(report.Warning, "snapshots of frozen guests could not be marked as consistent: %v", err)
		}
	})
}

// takeFrozen takes the snapshots while the guests are frozen. If freezing cannot begin, takeFrozen
// takes the snapshots without freezing the guests.
func (f *freezer) takeFrozen(ctx context.Context, plans []snapper.GuestPlan, result *freezeResult, lease *lease) map[string]snapper.Outcome {
	var ids []pve.ID
	for _, z := range result.freezes {
		if z.Unfit == "" {
			ids = append(ids, result.id(z.VMID))
		}
	}
	if len(ids) == 0 || ctx.Err() != nil {
		return takeOnPools(ctx, f.World, f.pools, plans, lease)
	}
	at := f.World.Now()
	window, err := f.World.OpenWindow(ids, f.Config.MaxFreeze.Std())
	if err == nil && !lease.held() { // no channel program can begin, so nothing is frozen
		window.Thaw()
		err = errors.New("the watchdog took so long to start that the guest's lock had to be released")
	}
	if err != nil {
		result.failed = map[pve.ID]string{}
		for _, id := range ids {
			result.failed[id] = err.Error()
		}
		return takeOnPools(ctx, f.World, f.pools, plans, lease)
	}
	result.failed = window.Freeze()
	outcomes := takeOnPools(ctx, f.World, f.pools, plans, lease)
	result.ended, result.at = window.Thaw(), at
	return outcomes
}

// ask finds out, for each guest of the list, whether the guest can be frozen now. ask returns the
// list, with the reason for each guest that cannot be frozen.
func (f *freezer) ask(ctx context.Context, list []snapper.Frozen) []snapper.Frozen {
	list = slices.Clone(list)
	lanes := f.World.Lanes(f.World.FreezesAtOnce())
	var asked []func()
	for i := range list {
		list[i].Freezes = slices.Clone(list[i].Freezes)
		for n := range list[i].Freezes {
			z := &list[i].Freezes[n]
			if z.Unfit != "" {
				continue
			}
			asked = append(asked, lanes.Go(func() {
				began := f.World.Now()
				if err := f.fit(ctx, z.How, f.view.Evidence[z.VMID].Config.ID); err != nil {
					z.Unfit, z.Fault = err.Error(), unfitKey(err)
				}
				z.Takes = f.World.Now().Sub(began)
			}))
		}
	}
	waitAll(asked)
	for _, u := range list {
		why := snapper.TooMany(u.Freezes, f.World.FreezesAtOnce(), f.Config.MaxFreeze.Std(), quiesce.MaxFreezing)
		for i := range u.Freezes {
			if z := &u.Freezes[i]; why != "" && z.Unfit == "" {
				z.Unfit, z.Fault = why, "too many"
			}
		}
	}
	return list
}

// lacks returns those disks of a guest that got no snapshot while the guest was frozen.
func (f *freezer) lacks(vmid int, taken func(dataset string) bool, frozen func(vmid int) bool) []snapper.Lack {
	excluded := func(dataset string) bool { return f.Config.IgnoredFor(dataset, vmid) != "" }
	return f.view.Lacks(vmid, plannedDisks(f.pools), excluded, taken, frozen)
}

// errWrongHow means that the configuration demands a way of freezing that does not exist for this
// kind of guest.
var errWrongHow = errors.New("not possible")

// leftFrozenKey is the key of the fault that a guest was frozen and not seen thawed. The run that
// froze the guest and all later runs report the same key.
const leftFrozenKey = "left frozen"

// unfitKey returns the key under which the report stores the reason why a guest cannot be frozen.
func unfitKey(err error) string {
	switch {
	case errors.Is(err, errWrongHow):
		return "wrong how"
	case errors.Is(err, quiesce.ErrOurs):
		return leftFrozenKey
	case errors.Is(err, quiesce.ErrForeign):
		return "frozen by others"
	}
	return "no answer"
}

// fit checks whether a guest can be frozen now. The error has the reason why the guest cannot be
// frozen.
func (f *freezer) fit(ctx context.Context, how config.How, id pve.ID) error {
	if id.Kind == pve.LXC && how == config.Agent {
		return fmt.Errorf("%w: it is a container and has no agent: write cgroup instead of agent", errWrongHow)
	}
	if id.Kind == pve.QEMU && how == config.Cgroup {
		return fmt.Errorf("%w: it is a virtual machine, whose disk would be as after a power cut even if cgroup stopped QEMU: write agent instead of cgroup", errWrongHow)
	}
	ctx, cancel := f.World.Timeout(ctx, quiesce.Timeout(f.Config.MaxFreeze.Std()))
	defer cancel()
	frozen, err := f.World.Frozen(ctx, id)
	if err != nil {
		return err
	}
	switch {
	case frozen && slices.Contains(f.report.LeftFrozen, id.VMID):
		return quiesce.ErrOurs
	case frozen:
		return quiesce.ErrForeign
	}
	return nil
}

// lockOut takes the locks under which Proxmox replicates and migrates guests, for all guests that
// can be frozen, because replication and migration also freeze and thaw guests. lockOut releases
// the locks after at most maxMigrationLocked. Once the locks are released, replication or migration
// may thaw a guest, so that the guest's snapshot is only crash-consistent. A crash-consistent
// snapshot is better than a replication that fails because it waited too long for the lock. A guest
// that Proxmox is already replicating or migrating is not frozen.
func (f *freezer) lockOut(list []snapper.Freeze, looks map[int]snapper.LastLook) ([]snapper.Freeze, *lease) {
	var taken []func()
	for i := range list {
		z := &list[i]
		look := looks[z.VMID]
		err := cmp.Or(look.LockErr, look.Err)
		switch {
		case z.Unfit != "":
			continue
		case err == nil && look.Config.Lock != "":
			err = fmt.Errorf("locked: %s", look.Config.Lock)
		case err == nil:
			var unlock func()
			if unlock, err = f.World.LockMigration(f.view.Evidence[z.VMID].Config.ID); err == nil {
				taken = append(taken, unlock)
			}
		}
		if err != nil {
			z.Unfit, z.Passing = fmt.Sprintf("Proxmox works on it: %v", err), true
		}
	}
	return list, newLease(f.World, maxMigrationLocked, taken, func() {})
}
