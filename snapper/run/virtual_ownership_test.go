package run

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/pve"
	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
)

// foreign adds to a disk a snapshot that is newer than all others and that no run of snap took.
// foreign returns this snapshot.
func (p *virtualPool) foreign(dataset, name string) zfs.Snapshot {
	p.txg++
	s := zfs.Snapshot{Dataset: dataset, Name: name, GUID: p.txg + 9000, CreateTXG: p.txg, Creation: time.Now()}
	p.snapshots[dataset] = append(p.snapshots[dataset], s)
	h := p.head(dataset)
	h.NewestSnapshot, h.SnapshotsChanged = name, time.Now().Unix()
	return s
}

func (p *virtualPool) head(dataset string) *zfs.Dataset {
	for i := range p.heads {
		if p.heads[i].Name == dataset {
			return &p.heads[i]
		}
	}
	return nil
}

// stops returns the number of _stopped snapshots that a disk of the simulated pool has.
func (p *virtualPool) stops(dataset string) int {
	n := 0
	for _, s := range p.snapshots[dataset] {
		if class, ours := s.Class(); ours && class == zfs.Stopped {
			n++
		}
	}
	return n
}

// texts returns, by severity, the texts of the problems in a report.
func texts(r report.Run) map[report.Severity]string {
	all := map[report.Severity]string{}
	for _, p := range r.Problems {
		all[p.Severity] += p.Text + "\n"
	}
	return all
}

// During the shutdown of the host, a run has little time. If a disk's guest ran here at the last
// run, the disk is this node's own, even if pvesr or a person took a snapshot of the disk after the
// last run. A snapshot that may have been received from elsewhere is a reason to read the pool's
// history. If the history does not prove that the disk is this node's own, the run reports the
// snapshot that may have been received.
func TestFinalizeWithNewerSnapshots(t *testing.T) {
	const d, managed = "tank/data/vm-100-disk-0", "autosnap_2000-01-01_00:03:00_hourly"
	const mayBe = "no last snapshot, so its copies alarm until the host is up again: guest 100 is stopped, and the disk may be a copy (@" + managed + " may have been received, and the pool's history does not show it: "
	received := func(w *virtualWorld) {
		p := w.pool("tank")
		p.history.Received = []zfs.Received{{Dataset: d, Name: managed, TXG: p.txg}}
	}
	elsewhere := func(w *virtualWorld) { w.pool("tank").heads[0].Creation = time.Now() }
	for name, test := range map[string]struct {
		newer  string
		change func(w *virtualWorld)
		warns  string
		asks   bool // whether the pool's history is read
	}{
		"nothing since":                        {},
		"pvesr":                                {newer: "__replicate_100-0_1784000000__"},
		"a person":                             {newer: "before-update"},
		"a managed one":                        {newer: managed, asks: true},
		"a managed one that was received":      {newer: managed, change: received, asks: true, warns: "was received here, according to the pool's history"},
		"a managed one, a short history":       {newer: managed, change: func(w *virtualWorld) { w.pool("tank").history.Since = 1 << 40 }, asks: true, warns: mayBe + "it reaches back to txg"},
		"a managed one, a history too long":    {newer: managed, change: func(w *virtualWorld) { w.pool("tank").onHistory = hang }, asks: true, warns: mayBe + "it could not be read"},
		"a managed one, a slow history before": {newer: managed, change: func(w *virtualWorld) { w.state.SlowHistory = map[string]time.Time{"tank": time.Now()} }, warns: mayBe + "it could not be read: it took longer"},
		"syncoid's own, on a disk that came from elsewhere": {newer: "syncoid_pve2_1", change: elsewhere, asks: true},
		"never seen here":  {change: func(w *virtualWorld) { w.pool("tank").heads[0].Creation = time.Now(); w.state = report.State{} }, warns: "is older than the dataset"},
		"it still lives":   {change: func(w *virtualWorld) { w.guests[100].alive = true }, warns: "its guest still lives"},
		"Proxmox is at it": {change: func(w *virtualWorld) { w.guests[100].cfg.Lock = "backup" }, warns: "stopped, but locked: backup"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newVirtualWorld(t)
				g := w.guest(100, true, "tank")
				w.run(t)
				time.Sleep(time.Minute)
				if test.newer != "" {
					w.pool("tank").foreign(d, test.newer)
				}
				g.alive, w.shutdown = false, true
				if test.change != nil {
					test.change(w)
				}
				before, began := len(w.eventsWith("tank: history")), time.Now()
				r := w.run(t, func(o *Options) { o.Final = true })
				assert.Less(t, time.Since(began), time.Minute)
				assert.Equal(t, test.asks, len(w.eventsWith("tank: history")) > before)
				if test.warns == "" {
					assert.Equal(t, 1, w.pool("tank").stops(d))
					assert.Empty(t, r.Problems)
					return
				}
				assert.Zero(t, w.pool("tank").stops(d))
				assert.Contains(t, texts(r)[report.Warning], d+": no last snapshot")
				assert.Contains(t, texts(r)[report.Warning], test.warns)
			})
		})
	}
}

