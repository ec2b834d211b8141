package run

import (
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
	"snapwatch/internal/zfs"
)

// destroying returns an option that sets max_destroys, the largest number of snapshots that one run
// destroys.
func destroying(most int) func(*Options) {
	return func(o *Options) { o.Config.MaxDestroys = &most }
}

// addOlderSnapshots adds n snapshots to a guest's disk, a minute apart. The argument `ago` is the
// age of the newest of the added snapshots.
func (p *virtualPool) addOlderSnapshots(dataset string, n int, ago time.Duration) {
	for i := range n {
		p.addOlder(virtualSnapshot(dataset, ago+time.Duration(i)*time.Minute, zfs.Frequently, uint64(800-i)))
	}
}

// destroyed returns the number of snapshots that runs destroyed on a simulated pool.
func (w *virtualWorld) destroyed(pool string) int { return len(w.eventsWith(pool + ": destroy ")) }

// A run destroys the oldest expired snapshots of all pools first, up to the number that one run may
// destroy. The run reports the number of expired snapshots that are left. The run is a success,
// even if the number of expired snapshots that are left has grown since the previous run.
func TestDestroysOverPools(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		w.guest(100, true, "ssd")
		w.guest(101, true, "tank")
		w.pool("ssd").addOlderSnapshots("ssd/data/vm-100-disk-0", 30, 40*time.Hour)
		w.pool("tank").addOlderSnapshots("tank/data/vm-101-disk-0", 30, 20*time.Hour)
		done := w.run(t, destroying(20))
		assert.Equal(t, []int{20, 0}, []int{w.destroyed("ssd"), w.destroyed("tank")})
		assert.True(t, done.Success)
		assert.Equal(t, []int{8, 28}, []int{done.Backlogs["ssd/data"].Due, done.Backlogs["tank/data"].Due})
		assert.False(t, done.Failed())

		time.Sleep(15 * time.Minute)
		w.pool("ssd").addOlderSnapshots("ssd/data/vm-100-disk-0", 20, 70*time.Hour)
		done = w.run(t, destroying(10))
		assert.Positive(t, done.Backlogs["ssd/data"].Due)
		assert.True(t, done.Success, "many came at once")
		assert.False(t, done.Failed())

		time.Sleep(15 * time.Minute)
		done = w.run(t)
		assert.True(t, done.Success)
		assert.Equal(t, []int{0, 0}, []int{done.Backlogs["ssd/data"].Due, done.Backlogs["tank/data"].Due})
		assert.Equal(t, 1+50+3-4+1+30+3-4, w.destroyed("ssd")+w.destroyed("tank"))
	})
}

// A run tries to destroy expired snapshots with a hold. Failed destroys do not count for
// max_destroys, so the run still destroys max_destroys snapshots without a hold, on all pools
// together.
func TestHeldSnapshotsStopNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		w.guest(100, true, "ssd")
		w.guest(101, true, "ssd")
		w.guest(102, true, "tank")
		w.pool("ssd").addOlderSnapshots("ssd/data/vm-100-disk-0", 300, 90*time.Hour)
		w.pool("ssd").addOlderSnapshots("ssd/data/vm-101-disk-0", 30, 20*time.Hour)
		w.pool("tank").addOlderSnapshots("tank/data/vm-102-disk-0", 30, 20*time.Hour)
		w.pool("ssd").hold("ssd/data/vm-100-disk-0", 0)
		done := w.run(t, destroying(20))
		assert.Equal(t, 20, done.Counts[report.DidDestroy], "what was done counts")
		assert.Equal(t, []int{10, 10}, []int{w.destroyed("ssd"), w.destroyed("tank")})
		assert.True(t, done.Success)
		assert.Equal(t, []int{18, 18}, []int{done.Backlogs["ssd/data"].Due, done.Backlogs["tank/data"].Due})
		said := slices.IndexFunc(done.Problems, func(p report.Problem) bool { return strings.Contains(p.Text, "more are kept: it has a hold") })
		assert.GreaterOrEqual(t, said, 0, done.Problems)
		for range 2 {
			time.Sleep(15 * time.Minute)
			w.run(t, destroying(20))
		}
		assert.Len(t, w.pool("tank").snapshots["tank/data/vm-102-disk-0"], 4)
	})
}

