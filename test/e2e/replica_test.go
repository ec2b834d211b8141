//go:build e2e

package e2e

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/test/site"
)

// TestReplicaVerdicts plays situations in which check could give a copy a wrong verdict: a first
// receive, a receive that broke off after an old _stopped snapshot, a reused VMID, a moved disk, a
// deleted guest.
func TestReplicaVerdicts(t *testing.T) {
	w := newNetwork(t)
	const seeded, broken, reused, moved, deleted = "vm-101-disk-0", "vm-102-disk-0", "vm-103-disk-0", "vm-104-disk-0", "vm-105-disk-0"
	for i, d := range []string{seeded, broken, reused, moved, deleted} {
		w.vm(101+i, d)
		w.start(w.a, 101+i)
		w.write("ta/data/" + d)
	}
	w.snap(w.a, "f100")
	for _, vmid := range []int{102, 103, 105} {
		w.stop(w.a, vmid)
	}
	w.snap(w.a, "f100")
	for _, d := range []string{reused, moved, deleted} {
		w.send("ta/data/"+d, "tc/"+d)
	}
	require.NoError(t, site.CreateFilesystem(w.ctx, "tc/new"))
	w.send("ta/data/"+moved, "tc/new/"+moved)

	// The copy whose receive broke off has a _stopped snapshot, and half of the next snapshot.
	last := w.snapshots("ta/data/" + broken)[1]
	w.pipe("zfs send ta/data/" + broken + "@" + last + " | zfs receive tc/" + broken)
	w.start(w.a, 102)
	w.write("ta/data/" + broken)
	w.snap(w.a, "f100")
	next := w.snapshots("ta/data/" + broken)[2]
	w.pipe("zfs send -i @" + last + " ta/data/" + broken + "@" + next + " | head -c 100000 | zfs receive -s tc/" + broken + " || true")
	token, _, err := site.Property(w.ctx, "tc/"+broken, "receive_resume_token")
	require.NoError(t, err)
	require.NotEqual(t, "-", token)

	// A first receive is in progress and does not end.
	w.pipe("mkfifo /run/gate")
	first := w.snapshots("ta/data/" + seeded)[0]
	receiving, err := w.c.Start(w.ctx, "sh", "-c", "{ zfs send ta/data/"+seeded+"@"+first+" | head -c 100000; cat /run/gate; } | zfs receive -s tc/"+seeded)
	require.NoError(t, err)
	w.waitUntil(func() bool {
		r, err := w.c.Run(w.ctx, "zfs", "get", "-Hp", "-o", "value", "inconsistent", "tc/"+seeded)
		require.NoError(t, err)
		return r.Code == 0 && r.Stdout != "0\n"
	})
	now := w.judged()
	assert.Zero(t, now.Code)
	for disk, verdict := range map[string]string{
		"tc/" + seeded: "receiving", "tc/" + broken: "fresh", "tc/" + reused: "stopped", "tc/" + moved: "fresh", "tc/new/" + moved: "fresh", "tc/" + deleted: "stopped",
	} {
		assert.Equal(t, verdict, now.disks[disk].Verdict, disk)
	}

	// A guest is deleted, and a new guest gets the VMID and the disk name of a third, older guest.
	for vmid, d := range map[int]string{103: reused, 105: deleted} {
		require.NoError(t, w.a.RemoveGuest(vmid))
		require.NoError(t, site.DestroyDataset(w.ctx, "ta/data/"+d))
	}
	w.vm(103, reused)
	w.start(w.a, 103)
	w.snap(w.a, "f100")
	w.advanceClock(7 * time.Hour)
	w.snap(w.a, "f100")
	w.send("ta/data/"+moved, "tc/new/"+moved)
	w.pipe("true >/run/gate") // the first receive breaks off
	receiving.Wait()
	w.owners()
	then := w.compared()
	assert.Equal(t, 2, then.Code)
	verdict := func(disk, verdict, state, outcome string) {
		t.Helper()
		d := then.disks[disk]
		assert.Equal(t, verdict, d.Verdict, disk)
		assert.Equal(t, state, d.State, "%s: %s", disk, d.Reason)
		assert.Equal(t, outcome, d.Compared.Outcome, "%s: %s", disk, d.Compared.Reason)
	}
	verdict("tc/"+seeded, "receiving", "OK", "not compared")
	verdict("tc/"+broken, "stale", "CRITICAL", "lagging")
	assert.Contains(t, then.disks["tc/"+broken].Reason, "a receive is pending")
	verdict("tc/"+reused, "stale", "CRITICAL", "lagging") // the disk's owner reports that the guest runs
	verdict("tc/"+moved, "stale", "CRITICAL", "lagging")
	verdict("tc/new/"+moved, "fresh", "OK", "in sync")
	verdict("tc/"+deleted, "stopped", "UNKNOWN", "no owner") // nothing on A shows that A had the guest

	require.NoError(t, w.c.WriteFile("/etc/snapwatch/config.yaml", "datasets: [tc]\nlimits: {max_initial_receive: 1h}\n"))
	late := w.judged("--disk", seeded)
	assert.Equal(t, "receiving", late.disks["tc/"+seeded].Verdict)
	assert.Equal(t, 1, late.Code, "a seeding that does not end")
}
