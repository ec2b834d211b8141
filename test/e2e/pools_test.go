//go:build e2e

package e2e

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/report"
	"snapwatch/test/site"
)

// TestNoSpace: if a thick volume has no room for a snapshot, the volume's guest gets no snapshot on
// any of its disks; all other guests get their snapshots.
func TestNoSpace(t *testing.T) {
	w := newWorld(t)
	w.vm(100, "vm-100-disk-0", "vm-100-disk-1")
	w.vm(101, "vm-101-disk-0")
	w.start(w.a, 100)
	w.start(w.a, 101)
	w.snap(w.a, "f100")
	// A snapshot would double the space that the volume reserves, and the pool does not have that
	// much free space.
	thick := "ta/data/vm-100-disk-1"
	w.zfs("set", "volsize=300M", thick)
	w.zfs("set", "refreservation=300M", thick)
	_, err := w.c.Output(w.ctx, "dd", "if=/dev/urandom", "of=/dev/zvol/"+thick, "bs=1M", "count=100", "conv=fsync", "status=none")
	require.NoError(t, err)
	r := w.run(w.a, "snap", "f100")
	assert.Equal(t, 1, r.Code)
	assert.Contains(t, r.Stderr, "ENOSPC")
	assert.Len(t, w.snapshots("ta/data/vm-100-disk-0"), 1, "undone in the same program")
	assert.Len(t, w.snapshots(thick), 1)
	assert.Len(t, w.snapshots("ta/data/vm-101-disk-0"), 2)
	w.zfs("set", "refreservation=none", thick)
	w.snap(w.a, "f100")
	assert.Len(t, w.snapshots("ta/data/vm-100-disk-0"), 2)
}

// TestRoom: each snapshot of a thick volume reserves as much space as was written to the volume
// since its last snapshot, and snap reports this space before it takes the snapshot. If the pool
// has too little free space, snap warns, and destroys no snapshot.
func TestRoom(t *testing.T) {
	w := newWorld(t)
	w.vm(100, "vm-100-disk-0")
	w.start(w.a, 100)
	thick := "ta/data/vm-100-disk-0"
	w.zfs("set", "volsize=100M", thick)
	w.zfs("set", "refreservation=100M", thick)
	w.snap(w.a, "f100")
	free := func() uint64 {
		var n uint64
		text, err := w.a.Output(w.ctx, "sh", "-c", "zpool sync ta; zfs get -Hpo value available ta")
		require.NoError(t, err)
		_, err = fmt.Sscan(text, &n)
		require.NoError(t, err)
		return n >> 20
	}
	write := func(mib int) {
		_, err := w.c.Output(w.ctx, "dd", "if=/dev/urandom", "of=/dev/zvol/"+thick, "bs=1M", fmt.Sprintf("count=%d", mib), "conv=fsync", "status=none")
		require.NoError(t, err)
	}
	room := func() report.Room {
		text, err := w.a.ReadFile("/var/lib/snapwatch/last-run.json")
		require.NoError(t, err)
		var last report.Run
		require.NoError(t, json.Unmarshal([]byte(text), &last))
		return last.Rooms["ta"]
	}
	write(40)
	before := free()
	r := w.run(w.a, "snap", "f100", "--dry-run")
	require.Zero(t, r.Code, r.Stderr)
	assert.Regexp(t, `guest 100, running; a thick volume: the snapshot reserves \d\d\.\dM`, r.Stdout)
	w.snap(w.a, "f100")
	assert.InDelta(t, before-40, free(), 4, "as much as was written")
	assert.InDelta(t, 40, room().Reserves>>20, 4)
	assert.InDelta(t, before, room().Free>>20, 4)
	assert.Empty(t, room().Short)

	// Each snapshot reserves space. The pool has enough free space for one more snapshot, but not
	// for two.
	w.pipe(fmt.Sprintf("zfs create -o compression=off -o mountpoint=/tmp/ta-fill ta/fill && dd if=/dev/urandom of=/tmp/ta-fill/data bs=1M count=%d status=none && zpool sync ta", free()-60))
	write(40)
	taken := len(w.snapshots(thick))
	r = w.run(w.a, "snap", "f100")
	assert.Equal(t, 1, r.Code)
	assert.Regexp(t, `warning: pool ta: the snapshot of 1 thick volume reserves \d\d\.\dM now \(vm-100-disk-0 [^)]*\), and \d\d\.\dM are free: once the guests have written as much again, there is no room for the next snapshot`, r.Stderr)
	assert.Len(t, w.snapshots(thick), taken+1, "there was room for this one")
	assert.NotEmpty(t, room().Short)
	r = w.run(w.a, "check", "-v")
	assert.Contains(t, r.Stdout, "pool ta: the snapshot of 1 thick volume reserves")

	// The next snapshot fails for lack of space, as the warning of the last run said.
	write(40)
	r = w.run(w.a, "snap", "f100")
	assert.Equal(t, 1, r.Code)
	assert.Contains(t, r.Stderr, "ENOSPC")
	assert.Len(t, w.snapshots(thick), taken+1, "nothing was taken, and nothing destroyed")

	// A snapshot of a thin volume needs no free space.
	w.zfs("set", "refreservation=none", thick)
	r = w.run(w.a, "snap", "f100")
	assert.Zero(t, r.Code, r.Stderr)
	assert.Len(t, w.snapshots(thick), taken+2)
	assert.Empty(t, room().Short)
	w.zfs("destroy", "ta/fill")
}

