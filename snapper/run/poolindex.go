package run

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
	"snapwatch/snapper"
)

// recall sets the snapshots of the pool's disks from the index, and returns the disks whose
// snapshots must be listed.
func (p *pool) recall() []*snapper.Disk {
	p.index.Retain(p.disks, p.readAt)
	var unknown []*snapper.Disk
	for i := range p.disks {
		d := &p.disks[i]
		if d.Recalled = p.index.Recall(d, p.readAt); !d.Recalled {
			unknown = append(unknown, d)
		}
	}
	return unknown
}

// keep puts into the index the snapshots of each disk that this run has listed.
func (p *pool) keep() {
	for i := range p.disks {
		if d := &p.disks[i]; !d.Recalled && d.Problem == "" {
			p.index.Keep(d, p.readAt)
		}
	}
}

// In one turn, prune lists the snapshots of at most inTurn disks.
const inTurn = 20

// unlisted is the problem that prune reports for a disk if prune had no time to list the disk's
// snapshots.
const unlisted = "there was no time to list its snapshots: the next run begins with this disk"

// readInTurns lists the snapshots of the disks, in turns of a few disks each, until ctx ends. The
// run works on the disks that were listed in time. The next run begins with the disks that had no
// turn in this run.
func (p *pool) readInTurns(ctx context.Context, disks []*snapper.Disk) error {
	if !p.partly {
		p.index.RetainTurns(p.disks, p.parents)
	}
	for i, turn := range p.index.Turns(disks, inTurn) {
		if ctx.Err() == nil {
			err := p.readSnapshots(ctx, turn)
			ended := err == nil || ctx.Err() == nil
			if ended || i == 0 && errors.Is(ctx.Err(), context.DeadlineExceeded) {
				p.index.Took(turn, !ended)
			}
			if ended {
				if err != nil {
					return err
				}
				continue
			}
		}
		for _, d := range turn {
			d.Problem = cmp.Or(d.Problem, unlisted)
		}
	}
	return nil
}

// readWritten asks ZFS how many bytes were written since a _stopped snapshot that is not the newest
// snapshot, unless the index has the number of bytes.
func (p *pool) readWritten(ctx context.Context) error {
	for i := range p.disks {
		d := &p.disks[i]
		newest, behind := d.StoppedBehind()
		if !behind {
			continue
		}
		e := p.index.Entries[d.Name]
		// A disk that was not written to since its newest snapshot has the same content as that
		// snapshot.
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

// readReceived reads the received labels of the given datasets that are in this pool.
func (p *pool) readReceived(ctx context.Context, datasets []string) {
	disks := p.find(datasets)
	if len(disks) == 0 {
		return
	}
	received, err := p.Received(ctx, names(disks))
	for _, d := range disks {
		labels, ok := received[d.Name]
		switch {
		case ok:
			d.Running.Received, d.NoSnap.Received, d.ReceivedUnread = labels.Running, labels.NoSnap, false
		case err != nil:
			d.ReceivedProblem = err.Error()
		default:
			d.ReceivedProblem = "zfs printed no line about it"
		}
	}
}

// readBookmarks lists the bookmarks of the given datasets that are in this pool, because the run
// has only an earlier run's lists of these bookmarks.
func (p *pool) readBookmarks(ctx context.Context, datasets []string) {
	if err := p.listBookmarks(ctx, p.find(datasets)); err != nil {
		p.problem(report.Warning, "pool %s: its bookmarks could not be listed, and are left to the next run: %v", p.name, err)
	}
}

// listBookmarks lists the bookmarks of the disks, because the run has only an earlier run's lists
// of these bookmarks. After an error, each disk has an empty list of bookmarks, and its
// BookmarksUnread is true, so that no decision relies on the empty list.
func (p *pool) listBookmarks(ctx context.Context, disks []*snapper.Disk) error {
	if len(disks) == 0 {
		return nil
	}
	marks := map[string][]zfs.Snapshot{}
	err := p.Bookmarks(ctx, names(disks), func(s zfs.Snapshot) error {
		marks[s.Dataset] = append(marks[s.Dataset], s)
		return nil
	})
	if err = faultsOf(disks, err); err != nil {
		clear(marks)
	}
	for _, d := range disks {
		d.Bookmarks, d.BookmarksUnread, d.Recalled = marks[d.Name], err != nil || d.Problem != "", false
		if e := p.index.Entries[d.Name]; e != nil && !d.BookmarksUnread {
			e.Bookmarks, p.index.Changed = slices.Clone(marks[d.Name]), true
		}
	}
	return err
}

// find returns those disks of the pool whose names are in datasets.
func (p *pool) find(datasets []string) []*snapper.Disk {
	return p.disksWhere(func(d *snapper.Disk) bool { return slices.Contains(datasets, d.Name) })
}

func (p *pool) disksWhere(so func(*snapper.Disk) bool) []*snapper.Disk {
	var disks []*snapper.Disk
	for i := range p.disks {
		if d := &p.disks[i]; so(d) {
			disks = append(disks, d)
		}
	}
	return disks
}

func names(disks []*snapper.Disk) []string {
	var list []string
	for _, d := range disks {
		list = append(list, d.Name)
	}
	slices.Sort(list)
	return list
}

// saveIndex writes the index for the next run. If writing the index fails, the next run lists all
// snapshots.
func (p *pool) saveIndex() {
	if !p.index.Changed {
		return
	}
	if err := p.SaveIndex(&p.index); err != nil {
		p.problem(report.Warning, "pool %s: the index could not be saved, the next run lists every snapshot: %v", p.name, err)
	}
}
