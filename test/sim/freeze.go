package sim

import (
	"context"
	"fmt"
	"slices"
	"time"

	"snapwatch/config"
	"snapwatch/internal/pve"
	"snapwatch/internal/quiesce"
	"snapwatch/internal/report"
	"snapwatch/snapper/run"
)

// quiesced returns the configuration's list of guests to freeze.
func (s Setup) quiesced() config.Quiesced {
	var q config.Quiesced
	for _, o := range s.Guests {
		if !slices.Contains(s.Frozen, o.VMID) {
			continue
		}
		how := config.Agent
		if o.Kind == pve.LXC {
			how = config.Cgroup
		}
		var vmid config.VMIDs
		if err := vmid.UnmarshalText(fmt.Append(nil, o.VMID)); err != nil {
			panic(err)
		}
		q.Quiesce = append(q.Quiesce, config.Quiesce{VMID: vmid, How: how})
	}
	q.MaxFreeze = config.Duration(maxFreeze)
	return q
}

// Frozen implements [run.Quiesce].
func (m *machine) Frozen(_ context.Context, id pve.ID) (bool, error) {
	return m.w.guests[id.VMID].frozen, m.ask("agent")
}

// FreezesAtOnce implements [run.Quiesce].
func (m *machine) FreezesAtOnce() int { return 2 }

// TakeOver implements [run.Quiesce]. A guest agent that refused a thaw once accepts the next thaw.
func (m *machine) TakeOver(_ context.Context, tell func(pve.ID, quiesce.TakenOver)) error {
	if err := m.call(); err != nil {
		return err
	}
	for _, vmid := range m.w.order {
		g := m.w.guests[vmid]
		if g.owned == nil || m.w.nodes[g.home] != m.n || g.frozenBy.runs() {
			continue
		}
		t := quiesce.TakenOver{Since: *g.owned, Thawed: g.frozen}
		if g.refuses > 0 && g.frozen {
			g.refuses--
			t = quiesce.TakenOver{Since: *g.owned, Err: errFailed}
		} else {
			g.thaw()
		}
		tell(pve.ID{VMID: vmid, Kind: g.kind}, t)
	}
	return nil
}

// thaw thaws the guest and removes the note of its freeze.
func (g *guest) thaw() {
	g.frozen, g.owned, g.frozenBy, g.refuses, g.runsFrozen = false, nil, nil, 0, 0
}

// runs reports whether the run of the machine m has neither ended nor been killed. While a run
// continues, the run keeps the notes about its freezes locked, so that no other run takes these
// freezes over.
func (m *machine) runs() bool { return m != nil && m.dead == nil && !m.ended }

// OpenWindow implements [run.Quiesce].
func (m *machine) OpenWindow(guests []pve.ID, budget time.Duration) (run.Window, error) {
	return &window{machine: m, guests: guests, budget: budget}, m.call()
}

// window implements [run.Window] for the guests that one simulated run freezes together.
type window struct {
	*machine
	guests []pve.ID
	// budget is the time after which the window's watchdog thaws the guests. cancel ends the
	// watchdog.
	budget time.Duration
	cancel func()
}

// Freeze implements [run.Window]. A guest that is off has no agent. Sometimes another program thaws
// a guest immediately after the freeze.
func (f *window) Freeze() map[pve.ID]string {
	failed := map[pve.ID]string{}
	for _, id := range f.guests {
		g := f.w.guests[id.VMID]
		switch {
		case f.call() != nil || !g.alive:
			failed[id] = "no answer"
		case g.owned != nil:
			failed[id] = quiesce.ErrOurs.Error()
		case f.holds[id.VMID] == 0 || !f.apart[id.VMID]:
			f.w.recordBroken("%s freezes guest %d without its locks", f.n.name, id.VMID)
		default:
			now := f.w.now
			g.owned, g.frozen, g.frozenBy = &now, f.chance.IntN(8) > 0, f.machine
		}
	}
	f.cancel = f.After(f.budget, func() {
		for _, id := range f.guests {
			if g := f.w.guests[id.VMID]; g.owned != nil && g.runsFrozen == 0 && failed[id] == "" {
				f.w.frozenFor(g)
				g.frozen = false
			}
		}
	})
	return failed
}

