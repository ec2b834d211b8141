package run

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/report"
	"snapwatch/lua"
)

// busyDisk is the result of a channel program that fails because the first disk already has a
// snapshot in this transaction group. The program takes so long that snap has released the guests'
// locks before the program ends.
func busyDisk(guests []lua.Guest) (map[string]lua.Outcome, error) {
	time.Sleep(3 * time.Second)
	errno := syscall.EAGAIN
	return map[string]lua.Outcome{guests[0].Disks[0].Dataset: {Snapshot: &errno}}, nil
}

// If a _stopped snapshot failed, and the guest's lock was released meanwhile, the run does not try
// the snapshot again, because a person or a program may have started the guest.
func TestStopRetriedWithoutLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		g := w.guest(100, false, "tank")
		w.pool("tank").onSnapshot = func(_ context.Context, guests []lua.Guest) (map[string]lua.Outcome, error) {
			g.alive = true
			return busyDisk(guests)
		}
		r := w.run(t)
		assert.Equal(t, []int{100}, w.onlyEvent(t, "tank: snapshot").held)
		require.Len(t, r.Disks, 1)
		assert.Contains(t, r.Disks[0].Reason, "left to the next run: its lock had to be released")
	})
}

// A pool writes for five seconds before the _stopped snapshot of a guest exists, so snap releases
// the guest's lock before the snapshot exists. If the guest runs when the snapshot exists, the run
// warns that the guest was started, sets the label back to this node, and starts no after_stop; the
// next run takes a regular snapshot. If it is unknown whether the guest runs, after_stop waits for
// a later run.
func TestStartedBehindTheLock(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*virtualGuest)
		final  bool
		warns  string
		label  string
		hook   int
	}{
		{"off", func(*virtualGuest) {}, false, "", "stopped", 1},
		{"started", func(g *virtualGuest) { g.alive = true }, false, "guest 100 was started while its last snapshot was taken", "pve1", 0},
		{"unknown", func(g *virtualGuest) { g.processErr = errors.New("/proc hangs") }, false, "it is unknown whether guest 100 was started", "stopped", 0},
		{"started at shutdown", func(g *virtualGuest) { g.alive = true }, true, "guest 100 was started while its last snapshot was taken", "pve1", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newVirtualWorld(t)
				w.shutdown = test.final
				g := w.guest(100, false, "ssd", "tank")
				p := w.pool("tank")
				p.onSnapshot = func(context.Context, []lua.Guest) (map[string]lua.Outcome, error) {
					time.Sleep(3 * time.Second)
					assert.Zero(t, w.locked(), "Proxmox waits ten seconds for the lock, and has it now")
					test.change(g)
					time.Sleep(2 * time.Second)
					p.onSnapshot = nil
					return nil, nil
				}
				r := w.run(t, hooking, func(o *Options) { o.Final = test.final })
				warnings := slices.DeleteFunc(slices.Clone(r.Problems), func(p report.Problem) bool { return p.Severity != report.Warning })
				if test.warns == "" {
					assert.Empty(t, warnings)
				} else if assert.Len(t, warnings, 1) {
					assert.Contains(t, warnings[0].Text, test.warns)
				}
				assert.Equal(t, test.warns == "", r.Success)
				require.Len(t, r.Disks, 2)
				for i, pool := range []string{"ssd", "tank"} {
					h := w.pool(pool).heads[0]
					assert.Contains(t, h.NewestSnapshot, "_stopped")
					assert.Equal(t, test.label, h.Running.Value)
					if test.warns != "" {
						assert.Equal(t, report.ResultUnprotected, r.Disks[i].Result)
						assert.Contains(t, r.Disks[i].Reason+r.Disks[i].Error, test.warns)
					}
				}
				if !test.final {
					assert.Len(t, w.eventsWith("stop begins"), test.hook)
				}
				g.processErr, w.shutdown = nil, false
				time.Sleep(15 * time.Minute)
				r = w.run(t, hooking)
				assert.True(t, r.Success)
				assert.False(t, r.Failed(), "%+v", r.Problems)
				assert.Equal(t, g.alive, !strings.HasSuffix(p.heads[0].NewestSnapshot, "_stopped"))
				if !g.alive {
					assert.Len(t, w.eventsWith("stop begins"), 1)
				}
				w.nothingOwed(t)
			})
		})
	}
}

