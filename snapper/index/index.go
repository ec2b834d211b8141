// Package index saves the lists of the disks' snapshots in a file, so that the next run need not
// list the snapshots again. [Load] reads an index from its file, and [Index.Recall] sets a disk's
// snapshots from it.
//
// # When a saved list is used
//
// A saved list of a disk's snapshots is used only while the disk's property snapshots_changed
// (zfsprops(7)) is unchanged. A run saves a list of snapshots only if the list's last change was at
// least two seconds ago when the run began to read the list. Changes by snapwatch itself are
// entered in the index from the results of its channel programs. A ZFS older than 2.2 does not have
// snapshots_changed, so every run lists all snapshots. The index is never the only proof for a
// destroy: a channel program checks each snapshot again. docs/zfs-facts.md has the sources of the
// rules for using saved lists.
package index

import (
	"fmt"
	"slices"
	"syscall"
	"time"

	"snapwatch/internal/zfs"
	"snapwatch/lua"
	"snapwatch/snapper"
)

// Listing a disk's snapshots takes longer the more snapshots the disk has, while reading a head,
// the dataset without its snapshots, always takes the same time. With the index, a run lists the
// snapshots of a disk only if another program changed some.
//
// An entry of the index is only a hint. The key of an entry detects every change of a disk's list
// of snapshots, with one exception: a change in the same second as snapwatch's own last change.
// Because the index may miss a change in the same second, the channel program that destroys
// snapshots also checks that the snapshots to keep exist, whatever the index says. An index file
// may be deleted at any time: the next run only lists all snapshots again.
//
// Changes by the run itself are entered in the index without a listing. Each channel program
// returns the time of the last change of the disk's list of snapshots, once before the program's
// own changes and once after its own changes. By comparing the times, the run detects a change that
// a second program made between the run's reading and the channel program. No property of a dataset
// shows that its bookmarks changed, so the run lists the bookmarks of a disk again if a plan relies
// on them.

const (
	// A run does not use an entry of the index that is older than relistAfter, and lists the
	// entry's disk again.
	relistAfter = 24 * time.Hour
	// A run lists a disk again before the disk's entry reaches the age relistAfter, but at most
	// relistSpread earlier. How much earlier differs from disk to disk, so that the listings are
	// spread over several runs.
	relistSpread = 6 * time.Hour
	// When a run begins to read a disk's list of snapshots, the last change of the list must be at
	// least minChangeAge ago for the list to be saved. ZFS stores the time of the last change in
	// whole seconds, so a further change within the same second would not be detected.
	minChangeAge = 2 * time.Second
)

// Index has, by dataset, the list of snapshots and the list of bookmarks of each disk of one pool,
// as an earlier run read them.
type Index struct {
	Entries map[string]*entry
	// turns has, by dataset, the number of the turn in which prune last listed the disk.
	turns map[string]turn
	// Changed is true if the index differs from its saved file.
	Changed bool
}

// gateKey has the properties of a head that change when its list of snapshots changes. gateKey
// includes the property origin, because zfs promote gives a dataset more snapshots without changing
// its snapshots_changed.
type gateKey struct {
	GUID    uint64
	Origin  string
	Newest  string
	Changed int64
}

func keyOf(h zfs.Dataset) gateKey {
	return gateKey{h.GUID, h.Origin, h.NewestSnapshot, h.SnapshotsChanged}
}

// entry is the saved list of one disk's snapshots and bookmarks.
type entry struct {
	key gateKey
	// listedAt is the time at which the disk's last listing began.
	listedAt time.Time
	// Snapshots are all snapshots of the disk, the oldest first.
	Snapshots []zfs.Snapshot
	Bookmarks []zfs.Snapshot
	// Written is the number of bytes written between the newest _stopped snapshot and a newer
	// snapshot that is not managed. Written is nil if no run has asked ZFS for this number, or if
	// the disk was written to after a run asked ZFS.
	Written *uint64
}

// outdated returns the reason why the entry's list of snapshots must not be used for a dataset with
// the properties h, "" if the list may be used.
func (e *entry) outdated(h zfs.Dataset, now time.Time) string {
	age := now.Sub(e.listedAt)
	switch {
	case h.SnapshotsChanged == 0:
		return "this ZFS has no snapshots_changed"
	case h.GUID != e.key.GUID:
		return "another dataset has this name now"
	case keyOf(h) != e.key:
		return "its snapshots changed"
	case age < 0:
		return "it was listed in the future"
	case age >= relistAfter-time.Duration(h.GUID%uint64(relistSpread)):
		return fmt.Sprintf("it was listed %s ago", age.Round(time.Minute))
	}
	return ""
}

// Recall sets a disk's snapshots and bookmarks from the disk's entry in the index. Recall returns
// false if the disk must be listed.
func (x *Index) Recall(d *snapper.Disk, now time.Time) bool {
	e := x.Entries[d.Name]
	if e == nil || e.outdated(d.Dataset, now) != "" {
		x.forget(d.Name)
		return false
	}
	d.Snapshots, d.Bookmarks = slices.Clone(e.Snapshots), slices.Clone(e.Bookmarks)
	return true
}

