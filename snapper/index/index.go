// Package index remembers what a listing of a disk's snapshots said, so that the next run
// need not list them again. [Load] reads it from its file, [Index.Recall] fills it in.
//
// # What is believed
//
// A list is used again only while snapshots_changed (zfsprops(7)) has not changed, and was at
// least two seconds old when it was read; what this program changed itself is entered from
// the program's own answer. A ZFS older than 2.2 does not have the property: then every run
// lists. The index is never the only proof for a destroy: a channel program looks at each
// snapshot again. docs/zfs-facts.md has the source of these rules.
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

// The index remembers what a listing of a disk's snapshots said, so that a run in
// which nothing changed from outside lists none: listing costs time with every
// snapshot there is, a head costs the same whatever it carries.
//
// An entry is a hint. Its gate sees every change of the list of snapshots but one in
// the very second of our own last change; and a destroying program checks that what
// is to stay is there, whatever the index says. So the index may be deleted at any time.
//
// What a run does itself is taken in without a listing: its programs say when the list
// changed before and after them, so that a change by somebody else in between is seen. No
// head shows that bookmarks changed: where a plan relies on them, they are listed first.

const (
	// relistAfter is the longest an entry stands without a new listing.
	relistAfter = 24 * time.Hour
	// relistSpread is how much earlier some disks are listed again, so that a day's
	// listings do not all fall into one run.
	relistSpread = 6 * time.Hour
	// minChangeAge is how old a list's last change must be when a listing begins: it
	// is told in whole seconds, so that another one in the same second goes unseen.
	minChangeAge = 2 * time.Second
)

// Index is what is remembered of one pool's disks, by dataset.
type Index struct {
	Entries map[string]*entry
	// turns say when disks were last listed in turns, by dataset.
	turns map[string]turn
	// Changed is true when it is not what was saved last.
	Changed bool
}

// gateKey are the facts of a head that change with its list of snapshots. A promotion
// changes no time on the side that gains snapshots, but its origin.
type gateKey struct {
	GUID    uint64
	Origin  string
	Newest  string
	Changed int64
}

func keyOf(h zfs.Dataset) gateKey {
	return gateKey{h.GUID, h.Origin, h.NewestSnapshot, h.SnapshotsChanged}
}

// entry is what is remembered of one disk.
type entry struct {
	key gateKey
	// listedAt is when its last listing began.
	listedAt time.Time
	// Snapshots are all of them, the oldest first.
	Snapshots []zfs.Snapshot
	Bookmarks []zfs.Snapshot
	// Written is what was written between the newest _stopped snapshot and a newer
	// one of others, nil where it was not asked for or the head was written since.
	Written *uint64
}

// outdated returns why the entry does not stand for the head's snapshots, "" if it
// does.
func (e *entry) outdated(h zfs.Dataset, now time.Time) string {
	age := now.Sub(e.listedAt)
	switch {
	case h.SnapshotsChanged == 0:
		return "this ZFS does not tell when its snapshots changed"
	case h.GUID != e.key.GUID:
		return "it is another dataset under that name"
	case keyOf(h) != e.key:
		return "its snapshots changed"
	case age < 0:
		return "it was listed in the future"
	case age >= relistAfter-time.Duration(h.GUID%uint64(relistSpread)):
		return fmt.Sprintf("it was listed %s ago", age.Round(time.Minute))
	}
	return ""
}

// Recall fills in what is remembered of the disk. It is false where the disk has to
// be listed.
func (x *Index) Recall(d *snapper.Disk, now time.Time) bool {
	e := x.Entries[d.Name]
	if e == nil || e.outdated(d.Dataset, now) != "" {
		x.forget(d.Name)
		return false
	}
	d.Snapshots, d.Bookmarks = slices.Clone(e.Snapshots), slices.Clone(e.Bookmarks)
	return true
}

// Keep remembers a disk that was listed after readAt, when the reading of its head
// began, unless the list may have changed without a trace.
func (x *Index) Keep(d *snapper.Disk, readAt time.Time) {
	age := readAt.Sub(time.Unix(d.SnapshotsChanged, 0))
	settled := age >= minChangeAge || age <= -relistAfter // its second comes when the entry is gone
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

// forget drops a disk's entry: it is listed in the next run.
func (x *Index) forget(dataset string) {
	if x.Entries[dataset] != nil {
		delete(x.Entries, dataset)
		x.Changed = true
	}
}

// Retain drops the entries of datasets that are not there any more. Others than the disks are
// there, too: snap and prune share the index, and do not look at the same datasets. So an entry
// goes when it is too old to stand for anything.
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

// Snapshotted takes in what a program did to a guest's disks. Where somebody else
// changed a disk between its head and the program, or anything went wrong, the entry
// goes.
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

// follows takes a change of ours in, if it is the only one since the entry.
func (e *entry) follows(w lua.ListChange) bool {
	if w.Before != e.key.Changed || w.After == 0 {
		return false
	}
	e.key.Changed = w.After
	return true
}

// Destroyed takes in what a program did to a disk's snapshots.
func (x *Index) Destroyed(dataset string, got lua.Destroyed) {
	e := x.Entries[dataset]
	if e == nil || got.Receiving != 0 {
		return // nothing was touched
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

// BookmarkCreated takes in that a snapshot has a bookmark. One that was there already is not
// known, so that the entry goes.
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

// BookmarkDestroyed takes in that a bookmark is gone.
func (x *Index) BookmarkDestroyed(b zfs.Snapshot) {
	if e := x.Entries[b.Dataset]; e != nil {
		e.Bookmarks = slices.DeleteFunc(e.Bookmarks, func(s zfs.Snapshot) bool { return s.Name == b.Name })
		x.Changed = true
	}
}

// DestroyedAll takes in what a program did to the disks of a batch.
func (x *Index) DestroyedAll(batch []snapper.Destroy, results map[string]lua.Destroyed) {
	seen := map[string]bool{}
	for _, d := range batch {
		if !seen[d.Dataset] {
			seen[d.Dataset] = true
			x.Destroyed(d.Dataset, results[d.Dataset])
		}
	}
}

// Knows reports whether there is an entry for the dataset. An index that was never
// read knows nothing.
func (x *Index) Knows(dataset string) bool { return x != nil && x.Entries[dataset] != nil }

// done reports whether a step of a program was tried and succeeded.
func done(errno *syscall.Errno) bool { return errno != nil && *errno == 0 }
