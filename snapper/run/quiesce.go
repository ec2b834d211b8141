package run

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"snapwatch/internal/pve"
	"snapwatch/internal/report"
	"snapwatch/snapper"
)

// outcomesByPool are what became of disks, by pool and dataset.
type outcomesByPool map[string]map[string]snapper.DiskOutcome

// applyFrozen takes the snapshots of guests that are to be held still meanwhile, each
// guest or group in a window of its own. One that can't be held still gets its
// snapshot all the same.
func (r *run) applyFrozen(ctx context.Context, pools map[string]*pool, units []frozenUnit) outcomesByPool {
	all := outcomesByPool{}
	for name := range pools {
		all[name] = map[string]snapper.DiskOutcome{}
	}
	var mu sync.Mutex
	var wait sync.WaitGroup
	windows, slots := make(chan struct{}, unitsAtOnce), make(chan struct{}, asksAtOnce)
	for _, u := range units {
		wait.Go(func() {
			windows <- struct{}{} // first: the guests' locks are not to be held while we wait
			defer func() { <-windows }()
			r.settleWrites(pools, u)
			freezes, release := r.fit(ctx, u, slots)
			defer release()
			outcomes := r.applyUnit(ctx, pools, u, freezes)
			mu.Lock()
			defer mu.Unlock()
			for name, got := range outcomes {
				maps.Copy(all[name], got)
			}
		})
	}
	wait.Wait()
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
	fared := faring{freezes: freezes, kinds: r.kinds}
	if len(ids) == 0 || ctx.Err() != nil {
		outcomes := r.takeUnit(ctx, pools, u)
		r.reportFared(u, fared, outcomes)
		return outcomes
	}
	at := r.Now()
	window, err := r.Quiesce.Open(ids, r.Config.MaxFreeze.Std())
	if err != nil {
		fared.failed = map[pve.ID]string{}
		for _, id := range ids {
			fared.failed[id] = err.Error()
		}
		outcomes := r.takeUnit(ctx, pools, u)
		r.reportFared(u, fared, outcomes)
		return outcomes
	}
	fared.failed = window.Freeze()
	outcomes := r.takeUnit(ctx, pools, u)
	fared.ended = window.Thaw()
	fared.at = at
	r.reportFared(u, fared, outcomes)
	return outcomes
}

// settleWrites lets the unit's pools write what waits to be written, before its guests are
// held still: else their snapshot's transaction group has that to write, or the one before
// it, and they are held for as long. What fails here fails for the snapshot, too, and is
// told there.
func (r *run) settleWrites(pools map[string]*pool, u frozenUnit) {
	busy := map[string]*pool{}
	for _, g := range u.plans {
		busy[g.Pool] = pools[g.Pool]
	}
	eachPool(busy, func(p *pool) { _ = p.patiently(p.sync) })
}

// takeUnit takes a unit's snapshots, in one program a pool, in all pools at once.
func (r *run) takeUnit(ctx context.Context, pools map[string]*pool, u frozenUnit) outcomesByPool {
	byPool := map[string][]snapper.GuestPlan{}
	for _, g := range u.plans {
		byPool[g.Pool] = append(byPool[g.Pool], g)
	}
	all := outcomesByPool{}
	var mu sync.Mutex
	var wait sync.WaitGroup
	for name, plans := range byPool {
		wait.Go(func() {
			got := r.applyGuests(ctx, pools[name], plans)
			mu.Lock()
			defer mu.Unlock()
			all[name] = got
		})
	}
	wait.Wait()
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

// reportFared says in the report how the guests fared that were to be held still.
func (r *run) reportFared(u frozenUnit, fared faring, outcomes outcomesByPool) {
	for _, f := range fared.freezes {
		q := fared.guest(f, u, outcomes)
		if q.At.IsZero() {
			q.At = r.start
		}
		if q.Consistent == report.Crash {
			r.problem(r.crashLevel(f), "guest %d: its snapshot is only crash-consistent: %s", f.VMID, q.Reason)
		}
		r.mu.Lock()
		r.report.Quiesced = append(r.report.Quiesced, q)
		r.mu.Unlock()
	}
	for _, id := range slices.SortedFunc(maps.Keys(fared.ended.Left), func(a, b pve.ID) int { return a.VMID - b.VMID }) {
		r.problem(snapper.Warning, "guest %d was held still for its snapshot, and may be yet: %s", id.VMID, fared.ended.Left[id])
	}
	if pools := slices.Sorted(maps.Keys(outcomes)); u.group != "" && len(pools) > 1 {
		r.problem(snapper.Info, "group %s has disks in several pools (%s): their snapshots have a transaction group each, inside one freeze", u.group, strings.Join(pools, ", "))
	}
}

// crashLevel is how loudly to say that a guest could not be held still: by a mail when
// that begins, and then at a terminal; so, too, where Proxmox works on the guest.
func (r *run) crashLevel(f snapper.Freeze) snapper.Level {
	again := slices.ContainsFunc(r.previous.Quiesced, func(q report.Quiesced) bool { return q.VMID == f.VMID && q.Consistent == report.Crash })
	if again || f.Passing {
		return snapper.Notice
	}
	return snapper.Warning
}

// unmade is why a snapshot that was to be made is not there.
func unmade(err error) string {
	if err == nil {
		return "no snapshot was made"
	}
	return fmt.Sprintf("no snapshot was made: %v", err)
}
