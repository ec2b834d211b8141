package snapper

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"snapwatch/internal/zfs"
)

// modelSite is a host with one disk in a model of replication.
type modelSite struct {
	world
	zone *time.Location
}

func (s *modelSite) disk() *Disk { return &s.disks[0] }

// modelSites are A and B, of which one has the guest, and C. What zfs and syncoid do to
// them is modelled as it was seen on OpenZFS 2.3.9 with syncoid 2.2.0 (test/e2e plays
// the same on the real ones).
type modelSites struct {
	t                  *rapid.T
	owner, other, c    *modelSite
	now                time.Time
	running, cut       bool
	seenByC, seenOther time.Time
	// parent is the snapshot that one was taken on top of, by guid.
	parent map[uint64]uint64
	steps  []string
}

const (
	modelMarks = 10
	modelAway  = 8 * 24 * time.Hour
	modelLag   = 20 * time.Hour
	// What a node that fails has in common with one that lags, for the way back.
	modelKeep = "f2 d3"
	modelCopy = "f1 d0"
)

func newModel(t *rapid.T, zone *time.Location) *modelSites {
	m := &modelSites{t: t, now: time.Date(2026, 3, 25, 8, 0, 0, 0, time.UTC), running: true, parent: map[uint64]uint64{}}
	for i, at := range []struct {
		site **modelSite
		zone *time.Location
	}{{&m.owner, zone}, {&m.other, time.UTC}, {&m.c, time.FixedZone("", -9*3600)}} {
		s := &modelSite{zone: at.zone}
		s.policy, s.txg = testPolicy(), uint64(1_000_000*(i+1))
		s.policy.Names.Node = fmt.Sprint("pve", i+1)
		s.policy.Bookmarks = modelMarks
		d := runningDisk(disk0, words(modelKeep))
		d.State, d.Running = Elsewhere, zfs.Property{}
		s.disks = []Disk{d}
		*at.site = s
	}
	m.work(m.owner)
	m.toOther()
	m.toC()
	return m
}

// work is a run of snap on a site.
func (m *modelSites) work(s *modelSite) {
	d := s.disk()
	d.State = Elsewhere
	if s == m.owner {
		d.State = Stopped
		if m.running {
			d.State = Running
		}
	}
	before := tipOf(d)
	base := uint64(0)
	if n := len(d.Snapshots); n > 0 {
		base = d.Snapshots[n-1].GUID
	}
	s.now = m.now.In(s.zone)
	s.run()
	if made := d.Snapshots[len(d.Snapshots)-1]; made.CreateTXG > before.TXG {
		m.parent[made.GUID] = base
	}
	d.Tip = tipOf(d)
	d.Tip.TXG = before.TXG
}

// increment replicates as syncoid does: from the newest snapshot that both have, else
// from the newest bookmark of one that the receiver has, which is rolled back to it and
// keeps its bookmarks.
func (m *modelSites) increment(from, to *modelSite) {
	a, b := from.disk(), to.disk()
	var base uint64
	for _, list := range [][]zfs.Snapshot{a.Bookmarks, a.Snapshots} {
		list = slices.Clone(list)
		slices.SortStableFunc(list, func(x, y zfs.Snapshot) int { return compareUint(x.CreateTXG, y.CreateTXG) })
		for _, s := range list {
			if slices.ContainsFunc(b.Snapshots, func(o zfs.Snapshot) bool { return o.GUID == s.GUID }) {
				base = s.GUID
			}
		}
	}
	newest := a.Snapshots[len(a.Snapshots)-1].GUID
	if len(b.Snapshots) > 0 {
		if base == 0 {
			m.t.Fatalf("nothing to go on from:\n%v\n%v\n%v\n%v", m.steps, names(a), names(b), a.Bookmarks)
		}
		if !m.descends(newest, base) {
			m.t.Fatalf("a mixture of two histories: %d is not an ancestor of %d\n%v\n%v\n%v", base, newest, m.steps, names(a), names(b))
		}
		at := slices.IndexFunc(b.Snapshots, func(s zfs.Snapshot) bool { return s.GUID == base })
		b.Snapshots = b.Snapshots[:at+1]
	}
	for _, s := range a.Snapshots {
		if base != 0 && !m.descends(s.GUID, base) || s.GUID == base {
			continue
		}
		to.txg++
		s.CreateTXG = to.txg
		b.Snapshots = append(b.Snapshots, s)
	}
	b.NewestSnapshot, b.Written = b.Snapshots[len(b.Snapshots)-1].Name, 0
}

// descends tells whether one snapshot is the other or was taken on top of it.
func (m *modelSites) descends(s, ancestor uint64) bool {
	for ; s != 0; s = m.parent[s] {
		if s == ancestor {
			return true
		}
	}
	return false
}

func (m *modelSites) toOther() {
	m.increment(m.owner, m.other)
	m.work(m.other)
	m.seenOther = m.now
}

func (m *modelSites) toC() {
	from := m.owner
	if rapid.Bool().Draw(m.t, "relayed") {
		from = m.other
	}
	m.increment(from, m.c)
	if from == m.owner || m.seenOther.After(m.seenByC) {
		m.seenByC = m.now
	}
}

func (m *modelSites) pruneCopies() {
	for _, s := range []*modelSite{m.other, m.c} {
		d := s.disk()
		policy := PrunePolicy{Node: s != m.c, Bookmarks: modelMarks, StoppedGrace: 24 * time.Hour, MaxDestroys: 1000}
		d.State, d.Retention = Elsewhere, words(modelCopy)
		for _, gone := range PlanPrune(s.disks, policy, nil, m.now.In(s.zone)).Destroys {
			s.destroy(gone)
		}
		d.Retention = words(modelKeep)
	}
}

// run lets time pass. What may not be away for longer is brought up to date.
func (m *modelSites) run() {
	m.now = m.now.Add(time.Duration(rapid.IntRange(1, 14).Draw(m.t, "hours")) * time.Hour)
	if m.running {
		m.owner.disk().Written = 4096
	}
	m.work(m.owner)
	if m.now.Sub(m.seenOther) > modelLag {
		m.toOther()
	}
	if m.now.Sub(m.seenByC) > modelAway {
		m.cut = false
		m.toC()
	}
}

func (m *modelSites) failover() {
	m.owner, m.other = m.other, m.owner
	m.now = m.now.Add(time.Minute)
	m.running = true
	m.work(m.owner)
}

func (m *modelSites) step() {
	switch rapid.SampledFrom([]string{
		"run", "run", "run", "run", "run", "run", "stop or start", "cut", "reconnect", "sync", "sync", "prune", "failover",
	}).Draw(m.t, "step") {
	case "run":
		m.run()
	case "stop or start":
		m.running = !m.running
		m.now = m.now.Add(time.Minute)
		m.work(m.owner)
	case "cut":
		m.cut = true
	case "reconnect":
		m.cut = rapid.IntRange(0, 3).Draw(m.t, "stays cut off") > 0
	case "sync":
		m.toOther()
		if !m.cut {
			m.toC()
		}
	case "prune":
		m.pruneCopies()
	case "failover":
		m.failover()
	}
}

// Whatever happens to a guest, its nodes and the link to C: there is always something to
// go on from, and it is the right one.
func TestReplicationGoesOn(t *testing.T) {
	zone := berlin(t)
	rapid.Check(t, func(t *rapid.T) {
		m := newModel(t, zone)
		for range rapid.IntRange(1, 150).Draw(t, "steps") {
			m.step()
		}
		m.toOther()
		m.toC()
	})
}
