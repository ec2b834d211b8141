package sim

import (
	"slices"
	"strings"
	"time"

	"snapwatch/internal/zfs"
	"snapwatch/snapper"
)

// dataset is one disk on one site, with as much of ZFS as matters here.
type dataset struct {
	name    string
	host    string // where it is
	guid    uint64
	created time.Time // by the clock of its host
	snaps   []zfs.Snapshot
	marks   []zfs.Snapshot
	// content numbers the state of the data: two datasets with the same number hold
	// the same bytes.
	content int
	running zfs.Property
	// labelled: it has received properties. Until it has, ZFS takes local ones for
	// received ones, and the first that arrive replace them.
	labelled bool
	// log: it was written here since the last receive, and has an intent log beside its
	// data. Its snapshots have it, too: logged are these, by guid. An increment on one of them
	// drops the log, which counts as written (1 KiB, seen on OpenZFS 2.3.9): dropped is the
	// txg of the latest that did, 0 if none.
	log     bool
	logged  []uint64
	dropped uint64
	// discarded are the bookmarks past which it was set back, by transaction group.
	discarded map[uint64]bool
	// blocked is when a receive last failed over a name that was taken: a clock was ahead, here
	// or on another node. Until a person sees to it the source rotates on.
	blocked time.Time
	// unseen: it was set back past bookmarks, and no run has looked at it since.
	unseen bool
	// ever: it was received. received: since its node last noted that its guest lives there. away:
	// the last time, that guest was noted to be on another node.
	ever, received, away bool
	// seeding: the first receive is not finished. token: one waits to be resumed.
	seeding, token bool
	// size is how often it grew. origin is what it was cloned from. rolledBack is the snapshot
	// to which it was rolled back last, by guid.
	size       int
	origin     string
	rolledBack uint64
	// tip is the newest snapshot of its history, by guid, even one that is gone.
	tip uint64
	// list stands for the snapshots it had when that was last asked for, listChanged when that
	// list changed.
	list        uint64
	listChanged int64
	changed     time.Time // of its list of snapshots, by its host's clock
	// unannounced is the last run that should have snapshotted and labelled it after its
	// guest's start, and could not.
	unannounced time.Time
}

// taken is what only the model knows of a snapshot, by guid.
type taken struct {
	content int
	at      time.Time // the true time
	// parent is the snapshot before it in its history, by guid.
	parent uint64
}

// descends reports whether a dataset's history goes through a snapshot.
func (w *World) descends(d *dataset, guid uint64) bool {
	for at := d.tip; at != 0; at = w.taken[at].parent {
		if at == guid {
			return true
		}
	}
	return false
}

// diskName is what a dataset's name says.
type diskName struct {
	vmid int
	kind zfs.DiskKind
	disk bool
}

// parse reads a dataset's name, each name once: weeks are full of them.
func (w *World) parse(name string) diskName {
	n, known := w.parsed[name]
	if !known {
		n.vmid, n.kind, n.disk = zfs.ParseDiskName(zfs.Base(name))
		w.parsed[name] = n
	}
	return n
}

func (d *dataset) newest() (zfs.Snapshot, bool) {
	if len(d.snaps) == 0 {
		return zfs.Snapshot{}, false
	}
	return d.snaps[len(d.snaps)-1], true
}

// newestManaged is the newest snapshot of ours.
func (d *dataset) newestManaged() (zfs.Snapshot, bool) {
	for _, s := range slices.Backward(d.snaps) {
		if _, ours := s.Class(); ours {
			return s, true
		}
	}
	return zfs.Snapshot{}, false
}

func (d *dataset) has(name string) bool { return d.find(name) >= 0 }

func (d *dataset) find(name string) int {
	return slices.IndexFunc(d.snaps, func(s zfs.Snapshot) bool { return s.Name == name })
}

func hasGUID(list []zfs.Snapshot, guid uint64) bool {
	return slices.ContainsFunc(list, func(s zfs.Snapshot) bool { return s.GUID == guid })
}

// disk is the dataset as snap reads it.
func (w *World) disk(d *dataset) snapper.Disk {
	k := snapper.Disk{
		Dataset: zfs.Dataset{Name: d.name, GUID: d.guid, Creation: d.created, Inconsistent: d.seeding, ResumeToken: d.token, Running: d.running},
		VMID:    w.parse(d.name).vmid, Snapshots: d.snaps, Bookmarks: d.marks, Retention: w.retention,
	}
	if s, any := d.newest(); any {
		k.NewestSnapshot, k.Written = s.Name, w.written(d, s)
	} else {
		k.Written = 1
	}
	if s, any := d.newestManaged(); any && strings.HasSuffix(s.Name, "_stopped") {
		k.WrittenSinceStopped = w.written(d, s)
	}
	return k
}

func (w *World) written(d *dataset, since zfs.Snapshot) uint64 {
	if w.taken[since.GUID].content == d.content && since.CreateTXG >= d.dropped {
		return 0
	}
	return 4096
}

// snapshot takes one, as the node's clock has it.
func (w *World) snapshot(n *node, d *dataset, name string) zfs.Snapshot {
	w.serial++
	s := zfs.Snapshot{Dataset: d.name, Name: name, GUID: w.serial, CreateTXG: w.serial, Creation: n.clock(w.now).Truncate(time.Second)}
	d.snaps = append(d.snaps, s)
	if d.log {
		d.logged = append(d.logged, s.GUID)
	}
	d.changed = n.clock(w.now)
	w.taken[s.GUID] = taken{content: d.content, at: w.now, parent: d.tip}
	d.tip = s.GUID
	return s
}

func (d *dataset) destroy(name string) {
	d.snaps = slices.DeleteFunc(d.snaps, func(s zfs.Snapshot) bool { return s.Name == name })
}

// write changes the data of a disk.
func (w *World) write(d *dataset) {
	w.contents++
	d.content = w.contents
	d.log = true
}
