package run

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/report"
)

// only returns an option that restricts a run to the disks of one pool and makes the run adopt the
// given disks.
func only(pool string, adopt ...string) func(*Options) {
	return func(o *Options) { o.Config.Datasets, o.Adopt = []string{pool + "/data"}, adopt }
}

// beside starts a slow run of snap on the pool ssd, and calls the function `meanwhile` while this
// run works. beside returns when the run and the function have ended.
func (w *virtualWorld) beside(t *testing.T, meanwhile func()) {
	t.Helper()
	w.pool("ssd").slowList = 20 * time.Second
	done := make(chan error)
	go func() {
		_, _, err := Run(t.Context(), w.options(only("ssd"), freezeGuests("100-101")))
		done <- err
	}()
	time.Sleep(time.Second)
	meanwhile()
	require.NoError(t, <-done)
	w.pool("ssd").slowList = 0
}

// Two runs for different datasets overlap. The run that ends last keeps what the first run saved in
// the meantime: that a person adopted a disk, that a guest was skipped, that a guest was frozen,
// that a pool was found locked, and how many snapshots the first run did not destroy.
func TestRunsBesideKeepEachOthersRecords(t *testing.T) {
	const d = "tank/data/vm-100-disk-7"
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		w.guest(100, true, "tank")
		w.guest(101, true, "ssd")
		w.guest(102, true, "tank").busy = true
		p := w.pool("tank")
		p.addDisk(d, 7777)
		p.addOlderSnapshots(d, 9, 20*time.Hour)
		p.head(d).Creation = time.Now() // the disk came from elsewhere
		w.state.SlowHistory = map[string]time.Time{"tank": time.Now().Add(-time.Hour)}
		w.last.Sightings = map[string]report.Sighting{"tank": {First: time.Now(), Last: time.Now()}}
		w.beside(t, func() {
			w.run(t, only("tank", d), freezeGuests("100-101"), func(o *Options) { o.Config.MaxDestroys = new(1) })
		})
		assert.Contains(t, w.state.Signs, "7777", "the person adopted it")
		assert.Contains(t, w.state.Checked, d)
		assert.Contains(t, w.state.Checked, "ssd/data/vm-101-disk-0")
		assert.Equal(t, 1, w.state.Busy[102])
		assert.Contains(t, w.state.SlowHistory, "tank", "it was not asked for")
		assert.Contains(t, w.last.Rooms, "tank")
		assert.NotZero(t, w.last.Backlogs["tank/data"].Due)
		assert.NotContains(t, w.last.Sightings, "tank", "the other run could lock it")
		assert.Len(t, w.last.Quiesced, 2)

		time.Sleep(15 * time.Minute)
		w.run(t, only("tank"))
		had := len(p.snapshots[d])
		w.prune(t, only("tank"))
		assert.Len(t, p.snapshots[d], had, "prune destroyed snapshots of an adopted disk")
	})
}

// If a run fails, the report keeps the time of the last success, even if that was the success of
// another run that ended meanwhile.
func TestSuccessOfARunBeside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		w.guest(100, true, "tank")
		w.guest(101, true, "ssd").busy = true
		var succeeded time.Time
		w.beside(t, func() { succeeded = w.run(t, only("tank")).LastSuccess })
		require.False(t, w.last.Success)
		assert.False(t, succeeded.IsZero())
		assert.Equal(t, succeeded, w.last.LastSuccess)
	})
}

// A run waits until another run releases the pool, and uses the state that the other run saved
// before it released the pool. If a person adopts a disk in the other run, the waiting run takes
// snapshots of the disk.
func TestStateIsReadUnderThePoolsLock(t *testing.T) {
	const d = "tank/data/vm-100-disk-7"
	for _, adopted := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newVirtualWorld(t)
			w.guest(100, true, "tank")
			p := w.pool("tank")
			p.addDisk(d, 7777)
			p.addOlderSnapshots(d, 9, 20*time.Hour)
			p.head(d).Creation = time.Now() // the disk came from elsewhere
			if adopted {
				p.onLock = func() { w.state.Signs = map[string]string{"7777": ""} }
			}
			w.run(t)
			assert.Equal(t, adopted, strings.Contains(fmt.Sprint(p.programs), d))
		})
	}
}

// While one run reads and saves its records, no other run does. A run saves its records before it
// releases its pools.
func TestRecordsAreSavedUnderTheirLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		w.guest(100, true, "tank")
		locked, before, saved := true, true, 0
		w.onSave = func(report.Run) {
			locked = locked && !w.records.TryLock()
			saved, before = saved+1, before && int(w.pool("tank").unlocked.Load()) == saved
		}
		w.run(t)
		w.prune(t)
		assert.True(t, locked)
		assert.True(t, before)
		assert.Equal(t, 2, saved)
		w.onSave = nil
		w.last, w.state = report.Run{}, report.State{}
		w.recordsErr = errors.New("records.lock is locked by process 7")
		r := w.run(t)
		assert.Len(t, problemTexts(r, report.Warning, "records.lock is locked by process 7"), 1)
		assert.True(t, r.Success)
		assert.Zero(t, w.last.Start)
		assert.Empty(t, w.state.Checked)
	})
}

// A run reads a late pool, but cannot read the guests again before the round of this pool, so it
// makes no plan for the pool. The records about the due snapshots and the free space of the pool
// remain as they are.
func TestLatePoolWithoutAPlan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newVirtualWorld(t)
		w.guest(100, true, "tank")
		w.guest(101, true, "ssd")
		w.pool("ssd").slowList = time.Minute
		start := time.Now()
		due := report.Backlog{Due: 900, At: start.Add(-15 * time.Minute), Since: start.Add(-2 * time.Hour), Least: 800, Yesterday: 700, Before: 600}
		w.last.Backlogs = map[string]report.Backlog{"ssd/data": due}
		w.last.Rooms = map[string]report.Room{"ssd": {Short: "no room", At: start.Add(-15 * time.Minute)}}
		w.clusterEnds = start.Add(45 * time.Second)
		r := w.run(t)
		assert.Empty(t, w.eventsWith("ssd: snapshot"))
		assert.Equal(t, due, r.Backlogs["ssd/data"])
		assert.Equal(t, "no room", r.Rooms["ssd"].Short)
		assert.Contains(t, fmt.Sprint(r.Problems), "900 snapshots are due and not destroyed, and more from day to day")
		assert.Zero(t, r.Backlogs["tank/data"].Due)
	})
}
