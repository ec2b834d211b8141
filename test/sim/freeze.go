package sim

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"snapwatch/config"
	"snapwatch/internal/pve"
	"snapwatch/internal/quiesce"
	"snapwatch/internal/report"
	"snapwatch/snapper/run"
)

// quiesced are the guests that the configuration freezes.
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
	q.MaxFreeze = config.Duration(2 * time.Second)
	return q
}

// Frozen implements [run.Quiesce].
func (m *machine) Frozen(_ context.Context, id pve.ID) (bool, error) {
	return m.w.guests[id.VMID].frozen, m.ask("agent")
}

// FreezesAtOnce implements [run.Quiesce].
func (m *machine) FreezesAtOnce() int { return 2 }

// TakeOver implements [run.Quiesce].
func (m *machine) TakeOver(context.Context) (map[pve.ID]quiesce.TakenOver, error) {
	return nil, m.call()
}

// OpenWindow implements [run.Quiesce].
func (m *machine) OpenWindow(guests []pve.ID, _ time.Duration) (run.Window, error) {
	return &window{m, guests}, m.call()
}

// window is one of a machine.
type window struct {
	*machine
	guests []pve.ID
}

// Freeze implements [run.Window]. A guest that does not live has no agent.
func (f *window) Freeze() map[pve.ID]string {
	failed := map[pve.ID]string{}
	for _, id := range f.guests {
		g := f.w.guests[id.VMID]
		switch {
		case f.call() != nil || !g.alive:
			failed[id] = "no answer"
		case f.holds[id.VMID] == 0:
			f.w.broken("%s freezes guest %d without its lock", f.n.name, id.VMID)
		default:
			g.frozen = true
		}
	}
	return failed
}

// Thaw implements [run.Window].
func (f *window) Thaw() quiesce.Ended {
	ended := quiesce.Ended{Frozen: map[pve.ID]time.Duration{}, Left: map[pve.ID]string{}}
	for _, id := range f.guests {
		if f.call() != nil {
			return ended // the watchdog thaws
		}
		f.w.guests[id.VMID].frozen, ended.Frozen[id] = false, time.Second
	}
	return ended
}

// thawed holds after a run that no guest is frozen, and that those snapshots are called
// consistent that were taken of frozen guests. Where the run was killed its watchdog thaws.
func (w *World) thawed(n *node, m *machine, done report.Run) {
	for _, vmid := range slices.Sorted(maps.Keys(w.guests)) {
		if g := w.guests[vmid]; g.frozen && m.dead == nil {
			w.broken("guest %d is left frozen on %s", vmid, n.name)
		}
		w.guests[vmid].frozen = false
	}
	for _, q := range done.Quiesced {
		if q.Consistent != report.Application || q.At.Before(done.Start) {
			continue // of an earlier run
		}
		w.stats.Consistent++
		for _, name := range w.guests[q.VMID].disks {
			if was, made := m.whileFrozen[name+"@"+q.Snapshot]; made && !was {
				w.broken("%s calls %s@%s consistent, and its guest was not frozen", n.name, name, q.Snapshot)
			}
		}
	}
}