// qm rescan adds a disk to a guest's configuration as unused merely because the guest's number is
// in the disk's name. An unused disk that came from elsewhere is a copy: snap does not rotate or
// label such a disk, and takes no _stopped snapshot of it.
func TestUnusedCopy(t *testing.T) {
	const d = "tank/data/vm-100-disk-7"
	for name, unused := range map[string]bool{"named nowhere": false, "unused": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newVirtualWorld(t)
				g := w.guest(100, true, "tank")
				p := w.pool("tank")
				p.addDisk(d, 7777)
				for i := range 9 {
					p.addOlder(virtualSnapshot(d, time.Duration(i+2)*15*time.Minute, zfs.Frequently, uint64(800-i)))
				}
				h := p.head(d)
				h.Creation, h.Running = time.Now(), zfs.Property{Value: "other", Source: zfs.SourceReceived}
				if unused {
					g.cfg.Volumes = append(g.cfg.Volumes, pve.Volume{Key: "unused0", Storage: "tank", Name: "vm-100-disk-7"})
				}
				w.run(t)
				time.Sleep(15 * time.Minute)
				h.Creation = time.Time{} // the sign that the disk came from elsewhere has disappeared, but is remembered
				h.Running = zfs.Property{}
				w.run(t)
				time.Sleep(15 * time.Minute)
				g.alive = false
				w.run(t)
				assert.Len(t, p.snapshots[d], 10)
				assert.Empty(t, h.Running)
				assert.Equal(t, 1, p.stops("tank/data/vm-100-disk-0"))
			})
		})
	}
}

// If another guest uses a disk, the number in the disk's name does not matter: the disk gets its
// _stopped snapshot when the guest that uses it stops.
func TestStopOfWhoUsesTheDisk(t *testing.T) {
	const d = "tank/data/vm-100-disk-7"
	for name, change := range map[string]func(*virtualWorld){
		"the number is free":           func(w *virtualWorld) { delete(w.guests, 100) },
		"its guest is off":             func(*virtualWorld) {},
		"its guest runs":               func(w *virtualWorld) { w.guests[100].alive = true },
		"its guest is on another node": func(w *virtualWorld) { delete(w.guests, 100); w.elsewhere = map[int]string{100: "pve2"} },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newVirtualWorld(t)
				w.guest(100, false, "tank")
				g := w.guest(200, true, "tank")
				g.cfg.Volumes = append(g.cfg.Volumes, pve.Volume{Key: "scsi1", Storage: "tank", Name: "vm-100-disk-7"})
				change(w)
				w.pool("tank").addDisk(d, 7777)
				w.run(t)
				time.Sleep(15 * time.Minute)
				g.alive = false
				w.run(t)
				assert.Equal(t, 1, w.pool("tank").stops(d))
			})
		})
	}
}

