package snapper

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

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
	// LooksDone: the second look at the guests that seemed stopped was taken, or cannot be.
	LooksDone bool
}

// Assign judges every guest and gives each disk its state, and the one that it would have
// after a second look. replicas are the datasets below which the configuration says that
// everything is received.
func (g NodeView) Assign(disks []Disk, replicas []string) {
	g.assign(disks, replicas)
	supposed := g
	supposed.Evidence = map[int]Evidence{}
	for vmid, e := range g.Evidence {
		e.SeenStopped = true
		supposed.Evidence[vmid] = e
	}
	again := slices.Clone(disks)
	supposed.assign(again, replicas)
	for i := range disks {
		d := &disks[i]
		d.Supposed, d.SupposedWhy, d.LooksDone = Unknown, "", g.LooksDone
		if again[i].State != d.State {
			d.Supposed, d.SupposedWhy = again[i].State, again[i].Why
		}
	}
}

// StillStopped returns why disks of guests that two looks found stopped must be left alone
// after all, "" if nothing speaks against their last snapshots. looks says by VMID what the
// guests' files say once their locks are taken: nobody can start them any more.
func (g NodeView) StillStopped(disks []Disk, replicas []string, looks map[int]LastLook) string {
	g.Evidence, g.Cluster.Guests = maps.Clone(g.Evidence), maps.Clone(g.Cluster.Guests)
	for _, vmid := range slices.Sorted(maps.Keys(looks)) {
		last := looks[vmid]
		if last.Err != nil {
			return fmt.Sprintf("its files could not be read: %v", last.Err)
		}
		e := g.Evidence[vmid]
		e.Config, e.Process, e.ProcessErr, e.Rebooting = last.Config, last.Process, nil, last.Rebooting
		g.Evidence[vmid], g.Cluster.Guests[vmid] = e, last.Config
	}
	disks = slices.Clone(disks)
	g.assign(disks, replicas)
	for _, d := range disks {
		if d.State != Stopped && d.State != Template {
			return cmp.Or(d.Why, d.State.String())
		}
	}
	return ""
}

// LastLook is what a guest's files say just before its snapshots, while its lock is held or
// somebody else has it.
type LastLook struct {
	Config    pve.Config
	Process   bool
	Rebooting bool
	// Ended: its process was there when the guests were looked at, and is not any more.
	Ended bool
	// Gone: it has no configuration on this node any more.
	Gone bool
	// Err is why they could not be read.
	Err error
	// LockErr is why the lock could not be had. BusyRuns is then how many runs before this
	// one waited for that, and RollingBack whether Proxmox is at work on a rollback of it.
	LockErr     error
	BusyRuns    int
	RollingBack bool
}

func (g NodeView) assign(disks []Disk, replicas []string) {
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
		using, keeping := referencing(g.Cluster, g.storagesOf(*d), d.Name)
		claims := g.claims(*d, using, keeping)
		if named := slices.Concat(using, keeping); len(named) == 1 || len(using) == 1 {
			d.VMID = named[0] // a disk is the guest's that uses it, whatever its name says
		}
		d.Named = g.Cluster.Guests[d.VMID].Snapshots
		d.Guests, d.InUse = g.seen(claims), false
		switch {
		case zfs.WithinAny(d.Name, replicas):
			d.State, d.Why = Replica, "listed under replicas in the configuration"
			for _, vmid := range using {
				if judged[vmid].Alive() {
					d.InUse, d.Why = true, fmt.Sprintf("guest %d runs on it here, but it is listed under replicas in the configuration, so that it gets no snapshots: take it out of there", vmid)
				}
			}
		case len(claims) == 0 && len(keeping) > 0:
			d.State, d.Why = Replica, fmt.Sprintf("guest %d only keeps it as unused, and it came from elsewhere (%s)", d.VMID, d.Sign)
		case len(claims) == 0 && d.Sign != "" && g.here(VmidOf(d.Name)):
			d.State, d.Why = Replica, fmt.Sprintf("guest %d does not name it in its configuration, and it came from elsewhere (%s)", d.VMID, d.Sign)
		case len(claims) == 0:
			d.State, d.Why = Orphan, fmt.Sprintf("no guest %d in the cluster", d.VMID)
		case len(using) == 0 && len(keeping) > 0 && !slices.Equal(keeping, []int{VmidOf(d.Name)}):
			d.State, d.Why = Busy, fmt.Sprintf("kept as unused by the guests %v, and its name has another's number: nothing says whether a guest runs on it", keeping)
		default:
			var states []GuestState
			for _, c := range claims {
				states = append(states, judged[c])
			}
			d.State, d.Why = Combine(states), why[claims[0]]
			if len(claims) > 1 {
				d.Why = fmt.Sprintf("used by the guests %v", claims)
			}
			// A configuration that could not be read may name any disk, and its guest may run
			// on it. Where another one names the disk that is proof enough whose it is; the
			// number in its name is not. A living guest's snapshots harm nobody.
			if why := g.MayBeUsed(*d); why != "" && (d.State == Stopped || d.State == Template) {
				d.State, d.Why = Unknown, why
			}
		}
	}
}

