//go:build e2e

package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/test/site"
	"snapwatch/test/standin/contract"
)

// pve runs one of Proxmox's programs on A.
func (w *world) pve(argv ...string) site.Result {
	w.t.Helper()
	r, err := w.a.Run(w.ctx, argv...)
	require.NoError(w.t, err)
	w.t.Logf("A# %s\n%s%s-> %d", strings.Join(argv, " "), r.Stdout, r.Stderr, r.Code)
	return r
}

// takes says how long a step of the stand-ins takes, no time for "".
func (w *world) takes(step, time string) {
	w.t.Helper()
	path := "/run/standin/" + step + ".takes"
	if time == "" {
		require.NoError(w.t, w.a.Remove(path))
		return
	}
	require.NoError(w.t, w.a.WriteFile(path, time))
}

// busy reports whether somebody holds the guest's configuration.
func (w *world) busy(vmid int) bool {
	w.t.Helper()
	release, err := w.a.HoldFlock(vmid)
	if err == nil {
		require.NoError(w.t, release())
	}
	return err != nil
}

// TestStandinsAreLikeProxmox: the stand-ins take the locks of the contract, wait for them
// as long, and do things in its order.
func TestStandinsAreLikeProxmox(t *testing.T) {
	w := newWorld(t)
	disk := "ta/data/vm-100-disk-0"
	w.vm(100, "vm-100-disk-0")

	release, err := w.a.HoldFlock(100)
	require.NoError(t, err)
	begun := time.Now()
	r := w.pve("qm", "start", "100")
	assert.Equal(t, 255, r.Code)
	assert.GreaterOrEqual(t, time.Since(begun), contract.ConfigWait)
	assert.Contains(t, r.Stderr, contract.Timeout("/var/lock/qemu-server/lock-100.conf"))
	require.NoError(t, release())
	require.Zero(t, w.pve("qm", "start", "100").Code)
	assert.Contains(t, w.pve("pvesh", "get", "/nodes/localhost/qemu", "--output-format", "json").Stdout, `"status":"running"`)

	w.zfs("snapshot", disk+"@before")
	w.zfs("snapshot", disk+"@newer")
	r = w.pve("qm", "rollback", "100", "before")
	assert.Equal(t, 255, r.Code)
	assert.Contains(t, r.Stderr, "can't rollback, 'before' is not most recent snapshot on 'local-zfs:vm-100-disk-0'")
	w.zfs("destroy", disk+"@newer")

	// A rollback holds the lock from its look over the stop to the word.
	w.takes("stop", "4s")
	rollback, err := w.a.Start(w.ctx, "qm", "rollback", "100", "before")
	require.NoError(t, err)
	require.NoError(t, rollback.WaitFor(w.ctx, "stop takes 4s"))
	assert.True(t, w.busy(100))
	config, err := w.a.Configuration(100)
	require.NoError(t, err)
	assert.NotContains(t, config, "lock:", "it stops first")
	w.zfs("snapshot", disk+"@between")
	r = rollback.Wait()
	assert.Equal(t, 255, r.Code, r.Stderr)
	assert.Contains(t, r.Stderr, "more recent snapshots or bookmarks exist")
	config, err = w.a.Configuration(100)
	require.NoError(t, err)
	assert.Contains(t, config, "lock: rollback\n", "it is left off and locked")
	require.NoError(t, w.a.SetLock(100, ""))
	w.zfs("destroy", disk+"@between")
	w.takes("stop", "")
	require.Zero(t, w.pve("qm", "rollback", "100", "before").Code)

	require.Zero(t, w.pve("qm", "start", "100").Code)
	require.Zero(t, w.pve("qm", "reboot", "100").Code)
	assert.Contains(t, w.pve("pvesh", "get", "/nodes/localhost/qemu", "--output-format", "json").Stdout, `"status":"running"`)

	// pvesr has a lock of its own, and thaws whoever froze.
	require.NoError(t, w.a.SetOption(100, "agent", "1"))
	require.NoError(t, w.a.WriteFile("/run/standin/agent-100", "frozen"))
	release, err = w.a.HoldMigrateLock(100)
	require.NoError(t, err)
	r = w.pve("pvesr", "100")
	assert.Equal(t, 255, r.Code)
	assert.Contains(t, r.Stderr, contract.Timeout("/var/lock/pve-manager/pve-migrate-100"))
	require.NoError(t, release())
	require.Zero(t, w.pve("pvesr", "100").Code)
	text, err := w.a.ReadFile("/run/standin/agent-100")
	require.NoError(t, err)
	assert.Equal(t, "thawed", text)
	assert.Contains(t, strings.Join(w.snapshots(disk), " "), "__replicate_100-0_")
	require.Zero(t, w.pve("qm", "stop", "100").Code)
}

// TestPmxcfsHangs: whatever waits for pmxcfs in the kernel, doctor and snap end when they are
// told to, and keep no lock; afterwards nothing of them is left.
func TestPmxcfsHangs(t *testing.T) {
	w := newWorld(t)
	w.vm(100, "vm-100-disk-0")
	w.start(w.a, 100)
	w.snap(w.a, "f48")
	w.pipe("modprobe fuse")
	require.FileExists(t, "/dev/fuse", "the lab's kernel has FUSE")
	pmxcfs, err := w.a.Start(w.ctx, "pmxcfs", "/etc/pve")
	require.NoError(t, err)
	require.NoError(t, pmxcfs.WaitFor(w.ctx, "ready"))
	told := func(args ...string) site.Result {
		begun := time.Now()
		r := w.pve(append([]string{"timeout", "--preserve-status", "-s", "TERM", "6", program(t)}, args...)...)
		assert.Less(t, time.Since(begun), 12*time.Second, args)
		return r
	}
	r := told("doctor")
	assert.Equal(t, 143, r.Code)
	assert.Contains(t, r.Stderr, "told to end (terminated) while asking Proxmox")
	told("snap", "f48")
	r = w.run(w.a, "doctor")
	assert.Equal(t, 2, r.Code)
	assert.Contains(t, r.Stdout, "is pmxcfs hung?")
	assert.Contains(t, r.Stdout, "ok       pool           ta")

	pmxcfs.Stop()
	w.until(func() bool {
		running, err := w.a.Processes()
		require.NoError(t, err)
		return !strings.Contains(strings.Join(argvs(running), "\n"), "read-pve")
	})
	w.snap(w.a, "f48")
	assert.Len(t, w.snapshots("ta/data/vm-100-disk-0"), 2)
}

func argvs(running []site.Running) (all []string) {
	for _, p := range running {
		all = append(all, strings.Join(p.Argv, " "))
	}
	return all
}
