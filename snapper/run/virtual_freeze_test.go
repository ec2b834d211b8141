package run

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/config"
	"snapwatch/internal/pve"
	"snapwatch/internal/quiesce"
	"snapwatch/internal/report"
	"snapwatch/lua"
)

func qemu(vmid int) pve.ID { return pve.ID{VMID: vmid, Kind: pve.QEMU} }

// problemTexts returns the text of each problem in a report that has the given severity and
// contains the given words.
func problemTexts(r report.Run, severity report.Severity, words string) (texts []string) {
	for _, p := range r.Problems {
		if p.Severity == severity && strings.Contains(p.Text, words) {
			texts = append(texts, p.Text)
		}
	}
	return texts
}

// As long as a guest that an earlier run left frozen is not thawed, each run reports the guest, and
// says that snapwatch froze the guest.
func TestLeftFrozen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		w.guest(100, true, "tank")
		w.taken = map[pve.ID]quiesce.TakenOver{qemu(100): {Since: time.Now(), Err: errors.New("the agent is silent")}}
		for range 3 {
			r := w.run(t, freezeGuests("100"))
			assert.Len(t, problemTexts(r, report.Warning, "guest 100 was frozen for its snapshot at"), 1)
			assert.Equal(t, []int{100}, r.LeftFrozen)
			require.Len(t, r.Quiesced, 1)
			assert.Equal(t, "it is not frozen: an earlier freeze of it has not ended yet", r.Quiesced[0].Reason)
			time.Sleep(15 * time.Minute)
		}
		w.taken[qemu(100)] = quiesce.TakenOver{Since: time.Now(), Thawed: true}
		r := w.run(t, freezeGuests("100"))
		assert.Len(t, problemTexts(r, report.Warning, "it is thawed now"), 1)
		assert.Empty(t, r.LeftFrozen)
		assert.Equal(t, report.Application, r.Quiesced[0].Consistent)
		w.taken = nil
		assert.Empty(t, w.run(t, freezeGuests("100")).Problems)
	})
}

// A run of snap or prune that cannot begin its own work still thaws the guests that earlier runs
// left frozen.
func TestThawedBeforeAllElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		w.taken = map[pve.ID]quiesce.TakenOver{qemu(100): {Err: errors.New("silent")}}
		o := w.options()
		o.Node = "another"
		_, r, err := Run(t.Context(), o)
		require.Error(t, err)
		assert.Len(t, problemTexts(r, report.Warning, "may still be"), 1)
		o.DryRun = true
		_, r, _ = Run(t.Context(), o)
		assert.Empty(t, r.Problems)
		w.guest(101, true, "tank")
		_, r, err = Prune(t.Context(), w.options())
		require.NoError(t, err)
		assert.Len(t, problemTexts(r, report.Warning, "may still be"), 1)
	})
}

// If a guest did not remain frozen until the run thawed it, the report calls the guest's snapshot
// crash-consistent.
func TestLapsedIsCrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		w.guest(100, true, "tank").lapses = "reset"
		w.guest(101, true, "tank")
		r := w.run(t, freezeGuests("100-101"))
		require.Len(t, r.Quiesced, 2)
		assert.Equal(t, report.Crash, r.Quiesced[0].Consistent)
		assert.Equal(t, report.Application, r.Quiesced[1].Consistent)
		noted := w.onlyEvent(t, "tank: consistent")
		assert.Contains(t, noted.what, "tank/data/vm-101-disk-0@")
		assert.Empty(t, noted.held, "nobody waits for that")
		assert.Equal(t, []string{"guest 100: its snapshot is only crash-consistent: it may have continued before the snapshot was made: reset"}, problemTexts(r, report.Warning, ""))
	})
}

// If one of a guest's pools is locked by another run, or answers late, the guest's snapshots are
// torn, and the report has one entry about the guest.
func TestTorn(t *testing.T) {
	for name, odd := range map[string]func(*virtualPool){
		"locked": func(p *virtualPool) { p.busy = true },
		"late":   func(p *virtualPool) { p.slowList = time.Minute },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newVirtualWorld(t)
				w.guest(100, true, "ssd", "tank")
				odd(w.pool("tank"))
				r := w.run(t, freezeGuests("100"))
				require.Len(t, r.Quiesced, 1)
				assert.Equal(t, report.Torn, r.Quiesced[0].Consistent)
				assert.Contains(t, r.Quiesced[0].Reason, "there is no snapshot of tank/data/vm-100-disk-1")
				assert.NotEmpty(t, problemTexts(r, report.Warning, "guest 100: its snapshot is torn: the guest was frozen, and there is no snapshot of tank/data/vm-100-disk-1"))

				w.pool("tank").busy, w.pool("tank").slowList = false, 0
				time.Sleep(15 * time.Minute)
				r = w.run(t, freezeGuests("100"))
				require.Len(t, r.Quiesced, 1)
				assert.Equal(t, report.Application, r.Quiesced[0].Consistent)
			})
		})
	}
}

