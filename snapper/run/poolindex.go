package run

import (
	"context"
	"maps"
	"slices"

	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
	"snapwatch/snapper"
)

// recall fills in what the index remembers of the disks, and returns those that have
// to be listed.
func (p *pool) recall() []*snapper.Disk {
	p.remembered = map[string]bool{}
	p.index.Retain(p.disks)
	var unknown []*snapper.Disk
	for i := range p.disks {
		if d := &p.disks[i]; p.index.Recall(d, p.readAt) {
			p.remembered[d.Name] = true
		} else {
			unknown = append(unknown, d)
		}
	}
	return unknown
}

// keep puts the disks that were listed into the index.
func (p *pool) keep() {
	for i := range p.disks {
		if d := &p.disks[i]; !p.remembered[d.Name] {
			p.index.Keep(d, p.readAt)
		}
	}
}

// readWritten asks what was written since a _stopped snapshot that is not the
// newest, where that is not remembered.
func (p *pool) readWritten(ctx context.Context) error {
	for i := range p.disks {
		d := &p.disks[i]
		newest, behind := d.StoppedBehind()
		if !behind {
			continue
		}
		e := p.index.Entries[d.Name]
		// A head that was not written is what its newest snapshot is.
		if e != nil && e.Written != nil && d.Written == 0 {
			d.WrittenSinceStopped = *e.Written
			continue
		}
		written, err := p.WrittenSince(ctx, newest)
		if err != nil {
			return err
		}
		d.WrittenSinceStopped = written
		if e != nil && d.Written == 0 {
			e.Written, p.index.Changed = &written, true
		}
	}
	return nil
}

// lookAtBookmarks lists the bookmarks of the disks where the plan relies on what is
// remembered of them: no head tells that bookmarks changed. It is false where
// nothing was to be listed, so that the plan stands.
func (r *run) lookAtBookmarks(ctx context.Context, pools []*pool, plan snapper.Plan) bool {
	relied := plan.ReliesOnBookmarks()
	looked := false
	for _, p := range pools {
		disks := p.relied(relied)
		if p.err != nil || len(disks) == 0 {
			continue
		}
		looked = true
		if err := p.listBookmarks(ctx, disks); err != nil {
			r.problem(report.Warning, "pool %s: its bookmarks are left to the next run: %v", p.name, err)
		}
	}
	return looked
}

// listBookmarks lists bookmarks that were only remembered. After an error the disks have
// none, so that nothing relies on them.
func (p *pool) listBookmarks(ctx context.Context, disks map[string]*snapper.Disk) error {
	marks := map[string][]zfs.Snapshot{}
	err := p.Pool.Bookmarks(ctx, slices.Sorted(maps.Keys(disks)), func(s zfs.Snapshot) error {
		marks[s.Dataset] = append(marks[s.Dataset], s)
		return nil
	})
	if err != nil {
		clear(marks)
	}
	for dataset, d := range disks {
		d.Bookmarks, d.BookmarksUnread = marks[dataset], err != nil
		if e := p.index.Entries[dataset]; e != nil && err == nil {
			e.Bookmarks, p.index.Changed = slices.Clone(marks[dataset]), true
		}
		delete(p.remembered, dataset)
	}
	return err
}

// relied are the pool's disks among those whose bookmarks are only remembered.
func (p *pool) relied(on map[string]bool) map[string]*snapper.Disk {
	disks := p.recalled()
	maps.DeleteFunc(disks, func(dataset string, _ *snapper.Disk) bool { return !on[dataset] })
	return disks
}

// recalled are the pool's disks whose bookmarks are only remembered.
func (p *pool) recalled() map[string]*snapper.Disk {
	disks := map[string]*snapper.Disk{}
	for i := range p.disks {
		if d := &p.disks[i]; p.remembered[d.Name] {
			disks[d.Name] = d
		}
	}
	return disks
}

// saveIndex writes the index for the next run. One that cannot be written costs it a
// listing.
func (r *run) saveIndex(p *pool) {
	if !p.index.Changed {
		return
	}
	if err := p.SaveIndex(&p.index); err != nil {
		r.problem(report.Warning, "pool %s: the index is not kept, the next run lists every snapshot: %v", p.name, err)
	}
}
