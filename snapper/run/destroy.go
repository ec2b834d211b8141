package run

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"
	"time"

	"snapwatch/internal/report"
	"snapwatch/internal/text"
	"snapwatch/internal/zfs"
	"snapwatch/lua"
	"snapwatch/snapper"
	"snapwatch/snapper/index"
)

// One channel program destroys a batch of snapshots in one transaction group, for which every
// writer to the pool waits. The batches of a run begin small, and grow while destroying is quick,
// so that writers wait only for a short time.
const (
	firstBatch = 50
	maxBatch   = 400
	quickBatch = time.Second
)

// moreTimeout limits the time in which a run destroys snapshots in Waiting, in place of the planned
// snapshots that it could not destroy.
const moreTimeout = 2 * time.Minute

// mayDestroy returns the number of snapshots that the run may still destroy before it reaches
// max_destroys. In a dry run, all destroys in the plan of the earlier rounds count as done.
func (r *run) mayDestroy(before snapper.Plan) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	done := r.report.Counts[report.DidDestroy]
	if r.DryRun {
		done = len(before.Destroys)
	}
	return max(0, r.Config.MaxDestroysFor(r.disks)-done)
}

// destroyMore destroys snapshots in Waiting, which the retention drops but which exceed
// max_destroys, the oldest of all pools first. If the run tried in vain to destroy a planned
// snapshot, because the snapshot has a hold or a clone, destroyMore destroys a snapshot in Waiting
// in its place. After half of moreTimeout, destroyMore leaves for last the disks with a snapshot
// that has a hold or a clone. Before each attempt, destroyMore calls the function `before` with the
// snapshots that it will try to destroy.
func (r *run) destroyMore(ctx context.Context, pools []*pool, before func(next []snapper.Destroy)) {
	end := r.World.Now().Add(moreTimeout)
	half := end.Add(-moreTimeout / 2)
	for r.World.Now().Before(end) && ctx.Err() == nil {
		othersFirst := !r.World.Now().Before(half)
		var due, behind []snapper.Destroy
		for _, p := range pools {
			for _, d := range p.due {
				switch {
				case p.stuck || p.hangs.Load():
				case othersFirst && p.pinned(d.Dataset):
					behind = append(behind, d)
				default:
					due = append(due, d)
				}
			}
		}
		snapper.OldestFirst(due)
		snapper.OldestFirst(behind)
		due = append(due, behind...)
		n := min(len(due), r.mayDestroy(snapper.Plan{}))
		if n == 0 {
			return
		}
		before(due[:n])
		now, later := byPool(due[:n]), byPool(due[n:])
		eachPool(r.World, pools, func(p *pool) {
			if len(now[p.name]) > 0 {
				p.due = later[p.name]
				p.applyDestroys(ctx, now[p.name])
				p.saveIndex()
			}
		})
	}
}

// byPool groups destroys by pool, and keeps the order of the destroys within each pool.
func byPool(destroys []snapper.Destroy) map[string][]snapper.Destroy {
	split := map[string][]snapper.Destroy{}
	for _, d := range destroys {
		split[zfs.Pool(d.Dataset)] = append(split[zfs.Pool(d.Dataset)], d)
	}
	return split
}

// reportKept reports the snapshots that have a hold or a clone.
func reportKept(pools []*pool) {
	for _, p := range pools {
		p.reportKept()
	}
}

// reportDue reports, by pool, the number of snapshots that the retention drops but that this run
// did not destroy. If the number of these snapshots grows from day to day, reportDue warns, because
// such a pool fills without limit.
func (r *run) reportDue(pools []*pool, plan snapper.Plan) {
	most := r.Config.MaxDestroysFor(r.disks)
	if r.DryRun {
		if n := len(plan.Waiting); n > 0 {
			r.problem(report.Notice, "%s due beyond what one run destroys (max_destroys %d): the next runs continue", text.Are(n, "snapshot"), most)
		}
		return
	}
	for _, name := range slices.Sorted(maps.Keys(r.report.Backlogs)) {
		severity := report.Notice // a run of these datasets reports a warning instead
		if slices.ContainsFunc(pools, func(p *pool) bool { return p.place() == name }) {
			severity = report.Warning
		}
		switch b := r.report.Backlogs[name]; {
		case b.Grows():
			r.problem(severity, "%s: %s due and not destroyed, and more from day to day (at least %d, and %d the day before): raise max_destroys in the configuration (%d now), or run snapwatch more often", name, text.Are(b.Due, "snapshot"), b.Yesterday, b.Before, most)
		case b.Due > 0:
			r.problem(report.Notice, "%s: %s due and not destroyed (max_destroys %d): the next runs continue", name, text.Are(b.Due, "snapshot"), most)
		}
	}
}

// place returns the names of the pool's datasets whose disks the run reads, as one text for the
// report.
func (p *pool) place() string { return strings.Join(slices.Sorted(slices.Values(p.parents)), ",") }

// overlaps reports whether this run reads disks that an earlier run also read. The argument `place`
// is the result of [pool.place] in the earlier run's report.
func (p *pool) overlaps(place string) bool {
	return slices.ContainsFunc(strings.Split(place, ","), func(other string) bool {
		return zfs.WithinAny(other, p.parents) || slices.ContainsFunc(p.parents, func(own string) bool { return zfs.Within(own, other) })
	})
}

