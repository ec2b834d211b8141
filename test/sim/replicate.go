package sim

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"snapwatch/internal/zfs"
)

// pair is a disk and one of its copies. The model checks the promise that disk and copy have a
// common base for the next send.
type pair struct {
	source, target uint64 // the guids of the disk's and the copy's datasets
	last           time.Time
	// At the last replication, the disk had bookmarks of some snapshots of the copy. based is the
	// time of the newest of these snapshots, zero if the disk had no such bookmark.
	based time.Time
}

// vaultOf returns the name of a disk's copy on C.
func vaultOf(name string) string { return "vault/" + name }

// replicate plays one run of syncoid for every disk, from its node to the other node and to C.
func (w *World) replicate() {
	cut := w.cutMid
	w.cutMid = false
	for _, vmid := range w.order {
		g := w.guests[vmid]
		if g.gone {
			continue
		}
		home, other := w.nodes[g.home], w.nodes[1-g.home]
		for _, name := range g.disks {
			both := w.tick >= max(home.down, other.down, w.apart)
			if both && !w.Pvesr && g.lock != "migrate" {
				w.send(home, name, other.sets, name, other, false)
			}
			from := home
			if w.Relay {
				from = w.nodes[0]
			}
			// After a node has received a disk, the node may send the disk only after a run of snap
			// on the node (docs/replication.md, "B takes over", step 3).
			d := from.sets[name]
			waits := from != home && d != nil && d.unseen
			if w.tick >= max(from.down, from.cut, w.c.cut) && !waits {
				w.send(from, name, w.c.sets, vaultOf(name), nil, cut)
			}
		}
	}
}

// send replicates one disk as syncoid does: from the newest common snapshot or, if there is none,
// from the newest bookmark whose snapshot the target has. If the target has neither a common
// snapshot nor the snapshot of a bookmark, there is no base.
func (w *World) send(from *node, name string, to map[string]*dataset, as string, at *node, breaks bool) {
	src := from.sets[name]
	pool := from.pools[zfs.Pool(name)]
	if src == nil || w.tick < pool.suspended || src.seeding || src.token {
		return
	}
	if at != nil && w.tick < max(at.pools[zfs.Pool(name)].suspended, at.pools[zfs.Pool(name)].full) {
		return
	}
	site := siteNames[w.siteOf(at)]
	if w.SyncSnaps {
		if w.tick < pool.full {
			return
		}
		sync := fmt.Sprintf("syncoid_%s_%d", site, w.tick)
		if !src.has(sync) {
			w.snapshot(from, src, sync)
		}
	}
	if len(src.snaps) == 0 {
		return
	}
	sending := Sending{From: w.siteOf(from), To: w.siteOf(at), Name: name, As: as, Proxmox: w.byProxmox}
	dst := to[as]
	host := w.c.clock(w.now)
	if at != nil {
		host = at.clock(w.now)
	}
	if dst == nil || dst.seeding {
		w.lab.Send(sending)
		dst = w.seed(src, to, as, siteNames[w.siteOf(at)], host, breaks)
		w.lab.Sent(sending)
		if dst.seeding {
			return
		}
	} else if !w.increment(src, dst, sending, breaks) {
		return
	}
	dst.changed = host
	if w.Properties {
		dst.running.Received = src.running.Own()
		if dst.running.Source != zfs.SourceLocal || !dst.labelled {
			dst.running.Value, dst.running.Source = dst.running.Received, zfs.SourceReceived
			if dst.running.Received == "" {
				dst.running.Source = zfs.SourceNone
			}
		}
		dst.labelled = true
	}
	w.recordCopy(src, dst, sending)
	if w.SyncSnaps {
		dropSyncs(src, site)
		dropSyncs(dst, site)
	}
}

// recordCopy makes the record of a copy that has received all snapshots of its source.
func (w *World) recordCopy(src, dst *dataset, s Sending) {
	w.pairs[siteNames[s.To]+" "+s.As] = &pair{source: src.guid, target: dst.guid, last: w.now, based: w.bookmarked(src, dst)}
}

func (w *World) seed(src *dataset, to map[string]*dataset, as, on string, host time.Time, breaks bool) *dataset {
	dst := to[as]
	if dst == nil {
		w.serial++
		dst = &dataset{name: as, host: on, guid: w.serial, created: host, changed: host}
		to[as] = dst
	}
	dst.seeding, dst.token = breaks, breaks
	if breaks {
		w.say("the first receive of %s breaks off", as)
		return dst
	}
	w.receive(dst, src.snaps)
	return dst
}