// Keep saves in the index which snapshots a disk has, unless later runs could not notice that the
// disk's snapshots changed. The argument readAt of Keep is the time at which the reading of the
// disk's properties began, before its snapshots were listed.
func (x *Index) Keep(d *snapper.Disk, readAt time.Time) {
	age := readAt.Sub(time.Unix(d.SnapshotsChanged, 0))
	// If the time of the disk's last change is more than relistAfter in the future, the entry
	// expires before another change can get the same time.
	settled := age >= minChangeAge || age <= -relistAfter
	complete := d.NewestSnapshot == "" && len(d.Snapshots) == 0 || slices.ContainsFunc(d.Snapshots, func(s zfs.Snapshot) bool { return s.Name == d.NewestSnapshot })
	if d.SnapshotsChanged == 0 || !settled || !complete {
		x.forget(d.Name)
		return
	}
	if x.Entries == nil {
		x.Entries = map[string]*entry{}
	}
	x.Changed = true
	x.Entries[d.Name] = &entry{
		key: keyOf(d.Dataset), listedAt: readAt, Snapshots: slices.Clone(d.Snapshots), Bookmarks: slices.Clone(d.Bookmarks),
	}
}

// forget removes a disk's entry from the index, so that the next run lists the disk.
func (x *Index) forget(dataset string) {
	if x.Entries[dataset] != nil {
		delete(x.Entries, dataset)
		x.Changed = true
	}
}

// Retain removes from the index the entries of datasets that are gone. snap and prune share the
// index and read different datasets, so a dataset that this run did not read may still exist.
// Retain removes the entry of a dataset that this run did not read only when the entry is too old
// to be used.
func (x *Index) Retain(disks []snapper.Disk, now time.Time) {
	there := map[string]bool{}
	for _, d := range disks {
		there[d.Name] = true
	}
	for dataset, e := range x.Entries {
		if age := now.Sub(e.listedAt); !there[dataset] && (age < 0 || age >= relistAfter) {
			x.forget(dataset)
		}
	}
}

// Snapshotted enters in the index the snapshots that a channel program took of a guest's disks. If
// another program changed a disk between the reading of its properties and the channel program, or
// if a step failed, Snapshotted removes the disk's entry.
func (x *Index) Snapshotted(g snapper.GuestPlan, got map[string]lua.Outcome) {
	whole := !slices.ContainsFunc(g.Disks, func(d snapper.DiskPlan) bool { return d.Snapshot && !done(got[d.Dataset].Snapshot) })
	for _, d := range g.Disks {
		e, o := x.Entries[d.Dataset], got[d.Dataset]
		if e == nil || !d.Snapshot {
			continue
		}
		marked := !d.Bookmark || done(o.Bookmark)
		made, told := o.Made(d.Dataset, g.Snapshot)
		if !whole || !marked || !told || !e.follows(o.ListChange) {
			x.forget(d.Dataset)
			continue
		}
		e.key.Newest, e.Written, x.Changed = g.Snapshot, nil, true
		e.Snapshots = append(e.Snapshots, made)
		if d.Bookmark {
			e.Bookmarks = append(e.Bookmarks, made)
		}
	}
}

// follows reports whether a channel program's change follows on the entry, without a change by
// another program in between. If the change follows on the entry, follows also stores the time of
// the change in the entry.
func (e *entry) follows(w lua.ListChange) bool {
	if w.Before != e.key.Changed || w.After == 0 {
		return false
	}
	e.key.Changed = w.After
	return true
}

// Destroyed removes from the index the snapshots that a channel program destroyed on a disk.
func (x *Index) Destroyed(dataset string, got lua.Destroyed) {
	e := x.Entries[dataset]
	if e == nil || got.Receiving != 0 {
		return // the program refused and changed nothing, because the disk is being received
	}
	if got.Missing != "" || got.Gone == nil || !e.follows(got.ListChange) {
		x.forget(dataset)
		return
	}
	e.Snapshots = slices.DeleteFunc(e.Snapshots, func(s zfs.Snapshot) bool {
		errno, told := got.Gone[s.Name]
		return told && errno == 0
	})
	x.Changed = true
}

// BookmarkCreated enters in the index the bookmark of a snapshot. The argument `made` is false if
// this run did not create the bookmark. If `made` is false, the disk's list of bookmarks is
// unknown, so BookmarkCreated removes the disk's entry.
func (x *Index) BookmarkCreated(dataset, name string, made bool) { //nolint:revive // what a program said, no way to do it
	e := x.Entries[dataset]
	if e == nil {
		return
	}
	i := slices.IndexFunc(e.Snapshots, func(s zfs.Snapshot) bool { return s.Name == name })
	if i < 0 || !made {
		x.forget(dataset)
		return
	}
	e.Bookmarks, x.Changed = append(e.Bookmarks, e.Snapshots[i]), true
}

// BookmarkDestroyed removes a bookmark from the index.
func (x *Index) BookmarkDestroyed(b zfs.Snapshot) {
	if e := x.Entries[b.Dataset]; e != nil {
		e.Bookmarks = slices.DeleteFunc(e.Bookmarks, func(s zfs.Snapshot) bool { return s.Name == b.Name })
		x.Changed = true
	}
}

// DestroyedAll removes from the index the snapshots that a channel program destroyed on the disks
// of a batch.
func (x *Index) DestroyedAll(batch []snapper.Destroy, results map[string]lua.Destroyed) {
	seen := map[string]bool{}
	for _, d := range batch {
		if !seen[d.Dataset] {
			seen[d.Dataset] = true
			x.Destroyed(d.Dataset, results[d.Dataset])
		}
	}
}

// Knows reports whether the index has an entry for the dataset. Knows returns false for a nil
// index, that is, if no index was read.
func (x *Index) Knows(dataset string) bool { return x != nil && x.Entries[dataset] != nil }

// done reports, for a step of a channel program, whether the program tried the step and the step
// succeeded.
func done(errno *syscall.Errno) bool { return errno != nil && *errno == 0 }
