package sim

import (
	"context"
	"fmt"
	"slices"

	"snapwatch/internal/command"
	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
	"snapwatch/snapper"
)

// event is a record in the history of a simulated pool: a dataset was rolled back or renamed.
type event struct {
	txg           uint64
	dataset, name string // name is the dataset's new name, for a rename
	base          uint64
	snapshot      string // snapshot is the name of the received snapshot, for a receive
}

func historyOf(d *dataset) string { return d.host + ":" + zfs.Pool(d.name) }

// setBack plays the effect of zfs rollback, or of zfs receive -F onto a dataset that exists: the
// pool's history gets a record, and bookmarks newer than base are kept.
func (w *World) setBack(d *dataset, base uint64, received string) {
	e := event{txg: w.serial, dataset: d.name, base: base, snapshot: received}
	w.histories[historyOf(d)] = append(w.histories[historyOf(d)], e)
	for _, m := range d.marks {
		if base < m.CreateTXG {
			if d.discarded == nil {
				d.discarded = map[uint64]bool{}
			}
			d.discarded[m.CreateTXG] = true
			d.unseen = true
		}
	}
}

// keptRecords returns the records of a history that ZFS has not overwritten: the newest records, at
// most as many as [Setup.History] says.
func (w *World) keptRecords(list []event) []event {
	if w.History == 0 {
		return list
	}
	return list[max(0, len(list)-w.History):]
}

// reach returns the transaction group of the oldest record in the history of a dataset's pool, 1 if
// ZFS has overwritten no record.
func (w *World) reach(d *dataset) uint64 {
	list := w.histories[historyOf(d)]
	if kept := w.keptRecords(list); len(kept) < len(list) {
		return kept[0].txg
	}
	return 1
}

// history returns the history of a simulated pool, parsed as snap parses the output of zpool
// history -i.
func (w *World) history(n *node, pool string, bookmarks []zfs.Snapshot) zfs.History {
	print := func(_ context.Context, _ command.Cmd, each func(string) error) error {
		list := w.histories[n.name+":"+pool]
		lines := []string{"History for '" + pool + "':", "2026-07-13.09:00:00 [txg:1] create pool version 5000", "2026-07-13.09:00:00 zpool create " + pool + " disk"}
		kept := w.keptRecords(list)
		if len(kept) == len(list) {
			lines = append(lines, "2026-07-13.09:00:00 [txg:1] create "+pool+" (21)")
		}
		for _, e := range kept {
			at := fmt.Sprintf("2026-07-13.09:00:00 [txg:%d] ", e.txg)
			if e.name != "" {
				lines = append(lines, at+"rename "+e.dataset+" (7) -> "+e.name)
				continue
			}
			if e.snapshot == "" {
				lines = append(lines, at+fmt.Sprintf("destroy %s/%%rollback (bptree, mintxg=%d)", e.dataset, e.base))
				continue
			}
			clone := e.dataset + "/%recv (" + fmt.Sprint(e.txg) + ")"
			lines = append(lines, at+"finish receiving "+clone+" snap="+e.snapshot, at+"clone swap "+clone+" parent="+zfs.Base(e.dataset), at+fmt.Sprintf("destroy %s (bptree, mintxg=%d)", clone, e.base))
		}
		for _, line := range append(lines, "") {
			if err := each(line); err != nil {
				return err
			}
		}
		return nil
	}
	h, err := zfs.Reader{Run: print}.History(context.Background(), pool, bookmarks)
	if err != nil {
		panic(err)
	}
	return h
}

// unmark destroys a bookmark of a simulated dataset.
func (w *World) unmark(d *dataset, name string) {
	d.marks = slices.DeleteFunc(d.marks, func(m zfs.Snapshot) bool {
		if m.Name != name {
			return false
		}
		if key := d.name + "#" + name; w.unmarked != nil && !w.unmarked[key] {
			w.unmarked[key] = d.discarded[m.CreateTXG]
		}
		return true
	})
}

// abandoned checks the bookmarks that a run judged to be of a discarded history. If the run
// destroyed such a bookmark and did not create it again, the bookmark must belong to a discarded
// history in the model, too.
func (w *World) abandoned(n *node, list []snapper.JudgedBookmark) {
	for _, j := range list {
		discarded, gone := w.unmarked[j.Dataset+"#"+j.Name]
		if gone && !discarded {
			w.recordBroken("%s destroyed the good bookmark %s#%s: %s", n.name, j.Dataset, j.Name, j.Reason)
		}
		if gone {
			w.stats.Abandoned++
		}
	}
}

// nothingLeft checks that all bookmarks of a discarded history are gone from the disks that a run
// looked at, except bookmarks that the run reports as unproven. The argument `after` is the state
// that the run saved for the next run. After the disk has received a bookmark's snapshot again, the
// bookmark belongs to the disk's history again.
func (w *World) nothingLeft(n *node, after report.State, done report.Run) {
	if w.tick < n.ignored {
		return
	}
	for i, name := range sortedNames(n.sets) {
		d := n.sets[name]
		unread := func(p report.Pool) bool {
			return p.Pool == zfs.Pool(name) && (p.Error != "" || !p.LockedSince.IsZero())
		}
		if !w.parse(name).disk || slices.ContainsFunc(done.Pools, unread) || w.tick < n.pools[zfs.Pool(name)].suspended || n.lacksDisk(w.tick, i) {
			continue
		}
		d.unseen = false
		for _, m := range d.marks {
			unproven := func(u report.Unproven) bool { return u.GUID == m.GUID }
			if _, ours := m.Class(); ours && d.discarded[m.CreateTXG] && !w.descends(d, m.GUID) && m.CreateTXG >= w.reach(d) && !slices.ContainsFunc(after.Checked[name].Unproven, unproven) {
				w.recordBroken("%s leaves %s#%s, which is of a discarded history", n.name, d.name, m.Name)
			}
		}
	}
}