// TestKept: snap destroys the expired snapshots, except those with a hold or a clone. snap prints
// nothing, so that cron sends no mail.
func TestKept(t *testing.T) {
	w := newWorld(t)
	w.vm(100, "vm-100-disk-0")
	disk := "ta/data/vm-100-disk-0"
	w.start(w.a, 100)
	for range 3 {
		w.snap(w.a, "f100")
	}
	old := w.snapshots(disk)
	w.zfs("hold", "keep", disk+"@"+old[0])
	w.zfs("clone", disk+"@"+old[1], "ta/clone")
	w.snap(w.a, "f1")
	names := w.snapshots(disk)
	require.Len(t, names, 3)
	assert.Equal(t, old[:2], names[:2])
	w.zfs("release", "keep", disk+"@"+old[0])
	w.zfs("destroy", "ta/clone")
	w.snap(w.a, "f1")
	assert.Len(t, w.snapshots(disk), 1)
}

// TestEncrypted: snap also snapshots an encrypted disk whose key is not loaded.
func TestEncrypted(t *testing.T) {
	w := newWorld(t)
	_, err := w.a.Output(w.ctx, "sh", "-c", "head -c 32 /dev/urandom >/tmp/key && zfs create -s -V 16M -o encryption=on -o keyformat=raw -o keylocation=file:///tmp/key ta/data/vm-100-disk-0 && udevadm settle && zfs unload-key ta/data/vm-100-disk-0")
	require.NoError(t, err)
	require.NoError(t, w.a.AddVM(100, "vm-100-disk-0"))
	require.NoError(t, w.a.AddVM(101, "vm-101-disk-0"))
	fault(w, "garbage.qemu", `[{"vmid":100,"status":"running"},{"vmid":101,"status":"stopped"}]`)
	w.snap(w.a, "f4")
	assert.Len(t, w.snapshots("ta/data/vm-100-disk-0"), 1)
}

// TestNameTaken: if an hour comes twice in a night, or a clock is set back, snap still takes each
// snapshot.
func TestNameTaken(t *testing.T) {
	w := newWorld(t)
	w.vm(100, "vm-100-disk-0")
	disk := "ta/data/vm-100-disk-0"
	w.start(w.a, 100)
	_, err := w.a.Output(w.ctx, "sh", "-c", `now=$(date +%s); for i in $(seq 60); do zfs snapshot `+disk+`@autosnap_$(date -u -d @$((now + i)) +%F_%T)_frequently || exit; done`)
	require.NoError(t, err)
	before := len(w.snapshots(disk))
	w.snap(w.a, "f1000")
	assert.Len(t, w.snapshots(disk), before+1)
}

