package run

import (
	"maps"
	"slices"
	"sync"

	"snapwatch/internal/pve"
	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
	"snapwatch/snapper"
)

// The arguments of one channel program have at most maxCaptured bytes of guests' configurations.
// The kernel accepts about 2 MiB of arguments, and a snapshot must not fail because its
// configuration is too long. A configuration that exceeds the rest of maxCaptured is stored in a
// snapshot of the next run.
const maxCaptured = 512 << 10

// captures decides which new snapshots keep the configuration of their guest in a property, and
// which keep only the checksum of the configuration. Every snapshot has the checksum of its guest's
// configuration, and at least one existing snapshot has the configuration itself.
type captures struct {
	*journal
	on   bool
	node string
	// stays reports whether a snapshot exists and this round's plan does not destroy it.
	stays func(dataset, name string) bool
	// The map `before` has, by dataset, the record of the configuration that a snapshot of an
	// earlier run keeps. The map `now` has, by dataset, the record of a configuration that this run
	// could not store.
	before map[string]report.Kept
	nowMu  sync.Mutex
	now    map[string]report.Kept
}

func newCaptures(o Options, j *journal, node string, before map[string]report.Kept) *captures {
	return &captures{journal: j, on: o.Config.CaptureConfig, node: node, before: before, now: map[string]report.Kept{}}
}

// round must be called at the beginning of each round of the run, with the plan and the disks of
// the round.
func (c *captures) round(plan snapper.Plan, disks []snapper.Disk) {
	c.stays = snapper.Survives(disks, plan)
}

// fill adds to the plans of one channel program the configurations that their snapshots must keep.
// fill reads the configurations from the guests' files, while the guests are locked. The snapshot
// of each disk of a guest gets the configuration, because a receiver may have only some of the
// guest's disks. Only a configuration that could be read is stored in a snapshot.
func (c *captures) fill(plans []snapper.GuestPlan, view snapper.NodeView, looks map[int]snapper.LastLook) []snapper.GuestPlan {
	if !c.on {
		return plans
	}
	plans = slices.Clone(plans)
	room, last := maxCaptured, ""
	packed := map[int]*packing{} // the packed configurations, by the VMID of the guest
	for i := range plans {
		guest := &plans[i]
		guest.Disks = slices.Clone(guest.Disks)
		for k := range guest.Disks {
			d := &guest.Disks[k]
			config, found := view.ConfigOf(d.Dataset)
			look, looked := looks[config.VMID]
			if !d.Snapshot || !found || !looked || look.Err != nil {
				continue
			}
			p := packed[config.VMID]
			if p == nil {
				p = newPacking(look.Config, c.node, view.Cluster.Storages)
				packed[config.VMID] = p
			}
			d.Config = c.dueConfig(*guest, *d, p)
			if d.Config == nil || d.Config.Value == last {
				continue
			}
			if room -= len(d.Config.Value); room < 0 { // the next run stores this configuration
				d.Config = p.reference()
			}
			last = d.Config.Value
		}
	}
	return plans
}

// dueConfig returns the configuration that a disk's new snapshot must keep, nil for none.
func (c *captures) dueConfig(guest snapper.GuestPlan, d snapper.DiskPlan, p *packing) *snapper.Capture {
	before := c.before[d.Dataset]
	if !snapper.CaptureDue(before, p.sum, guest.Snapshot, guest.Class, c.stays(d.Dataset, before.Snapshot)) {
		return p.reference()
	}
	value, err := p.value()
	if err == nil {
		return &snapper.Capture{Sum: p.sum, Value: value}
	}
	if !p.told && (before.Sum != p.sum || zfs.DayOf(before.Snapshot) != zfs.DayOf(guest.Snapshot)) {
		// The failure to store a configuration is reported once a day.
		p.told = true
		c.problem(report.Warning, "the configuration of guest %d is not kept with its snapshots: %v", p.captured.ID.VMID, err)
	}
	c.nowMu.Lock()
	defer c.nowMu.Unlock()
	c.now[d.Dataset] = report.Kept{Sum: p.sum, Snapshot: guest.Snapshot}
	return nil
}

// packing is a guest's configuration in the form in which the properties of snapshots store it.
type packing struct {
	captured pve.Captured
	sum      string
	// value returns the guest's configuration in compressed form. Only the first call of `value`
	// compresses the configuration.
	value func() (string, error)
	// told is true after the run reported that the configuration cannot be stored.
	told bool
}

func newPacking(config pve.Config, node string, storages []pve.Storage) *packing {
	captured := pve.Capture(config.ID, node, config.Text, storages)
	return &packing{captured: captured, sum: captured.Sum(), value: sync.OnceValues(captured.Value)}
}

func (p *packing) reference() *snapper.Capture {
	return &snapper.Capture{Sum: p.sum, Value: p.captured.Reference(), Reference: true}
}

// keptRecords returns, by dataset, the record of the configuration that a snapshot keeps after this
// run. keptRecords includes the saved records of other runs, except the records of disks that are
// gone.
func (c *captures) keptRecords(saved map[string]report.Kept, outcomes map[string]snapper.Outcome, pools []*pool) map[string]report.Kept {
	kept := maps.Clone(c.now)
	for dataset, o := range outcomes {
		if o.Config != nil && !o.Config.Reference {
			kept[dataset] = report.Kept{Sum: o.Config.Sum, Snapshot: o.Snapshot}
		}
	}
	for dataset, before := range saved {
		gone := slices.ContainsFunc(pools, func(p *pool) bool { return p.lacks(dataset) })
		if _, now := kept[dataset]; !now && !gone {
			kept[dataset] = before
		}
	}
	return kept
}
