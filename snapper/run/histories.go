package run

import (
	"context"
	"maps"
	"slices"
	"time"

	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
	"snapwatch/snapper"
)

// historyTimeout is how long the reading of a pool's history may take. It may have a
// million records, and the guests wait for their snapshots meanwhile.
const historyTimeout = 2 * time.Minute

// historyAgain is how long a history that took longer is not tried again.
const historyAgain = 6 * time.Hour

// readHistories reads the history of the pools with disks that have bookmarks in
// question: none in the steady state.
func (r *run) readHistories(ctx context.Context, pools []*pool) {
	if r.Final {
		return // no bookmark is destroyed, and the host waits
	}
	for _, p := range pools {
		if p.err == nil {
			r.readHistory(ctx, p)
		}
	}
}

func (r *run) readHistory(ctx context.Context, p *pool) {
	// A bookmark that was only remembered may be gone by now.
	remembered := p.recalled()
	maps.DeleteFunc(remembered, func(_ string, d *snapper.Disk) bool {
		return len(d.InQuestion()) == 0 && len(d.Checked.Unproven) == 0
	})
	if len(remembered) > 0 {
		if err := p.listBookmarks(ctx, remembered); err != nil {
			r.problem(report.Warning, "pool %s: its bookmarks are left to the next run: %v", p.name, err)
		}
	}
	disks, bookmarks := p.inQuestion()
	if len(bookmarks) == 0 {
		return
	}
	slow := r.state.SlowHistory[p.name]
	if since := r.start.Sub(slow); since >= 0 && since < historyAgain {
		for _, d := range disks {
			d.HistoryProblem = "it took longer than " + historyTimeout.String() + ", and is tried again after " + historyAgain.String()
		}
		return
	}
	delete(r.state.SlowHistory, p.name)
	r.progress("pool %s: reading its history, since %d bookmarks of %d disks may be of a discarded one", p.name, len(bookmarks), len(disks))
	limited, cancel := r.World.Timeout(ctx, historyTimeout)
	defer cancel()
	history, err := p.History(limited, bookmarks)
	if limited.Err() != nil && ctx.Err() == nil {
		if r.state.SlowHistory == nil {
			r.state.SlowHistory = map[string]time.Time{}
		}
		r.state.SlowHistory[p.name] = r.start
	}
	for _, d := range disks {
		if err != nil {
			d.HistoryProblem = err.Error()
		} else {
			d.History = &history
		}
	}
}

// inQuestion are the pool's disks with bookmarks in question, and these.
func (p *pool) inQuestion() (disks []*snapper.Disk, bookmarks []zfs.Snapshot) {
	for i := range p.disks {
		if list := p.disks[i].InQuestion(); len(list) > 0 {
			disks, bookmarks = append(disks, &p.disks[i]), append(bookmarks, list...)
		}
	}
	return disks, bookmarks
}

// nextState is what the next run is to know. What is known of a disk that this run did not
// look at stays, unless the disk is gone.
func (r *run) nextState(pools []*pool) report.State {
	next := r.state
	next.Checked = maps.Clone(r.state.Checked)
	if next.Checked == nil {
		next.Checked = map[string]report.Checked{}
	}
	for _, p := range pools {
		if p.err != nil {
			continue
		}
		maps.DeleteFunc(next.Checked, func(dataset string, _ report.Checked) bool {
			return slices.Contains(p.parents, zfs.Parent(dataset))
		})
		for i := range p.disks {
			d := &p.disks[i]
			checked, moved := d.NextChecked(r.stuck[d.Name])
			if e := p.index.Entries[d.Name]; e != nil && moved {
				checked.TXG = max(checked.TXG, snapper.NewestTXG(e.Snapshots)) // what the run made itself
			}
			if checked.GUID != 0 {
				next.Checked[d.Name] = checked
			}
		}
	}
	return next
}
