package run

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/config"
	"snapwatch/internal/pve"
	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
)

// copy adds to the pool a disk that no guest of this node uses. The disk has n snapshots, a quarter
// of an hour apart.
func (w *virtualWorld) copy(name string, n int) {
	p := w.pool(zfs.Pool(name))
	p.addDisk(name, uint64(7000+len(p.heads)))
	for i := range n - 1 {
		p.addOlder(virtualSnapshot(name, time.Duration(i+2)*15*time.Minute, zfs.Frequently, uint64(800-i)))
	}
}

// prune executes a run of prune and returns its report. The test fails if the run cannot begin.
func (w *virtualWorld) prune(t *testing.T, change ...func(*Options)) report.Run {
	t.Helper()
	_, r, err := Prune(t.Context(), w.options(change...))
	require.NoError(t, err)
	return r
}

// reasonOf returns the reason that a report gives for a disk.
func reasonOf(r report.Run, dataset string) string {
	for _, d := range r.Disks {
		if d.Dataset == dataset {
			return d.Reason
		}
	}
	return ""
}

// prune does not list the snapshots of a disk that did not change since the last run.
func TestPruneListsWhatChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		w.plain = true
		w.copy("tank/in/vm-100-disk-0", 10)
		w.copy("tank/in/vm-101-disk-0", 10)
		p := w.pool("tank")
		done := w.prune(t)
		assert.Equal(t, 10, done.Counts[report.DidDestroy], "the newest 4 stay, and the first of the day")
		assert.ElementsMatch(t, []string{"tank/in/vm-100-disk-0", "tank/in/vm-101-disk-0"}, p.listed)

		time.Sleep(time.Hour)
		p.listed = nil
		received := virtualSnapshot("tank/in/vm-101-disk-0", time.Minute, zfs.Frequently, 2000)
		p.snapshots[received.Dataset] = append(p.snapshots[received.Dataset], received)
		p.heads[1].NewestSnapshot, p.heads[1].SnapshotsChanged = received.Name, time.Now().Unix()-60
		done = w.prune(t)
		assert.Equal(t, []string{"tank/in/vm-101-disk-0"}, p.listed)
		assert.Equal(t, 1, done.Counts[report.DidDestroy])
		assert.Len(t, p.snapshots[received.Dataset], 5)
	})
}

// countLate counts the copies of a pool that have more snapshots than prune keeps by the retention
// f4. prune keeps the newest four snapshots and the first snapshot of the day.
func (p *virtualPool) countLate() (n int) {
	for _, list := range p.snapshots {
		if len(list) > 5 {
			n++
		}
	}
	return n
}

// If listing the snapshots of one disk never ends, one or two runs of prune spend their time on
// this listing. After a few further runs, prune has listed the snapshots of all other disks.
func TestPruneListsInTurns(t *testing.T) {
	for name, disks := range map[string]int{"many turns": 5 * inTurn, "one": inTurn} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newVirtualWorld(t)
				w.plain = true
				for i := range disks {
					w.copy(fmt.Sprintf("tank/in/vm-%d-disk-0", 100+i), 10)
				}
				w.copy("ssd/in/vm-100-disk-0", 10)
				p := w.pool("tank")
				p.endless = []string{fmt.Sprintf("tank/in/vm-%d-disk-0", 100+disks/2)}
				done := w.prune(t)
				assert.False(t, done.Success)
				assert.True(t, done.Failed())
				assert.False(t, done.Nothing())
				assert.Len(t, w.pool("ssd").snapshots["ssd/in/vm-100-disk-0"], 5, "the other pool's is done")
				for range 5 {
					time.Sleep(time.Hour)
					w.prune(t)
				}
				assert.Equal(t, 1, p.countLate())
			})
		})
	}
}