// If a disk has hundreds of expired snapshots with holds, a run has no time to try to destroy all
// of these snapshots. The run first destroys the expired snapshots of disks without holds. The run
// reports once for each disk that its snapshots have holds.
func TestManyHeldSnapshotsStopNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		w.guest(100, true, "ssd")
		w.guest(101, true, "ssd")
		w.guest(102, true, "tank")
		w.pool("ssd").addOlderSnapshots("ssd/data/vm-100-disk-0", 700, 90*time.Hour)
		w.pool("ssd").addOlderSnapshots("ssd/data/vm-101-disk-0", 9, 20*time.Hour)
		w.pool("tank").addOlderSnapshots("tank/data/vm-102-disk-0", 9, 20*time.Hour)
		w.pool("ssd").hold("ssd/data/vm-100-disk-0", 250*time.Millisecond)
		done := w.run(t, destroying(20))
		assert.Equal(t, []int{7, 7}, []int{w.destroyed("ssd"), w.destroyed("tank")})
		assert.Zero(t, done.Backlogs["tank/data"].Due, "that is all")
		var said []string
		for _, p := range done.Problems {
			if strings.Contains(p.Text, "it has a hold") {
				said = append(said, p.Text)
			}
		}
		require.Len(t, said, 1)
		assert.Regexp(t, "^ssd/data/vm-100-disk-0@.* and [0-9]{3} more are kept", said[0])
	})
}

// A run destroys no snapshots of a disk that is being received. When a channel program finds that a
// disk is being received, the run continues with the disks that are not being received.
func TestADiskThatIsReceivedStopsNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		w.guest(100, true, "ssd")
		w.guest(101, true, "ssd")
		w.pool("ssd").addOlderSnapshots("ssd/data/vm-100-disk-0", 300, 90*time.Hour)
		w.pool("ssd").addOlderSnapshots("ssd/data/vm-101-disk-0", 30, 20*time.Hour)
		w.pool("ssd").receiving = []string{"ssd/data/vm-100-disk-0"}
		done := w.run(t, destroying(20))
		assert.Equal(t, 20, w.destroyed("ssd"))
		assert.Len(t, w.eventsWith("is being received"), 1)
		assert.Equal(t, 8, done.Backlogs["ssd/data"].Due)
		said := 0
		for _, p := range done.Problems {
			said += strings.Count(p.Text, "is being received: no snapshot of it is destroyed")
		}
		assert.Equal(t, 1, said)
	})
}

// If a channel program that destroys snapshots on one pool fails, the report still counts these
// snapshots as due, and the destroys on all other pools continue.
func TestDestroyFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		w.guest(100, true, "ssd")
		w.guest(101, true, "tank")
		w.pool("ssd").addOlderSnapshots("ssd/data/vm-100-disk-0", 70, 40*time.Hour)
		w.pool("tank").addOlderSnapshots("tank/data/vm-101-disk-0", 70, 20*time.Hour)
		w.pool("ssd").failDestroy = fmt.Errorf("zfs: exit 1")
		done := w.run(t, destroying(100))
		assert.Equal(t, []int{0, 68}, []int{w.destroyed("ssd"), w.destroyed("tank")}, "they take over what it could not do")
		assert.Equal(t, []int{68, 0}, []int{done.Backlogs["ssd/data"].Due, done.Backlogs["tank/data"].Due})
	})
}

// If more snapshots have expired than one run may destroy, the disks of all pools lose the same
// number of snapshots, and after several runs no expired snapshot is left.
func TestBacklogIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const disks, had, most, runs = 16, 10, 20, 40
		w := newVirtualWorld(t)
		w.quiet = true
		for i := range disks {
			pool := []string{"ssd", "tank", "tank"}[i%3]
			w.guest(100+i, true, pool)
			w.pool(pool).addOlderSnapshots(fmt.Sprintf("%s/data/vm-%d-disk-0", pool, 100+i), had+4-1-1, time.Hour)
		}
		left := 0
		for run := range runs {
			done := w.run(t, destroying(most))
			require.True(t, done.Success, "in run %d what is left shrinks", run)
			left = 0
			least, greatest := 1000, 0
			for _, p := range w.pools {
				for _, list := range p.snapshots {
					least, greatest = min(least, len(list)), max(greatest, len(list))
					left += len(list) - 4
				}
			}
			require.LessOrEqual(t, greatest-least, 2, "in run %d", run)
			require.Equal(t, left, done.Backlogs["ssd/data"].Due+done.Backlogs["tank/data"].Due)
			time.Sleep(15 * time.Minute)
		}
		assert.Zero(t, left)
	})
}

// hold makes each destroy of a snapshot of the disk fail, as if the snapshot had a hold. The
// argument `takes` is the time that each failed destroy takes.
func (p *virtualPool) hold(disk string, takes time.Duration) {
	p.onDestroy = func(dataset, _ string) syscall.Errno {
		if dataset != disk {
			return 0
		}
		time.Sleep(takes)
		return syscall.EBUSY
	}
}
