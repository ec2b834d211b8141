package run

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"snapwatch/internal/lock"
	"snapwatch/internal/pve"
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
	timeout, cancel := context.WithTimeout(ctx, configTimeout)
	defer cancel()
	cluster, err := r.PVE.Cluster(timeout)
	if err != nil {
		return snapper.NodeView{}, err
	}
	g := snapper.NodeView{Cluster: cluster, Evidence: map[int]snapper.Evidence{}, Gate: r.readGate(ctx)}
	listed, listErr := pve.List(ctx)
	if listErr == nil && len(listed) == 0 && len(cluster.Guests) > 0 {
		listErr = fmt.Errorf("pvesh lists no guest at all, while %d are configured here", len(cluster.Guests))
	}
	g.ListErr = listErr
	for vmid, config := range cluster.Guests {
		e := snapper.Evidence{
			Config: config, Listed: listed[config.ID].Status, ListErr: listErr,
			Rebooting: r.PVE.Rebooting(config.ID), HAStarted: cluster.HAStarted[vmid],
			StoppedLastRun: slices.Contains(r.previous.SeenStopped, vmid),
		}
		e.Process, e.ProcessErr = r.PVE.Process(config.ID)
		g.Evidence[vmid] = e
	}
	return g, nil
}

func (r *run) readGate(ctx context.Context) snapper.Gate {
	if r.Final {
		shutdown := ReadShutdown(ctx, r.PVE)
		return snapper.Gate{Shutdown: &shutdown}
	}
	gate := snapper.Gate{BootGrace: r.Config.BootGrace.Std()}
	if gate.Uptime, gate.Err = r.PVE.Uptime(); gate.Err == nil {
		gate.BootState, gate.Err = r.PVE.BootState(ctx)
	}
	return gate
}

// askRunStates asks QEMU's own state of the guests whose state is not clear.
func (r *run) askRunStates(ctx context.Context, g snapper.NodeView, pools []*pool) {
	var wait sync.WaitGroup
	var mu sync.Mutex
	slots := make(chan struct{}, runStatesAtOnce)
	for _, vmid := range g.Unclear(r.planned(pools), r.policy(g.Cluster).Names) {
		mu.Lock()
		e := g.Evidence[vmid]
		mu.Unlock()
		wait.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			e.RunState, e.RunStateErr = pve.RunState(ctx, vmid)
			mu.Lock()
			defer mu.Unlock()
			g.Evidence[vmid] = e
		})
	}
	wait.Wait()
}

// confirm looks a second time at the guests that seem stopped, after the time they
// must stay down, and with their locks held: a rollback stops a guest before it
// marks it as locked (facts: Proxmox 5). release gives the locks up.
func (r *run) confirm(ctx context.Context, first snapper.NodeView, stops []int) (second snapper.NodeView, release func(), err error) {
	var held []*lock.Lock
	release = func() {
		for _, l := range held {
			_ = l.Release()
		}
	}
	timer := time.NewTimer(r.confirmPause())
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return snapper.NodeView{}, release, ctx.Err()
	}
	lockErrs := map[int]error{}
	for _, vmid := range stops {
		l, err := lockConfig(r.PVE.ConfigLock(first.Evidence[vmid].Config.ID))
		if err != nil {
			lockErrs[vmid] = err
			continue
		}
		held = append(held, l)
	}
	second, err = r.readGuests(ctx)
	if err != nil {
		return second, release, err
	}
	for vmid, e := range second.Evidence {
		e.LockErr = lockErrs[vmid]
		e.SeenStopped = slices.Contains(stops, vmid)
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

// lockConfig takes a guest's lock, shared. Where its directory is not there yet,
// Proxmox has not locked any guest since boot, and makes it the same way.
func lockConfig(path string) (*lock.Lock, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	return lock.TryShared(path)
}

// ReadShutdown asks systemd.
func ReadShutdown(ctx context.Context, host pve.Host) snapper.Shutdown {
	var s snapper.Shutdown
	if s.System, s.Err = host.SystemState(ctx); s.Err != nil {
		return s
	}
	if s.Guests, s.Err = host.UnitState(ctx, "pve-guests.service"); s.Err != nil {
		return s
	}
	s.HA, s.Err = host.UnitState(ctx, "pve-ha-lrm.service")
	return s
}
