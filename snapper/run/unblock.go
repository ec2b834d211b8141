package run

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"

	"snapwatch/internal/lock"
	"snapwatch/internal/pve"
	"snapwatch/internal/report"
	"snapwatch/internal/text"
	"snapwatch/internal/zfs"
	"snapwatch/lua"
	"snapwatch/snapper"
)

// UnblockRequest names the guest to roll back and the snapshot to roll back to.
type UnblockRequest struct {
	VMID     int
	Snapshot string
	// If Remove is true, Unblock destroys the snapshots and bookmarks that prevent the rollback. If
	// Remove is false, Unblock only lists the snapshots and bookmarks that prevent the rollback.
	Remove bool
	// LoseBase allows Unblock to destroy snapshots and bookmarks even if the disk keeps no managed
	// snapshot or bookmark from which a receiver can continue.
	LoseBase bool
}

// Unblock destroys the snapshots and bookmarks that prevent a rollback of a guest by Proxmox.
// Unblock returns the snapshots and bookmarks that prevent or prevented the rollback, and the
// report. Unblock holds the locks of the pools, so that no run takes a snapshot at the same time.
// Unblock takes the guest's lock only after it has read the pools, and holds the guest's lock for
// at most maxLocked, because reading and destroying may take minutes. An error of Unblock means
// that nothing was changed.
func Unblock(ctx context.Context, o Options, request UnblockRequest) (snapper.Unblocking, report.Run, error) {
	o.DryRun = !request.Remove
	r := newRun(o, report.Name)
	var err error
	if r.state, err = r.signs(); err != nil {
		return snapper.Unblocking{}, r.report, err
	}
	cluster, err := r.clusterOf(ctx, request.VMID)
	if err != nil {
		return snapper.Unblocking{}, r.report, err
	}
	pools, err := r.openGuest(ctx, snapper.NodeView{Cluster: cluster}, request)
	defer func() { unlockAll(pools) }()
	if err != nil {
		return snapper.Unblocking{}, r.report, err
	}
	u := snapper.PlanUnblock(plannedDisks(pools), request.Snapshot)
	guest := cluster.Guests[request.VMID]
	u.Kind = guest.Kind
	for _, p := range pools {
		pins, err := p.Pinned(ctx, u.Names(p.name))
		if err != nil {
			return u, r.report, fmt.Errorf("pool %s: it is unknown whether holds or clones keep the snapshots: %w", p.name, err)
		}
		u.RefusePinned(pins)
	}
	if !request.Remove || len(u.Refusals) > 0 || len(u.Baseless()) > 0 && !request.LoseBase {
		return u, r.report, nil
	}
	for _, p := range pools {
		refusals, err := p.checkDestroys(p.inTheWay(u, request.Snapshot))
		if err != nil {
			return u, r.report, fmt.Errorf("pool %s: it is unknown whether the snapshots can be destroyed: %w", p.name, err)
		}
		u.Refusals = append(u.Refusals, refusals...)
	}
	if len(u.Refusals) > 0 {
		return u, r.report, nil
	}
	lease, err := r.lockUnchanged(ctx, guest)
	if err != nil {
		return u, r.report, err
	}
	defer lease.giveUp()
	unblock(ctx, r.journal, pools, u, request.Snapshot)
	return u, r.report, nil
}

// clusterOf returns the cluster's configuration. The error of clusterOf is the reason why a guest
// must be left alone, such as that Proxmox works on it.
func (o Options) clusterOf(ctx context.Context, vmid int) (c pve.Cluster, err error) {
	timeout, cancel := o.World.Timeout(ctx, configTimeout)
	defer cancel()
	if c, err = o.World.Cluster(timeout); err != nil {
		return c, err
	}
	guest, here := c.Guests[vmid]
	if node, elsewhere := c.Elsewhere[vmid]; elsewhere {
		return c, fmt.Errorf("guest %d is on node %s: run this there", vmid, node)
	}
	switch {
	case !here:
		return c, fmt.Errorf("no guest %d is configured on node %s", vmid, c.Node)
	case guest.Problem != "":
		return c, fmt.Errorf("the configuration of guest %d could not be read: %s", vmid, guest.Problem)
	case guest.Lock != "":
		return c, fmt.Errorf("guest %d is locked (%s): wait until Proxmox is done, or qm unlock %d", vmid, guest.Lock, vmid)
	}
	release, err := o.World.LockGuest(guest.ID)
	if err != nil {
		return c, fmt.Errorf("guest %d: Proxmox works on it: %w", vmid, err)
	}
	release()
	return c, nil
}