// If the snapshot of a living guest failed, and the guest's lock was released meanwhile, the run
// does not try the snapshot again, because a rollback of the guest may have begun.
func TestLivingRetriedWithoutLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		g := w.guest(100, true, "tank")
		w.pool("tank").onSnapshot = func(_ context.Context, guests []lua.Guest) (map[string]lua.Outcome, error) {
			g.cfg.Lock, g.rolling, g.alive = "rollback", true, false
			return busyDisk(guests)
		}
		r := w.run(t)
		assert.Equal(t, []int{100}, w.onlyEvent(t, "tank: snapshot").held)
		require.Len(t, r.Disks, 1)
		assert.Contains(t, r.Disks[0].Reason, "left to the next run: its lock had to be released")
	})
}

// While Proxmox rolls the disks of a guest back, Proxmox does not hold the guest's lock. snap
// recognizes the rollback by Proxmox's task list, even if the guest's configuration cannot be read.
func TestRollbackConfigUnread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		g := w.guest(100, true, "tank")
		g.unread, g.rolling = true, true
		r := w.run(t)
		assert.Empty(t, w.eventsWith("tank: snapshot"))
		assert.Equal(t, time.Second, w.onlyEvent(t, "100: lock released").at)
		require.Len(t, r.Disks, 1)
		assert.Contains(t, r.Disks[0].Reason, "it is being rolled back")
	})
}

// If a guest's state changes after two looks have found the guest stopped, the run notices the
// change under the guest's lock.
func TestThroughTheLook(t *testing.T) {
	for name, change := range map[string]func(*virtualGuest){
		"nothing": nil,
		"alive":   func(g *virtualGuest) { g.alive = true },
		"busy":    func(g *virtualGuest) { g.busy = true },
		"reboot":  func(g *virtualGuest) { g.rebooting = true },
		"locked":  func(g *virtualGuest) { g.cfg.Lock = "rollback" },
		"unread":  func(g *virtualGuest) { g.unread = true },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newVirtualWorld(t)
				g := w.guest(100, false, "tank")
				w.pool("tank").onSync = func(context.Context) error {
					if change != nil {
						change(g)
					}
					return nil
				}
				w.run(t)
				assert.Equal(t, name == "nothing", len(w.eventsWith("_stopped")) == 1)
			})
		})
	}
}

// snap makes a pool write its pending data before snap takes the locks of the guests for their
// snapshots.
func TestSyncBeforeLocks(t *testing.T) {
	for name, change := range map[string]func(*virtualWorld) []func(*Options){
		"stopped": func(w *virtualWorld) []func(*Options) { w.guest(100, false, "tank"); return nil },
		"frozen": func(w *virtualWorld) []func(*Options) {
			w.guest(100, true, "tank")
			return []func(*Options){freezeGuests("100")}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newVirtualWorld(t)
				w.run(t, change(w)...)
				steps := w.eventsWith("tank: ")
				require.GreaterOrEqual(t, len(steps), 2)
				assert.Equal(t, "tank: sync", steps[0].what)
				assert.Empty(t, steps[0].held)
				assert.Contains(t, steps[1].what, "tank: snapshot")
				assert.Equal(t, []int{100}, steps[1].held)
			})
		})
	}
}

// A living guest gets no snapshot in two runs of snap, but gets one in the third run, if another
// process holds its lock, or if its files cannot be read under the lock.
func TestBusyRunsAreCounted(t *testing.T) {
	for name, change := range map[string]func(*virtualGuest){
		"locked":     func(g *virtualGuest) { g.busy = true },
		"unreadable": func(g *virtualGuest) { g.unread = true },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newVirtualWorld(t)
				change(w.guest(100, true, "tank"))
				for n := range 3 {
					w.run(t)
					assert.Equal(t, n == 2, len(w.eventsWith("tank: snapshot")) == 1, "run %d", n+1)
					time.Sleep(15 * time.Minute)
				}
			})
		})
	}
}

// Guests are locked while a channel program takes their snapshots, so one channel program takes
// snapshots of at most 50 disks. If one guest has more than 50 disks, one channel program takes the
// snapshots of all its disks.
func TestFewDisksTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		for vmid := 100; vmid < 220; vmid++ {
			w.guest(vmid, true, "tank")
		}
		w.guest(300, true, strings.Fields(strings.Repeat("tank ", 60))...)
		w.run(t)
		var disks int
		for _, names := range w.pool("tank").programs {
			disks += len(names)
			if len(names) > 50 {
				assert.Len(t, names, 60)
				assert.True(t, strings.HasPrefix(names[0], "tank/data/vm-300-"), names[0])
			}
		}
		assert.Equal(t, 180, disks)
		for _, e := range w.eventsWith("tank: snapshot") {
			assert.LessOrEqual(t, len(e.held), 50)
			for _, vmid := range e.held {
				assert.Contains(t, e.what, fmt.Sprintf("/vm-%d-disk-0@", vmid), "locked, but not for its own program")
			}
		}
	})
}

