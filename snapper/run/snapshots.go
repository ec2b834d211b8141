package run

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"snapwatch/internal/command"
	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
	"snapwatch/lua"
	"snapwatch/snapper"
)

// programTimeout is the time for which a run waits for one channel program. A channel program is
// never killed: it continues, and keeps its pool locked. After programTimeout, the run ends and
// releases the locks of the other pools, before cron starts the next run.
const programTimeout = 10 * time.Minute

// A run retries a snapshot at most maxAttempts times. If the dataset already has a snapshot of the
// present transaction group, the run retries in the next transaction group. If the name of the
// snapshot is taken, the run retries with the name of a later second.
const maxAttempts = 8

// finishPlan carries out the remaining steps on a pool that has its new snapshots: it bookmarks
// older snapshots, replaces local labels by received ones, and destroys snapshots and bookmarks.
// The argument known tells which new snapshots failed.
func (p *pool) finishPlan(ctx context.Context, plan snapper.PoolPlan, outcomes map[string]snapper.Outcome) {
	p.createBookmarks(ctx, plan.CreateBookmarks)
	for _, dataset := range plan.InheritReceived {
		if ctx.Err() != nil || p.hangs.Load() {
			break
		}
		if err := p.withTimeout(func(timeout context.Context) error { return p.InheritReceived(timeout, dataset) }); err != nil {
			p.problem(report.Warning, "%v", err)
			continue
		}
		p.count(report.DidLabel)
	}
	var now []snapper.Destroy
	now, p.due = plan.Allowed(outcomes)
	p.applyDestroys(ctx, now)
	p.destroyBookmarks(ctx, plan.AllowedBookmarks(outcomes))
	p.saveIndex()
}

// errHangs is the error of a step that must not begin because an earlier command on the pool hangs.
var errHangs = errors.New("not begun, because an earlier step on the pool has not ended")

// soonTimeout limits the wait for a step on one pool while the run delays something: the work for
// the guests on the remaining pools, or the start of a guest by Proxmox.
const soonTimeout = 30 * time.Second

// withTimeout runs one step that changes the pool, and waits for the step for programTimeout. If a
// step takes longer than programTimeout, the run begins no further step on this pool. A later step
// on the pool would have to wait for the slow step, and the run would hold its locks during that
// wait.
func (p *pool) withTimeout(step func(context.Context) error) error {
	return p.within(programTimeout, step)
}

func (p *pool) within(limit time.Duration, step func(context.Context) error) error {
	if p.hangs.Load() {
		return errHangs
	}
	timeout, cancel := p.World.Timeout(context.Background(), limit)
	defer cancel()
	err := step(timeout)
	if errors.Is(err, command.ErrStillRunning) {
		p.hangs.Store(true)
	}
	return err
}

// takeSnapshots takes the snapshots of guests on this pool, sets their labels and creates their
// bookmarks, all in one channel program. takeSnapshots waits for the program for at most the time
// limit. A guest gets all of its snapshots or none. takeSnapshots starts no channel program after
// the guests' locks were released.
func (p *pool) takeSnapshots(ctx context.Context, open []snapper.GuestPlan, lease *lease, limit time.Duration) map[string]snapper.Outcome {
	outcomes := map[string]snapper.Outcome{}
	for attempt := 0; len(open) > 0; attempt++ {
		if ctx.Err() != nil {
			for _, g := range open {
				snapper.Fail(outcomes, g, fmt.Errorf("pool %s: the run was told to end before the snapshots were taken", p.name), false)
			}
			return outcomes
		}
		if !lease.held() {
			for _, g := range open {
				for _, d := range g.Disks {
					outcomes[d.Dataset] = snapper.Outcome{Living: g.Class != zfs.Stopped, Left: fmt.Sprintf("guest %d: left to the next run: its lock had to be released before its snapshots were taken", d.VMID)}
				}
			}
			return outcomes
		}
		var got map[string]lua.Outcome
		err := p.within(limit, func(timeout context.Context) (err error) {
			got, err = p.Snapshot(timeout, p.programGuests(open), nil)
			return err
		})
		p.snapshotted(open, got)
		if err != nil {
			for _, g := range open {
				snapper.Fail(outcomes, g, fmt.Errorf("it is unknown what was done, the next run checks: %w", err), false)
			}
			return outcomes
		}
		var again []snapper.GuestPlan
		for _, g := range open {
			if next, retry := p.recordResults(g, got, outcomes); retry && attempt < maxAttempts {
				again = append(again, next)
			}
		}
		open = again
	}
	return outcomes
}

func (p *pool) programGuests(guests []snapper.GuestPlan) []lua.Guest {
	p.indexMu.Lock()
	defer p.indexMu.Unlock()
	var list []lua.Guest
	for _, g := range guests {
		entry := lua.Guest{Snapshot: g.Snapshot, RefuseReceiving: g.RefuseReceiving}
		for _, d := range g.Disks {
			config := ""
			if d.Config != nil {
				config = d.Config.Value
			}
			entry.Disks = append(entry.Disks, lua.Disk{
				Dataset: d.Dataset, Snapshot: d.Snapshot, Bookmark: d.Bookmark, Label: d.Label, Config: config,
				TrackChanges: d.Snapshot && p.index.Knows(d.Dataset),
			})
		}
		list = append(list, entry)
	}
	return list
}