// If each run of prune has time to list only some disks, prune lists each disk once before it lists
// any disk a second time. The order in which prune lists the disks does not depend on the hours at
// which prune runs, nor on a second line of cron that prunes different datasets of the same pool.
func TestPruneTurnsAreFair(t *testing.T) {
	for name, test := range map[string]struct {
		disks int
		every time.Duration
	}{
		"480, each day":  {480, 24 * time.Hour},
		"470, each day":  {470, 24 * time.Hour},
		"480, each hour": {480, time.Hour},
		"60, each week":  {60, 7 * 24 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newVirtualWorld(t)
				w.plain, w.quiet = true, true
				for i := range test.disks {
					w.copy(fmt.Sprintf("tank/in/vm-%d-disk-0", 100+i), 2)
				}
				for i := range 2 * inTurn {
					w.copy(fmt.Sprintf("tank/xl/vm-%d-disk-0", 100+i), 2)
				}
				p := w.pool("tank")
				p.slowLists = listTimeout * 2 / 3
				for range 2 {
					p.listed = nil
					for range (test.disks + inTurn - 1) / inTurn {
						p.receive()
						time.Sleep(test.every / 2)
						w.prune(t, func(o *Options) { o.Config.Datasets = []string{"tank/in"} })
						time.Sleep(test.every / 2)
						w.prune(t, func(o *Options) { o.Config.Datasets = []string{"tank/xl"} })
					}
					for _, h := range p.heads {
						require.Contains(t, p.listed, h.Name)
					}
				}
			})
		})
	}
}

// prune leaves a copy to Proxmox only if Proxmox's own replication (pvesr) sends this copy to this
// node. Snapshots that pvesr made do not prove that pvesr sends the copy, because syncoid and zrepl
// also send the snapshots of pvesr.
func TestPruneOfGuestsOfPvesr(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*virtualWorld)
		pruned bool
	}{
		"replicated here":          {func(w *virtualWorld) { w.replicated = map[int]bool{100: true} }, false},
		"replicated to another":    {func(w *virtualWorld) { w.replicated = map[int]bool{100: false} }, true},
		"another guest's job":      {func(w *virtualWorld) { w.replicated = map[int]bool{101: true} }, true},
		"on a host without any":    {func(w *virtualWorld) { w.plain = true }, true},
		"a copy beside the target": {func(w *virtualWorld) { w.replicated = map[int]bool{100: true}; w.move("tank/other/vm-100-disk-0") }, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newVirtualWorld(t)
				w.elsewhere = map[int]string{100: "pve2"}
				w.copy("tank/data/vm-100-disk-0", 10)
				w.pool("tank").addOlder(zfs.Snapshot{Dataset: "tank/data/vm-100-disk-0", Name: "__replicate_100-0_1784000000__", GUID: 5, CreateTXG: 5, Creation: time.Now().Add(-time.Hour)})
				test.change(w)
				done := w.prune(t, func(o *Options) { o.Config.Bookmarks = 0 })
				dataset := w.pool("tank").heads[0].Name
				assert.Equal(t, test.pruned, done.Counts[report.DidDestroy] > 0, reasonOf(done, dataset))
				if test.pruned {
					assert.Contains(t, reasonOf(done, dataset), "5 of 10 managed snapshots may be destroyed; @__replicate_100-0_1784000000__ and other snapshots of pvesr are not managed and are kept")
				} else {
					assert.Contains(t, reasonOf(done, dataset), "Proxmox replicates it")
				}
			})
		})
	}
}

// move renames the first disk of the simulated pool.
func (w *virtualWorld) move(to string) {
	p := w.pool(zfs.Pool(to))
	from := p.heads[0].Name
	p.heads[0].Name, p.snapshots[to] = to, p.snapshots[from]
	for i := range p.snapshots[to] {
		p.snapshots[to][i].Dataset = to
	}
	delete(p.snapshots, from)
}

