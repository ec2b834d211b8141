package sim

import (
	"slices"
	"strings"
	"time"

	"snapwatch/internal/zfs"
	"snapwatch/snapper"
)

// dataset is one simulated disk on one site, with the parts of ZFS that matter to snapwatch.
type dataset struct {
	name    string
	host    string // name of the host that has the dataset
	guid    uint64
	created time.Time // the creation time by the host's clock
	snaps   []zfs.Snapshot
	marks   []zfs.Snapshot
	// content is a number for the state of the dataset's data: two datasets with the same content
	// contain the same bytes.
	content int
	running zfs.Property
	// labelled is true once the dataset has received properties. Until the dataset has received
	// properties, ZFS treats its local properties as received ones, and the first properties that
	// arrive replace the local ones.
	labelled bool
	// log is true if the disk was written on this site since the last receive: the dataset then has
	// an intent log in addition to its data. logged has the guids of the snapshots with an intent
	// log: such a snapshot was taken while the dataset had an intent log. An increment received on
	// top of a snapshot with an intent log drops the intent log, and ZFS counts that as written (1
	// KiB, seen on OpenZFS 2.3.9). dropped is the txg of the latest increment that dropped an
	// intent log, 0 if none did.
	log     bool
	logged  []uint64
	dropped uint64
	// The map `discarded` has, by transaction group, the bookmarks of the dataset's discarded
	// history.
	discarded map[uint64]bool
	// blocked is the time of the last receive into the dataset that failed because the dataset had
	// another snapshot of the same name: this happens after a node's clock was ahead. Until a
	// person repairs the copy, the source continues to destroy expired snapshots.
	blocked time.Time
	// unseen is true if the dataset was rolled back to a state older than its bookmarks and no
	// run has read the dataset since.
	unseen bool
	// ever is true if the dataset was ever received. received is true if the dataset was received
	// after its node last recorded the guest as its own. away is true if the node's last record
	// says that the guest is on another node.
	ever, received, away bool
	// seeding is true until the first receive into the dataset is finished. token is true if an
	// interrupted receive into the dataset can be resumed.
	seeding, token bool
	// size counts how often the disk was enlarged. origin is the snapshot from which the disk was
	// cloned. rolledBack is the guid of the snapshot to which the disk was last rolled back.
	size       int
	origin     string
	rolledBack uint64
	// tip is the guid of the newest snapshot in the dataset's history, even if that snapshot was
	// destroyed.
	tip uint64
	// list is a hash of the dataset's snapshots at the last call of [machine.listChanged];
	// listChanged is the time of the last change of the list of snapshots.
	list        uint64
	listChanged int64
	changed     time.Time // the time of the last change of the list of snapshots, by the host's clock
	// The field `unannounced` is the time of the last run that could not label and snapshot the
	// disk, although the guest had been started.
	unannounced time.Time
}

// taken has those facts about a snapshot that ZFS does not show and only the model knows.
type taken struct {
	content int
	at      time.Time // the true time when the snapshot was taken
	// parent is the guid of the previous snapshot in the history of the snapshot's dataset.
	parent uint64
}

// descends reports whether a snapshot is in a dataset's history.
func (w *World) descends(d *dataset, guid uint64) bool {
	for at := d.tip; at != 0; at = w.taken[at].parent {
		if at == guid {
			return true
		}
	}
	return false
}

// diskName holds the parts of a dataset's name.
type diskName struct {
	vmid int
	kind zfs.DiskKind
	disk bool
}

// parse splits a dataset's name into its parts. parse caches the parts, because a simulated week
// parses the same names very often.
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

// newestManaged returns the dataset's newest managed snapshot.
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

// disk returns the dataset as snap reads it.
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

// snapshot takes a snapshot of a simulated dataset, with the time of the node's clock.
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

// write plays a write of the guest to a simulated disk.
func (w *World) write(d *dataset) {
	w.contents++
	d.content = w.contents
	d.log = true
}