// If two running guests use a disk, and only one guest is frozen, the snapshots of the frozen guest
// are torn.
func TestSharedDiskIsTorn(t *testing.T) {
	for name, alive := range map[string]bool{"runs": true, "stopped": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newVirtualWorld(t)
				g := w.guest(100, true, "tank")
				other := w.guest(101, alive, "tank")
				other.cfg.Volumes = append(other.cfg.Volumes, pve.Volume{Key: "scsi5", Storage: "tank", Name: g.cfg.Volumes[0].Name})
				r := w.run(t, freezeGuests("100"))
				require.Len(t, r.Quiesced, 1)
				if !alive {
					assert.Equal(t, report.Application, r.Quiesced[0].Consistent)
					return
				}
				assert.Equal(t, report.Torn, r.Quiesced[0].Consistent)
				assert.Contains(t, r.Quiesced[0].Reason, "guest 101, which was not frozen, uses tank/data/vm-100-disk-0")
				assert.Empty(t, w.eventsWith("tank: consistent"))
			})
		})
	}
}

// Two guests that share a disk and are frozen together have consistent snapshots.
func TestSharedDiskOfAGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		g := w.guest(100, true, "tank")
		other := w.guest(101, true, "tank")
		other.cfg.Volumes = append(other.cfg.Volumes, pve.Volume{Key: "scsi5", Storage: "tank", Name: g.cfg.Volumes[0].Name})
		r := w.run(t, func(o *Options) {
			var all config.VMIDs
			require.NoError(t, all.UnmarshalText([]byte("100-101")))
			o.Config.Groups = []config.Group{{Name: "shop", VMID: all, Quiesce: config.Agent}}
		})
		require.Len(t, r.Quiesced, 2)
		for _, q := range r.Quiesced {
			assert.Equal(t, report.Application, q.Consistent, q.Reason)
		}
	})
}

// If a guest's configuration names a disk by a path, and this disk gets no snapshot, the guest's
// snapshots are torn. The guest's snapshots are also torn if the configuration names this disk by a
// storage.
func TestTornByPath(t *testing.T) {
	for name, path := range map[string]string{"zvol": "/dev/zvol/tank/data/vm-100-disk-5", "partition": "/dev/zvol/tank/data/vm-100-disk-5-part1", "short": "/dev/tank/data/vm-100-disk-5"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newVirtualWorld(t)
				g := w.guest(100, true, "ssd")
				g.cfg.Volumes = append(g.cfg.Volumes, pve.Volume{Key: "scsi5", Name: path})
				w.pool("tank").addDisk("tank/data/vm-100-disk-5", 77)
				w.pool("tank").busy = true
				r := w.run(t, freezeGuests("100"))
				require.Len(t, r.Quiesced, 1)
				assert.Equal(t, report.Torn, r.Quiesced[0].Consistent)
				assert.Contains(t, r.Quiesced[0].Reason, "there is no snapshot of tank/data/vm-100-disk-5")
			})
		})
	}
}

// The first run with a certain fault of a guest's freeze warns about the fault, even if the
// previous run had a different fault. While a fault lasts, no later run warns about the fault
// again. A condition that ends without a repair, such as the lock of a backup, does not affect
// later reports.
func TestEachFaultIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		g := w.guest(100, true, "tank")
		for n, step := range []struct {
			lock, lapses, refuses string
			want                  int
		}{
			{lock: "backup", want: 0},
			{lapses: "reset after 9.3s", want: 1},
			{lapses: "reset after about 9s", want: 0},
			{lock: "backup", want: 0},
			{lapses: "reset after 10s", want: 0},
			{refuses: "agent dead", want: 1},
			{want: 0},
			{refuses: "agent dead", want: 1},
		} {
			g.cfg.Lock, g.lapses, g.refuses = step.lock, step.lapses, step.refuses
			r := w.run(t, freezeGuests("100"))
			assert.Len(t, problemTexts(r, report.Warning, ""), step.want, "run %d: %v", n+1, r.Problems)
			time.Sleep(15 * time.Minute)
		}
	})
}

