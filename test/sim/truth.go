package sim

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
)

// hinder records a fault that this run met. Without a fault a run must be a success.
func (m *machine) hinder(why string) {
	if m.hindered == "" {
		m.hindered = why
	}
}

// truthful compares the report of a run with the true results of the run.
func (w *World) truthful(n *node, m *machine, done report.Run) {
	w.stats.Reports++
	for _, event := range []report.Event{report.DidSnapshot, report.DidLabel, report.DidDestroy} {
		if done.Counts[event] != m.did[event] && len(m.unclear) == 0 {
			w.recordBroken("the run on %s reports %d times %q, but did it %d times", n.name, done.Counts[event], event, m.did[event])
		}
	}
	for _, d := range done.Disks {
		_, made := m.whileFrozen[d.Dataset+"@"+d.Snapshot]
		switch {
		case d.Snapshot != "" && !made:
			w.recordBroken("the run on %s reports the snapshot %s@%s, which it did not take", n.name, d.Dataset, d.Snapshot)
		case d.Snapshot == "" && d.Error == "" && m.snapped[d.Dataset]:
			w.recordBroken("the run on %s snapshotted %s and reports only: %s: %s", n.name, d.Dataset, d.Result, d.Reason)
		case d.Result == "snapshot" && d.Snapshot == "":
			w.recordBroken("the run on %s reports a snapshot of %s, and names none", n.name, d.Dataset)
		}
	}
	if done.Success {
		w.covered(n, m, done)
	} else {
		w.excused(n, m, done)
	}
	w.overtaken(n, m, done)
}

// covered checks that a run which reports a success has snapshotted each disk of each guest that
// was running here during the whole run. Only a disk that the report names as unprotected, or that
// the configuration leaves out, may have no snapshot.
func (w *World) covered(n *node, m *machine, done report.Run) {
	for i, name := range sortedNames(n.sets) {
		d, g := n.sets[name], w.guests[w.parse(name).vmid]
		switch {
		case g == nil || !g.alive || w.nodes[g.home] != n || !g.since.Before(m.began) || !slices.Contains(g.disks, name) || d.guid > m.beganAt:
		case m.snapped[name], w.tick < n.ignored, w.retention[zfs.Frequently] == 0 && (w.thisHour(n, d) || m.stepsBefore != w.stepped):
		case n.lacksDisk(w.tick, i) && slices.ContainsFunc(done.Unprotected, func(u report.Unprotected) bool {
			return u.VMID == g.vmid && strings.HasSuffix(u.Volume, zfs.Base(name))
		}):
		default:
			w.recordBroken("the run on %s reports a success, but took no snapshot of %s, whose guest %d runs", n.name, name, g.vmid)
		}
	}
}

// thisHour reports whether a disk has a regular snapshot of the present hour.
func (w *World) thisHour(n *node, d *dataset) bool {
	return slices.ContainsFunc(d.snaps, func(s zfs.Snapshot) bool {
		class, ours := s.Class()
		return ours && class != zfs.Stopped && bucketName(zfs.Hourly, s.Creation.In(zone)) == bucketName(zfs.Hourly, n.clock(w.now))
	})
}

// excused checks each run that reports no success. There must be an excuse: the run met a fault, or
// something happened during the run.
func (w *World) excused(n *node, m *machine, done report.Run) {
	grows := false
	for _, b := range done.Backlogs {
		grows = grows || b.Grows()
	}
	for _, name := range sortedNames(n.sets) {
		// While a guest migrates, the run changes no label, so it cannot say that the guest runs.
		if g := w.guests[w.parse(name).vmid]; g != nil && g.alive && g.lock == "migrate" && w.nodes[g.home] == n && n.sets[name].running.Own() != n.name {
			return
		}
	}
	if m.hindered == "" && m.stepsBefore == w.stepped && !grows {
		w.recordBroken("the run on %s met no fault and reports no success: %+v %+v", n.name, done.Problems, done.Pools)
	}
}

// overtaken checks the report about each guest that was started before its _stopped snapshots
// existed. The run must warn, must not be a success, and must set the labels of the guest's disks
// to the name of the node again.
func (w *World) overtaken(n *node, m *machine, done report.Run) {
	for _, vmid := range w.order {
		g := w.guests[vmid]
		if w.tick < n.slowPrograms && g.alive {
			delete(n.hooks.stopped, vmid) // the run may have seen that the guest runs again
		}
		if !m.overtaken[vmid] || !g.alive || w.nodes[g.home] != n {
			continue
		}
		w.stats.Overtaken++
		warned := slices.ContainsFunc(done.Problems, func(p report.Problem) bool {
			return p.Severity == report.Warning && strings.Contains(p.Text, fmt.Sprintf("guest %d", vmid))
		})
		if done.Success || !warned {
			w.recordBroken("guest %d was started before its _stopped snapshots existed, and the run on %s does not warn (success: %v)", vmid, n.name, done.Success)
		}
		for _, name := range g.disks {
			if d := n.sets[name]; d != nil && m.snapped[name] && d.running.Own() == zfs.Stopped.String() && len(m.unclear) == 0 {
				w.recordBroken("guest %d was started before its _stopped snapshots existed, and the run on %s leaves the label stopped on %s", vmid, n.name, name)
			}
		}
	}
}

// throughJSON returns a value as a later run reads the value from its file.
func throughJSON[T any](v T) (read T) {
	text, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(text, &read)
	}
	if err != nil {
		panic(err)
	}
	return read
}

// maxFreeze is the longest time for which the configuration lets a run freeze a guest.
const maxFreeze = 2 * time.Second
