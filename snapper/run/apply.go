package run

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"syscall"
	"time"

	"snapwatch/internal/command"
	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
	"snapwatch/lua"
	"snapwatch/snapper"
)

// programTimeout is how long a run waits for one channel program. The program is
// never killed: it goes on, and so does its hold on the pool's lock. That of the other
// pools ends with the run, which is over before cron starts the next one.
const programTimeout = 10 * time.Minute

// How often a snapshot is tried again: in the next transaction group when the
// dataset got one in this one already, and under the next free second's name.
const maxAttempts = 8

// applySnapshots carries out the second part of a pool's plan: what must not be found
// is gone, and now come the snapshots with their labels. taken are the outcomes of what
// was snapshotted already. ctx ends it between two steps.
func (r *run) applySnapshots(ctx context.Context, p *pool, plan snapper.Plan, taken map[string]snapper.Outcome) map[string]snapper.Outcome {
	outcomes := r.applyGuests(ctx, p, plan.Guests)
	maps.Copy(outcomes, taken)
	return outcomes
}

// applyRest carries out the rest: bookmarks of older snapshots, labels to give back,
// and what may go, given what became of the disks' snapshots.
func (r *run) applyRest(ctx context.Context, p *pool, plan snapper.Plan, outcomes map[string]snapper.Outcome) {
	r.createBookmarks(ctx, p, plan.CreateBookmarks)
	for _, dataset := range plan.InheritReceived {
		if zfs.Pool(dataset) != p.name || ctx.Err() != nil || p.hangs.Load() {
			continue
		}
		if err := r.withTimeout(p, func(timeout context.Context) error { return p.InheritReceived(timeout, dataset) }); err != nil {
			r.problem(report.Warning, "%v", err)
			continue
		}
		r.count(report.DidLabel)
	}
	r.applyDestroys(ctx, p, snapper.Allowed(plan, p.name, outcomes))
	r.destroyBookmarks(ctx, p, plan.DestroyBookmarks)
	r.saveIndex(p)
}

// errHangs is why a step is not begun.
var errHangs = errors.New("not begun, since an earlier step on the pool still goes on")

// withTimeout takes one step that changes the pool, and waits for it for programTimeout. What
// goes on longer is the last step of this run on the pool: the next would wait behind it,
// with all that the run holds.
func (r *run) withTimeout(p *pool, step func(context.Context) error) error {
	if p.hangs.Load() {
		return errHangs
	}
	timeout, cancel := r.World.Timeout(context.Background(), programTimeout)
	defer cancel()
	err := step(timeout)
	if errors.Is(err, command.ErrStillRunning) {
		p.hangs.Store(true)
	}
	return err
}

func (r *run) applyGuests(ctx context.Context, p *pool, guests []snapper.GuestPlan) map[string]snapper.Outcome {
	outcomes := map[string]snapper.Outcome{}
	var open []snapper.GuestPlan
	for _, g := range guests {
		if g.Pool == p.name {
			open = append(open, g)
		}
	}
	for attempt := 0; len(open) > 0; attempt++ {
		if ctx.Err() != nil {
			for _, g := range open {
				snapper.Fail(outcomes, g, fmt.Errorf("pool %s: told to end before its snapshots were made", p.name), false)
			}
			return outcomes
		}
		var got map[string]lua.Outcome
		err := r.withTimeout(p, func(timeout context.Context) (err error) {
			got, err = p.Snapshot(timeout, p.programGuests(open), nil)
			return err
		})
		p.snapshotted(open, got)
		if err != nil {
			for _, g := range open {
				snapper.Fail(outcomes, g, fmt.Errorf("not known what was done, the next run looks: %w", err), false)
			}
			return outcomes
		}
		var again []snapper.GuestPlan
		for _, g := range open {
			if next, retry := r.recordResults(g, got, outcomes); retry && attempt < maxAttempts {
				again = append(again, next)
			}
		}
		open = again
	}
	return outcomes
}

func (p *pool) programGuests(guests []snapper.GuestPlan) []lua.Guest {
	p.mu.Lock()
	defer p.mu.Unlock()
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
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, g := range guests {
		p.index.Snapshotted(g, got)
	}
}

// recordResults takes a guest's results in. It returns the guest to be tried again where
// that helps; until then its failure stands.
func (r *run) recordResults(g snapper.GuestPlan, got map[string]lua.Outcome, outcomes map[string]snapper.Outcome) (snapper.GuestPlan, bool) {
	for _, d := range g.Disks {
		if undone := got[d.Dataset].Undone; undone != nil && *undone != 0 {
			r.problem(report.Warning, "%s@%s was made and could not be destroyed again: %s", d.Dataset, g.Snapshot, explain(*undone))
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
		r.recordDisk(g, d, got[d.Dataset], outcomes)
	}
	return g, false
}

func (r *run) recordDisk(g snapper.GuestPlan, d snapper.DiskPlan, got lua.Outcome, outcomes map[string]snapper.Outcome) {
	o := snapper.Outcome{}
	if d.Snapshot {
		if got.Snapshot == nil {
			o.Err = fmt.Errorf("snapshot of %s: the channel program does not say", d.Dataset)
		} else {
			o.Snapshot = g.Snapshot
			r.count(report.DidSnapshot)
		}
	}
	if d.Label != "" && o.Err == nil {
		if got.Label == nil || *got.Label != 0 {
			o.Err = fmt.Errorf("label of %s: %s", d.Dataset, explainOutcome(got.Label))
		} else {
			r.count(report.DidLabel)
		}
	}
	if d.Bookmark && o.Err == nil {
		// A bookmark that is there already, by that name, is as good.
		if got.Bookmark == nil || *got.Bookmark != 0 && *got.Bookmark != syscall.EEXIST {
			r.problem(report.Warning, "bookmark of %s@%s: %s", d.Dataset, g.Snapshot, explainOutcome(got.Bookmark))
		} else {
			r.count(report.DidBookmark)
		}
	}
	if o.Snapshot != "" {
		r.recordConfig(g, d, got.Config)
	}
	outcomes[d.Dataset] = o
}

func explainOutcome(errno *syscall.Errno) string {
	if errno == nil {
		return "the channel program does not say"
	}
	return explain(*errno)
}

// explain puts an errno of a channel program into words (facts: OpenZFS A2).
func explain(errno syscall.Errno) string {
	switch errno {
	case syscall.EBUSY:
		return "it is held, being sent or being received (EBUSY)"
	case syscall.ENOSPC:
		return "no space: the pool is full, or a thick volume's reservation does not fit (ENOSPC)"
	case syscall.EAGAIN:
		return "another snapshot of it is being made right now (EAGAIN)"
	case syscall.EEXIST:
		return "the name is taken, or a clone depends on it (EEXIST)"
	}
	return fmt.Sprintf("%s (errno %d)", errno.Error(), int(errno))
}

// nextName moves a snapshot's name on by a second.
func nextName(name string, class zfs.Class) string {
	t, err := zfs.ParseSnapshotTime(name)
	if err != nil {
		return name
	}
	return zfs.FormatSnapshotName(t.Add(time.Second), class)
}