// lockUnchanged takes the lock of a guest, for at most maxLocked. lockUnchanged returns an error if
// the guest's configuration has changed since the plan was made: Proxmox changes the configuration
// when it takes a snapshot, rolls back, or moves a disk, so after a change the plan may be wrong.
func (o Options) lockUnchanged(ctx context.Context, before pve.Config) (*lease, error) {
	release, err := o.World.LockGuest(before.ID)
	if err != nil {
		return nil, fmt.Errorf("guest %d: Proxmox works on it: %w", before.VMID, err)
	}
	lease := newLease(o.World, maxLocked, []func(){release}, func() {})
	timeout, cancel := o.World.Timeout(ctx, maxLook)
	defer cancel()
	now, err := o.World.GuestConfig(timeout, before.ID)
	if err == nil && now.Text != before.Text {
		err = errors.New("Proxmox changed it meanwhile, try again")
	}
	if err != nil {
		lease.giveUp()
		return nil, fmt.Errorf("the configuration of guest %d: %w", before.VMID, err)
	}
	return lease, nil
}

// openGuest locks and reads the pools of the storages, and returns the disks that belong to the
// guest by the rules of snap. openGuest returns the first error, because Proxmox rolls back all
// disks of a guest or none.
func (r *run) openGuest(ctx context.Context, view snapper.NodeView, request UnblockRequest) ([]*pool, error) {
	below, err := parents(r.Config, view.Cluster)
	if err != nil {
		return nil, err
	}
	var pools []*pool
	for _, name := range slices.Sorted(maps.Keys(below)) {
		p := r.openPool(ctx, name, below[name], readPool)
		pools = append(pools, p)
		if busy, ok := errors.AsType[*lock.Busy](p.err); ok {
			return pools, fmt.Errorf("pool %s: another run is at work, try again when it is done: %w", name, busy)
		}
		if p.err != nil {
			return pools, p.err
		}
		p.disks = slices.DeleteFunc(p.disks, func(d snapper.Disk) bool {
			return zfs.WithinAny(d.Name, r.Config.Replicas) || !slices.Contains(view.GuestsOf(d), request.VMID)
		})
		for i := range p.disks {
			d := &p.disks[i]
			if users := view.GuestsOf(*d); len(users) > 1 {
				d.State, d.Why = snapper.Disputed, fmt.Sprintf("used by the guests %v", users)
			} else if why := view.MayBeUsed(*d); why != "" {
				d.State, d.Why = snapper.Disputed, why
			}
		}
		// No property shows that a disk's bookmarks changed, so openGuest lists the bookmarks
		// again. A bookmark that is missing from the list would make the rollback fail half way.
		if err := p.listBookmarks(ctx, p.disksWhere(func(d *snapper.Disk) bool { return d.Recalled })); err != nil {
			return pools, err
		}
	}
	return pools, nil
}

// inTheWay returns the snapshots in the pool that prevent the rollback. The field Keepers of each
// returned Destroy names the snapshots that must still exist when the snapshot is destroyed.
func (p *pool) inTheWay(u snapper.Unblocking, snapshot string) []snapper.Destroy {
	var gone []snapper.Destroy
	for _, d := range u.Disks {
		if zfs.Pool(d.Dataset) != p.name {
			continue
		}
		keepers := []string{snapshot}
		if d.Base.Name != "" && !d.BaseIsBookmark && d.Base.Name != snapshot {
			keepers = append(keepers, d.Base.Name)
		}
		for _, s := range d.Snapshots {
			gone = append(gone, snapper.Destroy{Dataset: d.Dataset, Name: s.Name, Keepers: keepers})
		}
	}
	return gone
}

