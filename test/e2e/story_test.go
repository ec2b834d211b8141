//go:build e2e

package e2e

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestStory plays snapwatch's main task: a guest runs, stops and starts, its replication breaks,
// and the guest moves to the other node.
func TestStory(t *testing.T) {
	w := newWorld(t)
	disks := []string{"vm-100-disk-0", "vm-100-disk-1"}
	w.vm(100, disks...)
	w.container(200, "subvol-200-disk-0")
	all := append(disks, "subvol-200-disk-0")
	w.start(w.a, 100)
	w.start(w.a, 200)

	w.snap(w.a, "f4", "h2", "d2")
	for _, d := range all {
		require.Equal(t, []string{"daily"}, w.classes("ta/data/"+d), "one run takes the longest class due")
		assert.Equal(t, "pve-a", w.label("ta/data/"+d))
		assert.Equal(t, w.txg("ta/data/"+all[0]), w.txg("ta/data/"+d), "all disks in one transaction group")
	}
	w.replicate(all...)
	fresh := w.check()
	assert.Zero(t, fresh.Code)
	assert.Contains(t, fresh.Stdout, "OK")

	w.snap(w.a, "f4", "h2", "d2")
	require.Equal(t, []string{"daily", "frequently"}, w.classes("ta/data/vm-100-disk-0"))

	// The guest stops: snap takes one last snapshot and sets the label. The next runs of snap
	// change nothing.
	w.stop(w.a, 100)
	w.snap(w.a, "f4", "h2", "d2")
	for _, d := range disks {
		require.Equal(t, []string{"daily", "frequently", "stopped"}, w.classes("ta/data/"+d))
		assert.Equal(t, "stopped", w.label("ta/data/"+d))
	}
	assert.Equal(t, w.txg("ta/data/"+disks[0]), w.txg("ta/data/"+disks[1]))
	before := w.snapshots("ta/data/vm-100-disk-0")
	w.snap(w.a, "f4", "h2", "d2")
	require.Equal(t, before, w.snapshots("ta/data/vm-100-disk-0"))

	// The stopped guest's copy grows old on C without an alarm; an old copy of the running
	// container would alarm.
	w.replicate(all...)
	w.advanceClock(5 * time.Hour)
	w.snap(w.a, "f4", "h2", "d2")
	w.replicate(all...)
	require.Equal(t, before, w.snapshots("ta/data/vm-100-disk-0"))
	assert.Zero(t, w.check().Code)

	// The guest starts: snap immediately sets the label and takes a snapshot, although no class is
	// due.
	w.start(w.a, 100)
	w.snap(w.a, "d2")
	for _, d := range disks {
		assert.Equal(t, "pve-a", w.label("ta/data/"+d))
		assert.Equal(t, []string{"daily", "frequently", "stopped", "daily"}, w.classes("ta/data/"+d))
	}
	w.replicate(all...)
	assert.Zero(t, w.check().Code)

	// Replication breaks: A continues to take snapshots, and C alarms.
	w.advanceClock(3 * time.Hour)
	w.snap(w.a, "f4", "h2", "d2")
	late := w.check()
	assert.Equal(t, 1, late.Code)
	assert.Contains(t, late.Stdout, "WARNING")
	w.advanceClock(4 * time.Hour)
	dead := w.check()
	assert.Equal(t, 2, dead.Code)
	assert.Contains(t, dead.Stdout, "CRITICAL")
	assert.Contains(t, dead.Stdout, "vm-100-disk-0")
	w.replicate(all...)

	// A dies; the guest is started on B from its copy there, and C receives from B.
	for _, d := range disks {
		w.send("ta/data/"+d, "tb/data/"+d)
	}
	require.NoError(t, w.a.KillGuest(100))
	require.NoError(t, w.a.MoveGuestTo(100, w.b))
	w.start(w.b, 100)
	w.snap(w.b, "f4", "h2", "d2")
	for _, d := range disks {
		assert.Equal(t, "pve-b", w.label("tb/data/"+d))
		w.send("tb/data/"+d, "tc/"+d)
		assert.Equal(t, w.snapshots("tb/data/"+d), w.snapshots("tc/" + d)[len(w.snapshots("tc/"+d))-len(w.snapshots("tb/data/"+d)):])
	}
	w.snap(w.a, "f4", "h2", "d2")
	w.replicate("subvol-200-disk-0")
	assert.Zero(t, w.check().Code)
}

// TestLabelArrives: if properties are sent, C knows where the guest runs.
func TestLabelArrives(t *testing.T) {
	w := newWorld(t)
	w.vm(100, "vm-100-disk-0")
	w.start(w.a, 100)
	w.snap(w.a, "f4")
	w.send("ta/data/vm-100-disk-0", "tc/plain")
	w.send("ta/data/vm-100-disk-0", "tc/vm-100-disk-0", "--sendoptions=p")
	assert.Equal(t, "-", w.label("tc/plain"), "a plain send carries no property")
	assert.Equal(t, "pve-a", w.label("tc/vm-100-disk-0"))
	w.stop(w.a, 100)
	w.snap(w.a, "f4")
	w.send("ta/data/vm-100-disk-0", "tc/vm-100-disk-0", "--sendoptions=p")
	assert.Equal(t, "stopped", w.label("tc/vm-100-disk-0"))
}
