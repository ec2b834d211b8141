package snapper

import (
	"fmt"
	"slices"
	"time"

	"snapwatch/internal/pve"
	"snapwatch/internal/zfs"
)

// NodeView is what was found out about all guests of the node at one time. Its methods
// are pure: they say what follows from that for the disks.
type NodeView struct {
	Cluster pve.Cluster
	// Evidence is about the guests configured on this node, by VMID.
	Evidence map[int]Evidence
	Gate     Gate
	// ListErr is why Proxmox could not be asked which guests run.
	ListErr error
}

// Assign judges every guest and gives each disk its state. replicas are the datasets
// below which the configuration says that everything is received.
func (g NodeView) Assign(disks []Disk, replicas []string) {
	judged := map[int]GuestState{}
	why := map[int]string{}
	for vmid, e := range g.Evidence {
		judged[vmid], why[vmid] = Judge(e, g.Gate)
	}
	for vmid, node := range g.Cluster.Elsewhere {
		judged[vmid], why[vmid] = Elsewhere, "guest "+fmt.Sprint(vmid)+" is configured on node "+node
	}
	for i := range disks {
		d := &disks[i]
		claims := g.GuestsOf(*d)
		received := slices.ContainsFunc(replicas, func(root string) bool { return zfs.Within(d.Name, root) })
		switch {
		case received:
			d.State, d.Why = Replica, "listed under replicas in the configuration"
			for _, vmid := range referencing(g.Cluster, g.storagesOf(*d), d.Name) {
				if judged[vmid].Alive() {
					d.InUse, d.Why = true, fmt.Sprintf("guest %d runs on it here, but it is listed under replicas in the configuration, so that it gets no snapshots: take it out of there", vmid)
				}
			}
		case len(claims) == 0:
			d.State, d.Why = Orphan, fmt.Sprintf("no guest %d in the cluster", d.VMID)
		default:
			var states []GuestState
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

// GuestsOf are the guests that use a disk.
func (g NodeView) GuestsOf(d Disk) []int { return GuestsOf(g.Cluster, g.storagesOf(d), d.Name, d.VMID) }

// Users are the guests that may use a disk which is listed as a copy. Beyond the storages
// of this node a number is no sign: clusters use the same.
func (g NodeView) Users(d Disk) []int {
	storages := g.storagesOf(d)
	if len(storages) == 0 {
		return referencing(g.Cluster, nil, d.Name)
	}
	return GuestsOf(g.Cluster, storages, d.Name, d.VMID)
}

// storagesOf are the storages of this node that a disk lies in, by name.
func (g NodeView) storagesOf(d Disk) []string {
	var storages []string
	for _, s := range g.Cluster.Storages {
		if s.Dataset == zfs.Parent(d.Name) {
			storages = append(storages, s.Name)
		}
	}
	return storages
}

// Unclear returns the guests of which QEMU must say itself what it does, by VMID: the
// living ones that are locked for backup, which may be stopped ones, and those with a
// disk whose label does not say yet that they run here.
func (g NodeView) Unclear(disks []Disk, names Names) []int {
	unlabelled := map[int]bool{}
	for _, d := range disks {
		if names.Classify(d.Running) != OwnLabel {
			for _, vmid := range g.GuestsOf(d) {
				unlabelled[vmid] = true
			}
		}
	}
	var unclear []int
	for vmid, e := range g.Evidence {
		asked := e.Config.Lock == "backup" || unlabelled[vmid]
		if e.Config.Kind == pve.QEMU && e.Alive() && e.ListErr == nil && asked {
			unclear = append(unclear, vmid)
		}
	}
	slices.Sort(unclear)
	return unclear
}

// Stops returns the guests that must be looked at a second time, by VMID: those of
// the disks that a plan would take for stopped, if a second look found them so, too.
func (g NodeView) Stops(disks []Disk, replicas []string, policy Policy, now time.Time) []int {
	supposed := g
	supposed.Evidence = map[int]Evidence{}
	for vmid, e := range g.Evidence {
		e.SeenStopped = true
		supposed.Evidence[vmid] = e
	}
	disks = slices.Clone(disks)
	supposed.Assign(disks, replicas)
	disks = slices.DeleteFunc(disks, func(d Disk) bool { return d.State != Stopped && d.State != Template })
	var stops []int
	for _, dataset := range MakePlan(disks, policy, now).finalDisks() {
		for _, vmid := range g.GuestsOf(Disk{Dataset: zfs.Dataset{Name: dataset}, VMID: VmidOf(dataset)}) {
			if _, here := g.Evidence[vmid]; here && !slices.Contains(stops, vmid) {
				stops = append(stops, vmid)
			}
		}
	}
	return stops
}

// SeenStopped returns the guests that did not run, by VMID.
func (g NodeView) SeenStopped() []int {
	var vmids []int
	for vmid, e := range g.Evidence {
		if e.dead() {
			vmids = append(vmids, vmid)
		}
	}
	slices.Sort(vmids)
	return vmids
}

// ConfigOf is the configuration of the guest that uses a disk.
func (g NodeView) ConfigOf(dataset string) (pve.Config, bool) {
	for _, vmid := range g.GuestsOf(Disk{Dataset: zfs.Dataset{Name: dataset}, VMID: VmidOf(dataset)}) {
		if config, here := g.Cluster.Guests[vmid]; here {
			return config, true
		}
	}
	return pve.Config{}, false
}