// snap prevents replication and migration of a guest by a lock exactly as long as the guest is
// frozen.
func TestMigrationLockReleased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		w.guest(100, true, "tank")
		w.pool("tank").onSnapshot = func(context.Context, []lua.Guest) (map[string]lua.Outcome, error) {
			time.Sleep(time.Second)
			return nil, nil
		}
		r := w.run(t, freezeGuests("100"))
		assert.Equal(t, time.Duration(0), w.onlyEvent(t, "100: migration lock taken").at)
		assert.Equal(t, time.Second, w.onlyEvent(t, "thaw").at)
		assert.Equal(t, time.Second, w.onlyEvent(t, "100: migration lock released").at)
		require.Len(t, r.Quiesced, 1)
		assert.Equal(t, report.Application, r.Quiesced[0].Consistent)
	})
}

// Proxmox waits ten seconds for a guest's lock, and two seconds for the lock of its replication.
// However long a pool takes for the snapshots of a frozen guest, snap releases the guest's two
// locks before Proxmox gives up waiting.
func TestLocksOfFrozenEndInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		w.guest(100, true, "tank")
		w.pool("tank").onSnapshot = func(context.Context, []lua.Guest) (map[string]lua.Outcome, error) {
			time.Sleep(20 * time.Second)
			return nil, nil
		}
		w.run(t, freezeGuests("100"))
		assert.Less(t, w.onlyEvent(t, "100: migration lock released").at, 2*time.Second)
		assert.Less(t, w.onlyEvent(t, "100: lock released").at, 10*time.Second)
		assert.Equal(t, 20*time.Second, w.onlyEvent(t, "thaw").at)
	})
}

// A guest that is being replicated or migrated is not frozen, but gets its snapshot.
func TestNoFreezeWhileMigrating(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		w.guest(100, true, "tank").moving = true
		r := w.run(t, freezeGuests("100"))
		assert.Empty(t, w.eventsWith("freeze"))
		w.onlyEvent(t, "tank: snapshot")
		require.Len(t, r.Quiesced, 1)
		assert.Equal(t, report.Crash, r.Quiesced[0].Consistent)
		assert.Contains(t, r.Quiesced[0].Reason, "Proxmox works on it")
	})
}

// If a guest that should be frozen gets no snapshot in a run, the report gives the reason.
func TestFrozenLeftIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		w.guest(100, true, "tank").busy = true
		r := w.run(t, freezeGuests("100"))
		assert.Empty(t, w.eventsWith("tank: snapshot"))
		require.Len(t, r.Disks, 1)
		assert.Contains(t, r.Disks[0].Reason, "guest 100: left to the next run: Proxmox works on it")
	})
}

// Two lines of cron run snap in turn, each for different datasets. The run of one line keeps in
// state.json the records about the datasets of the other line.
func TestRunsOfOtherDatasets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		w.guest(100, true, "tank").busy = true
		w.guest(101, true, "ssd")
		of := func(pool string) func(*Options) {
			return func(o *Options) {
				o.Config.Datasets = []string{pool + "/data"}
			}
		}
		for run := range 3 {
			w.run(t, of("tank"))
			assert.Equal(t, run+1, w.state.Busy[100])
			w.run(t, of("ssd"))
			assert.Equal(t, run+1, w.state.Busy[100])
		}
		assert.Len(t, w.pool("tank").programs, 1, "nobody waits for ever")
		assert.Contains(t, w.state.Checked, disk0)
		w.guests[100].busy = false
		w.run(t, of("tank"))
		assert.Empty(t, w.state.Busy)
	})
}

// If an ended migration left the lock word migrate in a living guest's configuration, snap does not
// rotate the guest's snapshots any more, and warns. While a migration is still running, Proxmox
// holds the guest's lock file, and the run is a success.
func TestLeftLock(t *testing.T) {
	for _, busy := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newVirtualWorld(t)
			g := w.guest(100, true, "tank")
			g.busy, g.cfg.Lock, g.cfg.Changed = busy, "migrate", time.Now().Add(-2*time.Hour)
			done := w.run(t)
			assert.Equal(t, !busy, done.Failed())
			assert.Equal(t, map[bool]int{false: 1, true: 0}[busy], done.Locked)
			assert.Empty(t, w.held)
			assert.True(t, slices.ContainsFunc(done.Problems, func(p report.Problem) bool { return strings.Contains(p.Text, "qm unlock 100") }))
		})
	}
}