// applyDestroys destroys snapshots in batches; the channel program of each batch checks that the
// keepers still exist. If ctx ends, applyDestroys stops before the next batch. Snapshots that were
// not destroyed remain due.
func (p *pool) applyDestroys(ctx context.Context, destroys []snapper.Destroy) {
	size := firstBatch
	for len(destroys) > 0 {
		if ctx.Err() != nil {
			p.problem(report.Notice, "pool %s: the run was told to end, %s left for the next run to destroy", p.name, text.Are(len(destroys), "snapshot"))
			p.due = slices.Concat(destroys, p.due)
			return
		}
		if len(destroys) > firstBatch {
			p.progress("pool %s: %s to destroy", p.name, text.Count(len(destroys), "snapshot"))
		}
		batch := destroys[:min(size, len(destroys))]
		began := p.World.Now()
		var results map[string]lua.Destroyed
		err := p.withTimeout(func(timeout context.Context) (err error) {
			results, err = p.Destroy(timeout, requests(batch, &p.index))
			return err
		})
		p.index.DestroyedAll(batch, results)
		if err != nil {
			p.problem(report.Warning, "pool %s: destroying old snapshots: %v", p.name, err)
			p.due, p.stuck = slices.Concat(destroys, p.due), true
			return
		}
		p.recordDestroys(batch, results)
		destroys, p.due = p.withoutRefused(destroys[len(batch):]), p.withoutRefused(p.due)
		if took := p.World.Now().Sub(began); took < quickBatch {
			size = min(2*size, maxBatch)
		} else {
			size = max(size/2, firstBatch/2)
		}
	}
}

// withoutRefused removes the destroys on the disks in p.refused. On each of these disks, a channel
// program refused to destroy snapshots, because the disk is being received or a keeper is gone. The
// next channel program would refuse the removed destroys, too.
func (p *pool) withoutRefused(destroys []snapper.Destroy) (rest []snapper.Destroy) {
	for _, d := range destroys {
		if !p.refused[d.Dataset] {
			rest = append(rest, d)
		}
	}
	return rest
}

// requests returns the destroys of a batch, grouped by disk, for the channel program.
func requests(batch []snapper.Destroy, x *index.Index) []lua.DestroyRequest {
	var list []lua.DestroyRequest
	at := map[string]int{}
	for _, d := range batch {
		i, seen := at[d.Dataset]
		if !seen {
			i = len(list)
			at[d.Dataset] = i
			list = append(list, lua.DestroyRequest{Dataset: d.Dataset, Watch: x.Knows(d.Dataset)})
		}
		list[i].Destroy = append(list[i].Destroy, d.Name)
		list[i].Keepers = appendNew(list[i].Keepers, d.Keepers)
	}
	return list
}

func appendNew(list, more []string) []string {
	seen := map[string]bool{}
	for _, have := range list {
		seen[have] = true
	}
	for _, m := range more {
		if !seen[m] {
			list = append(list, m)
		}
	}
	return list
}

// addDestroyed adds a snapshot to the pool's list of destroyed snapshots.
func (p *pool) addDestroyed(d snapper.Destroy) {
	p.count(report.DidDestroy)
	p.destroyed = append(p.destroyed, zfs.Snapshot{Dataset: d.Dataset, Name: d.Name})
}

// pin is a reason why ZFS does not destroy snapshots of a disk until a person removes the hold or
// the clone.
type pin struct {
	dataset string
	errno   syscall.Errno
}

// pinned reports whether this run found a snapshot of the disk that ZFS does not destroy because of
// a hold or a clone.
func (p *pool) pinned(dataset string) bool {
	return p.kept[pin{dataset, syscall.EBUSY}] != nil || p.kept[pin{dataset, syscall.EEXIST}] != nil
}

// reportKept reports the snapshots that have a hold or a clone, with one problem for each disk. The
// severity of the problem is not Warning, because cron sends a mail for a warning, and every run
// finds the same holds and clones.
func (p *pool) reportKept() {
	byName := func(a, b pin) int {
		return cmp.Or(strings.Compare(a.dataset, b.dataset), cmp.Compare(a.errno, b.errno))
	}
	for _, by := range slices.SortedFunc(maps.Keys(p.kept), byName) {
		kept := p.kept[by]
		names, are := kept[0]+" is", len(kept)-1
		if are > 0 {
			names = fmt.Sprintf("%s and %d more are", kept[0], are)
		}
		p.problem(report.Notice, "%s@%s kept: %s; the next run tries again", by.dataset, names, explain(by.errno))
	}
	p.kept = nil
}

func (p *pool) recordDestroys(batch []snapper.Destroy, results map[string]lua.Destroyed) {
	once := func(dataset, format string, args ...any) {
		if !p.refused[dataset] {
			if p.refused == nil {
				p.refused = map[string]bool{}
			}
			p.refused[dataset] = true
			p.problem(report.Notice, format, args...)
		}
	}
	for _, d := range batch {
		got := results[d.Dataset]
		errno, done := got.Gone[d.Name]
		switch {
		case got.Receiving != 0:
			once(d.Dataset, "%s is being received: no snapshot of it is destroyed", d.Dataset)
		case got.Missing != "":
			once(d.Dataset, "%s@%s is gone, although it had to be kept: no snapshot of the disk is destroyed, the next run checks again", d.Dataset, got.Missing)
		case done && errno == 0:
			p.addDestroyed(d)
		case errno == syscall.EBUSY, errno == syscall.EEXIST:
			if p.kept == nil {
				p.kept = map[pin][]string{}
			}
			p.kept[pin{d.Dataset, errno}] = append(p.kept[pin{d.Dataset, errno}], d.Name)
		case !done:
			p.problem(report.Warning, "destroying %s@%s: the channel program returned no result", d.Dataset, d.Name)
		default:
			p.problem(report.Warning, "destroying %s@%s: %s", d.Dataset, d.Name, explain(errno))
		}
	}
}
