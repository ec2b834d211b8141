package snapper

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"snapwatch/internal/pve"
	"snapwatch/internal/zfs"
)

// NodeView is the evidence about all guests of the node at one time: their configurations,
// processes and states. The methods of NodeView are pure: they derive the states of disks from the
// evidence.
type NodeView struct {
	Cluster pve.Cluster
	// Evidence has, by VMID, the facts about each guest that is configured on this node, such as
	// its process and its status.
	Evidence map[int]Evidence
	Gate     Gate
	// ListErr is the error of reading Proxmox's live list of running guests.
	ListErr error
	// LooksDone is true if the second look at guests that seemed stopped was made, or is
	// impossible.
	LooksDone bool
}

// Assign judges every guest and sets each disk's state. Assign also sets Supposed, the state that
// the disk would have if a second look confirmed the first look at all guests. The argument
// `replicas` has the datasets that the configuration lists under replicas:. Every disk below one of
// these datasets is a copy.
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

// StillStopped returns the reason why disks must not get their last snapshots although two looks
// found their guests stopped, "" if the disks may get their last snapshots. The argument `looks`
// has, by VMID, the content of the guests' files. The run has read these files while it held the
// guests' locks, so that no program could start the guests.
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

// LastLook is the content of a guest's files just before the guest's snapshots. A run reads the
// guest's files after it has taken the guest's lock, or after it has found the lock taken by
// another process.
type LastLook struct {
	Config    pve.Config
	Process   bool
	Rebooting bool
	// Ended is true if the guest's process existed at the run's first look at the guest and is gone
	// at the last look.
	Ended bool
	// Gone is true if the guest no longer has a configuration on this node.
	Gone bool
	// Err is the error of reading the guest's files at the last look.
	Err error
	// LockErr is the error of taking the guest's lock for the last look. BusyRuns is the number of
	// earlier runs in succession that skipped the guest because its lock was taken. RollingBack is
	// true if Proxmox is rolling the guest back.
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
		using, keeping := configsNaming(g.Cluster, g.storagesOf(*d), d.Name)
		claims := g.claims(*d, using, keeping)
		if named := slices.Concat(using, keeping); len(named) == 1 || len(using) == 1 {
			// A disk that a guest uses belongs to this guest, whatever VMID is in the disk's name.
			d.VMID = named[0]
		}
		d.Named = g.Cluster.Guests[d.VMID].Snapshots
		d.Guests, d.InUse = g.configuredOf(claims), false
		switch {
		case zfs.WithinAny(d.Name, replicas):
			d.State, d.Why = Replica, "listed under replicas in the configuration"
			for _, vmid := range using {
				if judged[vmid].Alive() {
					d.InUse, d.Why = true, fmt.Sprintf("guest %d of this node runs on it, but the configuration lists it under replicas, so it gets no snapshots: remove it from replicas", vmid)
				}
			}
		case len(claims) == 0 && len(keeping) > 0:
			d.State, d.Why = Replica, fmt.Sprintf("guest %d only keeps it as unused, and it may be a copy (%s)", d.VMID, d.Sign)
		case len(claims) == 0 && d.Sign != "" && g.here(VmidOf(d.Name)):
			d.State, d.Why = Replica, fmt.Sprintf("guest %d does not name it in its configuration, and it may be a copy (%s)", d.VMID, d.Sign)
		case len(claims) == 0:
			d.State, d.Why = Orphan, fmt.Sprintf("no guest %d in the cluster", d.VMID)
		case len(using) == 0 && len(keeping) > 0 && !slices.Equal(keeping, []int{VmidOf(d.Name)}):
			d.State, d.Why = Busy, fmt.Sprintf("kept as unused by the guests %v, and its name has another guest's number: it is unknown whether a guest runs on it", keeping)
		default:
			var states []GuestState
			for _, c := range claims {
				states = append(states, judged[c])
			}
			d.State, d.Why = Combine(states), why[claims[0]]
			if len(claims) > 1 {
				d.Why = fmt.Sprintf("used by the guests %v", claims)
			}
			// A configuration that could not be read may name any disk, and its guest may run on
			// that disk. A readable configuration that names the disk proves to which guest the
			// disk belongs; the number in the disk's name is no proof. If a living guest uses the
			// disk, the disk gets a snapshot, because a snapshot does no harm.
			if why := g.MayBeUsed(*d); why != "" && (d.State == Stopped || d.State == Template) {
				d.State, d.Why = Unknown, why
			}
		}
	}
}

