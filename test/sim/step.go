package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"snapwatch/internal/zfs"
)

// When in a tick a step happens.
const (
	BeforeRun = iota
	betweenLooks
	beforeProgram
	AfterRun
	AfterReplication
	phases
)

var phaseNames = [phases]string{"before the run", "between the two looks", "before the program", "after the run", "after replication"}

// Step is one thing that happens.
type Step struct {
	// Tick and Phase say when.
	Tick, Phase int
	Kind        string
	// Guest is which of the guests, Node which node, N how long or how much.
	Guest, Node, N int
}

func (s Step) String() string {
	k := kinds[s.Kind]
	day, rest := s.Tick/96, time.Duration(s.Tick%96)*Tick
	words := strings.NewReplacer("GUEST", fmt.Sprint(100+s.Guest), "NODE", nodeNames[s.Node], "N", fmt.Sprint(s.N)).Replace(k.words)
	return fmt.Sprintf("day %d %02d:%02d, %s: %s", day+1, int(rest.Hours()), int(rest.Minutes())%60, phaseNames[s.Phase], words)
}

// kind is one kind of step.
type kind struct {
	words string
	// guest: it is done to a guest. locks: Proxmox takes the guest's lock for it.
	guest, locks bool
	do           func(w *World, g *guest, n *node, s Step)
}

// Nothing is the kind of a step that is none.
const Nothing = "nothing"

// Kinds are the names of the steps that random weeks are made of, in order.
func Kinds() []string { return slices.Sorted(maps.Keys(stepKinds())) }

var kinds = allKinds()

func allKinds() map[string]kind {
	all := stepKinds()
	maps.Copy(all, dayKinds)
	return all
}

func (w *World) steps(phase int, only func(Step) bool) {
	for _, s := range w.plan {
		if s.Tick == w.tick && s.Phase == phase && only(s) {
			w.step(s)
		}
	}
}

// onNode tells at which node a step happens.
func (w *World) onNode(s Step) int {
	if k := kinds[s.Kind]; k.guest {
		return w.guests[100+s.Guest].home
	}
	return s.Node
}

func (w *World) step(s Step) {
	k, g := kinds[s.Kind], w.guests[100+s.Guest]
	if k.guest && g.gone && s.Kind != "reuse" {
		return
	}
	// That the clock jumps in the very moment between plan and program is not played. A run
	// that looks once has its plan before anything happens to it.
	clock := (s.Kind == "clock" || s.Kind == "skew") && (s.Phase == beforeProgram || s.Phase == betweenLooks && !w.planned.IsZero())
	if clock || k.locks && (w.held[g.vmid] > 0 || g.flocked) {
		w.later = append(w.later, s)
		return
	}
	if k.guest && (s.Phase == betweenLooks || s.Phase == beforeProgram) {
		w.nodes[g.home].disturbed = true
	}
	w.say("%s", strings.NewReplacer("GUEST", fmt.Sprint(100+s.Guest), "NODE", nodeNames[s.Node], "N", fmt.Sprint(s.N)).Replace(k.words))
	k.do(w, g, w.nodes[s.Node], s)
	if k.guest {
		g.disturb()
	}
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// up reports whether a guest can be worked with: its host is up, and no lock is in the
// way.
func (w *World) up(g *guest) bool {
	return w.tick >= w.nodes[g.home].down && w.tick >= w.nodes[g.home].booting && g.lock == "" && !g.prelaunch
}

func (w *World) start(g *guest) {
	if g.alive || g.template || !w.up(g) {
		return
	}
	for _, name := range g.disks {
		d := w.source(g, name)
		if d == nil || d.seeding {
			return
		}
	}
	g.alive, g.since, g.paused, g.autostart = true, w.now, false, true
	w.writeAll(g)
	w.stats.Starts++
	g.disturb()
}

func (w *World) stop(g *guest) {
	if !g.alive {
		return
	}
	w.writeAll(g)
	g.alive, g.off, g.paused = false, w.now, false
	g.disturb()
}

func (w *World) writeAll(g *guest) {
	for _, name := range g.disks {
		if d := w.source(g, name); d != nil && w.tick >= w.nodes[g.home].pools[zfs.Pool(name)].suspended {
			w.write(d)
		}
	}
}

// move gives a guest's configuration to the other node, which uses the copies that
// are there. It is false if one is missing.
func (w *World) move(g *guest) bool {
	other := w.nodes[1-g.home]
	for _, name := range g.disks {
		if d := other.sets[name]; d == nil || d.seeding {
			return false
		}
	}
	for _, name := range g.disks {
		delete(w.pairs, other.name+" "+name) // an owner rotates, and is no copy any more
	}
	g.home = 1 - g.home
	w.disturbNode(w.nodes[0])
	w.disturbNode(w.nodes[1])
	return true
}

// deltas brings the other node's copies to the last bit, as a migration does before
// it hands over, with a snapshot of its own.
func (w *World) deltas(g *guest) bool {
	if w.Pvesr {
		same := w.pvesr(g)
		w.dropReplicated(g)
		return same
	}
	home, other := w.nodes[g.home], w.nodes[1-g.home]
	for _, name := range g.disks {
		d := home.sets[name]
		if d == nil || w.tick < other.pools[zfs.Pool(name)].full || w.tick < home.pools[zfs.Pool(name)].suspended || w.tick < other.pools[zfs.Pool(name)].suspended {
			return false
		}
		w.snapshot(home, d, fmt.Sprintf("__replicate_%d-%d_%d__", g.vmid, g.home, w.tick))
		w.send(home, name, other.sets, name, other, false)
		copied := other.sets[name]
		if copied == nil || copied.token || copied.content != d.content {
			return false
		}
	}
	return true
}

// die is the sudden end of a node.
func (w *World) die(i int, ticks int) {
	n := w.nodes[i]
	n.down = w.tick + max(1, ticks)
	n.booting = n.down + 1
	n.booted = w.Start.Add(time.Duration(n.down) * w.Tick)
	for _, vmid := range w.order {
		if g := w.guests[vmid]; g.home == i {
			g.alive, g.prelaunch, g.off = false, false, w.now
			g.lock = "" // Proxmox clears what a dead node left, or a person does
		}
	}
	w.disturbNode(n)
}
