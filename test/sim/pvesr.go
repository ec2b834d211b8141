package sim

import (
	"fmt"
	"slices"
	"strings"

	"snapwatch/internal/zfs"
)

// pvesrAll plays one run of Proxmox's replication for all guests, in simulated weeks in which
// Proxmox replicates between the nodes. In the model, Proxmox does not replicate templates and
// linked clones, and waits for migrations and rollbacks.
func (w *World) pvesrAll() {
	if !w.Pvesr || w.tick < max(w.nodes[0].down, w.nodes[1].down, w.apart) {
		return
	}
	var replicated []*guest
	for _, vmid := range w.order {
		g := w.guests[vmid]
		if g.gone || g.lock == "migrate" || g.lock == "rollback" || w.cloned(g) {
			continue
		}
		w.pvesr(g)
		replicated = append(replicated, g)
	}
	for _, g := range replicated {
		w.dropReplicated(g)
	}
}

// cloned reports whether a guest has a disk that is a linked clone.
func (w *World) cloned(g *guest) bool {
	return slices.ContainsFunc(g.disks, func(name string) bool {
		d := w.source(g, name)
		return d != nil && d.origin != ""
	})
}

// replicatePrefix returns the prefix of the names of Proxmox's replication snapshots of a guest.
func replicatePrefix(g *guest) string { return fmt.Sprintf("__replicate_%d-0_", g.vmid) }

// pvesr replicates a guest to the other node: it takes a snapshot of each disk, and sends this
// snapshot and all snapshots since the last replication. pvesr destroys the copies of disks that
// the guest no longer has. pvesr returns false if a copy differs from its source.
func (w *World) pvesr(g *guest) bool {
	home, other := w.nodes[g.home], w.nodes[1-g.home]
	prefix := replicatePrefix(g)
	w.serial++
	name := fmt.Sprintf("%s%d__", prefix, w.serial)
	for _, set := range sortedNames(other.sets) {
		d := other.sets[set]
		theirs := slices.ContainsFunc(d.snaps, func(s zfs.Snapshot) bool { return strings.HasPrefix(s.Name, prefix) })
		if theirs && !slices.Contains(g.disks, set) {
			delete(other.sets, set)
		}
	}
	for _, disk := range g.disks {
		w.snapshot(home, home.sets[disk], name)
	}
	same := true
	w.byProxmox = true
	defer func() { w.byProxmox = false }()
	for _, disk := range g.disks {
		w.send(home, disk, other.sets, disk, other, false)
		copied := other.sets[disk]
		same = same && copied != nil && copied.content == home.sets[disk].content
	}
	return same
}

// dropReplicated destroys on both nodes a guest's replication snapshots, except the newest one of
// each disk.
func (w *World) dropReplicated(g *guest) {
	for _, n := range w.nodes {
		for _, disk := range g.disks {
			d := n.sets[disk]
			if d == nil {
				continue
			}
			var old []string
			for _, s := range d.snaps {
				if strings.HasPrefix(s.Name, replicatePrefix(g)) {
					old = append(old, s.Name)
				}
			}
			if len(old) < 2 {
				continue
			}
			old = old[:len(old)-1]
			for _, s := range old {
				d.destroy(s)
			}
			w.lab.Rotated(w.siteOf(n), disk, old)
		}
	}
}
