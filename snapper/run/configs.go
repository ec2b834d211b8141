package run

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"syscall"

	"snapwatch/internal/pve"
	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
	"snapwatch/snapper"
)

// maxCaptured bounds what the words of one channel program hold of configurations, in
// bytes: the kernel takes about 2 MiB, and no snapshot may fail for them. What is over
// waits for the next run.
const maxCaptured = 512 << 10

// capture puts into the plan which snapshots keep their guest's configuration: each
// that a disk of the guest gets, since a receiver may have only some of the disks.
func (r *run) capture(plan snapper.Plan, g snapper.NodeView, disks []snapper.Disk) {
	if !r.Config.CaptureConfig {
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
					d.Config = r.captureFor(guest, *d, g, stays)
				}
				c := guest.Disks[i].Config
				if c == nil || c.Value == last[guest.Pool] {
					continue
				}
				last[guest.Pool] = c.Value
				if room[guest.Pool] += len(c.Value); room[guest.Pool] > maxCaptured {
					guest.Disks[i].Config = nil
				}
			}
		}
	}
}

// captureFor is what a disk's snapshot is to keep, nil for nothing.
func (r *run) captureFor(guest snapper.GuestPlan, d snapper.DiskPlan, g snapper.NodeView, stays func(dataset, name string) bool) *snapper.Capture {
	config, found := g.ConfigOf(d.Dataset)
	if !found {
		return nil
	}
	kept := r.previous.Configs[d.Dataset]
	sum := sumOf(config)
	if !snapper.CaptureDue(kept, sum, guest.Snapshot, guest.Class, stays(d.Dataset, kept.Snapshot)) {
		return nil
	}
	c := snapper.Capture{Sum: sum, Since: r.start}
	if kept.Sum == sum {
		c.Since = kept.Since
	}
	var err error
	if c.Value, err = pve.Capture(config.ID, g.Cluster.Node, config.Text, c.Since); err != nil {
		if kept.Sum != sum || snapper.NameDay(kept.Snapshot) != snapper.NameDay(guest.Snapshot) { // once a day
			r.problem(report.Warning, "the configuration of guest %d is not kept with its snapshots: %v", config.VMID, err)
		}
		r.captured(d.Dataset, guest.Snapshot, c)
		return nil
	}
	return &c
}

// sumOf tells configurations apart by what would be kept of them.
func sumOf(config pve.Config) string {
	kept, without := pve.Keepable(config.Text)
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %q %s", config.ID, without, kept))
	return hex.EncodeToString(sum[:8])
}

// captured notes what a disk's snapshot keeps.
func (r *run) captured(dataset, snapshot string, c snapper.Capture) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Configs[dataset] = report.Kept{Sum: c.Sum, Since: c.Since, Snapshot: snapshot}
}

// recordConfig says what became of keeping a configuration. The snapshot stands in
// any case.
func (r *run) recordConfig(g snapper.GuestPlan, d snapper.DiskPlan, outcome *syscall.Errno) {
	if d.Config == nil {
		return
	}
	if outcome == nil || *outcome != 0 {
		r.problem(report.Warning, "the guest's configuration was not kept with %s@%s: %s", d.Dataset, g.Snapshot, explainOutcome(outcome))
		return
	}
	r.captured(d.Dataset, g.Snapshot, *d.Config)
}

// recallCaptures takes over what earlier runs kept, but for disks that are gone.
func (r *run) recallCaptures(pools []*pool) {
	if !r.Config.CaptureConfig {
		return
	}
	there, read := map[string]bool{}, map[string]bool{}
	for _, p := range pools {
		read[p.name] = p.err == nil
		for _, d := range p.disks {
			there[d.Name] = true
		}
	}
	for dataset, kept := range r.previous.Configs {
		if _, now := r.report.Configs[dataset]; !now && (there[dataset] || !read[zfs.Pool(dataset)]) {
			r.report.Configs[dataset] = kept
		}
	}
}
