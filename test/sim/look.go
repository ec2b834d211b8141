package sim

import (
	"errors"
	"slices"
	"time"

	"snapwatch/internal/pve"
	"snapwatch/internal/zfs"
	"snapwatch/snapper"
)

var (
	errFlock = errors.New("locked")
	errEmpty = errors.New("pvesh lists no guest at all")
)

// look reads the guests of a node, as snap does.
func (w *World) look(n *node) snapper.NodeView {
	g := snapper.NodeView{
		Cluster: pve.Cluster{
			Node: n.name, Nodes: nodeNames[:], Guests: map[int]pve.Config{}, Elsewhere: map[int]string{}, HAStarted: map[int]bool{},
			Storages: []pve.Storage{{Name: "data", Dataset: "tank/data"}, {Name: "ssd", Dataset: "ssd"}},
		},
		Evidence: map[int]snapper.Evidence{},
		Gate:     snapper.Gate{Uptime: w.now.Sub(n.booted), BootGrace: 5 * time.Minute, BootState: "active"},
	}
	if w.tick < n.booting {
		g.Gate.BootState = "activating"
	}
	if w.tick < n.pveshBad {
		switch n.pvesh {
		case "fails":
			g.ListErr = errFailed
		case "hangs":
			g.ListErr = errHung
		case "lists nothing":
			g.ListErr = errEmpty
		}
	}
	for _, vmid := range w.order {
		k := w.guests[vmid]
		if k.gone {
			continue
		}
		if w.nodes[k.home] != n {
			g.Cluster.Elsewhere[vmid] = w.nodes[k.home].name
			continue
		}
		c := pve.Config{ID: pve.ID{VMID: vmid, Kind: k.kind}, Template: k.template, Lock: k.lock, Volumes: k.volumes()}
		g.Cluster.Guests[vmid] = c
		g.Cluster.HAStarted[vmid] = k.ha
		e := snapper.Evidence{
			Config: c, ListErr: g.ListErr, Process: k.alive || k.prelaunch, Rebooting: w.tick < k.rebooting, HAStarted: k.ha,
			StoppedLastRun: slices.Contains(n.report.last.SeenStopped, vmid),
		}
		switch {
		case g.ListErr != nil:
		case w.tick < n.pveshBad:
			e.Listed = "unknown"
		case k.alive || k.prelaunch:
			e.Listed = "running"
		default:
			e.Listed = "stopped"
		}
		g.Evidence[vmid] = e
	}
	return g
}

// ask asks QEMU of the guests that are not clear.
func (w *World) ask(n *node, g snapper.NodeView, disks []snapper.Disk) {
	for _, vmid := range g.Unclear(disks, w.names(n)) {
		e, k := g.Evidence[vmid], w.guests[vmid]
		switch {
		case w.tick < n.pveshBad:
			e.RunStateErr = errFailed
		case k.prelaunch:
			e.RunState = "prelaunch"
		case k.paused:
			e.RunState = "paused"
		default:
			e.RunState = "running"
		}
		g.Evidence[vmid] = e
	}
}

func (w *World) names(n *node) snapper.Names {
	peers := []string{nodeNames[1]}
	if n.name == nodeNames[1] {
		peers = []string{nodeNames[0]}
	}
	return snapper.Names{Node: n.name, Hostname: n.name, Peers: peers}
}

func (w *World) snapPolicy(n *node) snapper.Policy {
	return snapper.Policy{
		Names: w.names(n), Bookmarks: w.Bookmarks, StoppedGrace: w.Grace, AdoptPeerLabels: true, MaxDestroys: 1000, MaxBookmarkDestroys: 20,
	}
}

func (w *World) readDisks(n *node) []snapper.Disk {
	var disks []snapper.Disk
	for _, name := range sortedNames(n.sets) {
		if w.tick >= n.pools[zfs.Pool(name)].suspended && w.parse(name).disk {
			k := w.disk(n.sets[name])
			k.PoolTXG = w.serial
			k.Checked = n.report.state.Checked[name]
			if w.tick < n.ignored {
				k.Ignored = "ignored for a while"
			}
			disks = append(disks, k)
		}
	}
	return disks
}