// increment sends the snapshots of the source that the target lacks. increment returns false if the
// receive broke off, or if there was nothing to send. If increment returns false, no property has
// arrived at the target.
func (w *World) increment(src, dst *dataset, sending Sending, breaks bool) bool {
	site := siteNames[sending.To]
	base, ok := commonBase(src, dst)
	sending.Full = !ok
	w.lab.Send(sending)
	defer w.lab.Sent(sending)
	if !ok {
		w.noBase(src, dst, site)
		return true
	}
	w.stats.Based++
	if !w.descends(src, base) && w.txgOf(src, base) >= w.reach(src) {
		w.recordBroken("%s was sent to %s from a bookmark of a history that the source has discarded: the copy is a mixture of two histories", src.name, dst.name)
	}
	at := slices.IndexFunc(dst.snaps, func(s zfs.Snapshot) bool { return s.GUID == base })
	after := w.txgOf(src, base)
	from := slices.IndexFunc(src.snaps, func(s zfs.Snapshot) bool { return s.CreateTXG > after })
	if from < 0 {
		w.recordCopy(src, dst, sending)
		return false
	}
	fresh := src.snaps[from:]
	if w.RollsBack && !sending.Proxmox {
		to := dst.snaps[at].CreateTXG
		dst.marks = slices.DeleteFunc(dst.marks, func(m zfs.Snapshot) bool { return m.CreateTXG > to })
	}
	dst.snaps = dst.snaps[:at+1] // syncoid rolls the target back
	dst.token = breaks
	if breaks {
		w.say("a receive of %s breaks off", dst.name)
		fresh = fresh[:len(fresh)/2]
	}
	if slices.Contains(dst.logged, base) {
		dst.dropped = w.serial + 1
	}
	if w.tick%4 == 0 && !sending.Proxmox {
		w.lab.Rotated(sending.To, dst.name, rotated(dst, sending.To, base))
	}
	whole := w.receive(dst, fresh) && !breaks
	if (w.Whole || sending.Proxmox) && whole {
		dst.snaps = slices.DeleteFunc(dst.snaps, func(s zfs.Snapshot) bool { return !hasGUID(src.snaps, s.GUID) })
	}
	return whole
}

func (w *World) bookmarked(src, dst *dataset) (newest time.Time) {
	for _, m := range src.marks {
		if hasGUID(dst.snaps, m.GUID) {
			newest = later(newest, w.taken[m.GUID].at)
		}
	}
	return newest
}

// txgOf returns the transaction group of the source's snapshot or bookmark with the given guid, 0
// if the source has none.
func (w *World) txgOf(src *dataset, guid uint64) uint64 {
	for _, list := range [][]zfs.Snapshot{src.snaps, src.marks} {
		for _, s := range slices.Backward(list) {
			if s.GUID == guid {
				return s.CreateTXG
			}
		}
	}
	return 0
}

// receive adds the source's snapshots to the target, with new txgs. If the target has a different
// snapshot with the name of a source's snapshot, receive stops at this snapshot and returns false;
// this happens after a clock was set back.
func (w *World) receive(dst *dataset, list []zfs.Snapshot) bool {
	for _, s := range list {
		dst.ever, dst.received = true, true
		if dst.has(s.Name) {
			w.say("%s: destination snapshot %s exists", dst.name, s.Name)
			dst.blocked = w.now
			return false
		}
		w.serial++
		if newest, any := dst.newest(); any {
			w.setBack(dst, newest.CreateTXG, s.Name)
		}
		s.Dataset, s.CreateTXG = dst.name, w.serial
		dst.snaps = append(dst.snaps, s)
		dst.content, dst.tip, dst.log = w.taken[s.GUID].content, s.GUID, false
	}
	return true
}

// commonBase returns the guid of the base for an incremental send: the newest common snapshot or,
// if there is none, the newest bookmark of the source whose snapshot the target has.
func commonBase(src, dst *dataset) (guid uint64, ok bool) {
	for _, s := range slices.Backward(dst.snaps) {
		if hasGUID(src.snaps, s.GUID) {
			return s.GUID, true
		}
	}
	for _, s := range slices.Backward(dst.snaps) {
		if hasGUID(src.marks, s.GUID) {
			return s.GUID, true
		}
	}
	return 0, false
}

func sortedNames(sets map[string]*dataset) []string { return slices.Sorted(maps.Keys(sets)) }

func (v *vault) clock(now time.Time) time.Time { return now.Add(v.skew).In(zone) }