// snap makes no bookmarks of copies outside of the node's storages, so prune destroys the snapshots
// of such a copy without waiting for bookmarks. prune destroys a snapshot of a copy in a storage
// only after snap has bookmarked the snapshot. prune does not believe the index about this
// bookmark: the pool must have the bookmark.
func TestPruneWaitsForBookmarksThatSnapMakes(t *testing.T) {
	for name, test := range map[string]struct {
		dataset string
		change  func(*virtualWorld, *config.Config)
		waits   bool
	}{
		"in a storage":                   {"tank/data/vm-100-disk-0", func(*virtualWorld, *config.Config) {}, true},
		"beside the storages":            {"tank/in/vm-100-disk-0", func(*virtualWorld, *config.Config) {}, false},
		"snap looks there":               {"tank/in/vm-100-disk-0", func(_ *virtualWorld, c *config.Config) { c.Datasets = []string{"tank/in"} }, true},
		"prune does, without Proxmox":    {"tank/in/vm-100-disk-0", func(w *virtualWorld, c *config.Config) { w.plain, c.Datasets = true, []string{"tank/in"} }, false},
		"a node that only receives":      {"tank/data/vm-100-disk-0", func(_ *virtualWorld, c *config.Config) { c.Role = "replica" }, false},
		"a node that makes no bookmarks": {"tank/data/vm-100-disk-0", func(_ *virtualWorld, c *config.Config) { c.Bookmarks = 0 }, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newVirtualWorld(t)
				p := w.pool("tank")
				p.addDisk(test.dataset, 7000)
				for i := range 24 {
					p.addOlder(virtualSnapshot(test.dataset, time.Duration(i+1)*24*time.Hour, zfs.Daily, uint64(800-i)))
				}
				copies := func(o *Options) {
					o.Config.Replicas = []string{"tank/in", "tank/data"}
					test.change(w, &o.Config)
				}
				dailies := func(o *Options) { o.Keep = map[string]int{"daily": 5, "frequently": 1} }
				done := w.prune(t, copies, dailies)
				if !test.waits {
					assert.Equal(t, 25-6, done.Counts[report.DidDestroy], reasonOf(done, test.dataset))
					return
				}
				assert.Zero(t, done.Counts[report.DidDestroy])
				p.bookmarks[test.dataset] = p.snapshots[test.dataset]
				time.Sleep(time.Hour)
				done = w.prune(t, copies, dailies)
				assert.Equal(t, 25-6, done.Counts[report.DidDestroy], "bookmarks are listed again: no head tells of them")
			})
		})
	}
}

// prune is fast enough for 400 copies that each receive four snapshots an hour: no copy has more
// snapshots than its retention keeps, plus the snapshots that arrived since the last run.
func TestPruneKeepsUp(t *testing.T) {
	if testing.Short() {
		t.Skip("a week of runs over 400 disks")
	}
	synctest.Test(t, func(t *testing.T) {
		const disks, hours, keep = 400, 7 * 24, 4
		w := newVirtualWorld(t)
		w.plain, w.quiet = true, true
		for i := range disks {
			w.copy(fmt.Sprintf("%s/in/vm-%d-disk-0", []string{"ssd", "tank"}[i%2], 100+i), 1)
		}
		for hour := range hours {
			for range 4 {
				time.Sleep(15 * time.Minute)
				for _, p := range w.pools {
					p.receive()
				}
			}
			done := w.prune(t)
			require.True(t, done.Success, hour)
			for _, p := range w.pools {
				for name, list := range p.snapshots {
					// prune keeps the first snapshot of each of the newest days, whatever the
					// retention says.
					require.LessOrEqual(t, len(list), keep+keepsDays, "%s in hour %d", name, hour)
				}
			}
		}
	})
}

// prune keeps the first snapshot of each of the newest keepsDays days.
const keepsDays = 3

// receive adds another snapshot to each disk of the pool.
func (p *virtualPool) receive() {
	for i := range p.heads {
		p.receiveOn(&p.heads[i])
	}
}

func (p *virtualPool) receiveOn(h *zfs.Dataset) {
	p.txg++
	s := virtualSnapshot(h.Name, 0, zfs.Frequently, p.txg)
	s.GUID = p.txg<<20 + h.GUID
	p.snapshots[h.Name] = append(p.snapshots[h.Name], s)
	h.NewestSnapshot, h.SnapshotsChanged = s.Name, s.Creation.Unix()
}

// Each night twice as many snapshots of copies arrive as the runs of prune destroy in a day. After
// most runs of prune, fewer expired snapshots remain than after the previous run. After prune has
// found that the number of expired snapshots grows from day to day, no run of prune is a success
// any more.
func TestPruneBacklogGrowsDaily(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		w.plain, w.quiet = true, true
		for i := range 5 {
			w.copy(fmt.Sprintf("tank/in/vm-%d-disk-0", 100+i), 1)
		}
		p := w.pool("tank")
		most := 5 // 240 snapshots arrive each night, and 24 * 5 are destroyed each day
		for day := range 7 {
			for k := range 48 {
				for i := range p.heads {
					h := &p.heads[i]
					p.txg++
					s := virtualSnapshot(h.Name, time.Duration(48-k)*29*time.Minute, zfs.Frequently, p.txg)
					s.GUID = p.txg<<20 + h.GUID
					p.snapshots[h.Name] = append(p.snapshots[h.Name], s)
					h.NewestSnapshot, h.SnapshotsChanged = s.Name, time.Now().Unix()
				}
			}
			if day == 6 {
				most = 500
			}
			for range 24 {
				time.Sleep(time.Hour)
				r := w.prune(t, func(o *Options) { o.Config.MaxDestroys = &most })
				assert.Equal(t, day < 2 || day == 6, r.Success, "%d: %d due", day, r.Backlogs["tank"].Due)
			}
		}
	})
}