// checkDestroys asks ZFS whether it would destroy the snapshots, and returns the reasons why it
// would not. Only ZFS itself knows whether it would destroy the snapshots, because no property
// shows that a send or receive is running.
func (p *pool) checkDestroys(destroys []snapper.Destroy) ([]string, error) {
	var refusals []string
	for batch := range slices.Chunk(destroys, maxBatch) {
		disks := requests(batch, &p.index)
		for i := range disks {
			disks[i].Check, disks[i].Watch = true, false
		}
		var results map[string]lua.Destroyed
		err := p.withTimeout(func(timeout context.Context) (err error) {
			results, err = p.Destroy(timeout, disks)
			return err
		})
		if err != nil {
			return nil, err
		}
		for _, disk := range disks {
			refusals = append(refusals, whyKept(disk, results[disk.Dataset])...)
		}
	}
	return refusals, nil
}

// whyKept returns the reasons why ZFS would not destroy all requested snapshots of a disk.
func whyKept(disk lua.DestroyRequest, got lua.Destroyed) []string {
	switch {
	case got.Receiving != 0:
		return []string{disk.Dataset + " is being received: this is a copy"}
	case got.Missing != "":
		return []string{fmt.Sprintf("%s@%s is gone, although it had to remain", disk.Dataset, got.Missing)}
	}
	var all []string
	for _, name := range disk.Destroy {
		errno, told := got.Gone[name]
		switch {
		case !told:
			all = append(all, fmt.Sprintf("%s@%s: the channel program returned no result", disk.Dataset, name))
		case errno != 0 && errno != syscall.ENOENT:
			all = append(all, fmt.Sprintf("%s@%s cannot be destroyed: %s", disk.Dataset, name, explain(errno)))
		}
	}
	return all
}

// unblock destroys the snapshots that prevent the rollback, pool by pool, and then the bookmarks that
// prevent the rollback. unblock destroys no bookmark before all snapshots are gone: without the
// snapshots the bookmarks are useless, but if the bookmarks were destroyed first, a failure could
// leave a receiver neither the snapshots nor the bookmarks. If a snapshot or bookmark remains,
// Proxmox rolls back no disk of the guest, so unblock destroys nothing on the following pools. The
// channel program that destroys the snapshots also checks that the Keepers remain.
func unblock(ctx context.Context, j *journal, pools []*pool, u snapper.Unblocking, snapshot string) {
	for i, p := range pools {
		gone := p.inTheWay(u, snapshot)
		before := len(p.destroyed)
		p.applyDestroys(ctx, gone)
		p.reportKept()
		if left := len(gone) - (len(p.destroyed) - before); left > 0 {
			also := untouched(pools[i+1:], "nothing", func(p *pool) int { return len(u.Names(p.name)) })
			j.problem(report.Warning, "pool %s: %s still in the way of the rollback, and no bookmark was destroyed%s", p.name, text.Are(left, "snapshot"), also)
			return
		}
	}
	for i, p := range pools {
		if left := p.destroyBookmarks(ctx, u.Marks(p.name)); left > 0 {
			also := untouched(pools[i+1:], "no bookmark", func(p *pool) int { return len(u.Marks(p.name)) })
			j.problem(report.Warning, "pool %s: %s still in the way of the rollback%s", p.name, text.Are(left, "bookmark"), also)
			return
		}
	}
}

// untouched returns a text that names the pools with snapshots or bookmarks in the way, "" if there
// is no such pool. The text says that `nothing`, for example "no bookmark", was destroyed on these
// pools. The function `inTheWay` returns the number of snapshots or bookmarks in the way on a pool.
func untouched(pools []*pool, nothing string, inTheWay func(*pool) int) string {
	var names []string
	for _, p := range pools {
		if inTheWay(p) > 0 {
			names = append(names, p.name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return "; " + nothing + " was destroyed on " + strings.Join(names, ", ")
}
