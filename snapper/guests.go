package snapper

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"snapwatch/internal/lock"
	"snapwatch/internal/pve"
	"snapwatch/internal/zfs"
)

// configPatience is how long reading Proxmox's configuration may take.
const configPatience = 30 * time.Second

// runStatesAtOnce bounds the pvesh processes that ask for QEMU's own state.
const runStatesAtOnce = 4

// guests is what was found out about all guests of the node at one time.
type guests struct {
	cluster  pve.Cluster
	evidence map[int]Evidence
	gate     Gate
	listErr  error
}

// readGuests reads the configuration and asks for the state of every guest on this
// node. Only an unreadable configuration is an error; what else can't be told makes
// guests unknown.
func (r *run) readGuests(ctx context.Context) (guests, error) {
	patience, cancel := context.WithTimeout(ctx, configPatience)
	defer cancel()
	cluster, err := r.PVE.Cluster(patience)
	if err != nil {
		return guests{}, err
	}
	g := guests{cluster: cluster, evidence: map[int]Evidence{}, gate: r.readGate(ctx)}
	listed, listErr := pve.List(ctx)
	if listErr == nil && len(listed) == 0 && len(cluster.Guests) > 0 {
		listErr = fmt.Errorf("pvesh lists no guest at all, while %d are configured here", len(cluster.Guests))
	}
	g.listErr = listErr
	for vmid, config := range cluster.Guests {
		e := Evidence{
			Config: config, Listed: listed[config.ID].Status, ListErr: listErr,
			Rebooting: r.PVE.Rebooting(config.ID), HAStarted: cluster.HAStarted[vmid],
			StoppedLastRun: slices.Contains(r.previous.SeenStopped, vmid),
		}
		e.Process, e.ProcessErr = r.PVE.Process(config.ID)
		g.evidence[vmid] = e
	}
	return g, nil
}

func (r *run) readGate(ctx context.Context) Gate {
	gate := Gate{BootGrace: r.Config.BootGrace.Std()}
	if gate.Uptime, gate.Err = r.PVE.Uptime(); gate.Err == nil {
		gate.BootState, gate.Err = r.PVE.BootState(ctx)
	}
	return gate
}

// askRunStates asks QEMU's own state of the living guests for which it matters:
// those locked for backup, which may be stopped ones, and those whose label does not
// say yet that they run here.
func (r *run) askRunStates(ctx context.Context, g guests, unlabelled map[int]bool) {
	var wait sync.WaitGroup
	var mu sync.Mutex
	slots := make(chan struct{}, runStatesAtOnce)
	for vmid, e := range maps.Clone(g.evidence) {
		alive := e.Process || aliveStatus[e.Listed]
		if e.Config.Kind != pve.QEMU || !alive || e.ListErr != nil || e.Config.Lock != "backup" && !unlabelled[vmid] {
			continue
		}
		wait.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			e.RunState, e.RunStateErr = pve.RunState(ctx, vmid)
			mu.Lock()
			defer mu.Unlock()
			g.evidence[vmid] = e
		})
	}
	wait.Wait()
}

// states judges every guest and gives each disk its state.
func (r *run) states(g guests, pools []*pool) {
	judged := map[int]State{}
	why := map[int]string{}
	for vmid, e := range g.evidence {
		judged[vmid], why[vmid] = Judge(e, g.gate)
	}
	for vmid, node := range g.cluster.Elsewhere {
		judged[vmid], why[vmid] = Elsewhere, "guest "+fmt.Sprint(vmid)+" is configured on node "+node
	}
	for _, p := range pools {
		for i := range p.disks {
			d := &p.disks[i]
			claims := r.claims(g.cluster, *d)
			switch {
			case r.isReplica(d.Name):
				d.State, d.Why = Replica, "listed under replicas in the configuration"
			case len(claims) == 0:
				d.State, d.Why = Orphan, fmt.Sprintf("no guest %d in the cluster", d.VMID)
			default:
				var states []State
				for _, c := range claims {
					states = append(states, judged[c])
				}
				d.State, d.Why = Combine(states), why[claims[0]]
				if len(claims) > 1 {
					d.Why = fmt.Sprintf("used by the guests %v", claims)
				}
			}
		}
	}
}

func (r *run) claims(c pve.Cluster, d Disk) []int {
	var storages []string
	for _, s := range c.Storages {
		if s.Dataset == zfs.Parent(d.Name) {
			storages = append(storages, s.Name)
		}
	}
	return Claims(c, storages, d.Name, d.VMID)
}

func (r *run) isReplica(dataset string) bool {
	return slices.ContainsFunc(r.Config.Replicas, func(root string) bool { return zfs.Within(dataset, root) })
}

// confirm looks a second time at the guests that seem stopped, after the time they
// must stay down, and with their locks held: a rollback stops a guest before it
// marks it as locked (facts: Proxmox 5). release gives the locks up.
func (r *run) confirm(ctx context.Context, first guests, stops []int) (second guests, release func(), err error) {
	var held []*lock.Lock
	release = func() {
		for _, l := range held {
			_ = l.Release()
		}
	}
	timer := time.NewTimer(r.Config.ConfirmStop.Std())
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return guests{}, release, ctx.Err()
	}
	lockErrs := map[int]error{}
	for _, vmid := range stops {
		l, err := lockConfig(r.PVE.ConfigLock(first.evidence[vmid].Config.ID))
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
	for vmid, e := range second.evidence {
		e.LockErr = lockErrs[vmid]
		e.SeenStopped = slices.Contains(stops, vmid)
		second.evidence[vmid] = e
	}
	return second, release, nil
}

// lockConfig takes a guest's lock, shared. Where its directory is not there yet,
// Proxmox has not locked any guest since boot, and makes it the same way.
func lockConfig(path string) (*lock.Lock, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	return lock.TryShared(path)
}

// supposeStopped returns the evidence as if every guest had been seen stopped twice:
// a plan made from it tells which guests need the second look.
func (g guests) supposeStopped() guests {
	supposed := g
	supposed.evidence = map[int]Evidence{}
	for vmid, e := range g.evidence {
		e.SeenStopped = true
		supposed.evidence[vmid] = e
	}
	return supposed
}

// seenStopped returns the guests that did not run, by VMID.
func (g guests) seenStopped() []int {
	var vmids []int
	for vmid, e := range g.evidence {
		if e.ListErr == nil && e.Listed == "stopped" && e.ProcessErr == nil && !e.Process {
			vmids = append(vmids, vmid)
		}
	}
	slices.Sort(vmids)
	return vmids
}