// gatedRun starts a run of snap on A. The run's channel program on the given pool waits until the
// test kills the process gate. gatedRun returns after the channel program has begun to wait.
func (w *world) gatedRun(pool string, args ...string) (run, gate *site.Process) {
	w.t.Helper()
	require.NoError(w.t, w.a.Install("zfs", "#!/bin/sh\nif [ \"$1$3\" = program"+pool+" ] && [ -p /run/gate ]; then read x </run/gate; fi\nexec /usr/sbin/zfs \"$@\"\n"))
	_, err := w.a.Output(w.ctx, "mkfifo", "/run/gate")
	require.NoError(w.t, err)
	run, err = w.a.Start(w.ctx, append([]string{program(w.t)}, args...)...)
	require.NoError(w.t, err)
	// Opening the named pipe /run/gate for writing waits until the channel program's zfs opens the
	// pipe for reading. Once the pipe is open, zfs reads the pipe until the gate process ends.
	gate, err = w.a.Start(w.ctx, "sh", "-c", "exec 3>/run/gate; echo reached; exec sleep infinity")
	require.NoError(w.t, err)
	require.NoError(w.t, gate.WaitFor(w.ctx, "reached"))
	return run, gate
}

// TestTwoRuns: if a run of snap is at work, a second run prints the process number of the first
// run; if cron started the second run, the second run prints nothing. A killed run's channel
// program keeps the pool locked until the program ends.
func TestTwoRuns(t *testing.T) {
	w := newWorld(t)
	w.vm(100, "vm-100-disk-0")
	w.start(w.a, 100)
	first, gate := w.gatedRun("ta", "snap", "f4", "-v")

	w.snap(w.a, "f4") // a run from cron prints nothing
	r := w.run(w.a, "snap", "f4", "-v")
	assert.Zero(t, r.Code)
	assert.Contains(t, r.Stderr, "is locked by process")

	// After the first run was killed, its zfs process continues and keeps the pool locked.
	first.Kill()
	r = w.run(w.a, "snap", "f4", "-v")
	assert.Contains(t, r.Stderr, "is locked by process")
	assert.Empty(t, w.snapshots("ta/data/vm-100-disk-0"))
	gate.Kill()
	_, err := w.a.Output(w.ctx, "sh", "-c", "rm /run/gate; flock /run/snapwatch/pool-ta.lock true")
	require.NoError(t, err)
	assert.Len(t, w.snapshots("ta/data/vm-100-disk-0"), 1, "the program of the killed run continued")
	w.snap(w.a, "f4")
	assert.Len(t, w.snapshots("ta/data/vm-100-disk-0"), 2)
}

// TestTerminated: a run of snap that receives SIGTERM while its channel program is at work lets the
// channel program finish and begins no further step; the next run does the rest.
func TestTerminated(t *testing.T) {
	w := newWorld(t)
	w.vm(100, "vm-100-disk-0")
	disk := "ta/data/vm-100-disk-0"
	w.start(w.a, 100)
	w.snap(w.a, "f1")
	old := w.snapshots(disk)
	run, gate := w.gatedRun("ta", "snap", "f1")
	_, err := w.a.Output(w.ctx, "pkill", "-TERM", "-x", "snapwatch")
	require.NoError(t, err)
	require.NoError(t, w.a.Remove("/run/gate"))
	gate.Kill()
	run.Wait()
	names := w.snapshots(disk)
	require.Len(t, names, 2, "the program continued to its end, and nothing was destroyed after it")
	assert.Equal(t, old[0], names[0])
	w.snap(w.a, "f1")
	assert.Len(t, w.snapshots(disk), 1)
}

