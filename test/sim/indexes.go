package sim

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"

	"snapwatch/lua"
	"snapwatch/snapper"
	"snapwatch/snapper/index"
	"snapwatch/snapper/run"
)

// LoadIndex returns the pool's index of snapshots, as the last run saved the index.
func (p *machinePool) LoadIndex() (index.Index, error) {
	if err := p.call(); err != nil || p.unindexed || !p.w.Index {
		return index.Index{}, err
	}
	kept := p.n.report.indexes[p.name]
	if len(kept) == 0 {
		return index.Index{}, nil
	}
	return index.Parse([]byte(kept[len(kept)-1]))
}

func (p *machinePool) SaveIndex(x *index.Index) error {
	if err := p.save(); err != nil || !p.w.Index {
		return err
	}
	if p.n.report.indexes == nil {
		p.n.report.indexes = map[string][]string{}
	}
	kept := p.n.report.indexes[p.name]
	p.n.report.indexes[p.name] = append(kept[max(0, len(kept)-100):len(kept):len(kept)], string(x.Text()))
	return nil
}

var fingerprints = maphash.MakeSeed()

// listChanged returns the time of the last change of a dataset's list of snapshots, as ZFS reports
// it: in whole seconds of the host's clock, 0 if the dataset never had a snapshot. listChanged
// compares the dataset's snapshots with those at the previous call of listChanged. If the dataset's
// snapshots have changed since the previous call, listChanged dates the change secondsAgo before
// the present, but at least one second after the previous change.
func (m *machine) listChanged(d *dataset, secondsAgo int64) int64 {
	var h maphash.Hash
	h.SetSeed(fingerprints)
	guid := make([]byte, 0, 8)
	for _, s := range d.snaps {
		guid = binary.LittleEndian.AppendUint64(guid[:0], s.GUID)
		_, _ = h.Write(guid)
		_, _ = h.WriteString(s.Name)
	}
	if sum := h.Sum64(); sum != d.list && (len(d.snaps) > 0 || d.listChanged > 0) {
		d.list, d.listChanged = sum, max(d.listChanged+1, m.Now().Unix()-secondsAgo)
	}
	return d.listChanged
}

// watched calls the function `do`. If `watch` is true, watched reads the time at which the disk's
// list of snapshots last changed, before and after the call of `do`, and returns both readings.
func (m *machine) watched(d *dataset, watch bool, do func()) (change lua.ListChange) {
	if watch && d != nil {
		change.Before = m.listChanged(d, 5)
	}
	do()
	if watch && d != nil {
		change.After = m.listChanged(d, 0)
	}
	return change
}

// sameWithoutIndex checks that a run that uses the index of snapshots makes the same plan as a
// run without an index.
func (w *World) sameWithoutIndex(n *node) {
	if !w.Index || w.tick%13 != 3 || w.tick < n.unreadable {
		return
	}
	w.now = w.now.Add(1) // no two runs begin at the same time
	planned := func(unindexed bool) snapper.Plan {
		m := w.machineOn(n)
		m.looks, m.seenStopped, m.reached, m.unindexed = true, n.report.state.SeenStopped, AfterRun, unindexed
		m.crew.chance = w.aside // these dry runs must not use up the week's own random numbers
		options := w.options(n, m, w.Keep)
		options.DryRun = true
		plan, _, err := run.Run(context.Background(), options)
		if err != nil {
			w.recordBroken("a run at %s that changes nothing could not begin: %v", n.name, err)
		}
		return plan
	}
	with, without := planned(false), planned(true)
	w.stats.Indexed++
	for _, part := range []struct {
		what string
		a, b any
	}{{"guests", named(with), named(without)}, {"destroys", victims(with), victims(without)}} {
		if fmt.Sprint(part.a) != fmt.Sprint(part.b) {
			w.recordBroken("with the index a run on %s plans other %s: %v, not %v", n.name, part.what, part.a, part.b)
		}
	}
}

func victims(p snapper.Plan) []string {
	all := map[string]bool{}
	for _, d := range p.Destroys {
		all[d.Dataset+"@"+d.Name] = true
	}
	return slices.Sorted(maps.Keys(all))
}

func named(p snapper.Plan) []string {
	var all []string
	for _, g := range p.Guests {
		for _, d := range g.Disks {
			all = append(all, fmt.Sprintf("%s@%s %v %q", d.Dataset, g.Snapshot, d.Snapshot, d.Label))
		}
	}
	slices.Sort(all)
	return all
}