// If each run of prune finds a copy with a running receive, prune does not treat the receive as
// interrupted. prune reports a receive that has been interrupted for a day.
func TestPruneOfInterruptedReceives(t *testing.T) {
	const dataset = "tank/in/vm-100-disk-0"
	arrives := func(p *virtualPool) { p.receive() }
	for name, test := range map[string]struct {
		nextDay func(*virtualPool)
		warns   []bool // for each day, whether the run warns
	}{
		"it waits": {func(*virtualPool) {}, []bool{false, true, true}},
		"a healthy one is at work at each run": {func(p *virtualPool) {
			p.receive()
			p.heads[0].Token += "x"
		}, []bool{false, false, false}},
		"it is tried, and broken off again": {func(p *virtualPool) { p.heads[0].Token += "x" }, []bool{false, false, false}},
		"another was received":              {arrives, []bool{false, false, false}},
		"somebody makes snapshots here": {func(p *virtualPool) {
			p.receive()
			list := p.snapshots[dataset]
			list[len(list)-1].Name, p.heads[0].NewestSnapshot = fmt.Sprint("mine", len(list)), fmt.Sprint("mine", len(list))
		}, []bool{false, true, true}},
		"its list takes too long meanwhile": {func(p *virtualPool) {
			p.receive()
			p.snapshots[dataset] = p.snapshots[dataset][:len(p.snapshots[dataset])-1]
			p.endless = []string{dataset}
		}, []bool{false, true, true}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newVirtualWorld(t)
				w.plain = true
				w.copy(dataset, 10)
				p := w.pool("tank")
				p.heads[0].ResumeToken, p.heads[0].Token = true, "1-token"
				for day, warns := range test.warns {
					done := w.prune(t)
					said := slices.ContainsFunc(done.Problems, func(p report.Problem) bool {
						return p.Severity == report.Warning && strings.Contains(p.Text, "abort it (zfs receive -A "+dataset)
					})
					assert.Equal(t, warns, said, "day %d: %v", day, done.Problems)
					assert.Zero(t, done.Counts[report.DidDestroy])
					time.Sleep(24 * time.Hour)
					test.nextDay(p)
				}
			})
		})
	}
}

// The record of an interrupted receive is kept while no run reads the copy's pool. If the time in
// the record is in the future, the next run replaces this time with the present time.
func TestPruneKeepsNotesOfInterruptedReceives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		w.plain = true
		w.copy("tank/in/vm-100-disk-0", 2)
		w.copy("ssd/in/vm-101-disk-0", 2)
		p := w.pool("tank")
		p.heads[0].ResumeToken, p.heads[0].Token = true, "1-token"
		only := func(dataset string) func(*Options) {
			return func(o *Options) { o.Config.Datasets = []string{dataset} }
		}
		w.prune(t, only("tank/in"))
		noted := w.last.Interrupted["tank/in/vm-100-disk-0"]
		time.Sleep(time.Hour)
		for _, other := range []string{"ssd/in", "tank/other"} {
			w.prune(t, only(other))
			assert.Equal(t, noted, w.last.Interrupted["tank/in/vm-100-disk-0"], other)
		}
		p.busy = true
		w.prune(t)
		assert.Equal(t, noted, w.last.Interrupted["tank/in/vm-100-disk-0"], "another run has the pool")
		p.busy = false
		time.Sleep(24 * time.Hour)
		late := w.prune(t, only("tank/in"))
		assert.True(t, late.Failed())

		ahead := noted
		ahead.Since, ahead.Seen = time.Now().Add(1000*time.Hour), time.Now().Add(1000*time.Hour)
		w.last.Interrupted = map[string]report.Interrupted{"tank/in/vm-100-disk-0": ahead}
		done := w.prune(t)
		assert.False(t, done.Failed(), done.Problems)
		assert.Contains(t, fmt.Sprint(done.Problems), "by a clock that was ahead: its age counts from now")
		assert.Equal(t, done.Start, done.Interrupted["tank/in/vm-100-disk-0"].Since)
		time.Sleep(24 * time.Hour)
		late = w.prune(t)
		assert.True(t, late.Failed())

		p.heads[0].ResumeToken, p.heads[0].Token = false, ""
		assert.Empty(t, w.prune(t).Interrupted)
	})
}

