package run

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"snapwatch/internal/pve"
	"snapwatch/internal/quiesce"
	"snapwatch/internal/report"
	"snapwatch/snapper"
)

// outcomesByPool are what became of disks, by pool and dataset.
type outcomesByPool map[string]map[string]snapper.Outcome

// applyFrozen takes the snapshots of guests that are to be held still meanwhile, each
// guest or group in a window of its own. One that can't be held still gets its
// snapshot all the same.
func (r *run) applyFrozen(ctx context.Context, pools map[string]*pool, units []frozenUnit) outcomesByPool {
	all := outcomesByPool{}
	for name := range pools {
		all[name] = map[string]snapper.Outcome{}
	}
	var mu sync.Mutex
	var applied []func()
	windows, asks := r.World.Lanes(unitsAtOnce), r.World.Lanes(asksAtOnce)
	for _, u := range units {
		applied = append(applied, windows.Go(func() { // a lane comes first: nobody waits for one with a guest's lock
			r.syncPools(pools, u)
			freezes, release := r.fit(ctx, u, asks)
			defer release()
			outcomes := r.applyUnit(ctx, pools, u, freezes)
			mu.Lock()
			defer mu.Unlock()
			for name, got := range outcomes {
				maps.Copy(all[name], got)
			}
		}))
	}
	waitAll(applied)
	return all
}

// applyUnit holds a unit's guests still, takes its snapshots, and lets the guests go
// on. How it ended is in the report.
func (r *run) applyUnit(ctx context.Context, pools map[string]*pool, u frozenUnit, freezes []snapper.Freeze) outcomesByPool {
	var ids []pve.ID
	for _, f := range freezes {
		if f.Unfit == "" {
			ids = append(ids, pve.ID{VMID: f.VMID, Kind: r.kinds[f.VMID]})
		}
	}
	fared := freezeResult{freezes: freezes, kinds: r.kinds}
	if len(ids) == 0 || ctx.Err() != nil {
		outcomes := r.takeUnit(ctx, pools, u)
		r.reportFreeze(u, fared, outcomes)
		return outcomes
	}
	at := r.World.Now()
	window, err := r.World.OpenWindow(ids, r.Config.MaxFreeze.Std())
	if err != nil {
		fared.failed = map[pve.ID]string{}
		for _, id := range ids {
			fared.failed[id] = err.Error()
		}
		outcomes := r.takeUnit(ctx, pools, u)
		r.reportFreeze(u, fared, outcomes)
		return outcomes
	}
	fared.failed = window.Freeze()
	outcomes := r.takeUnit(ctx, pools, u)
	fared.ended = window.Thaw()
	fared.at = at
	r.reportFreeze(u, fared, outcomes)
	return outcomes
}

// syncPools lets the unit's pools write what waits to be written, before its guests are
// held still: else their snapshot's transaction group has that to write, or the one before
// it, and they are held for as long. What fails here fails for the snapshot, too, and is
// told there.
func (r *run) syncPools(pools map[string]*pool, u frozenUnit) {
	busy := map[string]*pool{}
	for _, g := range u.plans {
		busy[g.Pool] = pools[g.Pool]
	}
	r.eachPool(busy, func(p *pool) { _ = r.withTimeout(p, p.Sync) })
}

// takeUnit takes a unit's snapshots, in one program a pool, in all pools at once.
func (r *run) takeUnit(ctx context.Context, pools map[string]*pool, u frozenUnit) outcomesByPool {
	byPool := map[string][]snapper.GuestPlan{}
	for _, g := range u.plans {
		byPool[g.Pool] = append(byPool[g.Pool], g)
	}
	all := outcomesByPool{}
	var mu sync.Mutex
	busy := map[string]*pool{}
	for name := range byPool {
		busy[name] = pools[name]
	}
	r.eachPool(busy, func(p *pool) {
		got := r.applyGuests(ctx, p, byPool[p.name])
		mu.Lock()
		defer mu.Unlock()
		all[p.name] = got
	})
	return all
}

// applyable are the pools that can be worked on, by name.
func applyable(pools []*pool) map[string]*pool {
	byName := map[string]*pool{}
	for _, p := range pools {
		if p.err == nil {
			byName[p.name] = p
		}
	}
	return byName
}