// If a group of guests cannot be frozen in time, none of its guests is frozen. The run reports the
// missing freeze once for the group, and all guests of the group get their snapshots without a
// freeze.
func TestGroupTooLarge(t *testing.T) {
	for _, test := range []struct {
		limit, answers time.Duration
		want           string // "" if the group is frozen
	}{
		{10 * time.Second, 600 * time.Millisecond, "takes about 3.6s here, and thawing them takes as long: set max_freeze to 11s, or make the group smaller"},
		{11 * time.Second, 600 * time.Millisecond, ""},
		{time.Minute, 660 * time.Millisecond, ""},
		// With any value of max_freeze, this group cannot be frozen in time, because the freezes of
		// all its guests take longer than a run may hold the guests' locks.
		{10 * time.Second, 680 * time.Millisecond, "takes about 4.1s here, which is too long whatever max_freeze is: make the group smaller"},
		{time.Minute, 1500 * time.Millisecond, "takes about 9s here, which is too long whatever max_freeze is: make the group smaller"},
	} {
		t.Run(fmt.Sprint(test.limit, test.answers), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newVirtualWorld(t)
				var names []string
				for vmid := 101; vmid <= 112; vmid++ {
					w.guest(vmid, true, "tank").slowAgent = test.answers
					names = append(names, fmt.Sprint(vmid))
				}
				r := w.run(t, func(o *Options) {
					var all config.VMIDs
					require.NoError(t, all.UnmarshalText([]byte("101-112")))
					o.Config.Groups = []config.Group{{Name: "shop", VMID: all, Quiesce: config.Agent}}
					o.Config.MaxFreeze = config.Duration(test.limit)
				})
				require.Len(t, r.Quiesced, 12)
				frozen := test.want == ""
				assert.Equal(t, frozen, len(w.eventsWith("freeze")) == 1)
				for _, q := range r.Quiesced {
					assert.Equal(t, frozen, q.Consistent == report.Application)
					assert.NotEmpty(t, q.Snapshot)
				}
				var want []string
				if !frozen {
					want = []string{"guests " + strings.Join(names, ", ") + ": their snapshots are only crash-consistent: it is not frozen: freezing 12 virtual machines " + test.want}
				}
				assert.Equal(t, want, problemTexts(r, report.Warning, ""))
			})
		})
	}
}

// If freezing a guest takes longer than snap may hold the guest's lock, the guest still gets its
// snapshot, but the snapshot is not consistent, whatever the value of max_freeze is.
func TestSlowFreeze(t *testing.T) {
	for slow, want := range map[time.Duration]report.Consistency{5 * time.Second: report.Application, 9 * time.Second: report.Crash} {
		t.Run(slow.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newVirtualWorld(t)
				w.guest(100, true, "tank").slowFreeze = slow
				r := w.run(t, freezeGuests("100"), func(o *Options) { o.Config.MaxFreeze = config.Duration(time.Minute) })
				require.Len(t, r.Quiesced, 1)
				assert.Equal(t, want, r.Quiesced[0].Consistent)
				assert.NotEmpty(t, r.Quiesced[0].Snapshot)
				assert.Equal(t, []int{100}, w.onlyEvent(t, "tank: snapshot").held)
			})
		})
	}
}

// Two missing disks of a guest are two faults, even if the names of the disks differ only in a
// number. If a run finds one fault in the first round, and a second fault in the round of a late
// pool, the run reports each of the two faults once.
func TestFaultsOfDisks(t *testing.T) {
	t.Run("another disk", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newVirtualWorld(t)
			w.guest(100, true, "ssd1", "ssd2", "tank")
			for n, step := range []struct {
				busy string
				want int
			}{{"ssd1", 1}, {"ssd1", 0}, {"ssd2", 1}, {"ssd2", 0}, {"", 0}, {"ssd2", 1}} {
				for name, p := range w.pools {
					p.busy = name == step.busy
				}
				r := w.run(t, freezeGuests("100"))
				assert.Len(t, problemTexts(r, report.Warning, "torn"), step.want, "run %d: %v", n+1, r.Problems)
				time.Sleep(15 * time.Minute)
			}
		})
	})
	t.Run("two rounds", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newVirtualWorld(t)
			w.guest(100, true, "ssd1", "ssd2")
			w.pool("ssd2").slowList = time.Minute
			for n, want := range []int{2, 0, 0} {
				r := w.run(t, freezeGuests("100"))
				assert.Len(t, problemTexts(r, report.Warning, "torn"), want, "run %d: %v", n+1, r.Problems)
				time.Sleep(15 * time.Minute)
			}
		})
	})
}