// Two lines of cron that prune different datasets share one report. For each dataset, the report
// keeps the number of expired snapshots until a run counts the dataset's snapshots again, even if
// the runs of two cron lines overlap or prune the same pool.
func TestPrunesOfOtherDatasets(t *testing.T) {
	for name, test := range map[string]struct {
		other string
		pause time.Duration
	}{
		"one after the other": {"ssd/in", time.Minute},
		"at once":             {"ssd/in", 0},
		"of one pool":         {"tank/other", time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newVirtualWorld(t)
				w.plain, w.quiet = true, true
				w.copy("tank/in/vm-100-disk-0", 1)
				w.copy(test.other+"/vm-100-disk-0", 1)
				p := w.pool("tank")
				// The run on pool ssd ends last, although both runs began at the same time.
				w.pool("ssd").slowList = 2 * time.Second
				of := func(dataset string) report.Run {
					most := 5
					_, r, err := Prune(t.Context(), w.options(func(o *Options) { o.Config.Datasets, o.Config.MaxDestroys = []string{dataset}, &most }))
					assert.NoError(t, err)
					return r
				}
				for day := range 6 {
					for range 40 {
						p.receiveOn(&p.heads[0])
						time.Sleep(time.Second)
					}
					ended := make(chan report.Run)
					var in, other report.Run
					go func() { ended <- of("tank/in") }()
					time.Sleep(test.pause)
					other, in = of(test.other), <-ended
					grows := day >= 2
					assert.Equal(t, grows, in.Failed(), "day %d", day)
					assert.False(t, other.Failed(), "day %d: it is told by the datasets' own runs", day)
					assert.Equal(t, []bool{!grows, !grows}, []bool{in.Success, other.Success}, "day %d: both are said in one file", day)
					kept := w.last.Backlogs["tank/in"]
					assert.Equal(t, in.Backlogs["tank/in"], kept, "day %d", day)
					assert.Equal(t, in.Start, kept.At)
					assert.Positive(t, kept.Due)
					assert.Zero(t, w.last.Backlogs[test.other].Due)
					time.Sleep(25 * time.Hour)
				}
				whole := of("tank")
				assert.NotContains(t, whole.Backlogs, "tank/in", "counted with the pool's")
				assert.Positive(t, whole.Backlogs["tank"].Due)
				time.Sleep(9 * 24 * time.Hour)
				assert.NotContains(t, of("ssd/in").Backlogs, "tank", "nobody counts there any more")
			})
		})
	}
}

// A disk that a guest of this node uses through QEMU's own options (args) is not a copy.
func TestPruneLeavesWhatArgsName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		w.copy("tank/in/vm-300-disk-0", 10)
		w.copy("tank/in/vm-301-disk-0", 10)
		g := w.guest(100, false, "ssd")
		g.cfg.Volumes = append(g.cfg.Volumes, pve.Volume{Key: "args", Name: "/dev/zvol/tank/in/vm-300-disk-0"})
		for i := range w.pool("tank").heads {
			w.pool("tank").heads[i].Running = zfs.Property{Value: "pve2", Received: "pve2", Source: zfs.SourceReceived}
		}
		done := w.prune(t, func(o *Options) { o.Config.Datasets = []string{"tank/in"} })
		assert.Equal(t, 5, done.Counts[report.DidDestroy])
		assert.Len(t, w.pool("tank").snapshots["tank/in/vm-300-disk-0"], 10)
		assert.Contains(t, reasonOf(done, "tank/in/vm-300-disk-0"), "it belongs to guest 100 of this node")
	})
}