// frozenFor checks the time for which a guest was frozen.
func (w *World) frozenFor(g *guest) {
	if since := w.now.Sub(*g.owned); g.frozen && since > maxFreeze {
		w.recordBroken("guest %d was frozen for %s, longer than %s", g.vmid, since, maxFreeze)
	}
}

// Thaw implements [run.Window]. Sometimes the thaw of a guest fails. If the run was killed, the
// run's watchdog may have been killed, too.
func (f *window) Thaw() quiesce.Ended {
	if f.cancel != nil {
		f.cancel()
	}
	ended := quiesce.Ended{Frozen: map[pve.ID]time.Duration{}, Left: map[pve.ID]string{}, Lapsed: map[pve.ID]string{}}
	for _, id := range f.guests {
		g := f.w.guests[id.VMID]
		if f.call() != nil {
			return ended
		}
		switch {
		case g.owned == nil || g.runsFrozen > 0:
		case !g.frozen:
			ended.Lapsed[id] = "thawed by somebody else"
			g.thaw()
		case f.chance.IntN(8) == 0:
			ended.Left[id] = "no answer"
			g.refuses = 1
		default:
			f.w.frozenFor(g)
			ended.Frozen[id] = time.Second
			g.thaw()
		}
	}
	return ended
}

// thawed checks, after a run, the following rules about frozen guests. If a run leaves a guest
// frozen, the run must report the guest, and one of the next two runs must thaw the guest. A run
// may call a guest's snapshot consistent only if the guest was frozen while the run snapshotted all
// disks of the guest. After the kill of a run, the watchdog thaws the guests, unless the watchdog
// was killed too.
func (w *World) thawed(n *node, m *machine, done report.Run) {
	for _, vmid := range w.order {
		g := w.guests[vmid]
		if g.owned == nil || w.nodes[g.home] != n || g.frozenBy.runs() {
			continue
		}
		switch g.runsFrozen++; {
		case !g.alive || m.dead != nil && m.chance.IntN(2) == 0:
			g.thaw()
		case m.dead != nil:
			g.runsFrozen = 0
		case g.runsFrozen > 2:
			w.recordBroken("guest %d is frozen two runs after the run on %s that froze it", vmid, n.name)
		case !slices.Contains(done.LeftFrozen, vmid):
			w.recordBroken("guest %d is left frozen on %s, and no problem is reported", vmid, n.name)
		}
	}
	for _, q := range done.Quiesced {
		if q.Consistent != report.Application || q.At.Before(done.Start) {
			continue // the freeze belongs to an earlier run
		}
		w.stats.Consistent++
		if slices.Contains(done.LeftFrozen, q.VMID) {
			w.recordBroken("%s calls the snapshot of guest %d consistent, and did not see it thawed", n.name, q.VMID)
		}
		for _, name := range w.guests[q.VMID].disks {
			if was, made := m.whileFrozen[name+"@"+q.Snapshot]; made && !was {
				w.recordBroken("%s calls %s@%s consistent, but its guest was not frozen", n.name, name, q.Snapshot)
			}
		}
	}
}

// checkKept checks that a channel program stores with a snapshot the configuration that the guest
// has at the time of this program.
func (p *machinePool) checkKept(dataset, snapshot, value string) {
	g := p.w.guests[p.w.parse(dataset).vmid]
	now := pve.Capture(pve.ID{VMID: g.vmid, Kind: g.kind}, p.n.name, g.text(), nil)
	sum, refers := pve.ReadReference(value)
	if !refers {
		c, err := pve.ReadCaptured(value)
		if err != nil {
			p.w.recordBroken("%s keeps with %s@%s a configuration that cannot be read: %v", p.n.name, dataset, snapshot, err)
		}
		sum = c.Sum()
	}
	if sum != now.Sum() {
		p.w.recordBroken("%s keeps with %s@%s a configuration that is not in force", p.n.name, dataset, snapshot)
	}
	p.w.stats.Configs++
}

// text returns the content of the guest's configuration, which is one line with the size of the
// memory. Sometimes the model changes this size, as a person would.
func (g *guest) text() string { return fmt.Sprintf("memory: %d\n", g.memory) }