// unreadText says that guests may use a disk, since their configurations could not be read.
func unreadText(unread []int) string {
	return fmt.Sprintf("no configuration uses it that could be read, and those of the guests %v could not", unread)
}

// MayBeUsed returns why a disk that no configuration uses may be a guest's of this node all
// the same, "" if it cannot be.
func (g NodeView) MayBeUsed(d Disk) string {
	using, _ := referencing(g.Cluster, g.storagesOf(d), d.Name)
	if unread := g.Cluster.Unread(); len(unread) > 0 && len(using) == 0 {
		return unreadText(unread)
	}
	return ""
}

// UsersHere are the guests of this node that use a dataset, by VMID.
func (g NodeView) UsersHere(dataset string) []int {
	return g.seen(g.GuestsOf(Disk{Dataset: zfs.Dataset{Name: dataset}}))
}

// seen are those of the guests that were looked at: the ones of this node.
func (g NodeView) seen(guests []int) []int {
	return filter(guests, func(vmid int) bool { _, seen := g.Evidence[vmid]; return seen })
}

func (g NodeView) here(vmid int) bool { _, here := g.Cluster.Guests[vmid]; return here }

// GuestsOf are the guests whose disk it is: those that use it. One that no configuration uses
// is the guest's that keeps it as unused, and one that none names is the guest's of its number,
// wherever in the cluster that is. Both hold only where nothing says that it came from
// elsewhere: qm rescan lists a copy as unused because of its number.
func (g NodeView) GuestsOf(d Disk) []int {
	using, keeping := referencing(g.Cluster, g.storagesOf(d), d.Name)
	return g.claims(d, using, keeping)
}

// claims is GuestsOf for a disk that the configurations of these guests name.
func (g NodeView) claims(d Disk, using, keeping []int) []int {
	number := VmidOf(d.Name)
	_, elsewhere := g.Cluster.Elsewhere[number]
	switch {
	case len(using) > 0 && g.Cluster.Guests[number].Problem != "": // that may use it, too
		return union(using, []int{number})
	case len(using) > 0:
		return using
	case d.Sign != "" && (g.here(number) || len(keeping) > 0):
		return nil
	case len(keeping) > 0:
		return keeping
	case elsewhere, g.here(number):
		return []int{number}
	}
	return nil
}

// Users are the guests that may use a disk which is listed as a copy. Beyond the storages
// of this node a number is no sign: clusters use the same.
func (g NodeView) Users(d Disk) []int {
	if len(g.storagesOf(d)) == 0 {
		return g.Naming(d)
	}
	return union(g.Naming(d), []int{VmidOf(d.Name)})
}

// Naming are the guests of this node whose configuration names a disk, as unused or not.
func (g NodeView) Naming(d Disk) []int {
	return union(referencing(g.Cluster, g.storagesOf(d), d.Name))
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
	for _, vmid := range g.GuestsOf(Disk{Dataset: zfs.Dataset{Name: dataset}}) {
		if config, here := g.Cluster.Guests[vmid]; here {
			return config, true
		}
	}
	return pve.Config{}, false
}