// unblock destroys snapshots of a disk only if the disk belongs to the guest by the same rules that
// snap uses.
func TestUnblockOnlyTheGuestsDisks(t *testing.T) {
	const own, other = "tank/data/vm-100-disk-0", "tank/data/vm-100-disk-7"
	uses := func(vmid int) func(*virtualWorld) {
		return func(w *virtualWorld) {
			g := w.guests[vmid]
			g.cfg.Volumes = append(g.cfg.Volumes, pve.Volume{Key: "scsi1", Storage: "tank", Name: "vm-100-disk-7"})
		}
	}
	for name, test := range map[string]struct {
		change  func(*virtualWorld)
		both    bool
		refusal string
	}{
		"only its number says so":             {change: func(*virtualWorld) {}, both: true},
		"it uses it":                          {change: uses(100), both: true},
		"another guest uses it":               {change: uses(200)},
		"two guests use it":                   {change: func(w *virtualWorld) { uses(100)(w); uses(200)(w) }, refusal: other + " may be another guest's: used by the guests [100 200]"},
		"another's configuration is unread":   {change: func(w *virtualWorld) { w.guests[200].cfg.Problem = "EIO" }, refusal: "no readable configuration uses it, and the configurations of the guests [200] could not be read"},
		"it is a copy, as an earlier run saw": {change: func(w *virtualWorld) { w.state.Signs = map[string]string{"7777": "it has received properties"} }},
		"a person took the copy over": {change: func(w *virtualWorld) {
			w.state.Signs = map[string]string{"7777": ""}
			w.pool("tank").head(other).Creation = time.Now()
		}, both: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newVirtualWorld(t)
				w.guest(100, true, "tank")
				w.guest(200, true, "tank")
				p := w.pool("tank")
				p.addDisk(other, 7777)
				for _, h := range p.heads {
					p.addOlder(zfs.Snapshot{Dataset: h.Name, Name: "before", GUID: 5 + h.GUID, CreateTXG: 500, Creation: time.Now().Add(-time.Hour)})
				}
				test.change(w)
				u, _, err := Unblock(t.Context(), w.options(), UnblockRequest{VMID: 100, Snapshot: "before", Remove: true, LoseBase: true})
				require.NoError(t, err)
				assert.Equal(t, test.both, len(w.eventsWith("destroy "+other)) > 0)
				assert.Equal(t, test.refusal == "", len(w.eventsWith("destroy "+own)) > 0)
				if test.refusal != "" {
					require.Len(t, u.Refusals, 1)
					assert.Contains(t, u.Refusals[0], test.refusal)
				}
			})
		})
	}
}

// prune leaves alone a disk that a person has adopted with snap --adopt, and a disk that a guest's
// configuration keeps as unused.
func TestPruneLeavesAdoptedDisks(t *testing.T) {
	const d = "tank/data/vm-100-disk-7"
	for name, test := range map[string]struct {
		change func(*virtualWorld)
		pruned bool
	}{
		"a copy":     {change: func(*virtualWorld) {}, pruned: true},
		"taken over": {change: func(w *virtualWorld) { w.state.Signs = map[string]string{"7777": ""} }},
		"kept as unused": {change: func(w *virtualWorld) {
			w.guests[100].cfg.Volumes = append(w.guests[100].cfg.Volumes, pve.Volume{Key: "unused0", Storage: "tank", Name: "vm-100-disk-7"})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newVirtualWorld(t)
				w.guest(100, true, "tank")
				p := w.pool("tank")
				p.addDisk(d, 7777)
				for i := range 9 {
					p.addOlder(virtualSnapshot(d, time.Duration(i+2)*15*time.Minute, zfs.Frequently, uint64(800-i)))
				}
				p.head(d).Running = zfs.Property{Value: "other", Source: zfs.SourceReceived}
				test.change(w)
				w.prune(t)
				assert.Equal(t, test.pruned, len(p.snapshots[d]) < 10)
			})
		})
	}
}

