//go:build e2e

package e2e

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/test/site"
)

// beforeProgram makes a site run a command line once, just before the next channel program whose
// arguments contain the given word.
func (w *world) beforeProgram(s *site.Site, word, line string) {
	w.t.Helper()
	require.NoError(w.t, s.Install("zfs", `#!/bin/sh
case "$* " in program*" `+word+` "*) mkdir /run/met 2>/dev/null && { `+line+` ; } >/dev/null 2>&1 ;; esac
exec /usr/sbin/zfs "$@"
`))
	require.NoError(w.t, s.Remove("/run/met"))
}

// receiving returns a command line that starts an incremental receive into a disk; the receive
// hangs half way.
func receiving(from, base, to, disk string) string {
	return `(/usr/sbin/zfs send -i @` + base + ` ` + from + `@` + to + ` | head -c 2000000; sleep 600) | /usr/sbin/zfs receive -F ` + disk + ` & ` +
		`until /usr/sbin/zfs list ` + disk + `/%recv; do sleep 0.1; done`
}

// endReceive ends the receive that a command line of the function receiving started.
func (w *world) endReceive(disk string) {
	w.t.Helper()
	_, err := w.c.Run(w.ctx, "pkill", "-9", "-x", "sleep")
	require.NoError(w.t, err)
	w.waitUntil(func() bool {
		r, err := w.c.Run(w.ctx, "zfs", "list", disk+"/%recv")
		require.NoError(w.t, err)
		return r.Code != 0
	})
}

// TestProgramsGuard: the channel programs themselves notice changes that other programs made after
// snap or prune had read the pool.
func TestProgramsGuard(t *testing.T) {
	w := newWorld(t)
	w.container(101, "subvol-101-disk-0")
	disk := "ta/data/subvol-101-disk-0"
	w.start(w.a, 101)

	// A run of snap takes a new snapshot and may then destroy the old one, but only while the new
	// one exists. Just before the run destroys the old snapshot, another program destroys the new
	// snapshot.
	w.snap(w.a, "f1")
	old := w.snapshots(disk)
	w.beforeProgram(w.a, "keeper", `/usr/sbin/zfs list -Ho name -t snapshot `+disk+` | grep -v `+old[0]+` | xargs -n 1 /usr/sbin/zfs destroy`)
	w.run(w.a, "snap", "f1")
	assert.Equal(t, old, w.snapshots(disk), "the new one was destroyed by somebody, so the old one stays")

	// A receive into a disk begins after snap's last look at the disk and before the channel
	// program.
	w.send(disk, "tb/data/subvol-101-disk-0")
	w.zfs("set", "refreservation=8M", "tb/data/subvol-101-disk-0")
	w.pipe("mkdir -p /tmp/mnt && mount -t zfs -o zfsutil tb/data/subvol-101-disk-0 /tmp/mnt && head -c 8000000 /dev/urandom >/tmp/mnt/file && umount /tmp/mnt && zfs snapshot tb/data/subvol-101-disk-0@next")
	w.stop(w.a, 101)
	w.beforeProgram(w.a, "guest", receiving("tb/data/subvol-101-disk-0", old[0], "next", disk))
	w.run(w.a, "snap", "f1")
	assert.NotContains(t, w.classes(disk), "stopped", "what is being received gets no snapshot")
	assert.Equal(t, "pve-a", w.label(disk), "and no label")
	w.endReceive(disk)
	require.NoError(t, w.a.Remove(site.BinDir+"/zfs"))
	w.snap(w.a, "f1")
	assert.Contains(t, w.classes(disk), "stopped")

	// A receive into a copy begins just before prune would destroy snapshots of the copy.
	w.vm(102, "vm-102-disk-0")
	w.start(w.a, 102)
	source, copied := "ta/data/vm-102-disk-0", "tc/vm-102-disk-0"
	for range 3 {
		w.snap(w.a, "f9")
	}
	w.replicate("vm-102-disk-0")
	w.pipe("dd if=/dev/urandom of=/dev/zvol/" + source + " bs=1M count=8 conv=fsync status=none")
	w.snap(w.a, "f9")
	have, next := w.snapshots(copied), w.snapshots(source)
	require.Len(t, have, 3)
	w.beforeProgram(w.c, "destroy", receiving(source, have[2], next[3], copied))
	w.run(w.c, "prune", "f1")
	assert.Equal(t, have, w.snapshots(copied), "no snapshot on a disk that is being received")
	w.endReceive(copied)
	require.NoError(t, w.c.Remove(site.BinDir+"/zfs"))
	w.run(w.c, "prune", "f1")
	assert.Len(t, w.snapshots(copied), 2, "it would have")

	// A guest that gets no snapshot gets no label either: here one of the guest's two disks has no
	// room for a snapshot.
	w.vm(100, "vm-100-disk-0", "vm-100-disk-1")
	thick := "ta/data/vm-100-disk-1"
	w.zfs("set", "volsize=300M", thick)
	w.zfs("set", "refreservation=300M", thick)
	require.NoError(t, site.WaitZvol(w.ctx, thick))
	w.pipe("dd if=/dev/urandom of=/dev/zvol/" + thick + " bs=1M count=100 conv=fsync status=none")
	w.start(w.a, 100)
	r := w.run(w.a, "snap", "f1")
	assert.True(t, strings.Contains(r.Stderr, "ENOSPC"), r.Stderr)
	assert.Empty(t, w.snapshots("ta/data/vm-100-disk-0"))
	assert.Equal(t, "-", w.label("ta/data/vm-100-disk-0"))
}