// TestMissingPool: snap reports a pool that is not imported, and the disks on the other pools get
// their snapshots.
func TestMissingPool(t *testing.T) {
	w := newWorld(t)
	w.vm(100, "vm-100-disk-0")
	require.NoError(t, site.CreateZvol(w.ctx, "tb/data/vm-101-disk-0", 16))
	require.NoError(t, w.a.WriteFile("/etc/pve/storage.cfg", "zfspool: local-zfs\n\tpool ta/data\n\nzfspool: second\n\tpool tb/data\n\nzfspool: gone\n\tpool nosuchpool/data\n"))
	require.NoError(t, w.a.AddVM(101, "second:vm-101-disk-0"))
	w.start(w.a, 100)
	w.start(w.a, 101)
	r := w.run(w.a, "snap", "f4")
	assert.Equal(t, 1, r.Code)
	assert.Contains(t, r.Stderr, "pool nosuchpool is not imported")
	assert.Len(t, w.snapshots("ta/data/vm-100-disk-0"), 1)
	assert.Len(t, w.snapshots("tb/data/vm-101-disk-0"), 1)
}

var kills = flag.Int("kills", 6, "how often TestKilled starts a guest, and stops it")

// TestKilled kills runs of snap at random moments. After the next runs, each label is right, each
// stop has one _stopped snapshot, and each bucket has at most one snapshot of its class.
func TestKilled(t *testing.T) {
	w := newWorld(t)
	disks := []string{"vm-100-disk-0", "vm-100-disk-1", "vm-100-disk-2"}
	w.vm(100, disks...)
	for round := range *kills {
		w.start(w.a, 100)
		w.killedRun()
		w.snap(w.a, "f100", "d100")
		for _, d := range disks {
			require.Equal(t, "pve-a", w.label("ta/data/"+d))
		}
		w.stop(w.a, 100)
		w.killedRun()
		w.snap(w.a, "f100", "d100")
		for _, d := range disks {
			classes := w.classes("ta/data/" + d)
			require.Equal(t, "stopped", w.label("ta/data/"+d))
			require.Equal(t, round+1, count(classes, "stopped"), "%v", classes)
			require.Equal(t, 1, count(classes, "daily"), "%v", classes)
		}
	}
}

// killedRun starts a run, and kills the run and every zfs of the run at a random moment.
func (w *world) killedRun() {
	w.t.Helper()
	p, err := w.a.Start(w.ctx, program(w.t), "snap", "f100", "d100", "-v")
	require.NoError(w.t, err)
	moment := time.NewTimer(time.Duration(rand.IntN(4000)) * time.Millisecond)
	defer moment.Stop()
	<-moment.C
	p.Kill()
	_, err = w.a.Run(w.ctx, "pkill", "-9", "-x", "zfs")
	require.NoError(w.t, err)
	w.t.Logf("killed: %s", strings.TrimSpace(p.Wait().Stdout))
}

// TestHungPool: while zfs hangs on one pool, the guests on the other pool get their snapshots. The
// hung zfs keeps the lock of its pool.
func TestHungPool(t *testing.T) {
	w := newWorld(t)
	w.vm(100, "vm-100-disk-0")
	require.NoError(t, site.CreateZvol(w.ctx, "tb/data/vm-101-disk-0", 16))
	require.NoError(t, w.a.WriteFile("/etc/pve/storage.cfg", "zfspool: local-zfs\n\tpool ta/data\n\nzfspool: second\n\tpool tb/data\n"))
	require.NoError(t, w.a.AddVM(101, "second:vm-101-disk-0"))
	w.start(w.a, 100)
	w.start(w.a, 101)
	require.NoError(t, w.a.Install("zfs", "#!/bin/sh\ncase \"$*\" in *tb/data*) exec sleep infinity;; esac\nexec /usr/sbin/zfs \"$@\"\n"))
	run, err := w.a.Start(w.ctx, program(t), "snap", "f4")
	require.NoError(t, err)
	w.waitUntil(func() bool { return len(w.snapshots("ta/data/vm-100-disk-0")) == 1 })
	run.Kill()
	assert.Empty(t, w.snapshots("tb/data/vm-101-disk-0"))
	r := w.run(w.a, "snap", "f4", "-v")
	assert.Contains(t, r.Stderr, "pool tb: another run is at work")
	_, err = w.a.Run(w.ctx, "pkill", "-9", "-x", "sleep")
	require.NoError(t, err)
}