// If state.json cannot be read, it is unknown which disks are copies, so neither prune nor unblock
// destroys a snapshot.
func TestNothingIsDestroyedWithoutTheState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		w.guest(100, true, "tank")
		w.stateErr = errTest
		_, _, err := Unblock(t.Context(), w.options(), UnblockRequest{VMID: 100, Snapshot: "before", Remove: true})
		assert.ErrorIs(t, err, errTest)
		_, _, err = Prune(t.Context(), w.options())
		assert.ErrorIs(t, err, errTest)
	})
}

// An older version of snapwatch did not record in state.json which disks are this node's own. A
// state.json of an older version counts as lost. A guest that was off during the update of
// snapwatch still gets its _stopped snapshots, in the first run after the update and in later runs.
func TestStateOfAnOlderVersion(t *testing.T) {
	const d = "tank/data/vm-100-disk-0"
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		w.guest(100, false, "tank")
		p := w.pool("tank")
		h := p.head(d)
		w.state = report.State{Version: 1, Checked: map[string]report.Checked{d: {GUID: h.GUID, TXG: 900, Newest: h.NewestSnapshot, Changed: h.SnapshotsChanged}}}
		w.run(t)
		assert.Equal(t, 1, p.stops(d))
		assert.Equal(t, zfs.LabelStopped, h.Running.Value)
		time.Sleep(30 * 24 * time.Hour)
		h.Written = 1 << 30 // as if the guest had been started and stopped between two runs of snap
		w.run(t)
		assert.Equal(t, 2, p.stops(d))
	})
}

// zrepl sends to a disk whose guest ran here once. After zrepl has sent a snapshot to the disk, the
// disk never gets a _stopped snapshot. snap warns if it cannot prove that the snapshots were
// received, because the pool's history begins too late or takes too long to read.
func TestCopyFedByZrepl(t *testing.T) {
	const d = "tank/data/vm-100-disk-0"
	for name, test := range map[string]struct {
		since uint64
		slow  bool
		says  report.Severity
	}{
		"the history tells":        {1, false, report.Notice},
		"the history begins later": {950, false, report.Warning},
		"the history is slow":      {1, true, report.Warning},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newVirtualWorld(t)
				w.guest(100, false, "tank")
				p := w.pool("tank")
				p.heads[0].Running.Value = zfs.LabelStopped
				p.history.Since = test.since
				w.state = report.State{Version: 1, Checked: map[string]report.Checked{d: {GUID: p.heads[0].GUID, TXG: 900, Own: 900}}}
				if test.slow {
					w.state.SlowHistory = map[string]time.Time{"tank": time.Now()}
				}
				for i := range 4 {
					s := p.foreign(d, fmt.Sprintf("zrepl_20000101_00%02d00_000", 15*i))
					p.history.Received = append(p.history.Received, zfs.Received{Dataset: d, Name: s.Name, TXG: s.CreateTXG})
					if test.since > 1 { // newer records have overwritten the begin of the pool's history
						p.history.Received, p.history.Since = nil, p.txg+1
					}
					assert.Contains(t, texts(w.run(t))[test.says], "the disk may be a copy")
					time.Sleep(15 * time.Minute)
				}
				assert.Zero(t, p.stops(d))
			})
		})
	}
}

// The record in state.json about a disk is kept when the disk is renamed: a guest that came to this
// node by a migration and ran here for a long time gets its _stopped snapshot.
func TestStopAfterARename(t *testing.T) {
	const d = "tank/data/vm-100-disk-1"
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		g := w.guest(100, true, "tank")
		p := w.pool("tank")
		p.heads[0].Creation = time.Now() // the disk's snapshot is older than the disk
		w.run(t)
		time.Sleep(15 * time.Minute)
		g.alive = false
		w.move(d)
		g.cfg.Volumes = []pve.Volume{{Key: "scsi0", Storage: "tank", Name: "vm-100-disk-1"}}
		w.run(t)
		assert.Equal(t, 1, p.stops(d))
		assert.Len(t, w.state.Checked, 1)
	})
}
