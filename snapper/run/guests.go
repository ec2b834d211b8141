package run

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"snapwatch/snapper"
)

// configTimeout is how long reading Proxmox's configuration may take.
const configTimeout = 30 * time.Second

// runStatesAtOnce bounds the pvesh processes that ask for QEMU's own state.
const runStatesAtOnce = 4

// readGuests reads the configuration and asks for the state of every guest on this
// node. Only an unreadable configuration is an error; what else can't be told makes
// guests unknown.
func (r *run) readGuests(ctx context.Context) (snapper.NodeView, error) {
	timeout, cancel := r.World.Timeout(ctx, configTimeout)
	defer cancel()
	cluster, err := r.World.Cluster(timeout)
	if err != nil {
		return snapper.NodeView{}, err
	}
	g := snapper.NodeView{Cluster: cluster, Evidence: map[int]snapper.Evidence{}, Gate: r.readGate(ctx)}
	listed, listErr := r.World.List(ctx)
	if listErr == nil && len(listed) == 0 && len(cluster.Guests) > 0 {
		listErr = fmt.Errorf("pvesh lists no guest at all, while %d are configured here", len(cluster.Guests))
	}
	g.ListErr = listErr
	for _, vmid := range slices.Sorted(maps.Keys(cluster.Guests)) {
		config := cluster.Guests[vmid]
		e := snapper.Evidence{
			Config: config, Listed: listed[config.ID].Status, ListErr: listErr,
			Rebooting: r.World.Rebooting(config.ID), HAStarted: cluster.HAStarted[vmid],
			StoppedLastRun: slices.Contains(r.previous.SeenStopped, vmid),
		}
		e.Process, e.ProcessErr = r.World.Process(config.ID)
		g.Evidence[vmid] = e
	}
	return g, nil
}

func (r *run) readGate(ctx context.Context) snapper.Gate {
	if r.Final {
		shutdown := r.World.Shutdown(ctx)
		return snapper.Gate{Shutdown: &shutdown}
	}
	gate := snapper.Gate{BootGrace: r.Config.BootGrace.Std()}
	if gate.Uptime, gate.Err = r.World.Uptime(); gate.Err == nil {
		gate.BootState, gate.Err = r.World.BootState(ctx)
	}
	return gate
}

// askRunStates asks QEMU's own state of the guests whose state is not clear.
func (r *run) askRunStates(ctx context.Context, g snapper.NodeView, pools []*pool) {
	var asked []func()
	var mu sync.Mutex
	asks := r.World.Lanes(runStatesAtOnce)
	for _, vmid := range g.Unclear(r.planned(pools), r.policy(g.Cluster).Names) {
		mu.Lock()
		e := g.Evidence[vmid]
		mu.Unlock()
		asked = append(asked, asks.Go(func() {
			e.RunState, e.RunStateErr = r.World.RunState(ctx, vmid)
			mu.Lock()
			defer mu.Unlock()
			g.Evidence[vmid] = e
		}))
	}
	waitAll(asked)
}

// confirm looks a second time at the guests that seem stopped, after the time they
// must stay down, and with their locks held: a rollback stops a guest before it
// marks it as locked (facts: Proxmox 5). release gives the locks up.
func (r *run) confirm(ctx context.Context, first snapper.NodeView, stops []int) (second snapper.NodeView, release func(), err error) {
	var held []func()
	release = func() {
		for _, unlock := range held {
			unlock()
		}
		held = nil
	}
	if err := r.World.Wait(ctx, r.confirmPause()); err != nil {
		return snapper.NodeView{}, release, err
	}
	lockErrs := map[int]error{}
	for _, vmid := range stops {
		unlock, err := r.World.LockGuest(first.Evidence[vmid].Config.ID)
		if err != nil {
			lockErrs[vmid] = err
			continue
		}
		held = append(held, unlock)
	}
	second, err = r.readGuests(ctx)
	if err != nil {
		return second, release, err
	}
	for vmid, e := range second.Evidence {
		e.LockErr = lockErrs[vmid]
		e.SeenStopped = slices.Contains(stops, vmid)
		was, here := first.Evidence[vmid]
		e.JustEnded = here && was.Alive()
		second.Evidence[vmid] = e
	}
	return second, release, nil
}

// confirmPause is the time between the two looks at a guest that seems stopped.
func (r *run) confirmPause() time.Duration {
	if r.Final {
		return min(snapper.ShutdownPause, r.Config.ConfirmStop.Std())
	}
	return r.Config.ConfirmStop.Std()
}