// If snap takes no snapshot of one of a guest's disks, snap still freezes the guest for the
// snapshots of its remaining disks, and these snapshots are torn. A disk that is passed through on
// purpose, or that the configuration excludes, does not make the guest's snapshots torn.
func TestTornElsewhere(t *testing.T) {
	for name, test := range map[string]struct {
		volume pve.Volume
		lacks  string
	}{
		"another storage":          {pve.Volume{Key: "scsi5", Storage: "ceph", Name: "vm-100-disk-5"}, "ceph:vm-100-disk-5"},
		"a file":                   {pve.Volume{Key: "scsi5", Name: "/srv/images/5.qcow2"}, "/srv/images/5.qcow2"},
		"the name is not a disk's": {pve.Volume{Key: "scsi5", Storage: "tank", Name: "data5"}, "tank:data5"},
		"not attached":             {pve.Volume{Key: "unused0", Storage: "ceph", Name: "vm-100-disk-5"}, ""},
		"a device":                 {pve.Volume{Key: "scsi5", Name: "/dev/disk/by-id/ata-5"}, ""},
		"what cloud-init made":     {pve.Volume{Key: "ide2", Storage: "ceph", Name: "vm-100-cloudinit"}, ""},
		"a storage left out":       {pve.Volume{Key: "scsi5", Storage: "other", Name: "vm-100-disk-5"}, "other/data/vm-100-disk-5"},
		"a disk that is ignored":   {pve.Volume{Key: "scsi5", Storage: "other", Name: "vm-100-disk-6"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newVirtualWorld(t)
				g := w.guest(100, true, "tank")
				g.cfg.Volumes = append(g.cfg.Volumes, test.volume)
				if test.volume.Storage == "other" {
					w.pool("other").addDisk("other/data/"+test.volume.Name, 77)
				}
				r := w.run(t, freezeGuests("100"), func(o *Options) {
					if test.volume.Storage == "other" {
						o.Config.Datasets = []string{"tank/data"}
						o.Config.Overrides = []config.Override{{Selector: config.Selector{Disk: "other/data/vm-100-disk-6"}, Ignore: true}}
					}
				})
				require.Len(t, r.Quiesced, 1)
				if test.lacks == "" {
					assert.Equal(t, report.Application, r.Quiesced[0].Consistent, r.Quiesced[0].Reason)
					return
				}
				assert.Equal(t, report.Torn, r.Quiesced[0].Consistent)
				assert.Equal(t, "the guest was frozen, and there is no snapshot of "+test.lacks, r.Quiesced[0].Reason)
				assert.Empty(t, w.eventsWith("tank: consistent"))
				assert.Len(t, problemTexts(r, report.Warning, "guest 100: its snapshot is torn"), 1)
			})
		})
	}
}

// A run first reports a fault, and then saves in a file that it has reported the fault. If the run
// is killed between the report and the save, the next run reports the fault again, so no fault
// remains unreported.
func TestToldBeforeItIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		w.guest(100, true, "tank").lapses = "reset"
		w.onHook = func(context.Context, string, string) (string, error) {
			time.Sleep(time.Minute)
			return "", errTest
		}
		var heard []report.Problem
		kept := 0
		w.onSave = func(r report.Run) {
			kept++
			assert.Equal(t, r.Problems, heard)
		}
		r := w.run(t, freezeGuests("100"), func(o *Options) {
			o.Tell = func(p []report.Problem) { heard = append(heard, p...) }
			o.Config.Hooks.AfterSnapshot = []config.Hook{{Argv: []string{"after"}}}
		})
		assert.Equal(t, r.Problems, heard)
		assert.Equal(t, 2, kept, "once more with what hooks said")
		assert.Len(t, problemTexts(r, report.Warning, "only crash-consistent"), 1)
	})
}