// kindsOf says by VMID what a guest is run by.
func kindsOf(c pve.Cluster) map[int]pve.Kind {
	kinds := map[int]pve.Kind{}
	for vmid, config := range c.Guests {
		kinds[vmid] = config.Kind
	}
	return kinds
}

// reportFreeze says in the report how the guests fared that were to be held still.
func (r *run) reportFreeze(u frozenUnit, fared freezeResult, outcomes outcomesByPool) {
	for _, f := range fared.freezes {
		q := fared.guest(f, u, outcomes)
		if q.At.IsZero() {
			q.At = r.start
		}
		if q.Consistent == report.Crash {
			r.problem(r.crashSeverity(f), "guest %d: its snapshot is only crash-consistent: %s", f.VMID, q.Reason)
		}
		r.mu.Lock()
		r.report.Quiesced = append(r.report.Quiesced, q)
		r.mu.Unlock()
	}
	for _, id := range slices.SortedFunc(maps.Keys(fared.ended.Left), func(a, b pve.ID) int { return a.VMID - b.VMID }) {
		r.problem(report.Warning, "guest %d was held still for its snapshot, and may be yet: %s", id.VMID, fared.ended.Left[id])
	}
	if pools := slices.Sorted(maps.Keys(outcomes)); u.group != "" && len(pools) > 1 {
		r.problem(report.Info, "group %s has disks in several pools (%s): their snapshots have a transaction group each, inside one freeze", u.group, strings.Join(pools, ", "))
	}
}

// crashSeverity is how loudly to say that a guest could not be held still: by a mail when
// that begins, and then at a terminal; so, too, where Proxmox works on the guest.
func (r *run) crashSeverity(f snapper.Freeze) report.Severity {
	again := slices.ContainsFunc(r.previous.Quiesced, func(q report.Quiesced) bool { return q.VMID == f.VMID && q.Consistent == report.Crash })
	if again || f.Passing {
		return report.Notice
	}
	return report.Warning
}

// unmade is why a snapshot that was to be made is not there.
func unmade(err error) string {
	if err == nil {
		return "no snapshot was made"
	}
	return fmt.Sprintf("no snapshot was made: %v", err)
}

// freezeResult is what became of holding a unit's guests still.
type freezeResult struct {
	freezes []snapper.Freeze
	kinds   map[int]pve.Kind
	// failed are those that could not be frozen, and why.
	failed map[pve.ID]string
	ended  quiesce.Ended
	// at is when the window was opened, zero if none was.
	at time.Time
}

// guest says how one guest fared. It was held still for its snapshot if it was frozen,
// and if nothing thawed before the programs of all pools had ended.
func (f freezeResult) guest(freeze snapper.Freeze, u frozenUnit, outcomes outcomesByPool) report.Quiesced {
	id := pve.ID{VMID: freeze.VMID, Kind: f.kinds[freeze.VMID]}
	q := report.Quiesced{
		VMID: freeze.VMID, Group: u.group, How: string(freeze.How), At: f.at,
		Consistent: report.Crash, Seconds: f.ended.Frozen[id].Seconds(),
	}
	name, err := u.made(freeze.VMID, outcomes)
	q.Snapshot = name
	switch {
	case freeze.Unfit != "":
		q.Reason = "it is not held still: " + freeze.Unfit
	case f.failed[id] != "":
		q.Reason = "it could not be held still: " + f.failed[id]
	case f.at.IsZero():
		q.Reason = "the run was told to end"
	case name == "":
		q.Reason = unmade(err)
	case f.ended.Lapsed[id] != "":
		q.Reason = "it may have gone on before the snapshot was made: " + f.ended.Lapsed[id]
	case f.ended.Early != "":
		q.Reason = "it went on before the snapshot was made: " + f.ended.Early
	default:
		q.Consistent = report.Application
	}
	return q
}

// made is the name that the snapshots of a guest of the unit got, "" and maybe why
// where one of its disks has none.
func (u frozenUnit) made(vmid int, outcomes outcomesByPool) (name string, err error) {
	for _, g := range u.plans {
		for _, d := range g.Disks {
			if d.VMID != vmid || !d.Snapshot {
				continue
			}
			o := outcomes[g.Pool][d.Dataset]
			if o.Snapshot == "" {
				return "", o.Err
			}
			name = o.Snapshot
		}
	}
	return name, nil
}
