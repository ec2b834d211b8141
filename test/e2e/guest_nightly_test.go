//go:build e2e && nightly

package e2e

import (
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/test/site"
)

// TestGuestNames: two storages each have a disk named vm-100-disk-0, and the two disks are
// different. C has two copies of one of the disks: an old one and a fresh one.
func TestGuestNames(t *testing.T) {
	w := newWorld(t)
	for _, fs := range []string{"ta/ssd", "tc/hdd", "tc/ssd", "tc/old"} {
		require.NoError(t, site.CreateFilesystem(w.ctx, fs))
	}
	w.vm(100, "vm-100-disk-0")
	require.NoError(t, site.CreateZvol(w.ctx, "ta/ssd/vm-100-disk-0", 16))
	w.start(w.a, 100)
	snapBoth := func() {
		w.snap(w.a, "f100")
		names := w.snapshots("ta/data/vm-100-disk-0")
		w.zfs("snapshot", "ta/ssd/vm-100-disk-0@"+names[len(names)-1])
	}
	snapBoth()
	w.send("ta/data/vm-100-disk-0", "tc/hdd/vm-100-disk-0")
	w.send("ta/data/vm-100-disk-0", "tc/old/vm-100-disk-0")
	w.send("ta/ssd/vm-100-disk-0", "tc/ssd/vm-100-disk-0")
	w.advanceClock(73 * time.Hour)
	snapBoth()
	w.send("ta/data/vm-100-disk-0", "tc/hdd/vm-100-disk-0")
	w.send("ta/ssd/vm-100-disk-0", "tc/ssd/vm-100-disk-0")
	g := w.guests(w.judged().Result)[100]
	assert.Equal(t, "whole", g.Verdict, g.Reason)
	slices.Sort(g.Disks)
	assert.Equal(t, []string{"tc/hdd/vm-100-disk-0", "tc/ssd/vm-100-disk-0"}, g.Disks)
	w.advanceClock(7 * time.Hour)
	snapBoth()
	w.send("ta/data/vm-100-disk-0", "tc/hdd/vm-100-disk-0")
	g = w.guests(w.judged().Result)[100]
	assert.Equal(t, "stale", g.Verdict, "the other storage's disk is the guest's, too: %s", g.Reason)
}

// TestGuestStartsWhileReplicationIsDead: the copies on C show a guest that is off, but the guest
// runs. A check that asks the guest's owner reports that the guest runs. The metrics of an exporter
// that asks the owner show that the guest runs. Even if the owner's exporter hangs, no scrape is
// delayed by a second.
func TestGuestStartsWhileReplicationIsDead(t *testing.T) {
	w := newNetwork(t)
	w.vm(100, "vm-100-disk-0")
	nodes := w.owners()
	w.start(w.a, 100)
	w.snap(w.a, "f4")
	w.stop(w.a, 100)
	w.snap(w.a, "f4")
	w.replicate("vm-100-disk-0")
	metrics, from := w.asker()
	const disk = `{dataset="tc/vm-100-disk-0",disk="vm-100-disk-0",`
	w.waitUntil(func() bool {
		return strings.Contains(metrics(), "snapwatch_disk_comparison"+disk+`outcome="in sync",pool="tc",vmid="100"} 1`)
	})
	assert.Zero(t, from().Code)

	w.advanceClock(24 * time.Hour)
	w.start(w.a, 100)
	w.snap(w.a, "f4")
	w.advanceClock(7 * time.Hour)
	w.snap(w.a, "f4")
	assert.Zero(t, w.judged().Code, "the replica alone is blind")
	w.waitUntil(func() bool {
		return strings.Contains(metrics(), "snapwatch_disk_comparison"+disk+`outcome="lagging",pool="tc",vmid="100"} 1`)
	})
	told := from()
	assert.Equal(t, 2, told.Code)
	assert.NotEqual(t, "stopped", told.disks["tc/vm-100-disk-0"].Verdict)
	assert.Contains(t, metrics(), `snapwatch_guest_state{origin_cluster="",state="stopped",vmid="100"} 0`)

	for _, n := range nodes {
		require.NoError(t, syscall.Kill(n.PID(), syscall.SIGSTOP))
		defer func() { _ = syscall.Kill(n.PID(), syscall.SIGCONT) }()
	}
	w.advanceClock(2 * time.Minute)
	began := time.Now()
	for range 3 {
		assert.Contains(t, metrics(), "snapwatch_disk_comparison"+disk+`outcome="lagging",pool="tc",vmid="100"} 1`)
	}
	assert.Less(t, time.Since(began), 6*time.Second, "three scrapes of an emulated machine")
}
