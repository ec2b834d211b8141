package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"snapwatch/internal/pve"
	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
)

// stepKinds returns the table of all kinds of steps that random weeks can have.
func stepKinds() map[string]kind {
	return map[string]kind{
		"start": {"guest GUEST is started", true, true, func(w *World, g *guest, _ *node, s Step) {
			if s.Phase == betweenLooks && w.changeable(g) && !g.alive {
				g.flocked, g.starting = true, true // the guest's start ends after this run
				return
			}
			w.start(g)
		}},
		"stop": {"guest GUEST is shut down", true, true, func(w *World, g *guest, _ *node, _ Step) {
			if w.changeable(g) && g.alive {
				w.stop(g)
				g.ha, g.autostart = false, false
			}
		}},
		"blink": {"guest GUEST is stopped and started again", true, true, func(w *World, g *guest, _ *node, _ Step) {
			if w.changeable(g) && g.alive {
				w.stop(g)
				w.start(g)
			}
		}},
		"flash": {"guest GUEST is started and stopped again", true, true, func(w *World, g *guest, _ *node, _ Step) {
			if w.changeable(g) && !g.alive {
				w.start(g)
				w.stop(g)
				g.autostart = false
			}
		}},
		"crash": {"guest GUEST crashes", true, false, func(w *World, g *guest, _ *node, _ Step) { w.stop(g) }},
		"reboot": {"guest GUEST reboots, slowly", true, true, func(w *World, g *guest, _ *node, _ Step) {
			if w.changeable(g) && g.alive {
				w.stop(g)
				g.rebooting = w.tick + 1
			}
		}},
		"pause": {"guest GUEST is paused", true, true, func(w *World, g *guest, _ *node, _ Step) { g.paused = g.alive }},
		"ha":    {"high availability wants guest GUEST started", true, false, func(_ *World, g *guest, _ *node, _ Step) { g.ha = !g.template }},
		"migrate": {"guest GUEST migrates to the other node, for N runs", true, true, func(w *World, g *guest, _ *node, s Step) {
			if w.changeable(g) && w.tick >= w.nodes[1-g.home].down {
				g.lock, g.lockEnd = "migrate", w.tick+s.N
			}
		}},
		"failover": {"NODE dies for N runs, and its guests are started on the other node", false, false, func(w *World, _ *guest, _ *node, s Step) {
			w.die(s.Node, 4*s.N)
			for _, vmid := range w.order {
				if g := w.guests[vmid]; g.home == s.Node && !g.gone && !g.template && w.tick >= w.nodes[1-s.Node].down && w.move(g) && g.autostart {
					w.start(g)
				}
			}
		}},
		"death":      {"NODE dies for N runs", false, false, func(w *World, _ *guest, _ *node, s Step) { w.die(s.Node, s.N) }},
		"hostreboot": {"NODE reboots", false, false, func(w *World, _ *guest, n *node, s Step) { w.die(s.Node, 1) }},
		"destroy": {"guest GUEST is destroyed", true, true, func(w *World, g *guest, _ *node, _ Step) {
			if w.changeable(g) {
				w.stop(g)
				for _, name := range g.disks {
					delete(w.nodes[g.home].sets, name)
				}
				g.gone = true
			}
		}},
		"reuse": {"a new guest gets the VMID GUEST", true, false, func(w *World, g *guest, _ *node, _ Step) {
			if !g.gone {
				return
			}
			// Proxmox gives a new volume a name that no volume in the storage has; so the old
			// guest's volumes must be destroyed first.
			for _, name := range g.disks {
				delete(w.nodes[0].sets, name)
			}
			var disks []string
			for _, name := range g.disks { // a new disk does not get the name of a template's disk
				disks = append(disks, strings.NewReplacer("/base-", "/vm-", "/basevol-", "/subvol-").Replace(name))
			}
			w.addGuest(g.vmid, g.kind, disks...)
			w.start(w.guests[g.vmid])
		}},
		"newdisk": {"guest GUEST gets a new disk", true, true, func(w *World, g *guest, _ *node, _ Step) {
			name := fmt.Sprintf("tank/data/vm-%d-disk-%d", g.vmid, 5+len(g.disks))
			if g.kind == pve.LXC {
				name = strings.Replace(name, "vm-", "subvol-", 1)
			}
			if w.changeable(g) && len(g.disks) < 4 && w.nodes[g.home].sets[name] == nil {
				w.create(w.nodes[g.home], name)
				g.disks = append(slices.Clone(g.disks), name)
			}
		}},
		"movedisk": {"a disk of guest GUEST moves to the other storage", true, true, func(w *World, g *guest, _ *node, _ Step) {
			old := g.disks[len(g.disks)-1]
			base := zfs.Base(old)
			name := "ssd/" + base
			if strings.HasPrefix(old, "ssd/") {
				name = "tank/data/" + base
			}
			n := w.nodes[g.home]
			if !w.changeable(g) || n.sets[name] != nil || n.sets[old] == nil || w.nodes[1-g.home].sets[name] != nil || w.c.sets[vaultOf(name)] != nil {
				return
			}
			d := w.create(n, name)
			d.content = n.sets[old].content
			delete(n.sets, old)
			g.disks = append(slices.Clone(g.disks[:len(g.disks)-1]), name)
		}},
		"template": {"guest GUEST becomes a template", true, true, func(w *World, g *guest, _ *node, _ Step) {
			if !w.changeable(g) || g.vmid != 102 {
				return
			}
			w.stop(g)
			g.template, g.ha, g.autostart = true, false, false
			n := w.nodes[g.home]
			for i, name := range g.disks {
				if d := n.sets[name]; d != nil {
					delete(n.sets, name)
					d.name = strings.Replace(name, "vm-", "base-", 1)
					n.sets[d.name] = d
					w.snapshot(n, d, "__base__")
					g.disks = slices.Clone(g.disks)
					g.disks[i] = d.name
				}
			}
		}},
		"backup": {"guest GUEST is backed up for N runs", true, true, func(w *World, g *guest, _ *node, s Step) {
			if w.changeable(g) && !g.template {
				g.lock, g.lockEnd = "backup", w.tick+s.N
				g.prelaunch = !g.alive && g.kind == pve.QEMU
			}
		}},
		"rollback": {"guest GUEST is rolled back, for N runs", true, true, func(w *World, g *guest, _ *node, s Step) {
			if w.changeable(g) {
				w.stop(g)
				g.lock, g.lockEnd = "rollback", w.tick+s.N
			}
		}},
		"hibernate": {"guest GUEST is hibernated", true, true, func(w *World, g *guest, _ *node, s Step) {
			if w.changeable(g) && g.alive {
				w.stop(g)
				g.lock, g.lockEnd = "suspended", w.tick+8*s.N
			}
		}},
		"pvesh fails":  pveshStep("fails"),
		"pvesh hangs":  pveshStep("hangs"),
		"pvesh lies":   pveshStep("says unknown"),
		"pvesh nobody": pveshStep("lists nothing"),
		"pvesh slow":   pveshStep("is slow"),
		"slow programs": {"each channel program on NODE takes seconds, for N runs", false, false, func(w *World, _ *guest, n *node, s Step) {
			n.slowPrograms = w.tick + s.N
		}},
		"unread": {"received labels cannot be read on NODE, for N runs", false, false, func(w *World, _ *guest, n *node, s Step) {
			n.unread = w.tick + s.N
			w.disturbNode(n)
		}},
		"unreadable": {"files cannot be read on NODE, for N runs", false, false, func(w *World, _ *guest, n *node, s Step) {
			n.unreadable, n.unreadableFile = w.tick+s.N, []string{"state", "report", "configuration", "process"}[s.N%4]
			w.disturbNode(n)
		}},
		"lost": {"the results of channel programs on NODE are lost, for N runs", false, false, func(w *World, _ *guest, n *node, s Step) {
			n.lost = w.tick + s.N
			w.disturbNode(n)
		}},
		"inherited": {"somebody types zfs inherit for the labels of guest GUEST's copies", true, false, func(w *World, g *guest, _ *node, _ Step) {
			for _, name := range g.disks {
				if d := w.nodes[1-g.home].sets[name]; d != nil {
					d.running = zfs.Property{Received: d.running.Received}
				}
			}
		}},
		"shutdown": {"NODE is shut down for N runs", false, false, func(w *World, _ *guest, _ *node, s Step) { w.shutdown(s.Node, s.N) }},
		"unblock":  {"somebody makes room for a rollback of guest GUEST by N snapshots", true, false, func(w *World, g *guest, _ *node, s Step) { w.unblock(g, s.N) }},
		"full": {"a pool of NODE is full for N runs", false, false, func(w *World, _ *guest, n *node, s Step) {
			n.pools[poolOf(s)].full = w.tick + s.N
			w.disturbNode(n)
		}},
		"suspended": {"a pool of NODE is suspended for N runs", false, false, func(w *World, _ *guest, n *node, s Step) {
			n.pools[poolOf(s)].suspended = w.tick + s.N
			w.disturbNode(n)
		}},
		"skew": {"the clock of NODE is a little off for N runs", false, false, func(w *World, _ *guest, n *node, s Step) {
			n.skew, n.skewEnd = time.Duration(s.N%5-2)*time.Minute, w.tick+s.N
		}},
		"clock": {"the clock of NODE jumps for N runs", false, false, func(w *World, _ *guest, n *node, s Step) {
			n.skew, n.skewEnd = jumpOf(s), w.tick+s.N
			w.jumps += 2
			w.disturbNode(n)
		}},
		"clock of C": {"the clock of C jumps for N runs", false, false, func(w *World, _ *guest, _ *node, s Step) {
			w.c.skew, w.c.skewEnd = jumpOf(s), w.tick+s.N
		}},
		"cut": {"C receives nothing from NODE for N hours", false, false, func(w *World, _ *guest, n *node, s Step) {
			n.cut = w.tick + 4*s.N
		}},
		"long cut": {"C is away for N times four hours", false, false, func(w *World, _ *guest, _ *node, s Step) {
			w.c.cut = w.tick + 16*s.N
		}},
		"break": {"the next replication to C breaks off", false, false, func(w *World, _ *guest, _ *node, _ Step) { w.cutMid = true }},
		"kill": {"the next run on NODE will be killed", false, false, func(w *World, _ *guest, n *node, s Step) {
			n.kill = 1 + s.N%killPoints
			w.disturbNode(n)
		}},
		"kill hook": {"the next run on NODE will be killed while one of its hooks is at work", false, false, func(w *World, _ *guest, n *node, s Step) {
			n.killHook = 1 + s.N%6
			w.disturbNode(n)
		}},
		"cron": {"cron of NODE is off for N runs", false, false, func(w *World, _ *guest, n *node, s Step) {
			n.cronOff = w.tick + s.N
			w.disturbNode(n)
		}},
		"apart": {"the nodes cannot reach each other for N times four hours", false, false, func(w *World, _ *guest, _ *node, s Step) {
			w.apart = w.tick + 16*s.N
		}},
		"by hand": {"somebody destroys all snapshots of a disk of guest GUEST, to get room", true, false, func(w *World, g *guest, _ *node, s Step) {
			if d := w.source(g, g.disks[s.N%len(g.disks)]); d != nil && w.changeable(g) {
				d.snaps = nil
			}
		}},
		"unsaved": {"no run on NODE can save its report, for N runs", false, false, func(w *World, _ *guest, n *node, s Step) {
			n.unsaved = w.tick + s.N
			w.disturbNode(n)
		}},
		"lacking": {"the listings on NODE leave out one of the disks, for N runs", false, false, func(w *World, _ *guest, n *node, s Step) {
			n.lacking, n.lacks = w.tick+s.N, s.Guest
			w.disturbNode(n)
		}},
		"slow": {"each pool of NODE answers too late for the others, for N runs", false, false, func(w *World, _ *guest, n *node, s Step) {
			n.slow = w.tick + s.N
		}},
		"locked": {"another run holds a pool of NODE for N runs", false, false, func(w *World, _ *guest, n *node, s Step) {
			n.pools[poolOf(s)].locked = w.tick + s.N
			w.disturbNode(n)
		}},
		"work": {"Proxmox holds the lock of guest GUEST for N runs", true, true, func(w *World, g *guest, _ *node, s Step) {
			g.flocked, g.flockEnd = true, w.tick+s.N
		}},
		"twice": {"a second run begins on NODE", false, false, func(w *World, _ *guest, n *node, _ Step) {
			w.snap(n, func(int) {})
			w.disturbNode(n)
		}},
		"no state": {"snap's state for the next run on NODE is lost", false, false, func(_ *World, _ *guest, n *node, _ Step) {
			n.report.state = report.State{}
			n.forgets()
		}},
		"old state": {"NODE gets back an older state of snap", false, false, func(_ *World, _ *guest, n *node, s Step) {
			if at := len(n.states) - 1 - 8*s.N; at >= 0 {
				n.report.state = n.states[at]
				n.forgets()
			}
		}},
		"no index": {"snap's index on NODE is lost", false, false, func(_ *World, _ *guest, n *node, _ Step) {
			n.report.indexes = nil
		}},
		"old index": {"NODE gets back an older index of snap", false, false, func(_ *World, _ *guest, n *node, s Step) {
			for name, kept := range n.report.indexes {
				if at := len(kept) - 1 - 8*s.N; at >= 0 {
					n.report.indexes[name] = append(kept, kept[at])
				}
			}
		}},
		"ignored": {"the configuration of NODE leaves out all disks for N runs", false, false, func(w *World, _ *guest, n *node, s Step) {
			n.ignored = w.tick + s.N
			w.disturbNode(n)
		}},
		"renamed": {"the disks of guest GUEST are renamed, and then get their old names", true, false, func(w *World, g *guest, _ *node, _ Step) {
			for _, n := range w.nodes {
				for _, name := range g.disks {
					if d := n.sets[name]; d != nil && !g.alive {
						w.serial++
						at := historyOf(d)
						w.histories[at] = append(w.histories[at], event{txg: w.serial, dataset: name, name: name + "_old"}, event{txg: w.serial, dataset: name + "_old", name: name})
					}
				}
			}
		}},
		"foreign": {"somebody takes a snapshot of a disk of guest GUEST", true, false, func(w *World, g *guest, _ *node, s Step) {
			for _, name := range g.disks {
				if d := w.source(g, name); d != nil && w.changeable(g) && !d.has("manual"+fmt.Sprint(w.tick)) {
					w.snapshot(w.nodes[g.home], d, "manual"+fmt.Sprint(w.tick))
				}
			}
		}},
	}
}

func pveshStep(how string) kind {
	return kind{"pvesh on NODE " + how + " for N runs", false, false, func(w *World, _ *guest, n *node, s Step) {
		n.pvesh, n.pveshBad = how, w.tick+s.N
		w.disturbNode(n)
	}}
}

func poolOf(s Step) string {
	if s.N%2 == 0 {
		return "tank"
	}
	return "ssd"
}

func jumpOf(s Step) time.Duration {
	return []time.Duration{-26 * time.Hour, -3 * time.Hour, -20 * time.Minute, 20 * time.Minute, 3 * time.Hour, 26 * time.Hour}[s.N%6]
}
