package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"snapwatch/internal/zfs"
)

// A step of a simulated week happens in one of these phases of a tick.
const (
	BeforeRun = iota
	betweenLooks
	beforeProgram
	duringProgram
	AfterRun
	AfterReplication
	phases
)

var phaseNames = [phases]string{"before the run", "between the two looks", "before the program", "during a program", "after the run", "after replication"}

// Step is one event in a simulated week, such as a guest's stop.
type Step struct {
	// Tick and Phase are the time of the step in the week.
	Tick, Phase int
	Kind        string
	// Guest is the index of the guest, Node the number of the node. The kind of step defines the
	// meaning of N: a duration in ticks, or a number, such as a number of snapshots.
	Guest, Node, N int
}

func (s Step) String() string {
	k := kinds[s.Kind]
	day, rest := s.Tick/96, time.Duration(s.Tick%96)*Tick
	words := strings.NewReplacer("GUEST", fmt.Sprint(100+s.Guest), "NODE", nodeNames[s.Node], "N", fmt.Sprint(s.N)).Replace(k.words)
	return fmt.Sprintf("day %d %02d:%02d, %s: %s", day+1, int(rest.Hours()), int(rest.Minutes())%60, phaseNames[s.Phase], words)
}

// kind defines one kind of step in simulated weeks.
type kind struct {
	words string
	// The field `guest` is true if the step happens to a guest. The field `locks` is true if
	// Proxmox takes the guest's lock for the step.
	guest, locks bool
	do           func(w *World, g *guest, n *node, s Step)
}

// Nothing is the kind of a step that has no effect.
const Nothing = "nothing"

// Kinds returns the kinds of steps of random weeks, sorted.
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

// onNode returns the number of the node on which a step happens.
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
	// If a step is a clock jump, the model does not play it between a run's plan and the run's
	// channel program. If a run reads the guests' states only once, the run has already made its
	// plan when the steps of the phase betweenLooks happen.
	clock := (s.Kind == "clock" || s.Kind == "skew") && (s.Phase == beforeProgram || s.Phase == duringProgram || s.Phase == betweenLooks && !w.planned.IsZero())
	// If a step is a whole second run, the model plays it only after the channel program, because
	// the clock would advance during the second run, and the time limits of the first run would not
	// take effect.
	second := s.Phase == duringProgram && (s.Kind == "twice" || s.Kind == "shutdown" || s.Kind == "unblock")
	if clock || second || k.locks && (w.held[g.vmid] > 0 || g.flocked) {
		w.later = append(w.later, s)
		return
	}
	if k.guest && s.Phase > BeforeRun && s.Phase < AfterRun {
		w.nodes[g.home].disturbed = true
	}
	w.say("%s", strings.NewReplacer("GUEST", fmt.Sprint(100+s.Guest), "NODE", nodeNames[s.Node], "N", fmt.Sprint(s.N)).Replace(k.words))
	w.stepped++
	k.do(w, g, w.nodes[s.Node], s)
	if k.guest {
		g.disturb()
	}
}

// unwait plays the steps that waited for a guest's lock which is free now. Proxmox waits for the
// lock and continues as soon as the run has released the lock, while the run continues.
func (w *World) unwait() {
	if len(w.later) == 0 {
		return
	}
	waited := w.later
	w.later = nil
	for _, s := range waited {
		g := w.guests[100+s.Guest]
		if kinds[s.Kind].locks && w.held[g.vmid] == 0 && !g.flocked {
			s.Phase = AfterRun
			w.nodes[g.home].disturbed = true
			w.step(s)
		} else {
			w.later = append(w.later, s)
		}
	}
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// changeable reports whether Proxmox can change a guest: the guest's host is running, and nobody
// else has locked the guest.
func (w *World) changeable(g *guest) bool {
	return w.tick >= w.nodes[g.home].down && w.tick >= w.nodes[g.home].booting && g.lock == "" && !g.prelaunch
}

func (w *World) start(g *guest) {
	if g.alive || g.template || !w.changeable(g) {
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

// move gives a guest's configuration to the other node. After the move, the copies of the guest's
// disks on the other node are the guest's disks. move returns false if the other node does not have
// a copy of each disk.
func (w *World) move(g *guest) bool {
	other := w.nodes[1-g.home]
	for _, name := range g.disks {
		if d := other.sets[name]; d == nil || d.seeding {
			return false
		}
	}
	for _, name := range g.disks {
		delete(w.pairs, other.name+" "+name) // the owner rotates its disk, which is no longer a copy
	}
	g.home = 1 - g.home
	w.disturbNode(w.nodes[0])
	w.disturbNode(w.nodes[1])
	return true
}

// deltas makes the other node's copies equal to the guest's disks, as a migration does before it
// hands over the guest. deltas takes a snapshot of each disk and sends it.
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

// die plays the crash of a node.
func (w *World) die(i int, ticks int) {
	n := w.nodes[i]
	n.down = w.tick + max(1, ticks)
	n.booting = n.down + 1
	n.booted = w.Start.Add(time.Duration(n.down) * w.Tick)
	for _, vmid := range w.order {
		if g := w.guests[vmid]; g.home == i {
			g.alive, g.prelaunch, g.off = false, false, w.now
			g.lock = "" // Proxmox, or a person, clears the locks that a dead node left
		}
	}
	w.disturbNode(n)
}
