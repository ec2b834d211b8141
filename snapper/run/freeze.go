package run

import (
	"context"
	"errors"
	"fmt"

	"snapwatch/config"
	"snapwatch/internal/pve"
	"snapwatch/internal/quiesce"
	"snapwatch/snapper"
)

const (
	// unitsAtOnce bounds the windows that are open at the same time.
	unitsAtOnce = 4
	// asksAtOnce bounds the calls that ask whether a guest can be held still.
	asksAtOnce = 4
)

// errAtWork means that Proxmox works on a guest: it may freeze the guest itself.
var errAtWork = errors.New("work is under way on it")

// frozenUnit is a guest or a group that is held still while its snapshot is taken: its
// plans, a pool each, or more where retentions differ.
type frozenUnit struct {
	group   string
	plans   []snapper.GuestPlan
	freezes []snapper.Freeze
}

// frozenUnits splits the plans into those of guests that are to be held still, and the
// others.
func frozenUnits(guests []snapper.GuestPlan) (frozen []frozenUnit, others []snapper.GuestPlan) {
	type key struct {
		group string
		vmid  int
	}
	at := map[key]int{}
	for _, g := range guests {
		k := key{g.Group, g.VMID}
		i, begun := at[k]
		switch {
		case len(g.Freeze) == 0 && !begun:
			others = append(others, g)
			continue
		case !begun:
			i = len(frozen)
			at[k] = i
			frozen = append(frozen, frozenUnit{group: g.Group})
		}
		u := &frozen[i]
		u.plans = append(u.plans, g)
		for _, f := range g.Freeze {
			u.add(f)
		}
	}
	return frozen, others
}

func (u *frozenUnit) add(f snapper.Freeze) {
	for _, have := range u.freezes {
		if have.VMID == f.VMID {
			return
		}
	}
	u.freezes = append(u.freezes, f)
}

// fit asks of each guest of the unit whether it can be held still, and keeps Proxmox
// from working on those until release.
func (r *run) fit(ctx context.Context, u frozenUnit, asks Lanes) (freezes []snapper.Freeze, release func()) {
	freezes = append(freezes, u.freezes...)
	unlocks := make([]func(), len(freezes))
	var asked []func()
	for i, f := range freezes {
		if f.Unfit != "" {
			continue
		}
		asked = append(asked, asks.Go(func() {
			var err error
			if unlocks[i], err = r.fitGuest(ctx, f, r.kinds[f.VMID]); err != nil {
				freezes[i].Unfit, freezes[i].Passing = err.Error(), errors.Is(err, errAtWork)
			}
		}))
	}
	waitAll(asked)
	return freezes, func() {
		for _, unlock := range unlocks {
			if unlock != nil {
				unlock()
			}
		}
	}
}

// fitGuest takes the guest's lock, or returns why the guest can't be held still now.
func (r *run) fitGuest(ctx context.Context, f snapper.Freeze, kind pve.Kind) (unlock func(), err error) {
	ctx, cancel := r.World.Timeout(ctx, quiesce.Timeout(r.Config.MaxFreeze.Std()))
	defer cancel()
	id := pve.ID{VMID: f.VMID, Kind: kind}
	if kind == pve.LXC && f.How == config.Agent {
		return nil, fmt.Errorf("it is a container and has no agent: write cgroup")
	}
	if kind == pve.QEMU && f.How == config.Cgroup {
		return nil, fmt.Errorf("it is a virtual machine: a stopped QEMU writes nothing, and its disk is as after a power cut all the same; write agent")
	}
	if unlock, err = r.World.LockGuest(id); err != nil {
		return nil, fmt.Errorf("%w: %w", errAtWork, err)
	}
	if err = r.askFreezer(ctx, id); err != nil {
		unlock()
		return nil, err
	}
	return unlock, nil
}

func (r *run) askFreezer(ctx context.Context, id pve.ID) error {
	locked, err := r.World.Locked(ctx, id)
	if err != nil {
		return err
	}
	if locked != "" {
		return fmt.Errorf("%w: locked: %s", errAtWork, locked)
	}
	frozen, err := r.World.Frozen(ctx, id)
	if err != nil {
		return err
	}
	if frozen {
		return quiesce.ErrForeign
	}
	return nil
}
