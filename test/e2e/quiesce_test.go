//go:build e2e

package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/report"
)

// TestContainersHeldStill: ten containers have processes that write. snap freezes all ten at the
// same time, takes their snapshots in one transaction group, and thaws them. After the run of snap,
// the test packs the files of the snapshots into archives.
func TestContainersHeldStill(t *testing.T) {
	w := newWorld(t)
	boxes := w.boxes(201, 210)
	w.holdGroup(201, 210)
	for vmid := 201; vmid <= 210; vmid++ {
		assert.Equal(t, w.txg("ta/data/subvol-201-disk-0"), w.txg(fmt.Sprintf("ta/data/subvol-%d-disk-0", vmid)), "one transaction group")
	}
	for vmid, box := range boxes {
		frozen, err := box.Frozen()
		require.NoError(t, err)
		assert.False(t, frozen, vmid)
	}

	// The containers continue to write while the test packs the files of the snapshots into
	// archives.
	name := w.newest("ta/data/subvol-201-disk-0")
	begun := time.Now()
	for vmid := 201; vmid <= 210; vmid++ {
		w.machine(fmt.Sprintf("tar -C /tmp/ct-%d/.zfs/snapshot/%s -cf - . | zstd -q -T0 -o /tmp/ct-%d.tar.zst", vmid, name, vmid))
	}
	t.Logf("packed in %s", time.Since(begun))
	for vmid := 201; vmid <= 210; vmid++ {
		out := w.machine(fmt.Sprintf("mkdir /tmp/un-%d && tar -C /tmp/un-%d --zstd -xf /tmp/ct-%d.tar.zst && cd /tmp/un-%d && cat a | wc -l && cat b | wc -l; rm -r /tmp/un-%d /tmp/ct-%d.tar.zst", vmid, vmid, vmid, vmid, vmid, vmid))
		var a, b int
		_, err := fmt.Sscan(out, &a, &b)
		require.NoError(t, err, out)
		assert.Contains(t, []int{0, 1}, a-b, "guest %d: %d lines in a, %d in b", vmid, a, b)
		w.waitUntil(func() bool {
			text, err := os.ReadFile(fmt.Sprintf("/tmp/ct-%d/a", vmid))
			require.NoError(t, err)
			return strings.Count(string(text), "\n") > a
		})
	}
	w.nobodyThaws()
}

// TestWrittenBeforeTheFreeze: snap writes waiting data to the pool before it freezes a guest, so
// that the freeze does not include the time for writing.
func TestWrittenBeforeTheFreeze(t *testing.T) {
	const waiting = 8 << 20 // less than the amount at which the pool begins to write by itself
	w := newWorld(t)
	w.parameter("zfs_txg_timeout", "600") // the pool writes only on request
	w.configure(still + "quiesce: [{vmid: 200, how: cgroup}]\n")
	w.box(200)
	w.machine(fmt.Sprintf("zpool sync ta; head -c %d /dev/urandom >/tmp/ct-200/waiting", waiting))
	w.snap(w.a, "f9")
	q := w.quiesced()[200]
	require.Equal(t, report.Application, q.Consistent, "%+v", q)
	dirty := w.dirty("ta")
	mine := w.txg("ta/data/subvol-200-disk-0")
	assert.Less(t, dirty[mine], uint64(waiting/8), "bytes in the transaction group of the snapshot")
	most := uint64(0)
	for txg, bytes := range dirty {
		if txg < mine {
			most = max(most, bytes)
		}
	}
	assert.Greater(t, most, uint64(waiting/2), "bytes in one before it: else nothing waited, and this proves nothing")
}

// TestKilledWhileFrozen kills runs of snap in several ways and at many moments. No guest remains
// frozen.
func TestKilledWhileFrozen(t *testing.T) {
	w := newWorld(t)
	w.configure(still + "groups: [{name: shop, vmid: '100,101', quiesce: agent}]\nquiesce: [{vmid: 200, how: cgroup}]\n")
	for vmid := 100; vmid <= 101; vmid++ {
		w.vm(vmid, fmt.Sprintf("vm-%d-disk-0", vmid))
		w.start(w.a, vmid)
		require.NoError(t, w.a.PlayAgent(vmid))
	}
	box := w.box(200)
	usual, _ := w.took(t, "f9")
	anyFrozen := func() bool {
		frozen, err := box.Frozen()
		require.NoError(t, err)
		for vmid := 100; vmid <= 101; vmid++ {
			state, err := w.a.Agent(vmid)
			require.NoError(t, err)
			frozen = frozen || state == "frozen"
		}
		return frozen
	}
	hits := 0
	for i := range frozenKills {
		p, err := w.a.Start(w.ctx, program(t), "snap", "f9")
		require.NoError(t, err)
		wait := rand.N(usual)
		if i%2 == 0 {
			w.waitUntil(anyFrozen)
			wait = rand.N(300 * time.Millisecond)
		}
		time.Sleep(wait)
		if anyFrozen() {
			hits++
		}
		p.Kill()
		killed := time.Now()
		w.nobodyThaws()
		assert.False(t, anyFrozen(), "kill %d: still frozen when nobody is left to thaw", i)
		assert.Less(t, time.Since(killed), 21*time.Second, "kill %d", i)
	}
	t.Logf("%d of %d kills hit while a guest was frozen", hits, frozenKills)
	assert.Positive(t, hits)
	log, err := w.a.AgentLog()
	require.NoError(t, err)
	longest := longestFrozen(t, log)
	t.Logf("longest frozen: %s", longest)
	assert.Less(t, longest, 21*time.Second)
	w.snap(w.a, "f9") // no process keeps the pools' locks
	for vmid, q := range w.quiesced() {
		assert.Equal(t, report.Application, q.Consistent, vmid)
	}
}

// longestFrozen returns the longest time between "frozen" and the next "thawed" of a guest in the
// log of site.AgentLog; a freeze without a thaw fails the test.
func longestFrozen(t *testing.T, log string) time.Duration {
	t.Helper()
	since := map[string]int64{}
	var longest time.Duration
	for line := range strings.Lines(log) {
		var vmid, state string
		var at int64
		_, err := fmt.Sscan(line, &vmid, &state, &at)
		require.NoError(t, err)
		if began, frozen := since[vmid]; frozen && state == "thawed" {
			longest = max(longest, time.Duration(at-began))
			delete(since, vmid)
		} else if state == "frozen" {
			since[vmid] = at
		}
	}
	assert.Empty(t, since, "frozen for ever")
	return longest
}