// unreadText returns the warning that guests whose configurations could not be read may use a
// disk.
func unreadText(unread []int) string {
	return fmt.Sprintf("no readable configuration uses it, and the configurations of the guests %v could not be read", unread)
}

// MayBeUsed returns the reason why a disk that no readable configuration names may belong to a
// guest of this node all the same, "" if the disk cannot belong to a guest of this node.
func (g NodeView) MayBeUsed(d Disk) string {
	using, _ := configsNaming(g.Cluster, g.storagesOf(d), d.Name)
	if unread := g.Cluster.Unread(); len(unread) > 0 && len(using) == 0 {
		return unreadText(unread)
	}
	return ""
}

// UsersHere returns the guests of this node that use a dataset, by VMID.
func (g NodeView) UsersHere(dataset string) []int {
	return g.configuredOf(g.GuestsOf(Disk{Dataset: zfs.Dataset{Name: dataset}}))
}

// configuredOf returns those of the given VMIDs whose guests are configured on this node.
func (g NodeView) configuredOf(guests []int) []int {
	return filter(guests, func(vmid int) bool { _, seen := g.Evidence[vmid]; return seen })
}

func (g NodeView) here(vmid int) bool { _, here := g.Cluster.Guests[vmid]; return here }

// GuestsOf returns the guests to which a disk belongs. If guests use the disk, the disk belongs to
// these guests. A disk that no guest uses belongs to the guest that keeps the disk as unused. A
// disk that is in no configuration belongs to the guest with the number in the disk's name, on
// whatever node of the cluster the guest is. A received disk belongs only to guests that use it: qm
// rescan enters a copy as unused in the configuration of the guest whose number is in the copy's
// name.
func (g NodeView) GuestsOf(d Disk) []int {
	using, keeping := configsNaming(g.Cluster, g.storagesOf(d), d.Name)
	return g.claims(d, using, keeping)
}

// claims returns the guests that a disk belongs to, like GuestsOf. The argument `using` has the
// guests that use the disk, and the argument `keeping` has the guests that keep the disk as unused.
func (g NodeView) claims(d Disk, using, keeping []int) []int {
	number := VmidOf(d.Name)
	_, elsewhere := g.Cluster.Elsewhere[number]
	switch {
	case len(using) > 0 && g.Cluster.Guests[number].Problem != "":
		// The configuration of the guest with the number in the disk's name could not be read, so
		// this guest may use the disk, too.
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

// Users returns the guests of this node that may use a disk which the configuration lists as a
// copy. In a dataset that is not a storage of this node, the number in a disk's name does not mean
// a guest of this node, because other clusters use the same numbers.
func (g NodeView) Users(d Disk) []int {
	if len(g.storagesOf(d)) == 0 {
		return g.Naming(d)
	}
	return union(g.Naming(d), []int{VmidOf(d.Name)})
}

// Naming returns the guests of this node whose configuration names a disk, be it in use or unused.
func (g NodeView) Naming(d Disk) []int {
	return union(configsNaming(g.Cluster, g.storagesOf(d), d.Name))
}

// storagesOf returns the names of the storages of this node that contain a disk.
func (g NodeView) storagesOf(d Disk) []string {
	var storages []string
	for _, s := range g.Cluster.Storages {
		if s.Dataset == zfs.Parent(d.Name) {
			storages = append(storages, s.Name)
		}
	}
	return storages
}

// Unclear returns the living guests whose QEMU must be asked for its state, by VMID. A guest that
// is locked for backup may be a stopped guest whose process the backup has started. A guest with a
// disk whose label does not say that the guest runs here may just have been started.
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

// SeenStopped returns the VMIDs of the guests of this node that did not run when the evidence in g
// was read.
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

// ConfigOf returns the configuration of the guest that uses a disk.
func (g NodeView) ConfigOf(dataset string) (pve.Config, bool) {
	for _, vmid := range g.GuestsOf(Disk{Dataset: zfs.Dataset{Name: dataset}}) {
		if config, here := g.Cluster.Guests[vmid]; here {
			return config, true
		}
	}
	return pve.Config{}, false
}
