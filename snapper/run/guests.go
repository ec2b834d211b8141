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

// configTimeout is the longest time that reading Proxmox's configuration may take.
const configTimeout = 30 * time.Second

// runStatesAtOnce is the largest number of pvesh processes that ask for QEMU's state at the same
// time.
const runStatesAtOnce = 4

// readGuests reads the configuration and the state of every guest on this node. readGuests returns
// an error only if the cluster's configuration cannot be read; if the state of a guest cannot be
// read, that guest's state is unknown.
func (r *run) readGuests(ctx context.Context) (snapper.NodeView, error) {
	timeout, cancel := r.World.Timeout(ctx, configTimeout)
	defer cancel()
	cluster, err := r.World.Cluster(timeout)
	if err != nil {
		return snapper.NodeView{}, err
	}
	view := snapper.NodeView{Cluster: cluster, Evidence: map[int]snapper.Evidence{}, Gate: r.readGate(ctx)}
	listed, listErr := r.World.List(ctx)
	if listErr == nil && len(listed) == 0 && len(cluster.Guests) > 0 {
		listErr = fmt.Errorf("pvesh lists no guest at all, while %d are configured here", len(cluster.Guests))
	}
	view.ListErr = listErr
	for _, vmid := range slices.Sorted(maps.Keys(cluster.Guests)) {
		config := cluster.Guests[vmid]
		e := snapper.Evidence{
			Config: config, Listed: listed[config.ID].Status, ListErr: listErr,
			Rebooting: r.World.Rebooting(config.ID), HAStarted: cluster.HAStarted[vmid],
			StoppedLastRun: slices.Contains(r.state.SeenStopped, vmid),
		}
		e.Process, e.ProcessErr = r.World.Process(config.ID)
		view.Evidence[vmid] = e
	}
	return view, nil
}

func (o Options) readGate(ctx context.Context) snapper.Gate {
	if o.Final {
		shutdown := o.World.Shutdown(ctx)
		return snapper.Gate{Shutdown: &shutdown}
	}
	gate := snapper.Gate{BootGrace: o.Config.BootGrace.Std()}
	if gate.Uptime, gate.Err = o.World.Uptime(); gate.Err == nil {
		gate.BootState, gate.Err = o.World.BootState(ctx)
	}
	return gate
}

// askRunStates asks QEMU for the state of each guest whose state is unclear without QEMU's answer.
// askRunStates returns the view with QEMU's answers.
func (o Options) askRunStates(ctx context.Context, view snapper.NodeView, pools []*pool, names snapper.Names) snapper.NodeView {
	var asked []func()
	var mu sync.Mutex
	lanes := o.World.Lanes(runStatesAtOnce)
	view.Evidence = maps.Clone(view.Evidence)
	for _, vmid := range view.Unclear(plannedDisks(pools), names) {
		asked = append(asked, lanes.Go(func() {
			state, err := o.World.RunState(ctx, vmid)
			mu.Lock()
			defer mu.Unlock()
			e := view.Evidence[vmid]
			e.RunState, e.RunStateErr = state, err
			view.Evidence[vmid] = e
		}))
	}
	waitAll(asked)
	return view
}

// lookAgain waits for confirmPause, and then looks at all guests a second time. lookAgain waits
// because a guest that is only being restarted also seems stopped for a short time.
func (r *run) lookAgain(ctx context.Context, first snapper.NodeView, stopped []int) (snapper.NodeView, error) {
	if err := r.World.Wait(ctx, r.confirmPause()); err != nil {
		return snapper.NodeView{}, err
	}
	second, err := r.readGuests(ctx)
	if err != nil {
		return snapper.NodeView{}, err
	}
	second.LooksDone = true
	for vmid, e := range second.Evidence {
		e.SeenStopped = slices.Contains(stopped, vmid)
		was, here := first.Evidence[vmid]
		e.JustEnded = here && was.Alive()
		second.Evidence[vmid] = e
	}
	return second, nil
}

// confirmPause returns the time between the first and the second look at a guest that seems
// stopped.
func (o Options) confirmPause() time.Duration {
	if o.Final {
		return min(snapper.ShutdownPause, o.Config.ConfirmStop.Std())
	}
	return o.Config.ConfirmStop.Std()
}
