package run

import (
	"context"
	"syscall"
	"time"

	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
	"snapwatch/lua"
	"snapwatch/snapper"
	"snapwatch/snapper/index"
)

// A batch of destroys is one transaction group, for which every writer of the pool
// waits. It starts small and grows while it is quick.
const (
	firstBatch = 50
	maxBatch   = 400
	quickBatch = time.Second
)

// applyDestroys destroys in batches, each of which checks its keepers itself. ctx
// ends it between two batches.
func (p *pool) applyDestroys(ctx context.Context, destroys []snapper.Destroy) {
	size := firstBatch
	for len(destroys) > 0 {
		if ctx.Err() != nil {
			p.problem(report.Notice, "pool %s: told to end, %d snapshots that were to go are left", p.name, len(destroys))
			return
		}
		if len(destroys) > firstBatch {
			p.progress("pool %s: %d snapshots to destroy", p.name, len(destroys))
		}
		batch := destroys[:min(size, len(destroys))]
		destroys = destroys[len(batch):]
		began := p.World.Now()
		var results map[string]lua.Destroyed
		err := p.withTimeout(func(timeout context.Context) (err error) {
			results, err = p.Destroy(timeout, requests(batch, &p.index))
			return err
		})
		p.index.DestroyedAll(batch, results)
		if err != nil {
			p.problem(report.Warning, "pool %s: destroying old snapshots: %v", p.name, err)
			return
		}
		p.recordDestroys(batch, results)
		if took := p.World.Now().Sub(began); took < quickBatch {
			size = min(2*size, maxBatch)
		} else {
			size = max(size/2, firstBatch/2)
		}
	}
}

// requests groups a batch by disk.
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

// gone notes a snapshot that was destroyed.
func (p *pool) gone(d snapper.Destroy) {
	p.count(report.DidDestroy)
	p.destroyed = append(p.destroyed, zfs.Snapshot{Dataset: d.Dataset, Name: d.Name})
}

func (p *pool) recordDestroys(batch []snapper.Destroy, results map[string]lua.Destroyed) {
	said := map[string]bool{}
	once := func(dataset, format string, args ...any) {
		if !said[dataset] {
			said[dataset] = true
			p.problem(report.Notice, format, args...)
		}
	}
	for _, d := range batch {
		got := results[d.Dataset]
		errno, done := got.Gone[d.Name]
		switch {
		case got.Receiving != 0:
			once(d.Dataset, "%s is being received: nothing of it is destroyed", d.Dataset)
		case got.Missing != "":
			once(d.Dataset, "%s@%s is gone, which was to be kept: nothing of the disk is destroyed, the next run looks again", d.Dataset, got.Missing)
		case done && errno == 0:
			p.gone(d)
		case errno == syscall.EBUSY, errno == syscall.EEXIST:
			// A hold or a clone stays until a person ends it; no reason for a mail a run.
			p.problem(report.Notice, "%s@%s is kept: %s", d.Dataset, d.Name, explain(errno))
		case !done:
			p.problem(report.Warning, "destroying %s@%s: the channel program does not say", d.Dataset, d.Name)
		default:
			p.problem(report.Warning, "destroying %s@%s: %s", d.Dataset, d.Name, explain(errno))
		}
	}
}
