package run

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"time"

	"snapwatch/internal/pve"
	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
	"snapwatch/snapper"
)

// maxCaptured bounds what the words of one channel program hold of configurations, in
// bytes: the kernel takes about 2 MiB, and no snapshot may fail for them. What is over
// waits for the next run.
const maxCaptured = 512 << 10

// captures decides which snapshots keep the configuration of their guest.
type captures struct {
	*journal
	on    bool
	start time.Time
	node  string
	// before is what earlier runs kept, now what this run has, by dataset.
	before, now map[string]report.Kept
}

func newCaptures(o Options, j *journal, start time.Time, node string, before map[string]report.Kept) *captures {
	return &captures{journal: j, on: o.Config.CaptureConfig, start: start, node: node, before: before, now: map[string]report.Kept{}}
}

// plan puts into the plan which snapshots keep their guest's configuration: each
// that a disk of the guest gets, since a receiver may have only some of the disks.
func (c *captures) plan(plan snapper.Plan, view snapper.NodeView, disks []snapper.Disk) {
	if !c.on {
		return
	}
	stays := snapper.Survives(disks, plan)
	room, last := map[string]int{}, map[string]string{}
	// Those that stopped come first: nothing may follow for long.
	for _, final := range []bool{true, false} {
		for _, guest := range plan.Guests {
			if (guest.Class == zfs.Stopped) != final {
				continue
			}
			for i := range guest.Disks {
				if d := &guest.Disks[i]; d.Snapshot {
					d.Config = c.due(guest, *d, view, stays)
				}
				kept := guest.Disks[i].Config
				if kept == nil || kept.Value == last[guest.Pool] {
					continue
				}
				last[guest.Pool] = kept.Value
				if room[guest.Pool] += len(kept.Value); room[guest.Pool] > maxCaptured {
					guest.Disks[i].Config = nil
				}
			}
		}
	}
}

// due is what a disk's snapshot is to keep, nil for nothing.
func (c *captures) due(guest snapper.GuestPlan, d snapper.DiskPlan, view snapper.NodeView, stays func(dataset, name string) bool) *snapper.Capture {
	config, found := view.ConfigOf(d.Dataset)
	if !found {
		return nil
	}
	before := c.before[d.Dataset]
	sum := sumOf(config)
	if !snapper.CaptureDue(before, sum, guest.Snapshot, guest.Class, stays(d.Dataset, before.Snapshot)) {
		return nil
	}
	due := snapper.Capture{Sum: sum, Since: c.start}
	if before.Sum == sum {
		due.Since = before.Since
	}
	var err error
	if due.Value, err = pve.Capture(config.ID, c.node, config.Text, due.Since); err != nil {
		if before.Sum != sum || snapper.NameDay(before.Snapshot) != snapper.NameDay(guest.Snapshot) { // once a day
			c.problem(report.Warning, "the configuration of guest %d is not kept with its snapshots: %v", config.VMID, err)
		}
		c.now[d.Dataset] = report.Kept{Sum: sum, Since: due.Since, Snapshot: guest.Snapshot}
		return nil
	}
	return &due
}

// sumOf tells configurations apart by what would be kept of them.
func sumOf(config pve.Config) string {
	kept, without := pve.Keepable(config.Text)
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %q %s", config.ID, without, kept))
	return hex.EncodeToString(sum[:8])
}

// kept is what snapshots keep after a run, given what became of the disks. What earlier runs
// kept stays, but for disks that are gone.
func (c *captures) kept(outcomes map[string]snapper.Outcome, pools []*pool) map[string]report.Kept {
	if !c.on {
		return nil
	}
	kept := maps.Clone(c.now)
	for dataset, o := range outcomes {
		if o.Config != nil {
			kept[dataset] = report.Kept{Sum: o.Config.Sum, Since: o.Config.Since, Snapshot: o.Snapshot}
		}
	}
	for dataset, before := range c.before {
		gone := slices.ContainsFunc(pools, func(p *pool) bool { return p.lacks(dataset) })
		if _, now := kept[dataset]; !now && !gone {
			kept[dataset] = before
		}
	}
	return kept
}