// If only some disks of a guest got a snapshot, the guest's snapshots are torn, whatever prevented
// the missing snapshots.
func TestHalfIsTorn(t *testing.T) {
	for name, prepare := range map[string]func(w *virtualWorld){
		"no room on one pool": func(w *virtualWorld) {
			w.guest(100, true, "ssd", "tank")
			w.pool("tank").onSnapshot = fullPool
		},
		"one disk waits for its other user": func(w *virtualWorld) {
			g := w.guest(100, true, "ssd", "tank")
			other := w.guest(101, true)
			other.cfg.Volumes = g.cfg.Volumes[1:]
			other.busy = true
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newVirtualWorld(t)
				prepare(w)
				r := w.run(t, freezeGuests("100"))
				assert.Len(t, w.pool("ssd").snapshots["ssd/data/vm-100-disk-0"], 2)
				require.Len(t, r.Quiesced, 1)
				assert.Equal(t, report.Torn, r.Quiesced[0].Consistent)
				assert.Len(t, problemTexts(r, report.Warning, "guest 100: its snapshot is torn: the guest was frozen, and there is no snapshot of tank/data/vm-100-disk-1"), 1)
			})
		})
	}
}

// fullPool is the result of a channel program on a pool without room.
func fullPool(_ context.Context, guests []lua.Guest) (map[string]lua.Outcome, error) {
	errno := syscall.ENOSPC
	got := map[string]lua.Outcome{}
	for _, g := range guests {
		got[g.Disks[0].Dataset] = lua.Outcome{Snapshot: &errno}
	}
	return got, nil
}

// If a guest got no new snapshot, the report leaves out the guest's consistency.
func TestFrozenWithoutSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		w.guest(100, true, "tank")
		w.pool("tank").onSnapshot = fullPool
		r := w.run(t, freezeGuests("100"))
		assert.Len(t, problemTexts(r, report.Warning, "guest 100: its snapshot is missing: no snapshot was made: snapshot of tank/data/vm-100-disk-0: no space"), 1)
	})
}

// A guest whose disks wait for the next run is not frozen. A guest that waits for the next run
// needs no freeze in this run, so the report has no fault.
func TestNothingToFreezeFor(t *testing.T) {
	for name, test := range map[string]struct {
		change func(w *virtualWorld, o *Options)
		waits  string
	}{
		"it ended before it was asked": {func(w *virtualWorld, o *Options) {
			g := w.guests[100]
			w.onHook = func(context.Context, string, string) (string, error) {
				g.alive, g.silent = false, "VM 100 is not running"
				return "", nil
			}
		}, "it has ended"},
		"it ended after it was asked": {func(w *virtualWorld, o *Options) {
			g := w.guests[100]
			w.onAsked = func() { g.alive, g.refuses = false, "VM 100 is not running" }
		}, "it has ended"},
		"its only disk waits for the disk's other user": {func(w *virtualWorld, o *Options) {
			w.guests[101].cfg.Volumes = append(w.guests[101].cfg.Volumes, w.guests[100].cfg.Volumes...)
			w.guests[101].busy = true
		}, "Proxmox works on it"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newVirtualWorld(t)
				w.guest(100, true, "tank")
				w.guest(101, true, "tank")
				r := w.run(t, freezeGuests("100"), func(o *Options) {
					o.Config.Hooks.BeforeSnapshot = []config.Hook{{Argv: []string{"before"}}}
					require.NoError(t, o.Config.Hooks.BeforeSnapshot[0].VMID.UnmarshalText([]byte("101")))
					test.change(w, o)
				})
				assert.Empty(t, w.eventsWith("freeze"))
				assert.Len(t, w.pool("tank").snapshots["tank/data/vm-100-disk-0"], 1)
				assert.Empty(t, problemTexts(r, report.Warning, ""))
				assert.NotEmpty(t, problemTexts(r, report.Notice, "left to the next run: "+test.waits), r.Problems)
				assert.Empty(t, problemTexts(r, report.Notice, "snapshot is"))
				assert.Empty(t, r.Quiesced)
			})
		})
	}
}

// If the run had to release a guest's lock, the run does not freeze the guest, because a channel
// program may begin only while the run holds the lock.
func TestWatchdogStartsLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		w.guest(100, true, "tank")
		w.slowWindow = 9 * time.Second
		r := w.run(t, freezeGuests("100"))
		assert.Empty(t, w.eventsWith("freeze"))
		assert.NotEmpty(t, w.eventsWith("thaw"), "the watchdog is ended")
		assert.Len(t, problemTexts(r, report.Warning, "guest 100: its snapshot is missing: no snapshot was made; it could not be frozen: the watchdog took so long to start that the guest's lock had to be released"), 1)
		w.slowWindow = 0
		time.Sleep(15 * time.Minute)
		r = w.run(t, freezeGuests("100"))
		assert.Equal(t, report.Application, r.Quiesced[0].Consistent)
	})
}
