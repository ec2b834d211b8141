package run

import (
	"context"
	"maps"
	"slices"
	"time"

	"snapwatch/internal/report"
	"snapwatch/internal/text"
	"snapwatch/internal/zfs"
	"snapwatch/snapper"
)

// historyTimeout is the longest time that reading a pool's history may take. A pool's history may
// have a million records, and the guests wait for their snapshots while a run reads the history.
const historyTimeout = 2 * time.Minute

// finalHistoryTimeout is the longest time that reading a pool's history may take at the shutdown of
// the host, which gives snapwatch finalize 3 minutes for everything.
const finalHistoryTimeout = 20 * time.Second

// historyAgain is the time after which a run tries to read a pool's history again if reading it
// exceeded historyTimeout.
const historyAgain = 6 * time.Hour

// readHistory reads the pool's history, for those of the given datasets that are in the pool. A
// given dataset has bookmarks that may belong to a discarded history, or snapshots that may have
// been received.
func (p *pool) readHistory(ctx context.Context, datasets []string, now time.Time) {
	disks := p.find(datasets)
	if len(disks) == 0 {
		return
	}
	if since := now.Sub(p.slowHistory); since >= 0 && since < historyAgain {
		for _, d := range disks {
			d.HistoryProblem = "it took longer than " + historyTimeout.String() + ", and is tried again after " + historyAgain.String()
		}
		return
	}
	p.slowHistory = time.Time{}
	var bookmarks []zfs.Snapshot
	for _, d := range disks {
		bookmarks = append(bookmarks, d.Traced()...)
	}
	p.progress("pool %s: reading its history, because bookmarks and snapshots of %s may be of a discarded history", p.name, text.Count(len(disks), "disk"))
	timeout := historyTimeout
	if p.Final {
		timeout = finalHistoryTimeout
	}
	limited, cancel := p.World.Timeout(ctx, timeout)
	defer cancel()
	history, err := p.History(limited, bookmarks)
	if limited.Err() != nil && ctx.Err() == nil {
		p.slowHistory = now
	}
	for _, d := range disks {
		if err != nil {
			d.HistoryProblem = err.Error()
		} else {
			d.History = &history
		}
	}
}

// nextSlow returns, by pool, the time of the last run in which reading the pool's history exceeded
// historyTimeout.
func nextSlow(before map[string]time.Time, pools []*pool) map[string]time.Time {
	next := map[string]time.Time{}
	maps.Copy(next, before)
	for _, p := range readable(pools) {
		delete(next, p.name)
		if !p.slowHistory.IsZero() {
			next[p.name] = p.slowHistory
		}
	}
	return next
}

// goneFor is the time for which state.json keeps the record of a disk after the last list that had
// the disk. A list may lack a disk that exists, and a disk may return under a new name.
const goneFor = 30 * 24 * time.Hour

// nextChecked returns the records about disks and their bookmarks that the next run gets.
// nextChecked keeps the record of a disk that this run did not read, unless the disk has been gone
// for goneFor. The argument `outcomes` has, by dataset, the outcome of the plan's steps on the
// disk. The argument `later` lists the disks for which the plan left work to the next run.
func nextChecked(before map[string]report.Checked, pools []*pool, outcomes map[string]snapper.Outcome, later []string, now time.Time) map[string]report.Checked {
	next := maps.Clone(before)
	if next == nil {
		next = map[string]report.Checked{}
	}
	for _, p := range readable(pools) {
		if !p.carriedOut {
			continue // no record: the plan for this pool was not carried out
		}
		for dataset, c := range next {
			switch away := now.Sub(c.Gone); {
			case p.renamed(dataset, c.GUID):
				delete(next, dataset)
			case !p.lacks(dataset):
			case c.Gone.IsZero() || away < 0:
				c.Gone = now
				next[dataset] = c
			case away >= goneFor:
				delete(next, dataset)
			}
		}
		for i := range p.disks {
			d := &p.disks[i]
			checked, moved := d.NextChecked(outcomes[d.Name].TXG, p.unfinished[d.Name] || slices.Contains(later, d.Name))
			if e := p.index.Entries[d.Name]; e != nil && moved {
				// The record Checked must also cover the snapshots that this run took.
				checked.TXG = max(checked.TXG, snapper.NewestTXG(e.Snapshots))
			}
			if checked.Gone = (time.Time{}); checked.GUID != 0 {
				next[d.Name] = checked
			}
		}
	}
	return next
}