func (p *pool) snapshotted(guests []snapper.GuestPlan, got map[string]lua.Outcome) {
	p.indexMu.Lock()
	defer p.indexMu.Unlock()
	for _, g := range guests {
		p.index.Snapshotted(g, got)
	}
}

// recordResults records the results of a channel program for one guest. If the run must try again
// to take the guest's snapshots, recordResults returns a changed plan and true. Until the run tries
// again, the guest's snapshots count as failed.
func (p *pool) recordResults(g snapper.GuestPlan, got map[string]lua.Outcome, outcomes map[string]snapper.Outcome) (snapper.GuestPlan, bool) {
	for _, d := range g.Disks {
		if undone := got[d.Dataset].Undone; undone != nil && *undone != 0 {
			p.problem(report.Warning, "%s@%s was made and could not be destroyed again: %s", d.Dataset, g.Snapshot, explain(*undone))
		}
	}
	for _, d := range g.Disks {
		errno := got[d.Dataset].Snapshot
		if errno == nil || *errno == 0 {
			continue
		}
		err := fmt.Errorf("snapshot of %s: %s", d.Dataset, explain(*errno))
		snapper.Fail(outcomes, g, err, *errno == syscall.ENOSPC)
		switch *errno {
		case syscall.EAGAIN:
			return g, true
		case syscall.EEXIST:
			g.Snapshot = nextName(g.Snapshot, g.Class)
			return g, true
		}
		return g, false
	}
	for _, d := range g.Disks {
		outcomes[d.Dataset] = p.recordDisk(g, d, got[d.Dataset])
	}
	return g, false
}

func (p *pool) recordDisk(g snapper.GuestPlan, d snapper.DiskPlan, got lua.Outcome) snapper.Outcome {
	o := snapper.Outcome{}
	if d.Snapshot {
		if got.Snapshot == nil {
			o.Err = fmt.Errorf("snapshot of %s: the channel program returned no result", d.Dataset)
		} else {
			o.Snapshot, o.TXG = g.Snapshot, p.TXG()
			if made, told := got.Made(d.Dataset, g.Snapshot); told {
				o.TXG = made.CreateTXG
			}
			p.count(report.DidSnapshot)
		}
	}
	if d.Label != "" && o.Err == nil {
		if got.Label == nil || *got.Label != 0 {
			o.Err = fmt.Errorf("label of %s: %s", d.Dataset, explainOutcome(got.Label))
		} else {
			p.count(report.DidLabel)
		}
	}
	if d.Bookmark && o.Err == nil {
		switch {
		case got.Bookmark != nil && *got.Bookmark == 0:
			p.count(report.DidBookmark)
		case got.Bookmark != nil && *got.Bookmark == syscall.EEXIST:
			p.problem(report.Warning, "bookmark of %s@%s: a bookmark of another snapshot has this name", d.Dataset, g.Snapshot)
		default:
			p.problem(report.Warning, "bookmark of %s@%s: %s", d.Dataset, g.Snapshot, explainOutcome(got.Bookmark))
		}
	}
	if o.Snapshot != "" && d.Config != nil {
		o.Config = d.Config
		if got.Config == nil || *got.Config != 0 {
			o.Config = nil
			p.problem(report.Warning, "the guest's configuration was not kept with %s@%s: %s", d.Dataset, g.Snapshot, explainOutcome(got.Config))
		}
	}
	return o
}

func explainOutcome(errno *syscall.Errno) string {
	if errno == nil {
		return "the channel program returned no result"
	}
	return explain(*errno)
}

// explain returns the meaning, in words, of an errno that a channel program returned
// (zfs-program(8)).
func explain(errno syscall.Errno) string {
	switch errno {
	case syscall.EBUSY:
		return "it has a hold, or is being sent or received (EBUSY)"
	case syscall.ENOSPC:
		return "no space: the pool is full, or a thick volume's reservation does not fit (ENOSPC)"
	case syscall.EAGAIN:
		return "another snapshot of it is being made right now (EAGAIN)"
	case syscall.EEXIST:
		return "the name is taken, or a clone depends on it (EEXIST)"
	}
	return fmt.Sprintf("%s (errno %d)", errno.Error(), int(errno))
}

// nextName returns the snapshot's name with a time that is two seconds later. One second later
// would not do: when the clocks go back, an hour occurs twice, first with even seconds in the
// names, then with odd seconds.
func nextName(name string, class zfs.Class) string {
	t, err := zfs.ParseSnapshotTime(name)
	if err != nil {
		return name
	}
	return zfs.FormatSnapshotName(t.Add(2*time.Second), class)
}
