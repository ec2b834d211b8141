//go:build e2e

package e2e

import (
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/report"
	"snapwatch/test/site"
)

// TestAgentFreezesDatabases: two virtual machines have a database each, a shop and a ledger. A
// program writes each order first to the shop and then to the ledger, while real guest agents
// freeze the two virtual machines. The snapshots of both databases need no repair, and each order
// in the ledger's snapshot is also in the shop's snapshot.
func TestAgentFreezesDatabases(t *testing.T) {
	w := newWorld(t)
	disks := map[int]string{101: "ta/data/vm-101-disk-0", 102: "ta/data/vm-102-disk-0"}
	for vmid, disk := range disks {
		require.NoError(t, site.CreateZvol(w.ctx, disk, 48))
		w.machine("mkfs.ext4 -q /dev/zvol/" + disk)
		require.NoError(t, w.a.AddVM(vmid, fmt.Sprintf("vm-%d-disk-0", vmid)))
		w.start(w.a, vmid)
		agent, err := w.a.StartAgent(w.ctx, vmid, disk)
		require.NoError(t, err)
		t.Cleanup(func() { agent.Kill() })
		w.machine(fmt.Sprintf("mkdir -p /tmp/vm-%d && mount /dev/zvol/%s /tmp/vm-%d && sqlite3 /tmp/vm-%d/db 'create table entries(n integer primary key, text)'", vmid, disk, vmid, vmid))
		t.Cleanup(func() { require.NoError(t, syscall.Unmount(fmt.Sprintf("/tmp/vm-%d", vmid), syscall.MNT_DETACH)) })
	}
	// The writing program adds each order to the shop's database first, then to the ledger's
	// database.
	writer := exec.Command("sh", "-ec", `n=0
while :; do
	n=$((n+1))
	sqlite3 -cmd '.timeout 60000' /tmp/vm-101/db "insert into entries values($n, hex(randomblob(200)))" >/dev/null
	sqlite3 -cmd '.timeout 60000' /tmp/vm-102/db "insert into entries values($n, hex(randomblob(200)))" >/dev/null
done`)
	writer.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(t, writer.Start())
	t.Cleanup(func() { _ = syscall.Kill(-writer.Process.Pid, syscall.SIGKILL); _ = writer.Wait() })
	written := func() int { return w.entries("/tmp/vm-102/db") }
	w.waitUntil(func() bool { return written() > 2 })

	// In a snapshot that was taken without a freeze, the file system has a journal to replay.
	w.snap(w.a, "f9")
	assert.True(t, w.needsRecovery(w.clone(disks[101], "crash")))

	w.configure(still + "groups: [{name: shop, vmid: '101,102', quiesce: agent}]\n")
	w.snap(w.a, "f9")
	for vmid := range disks {
		q := w.quiesced()[vmid]
		assert.Equal(t, report.Application, q.Consistent, "%+v", q)
		assert.Equal(t, "shop", q.Group)
	}
	assert.Equal(t, w.txg(disks[101]), w.txg(disks[102]), "one transaction group")
	at := written()
	var entries [2]int
	for i, vmid := range []int{101, 102} {
		clone := w.clone(disks[vmid], "held")
		assert.False(t, w.needsRecovery(clone), "guest %d", vmid)
		dir := fmt.Sprintf("/tmp/held-%d", vmid)
		w.machine(fmt.Sprintf("mkdir %s && mount -o ro,noload %s %s && cp %s/db* /tmp/ && umount %s", dir, clone, dir, dir, dir))
		assert.Equal(t, "ok\n", w.machine("sqlite3 /tmp/db 'pragma integrity_check'"), "guest %d", vmid)
		entries[i] = w.entries("/tmp/db")
		w.machine("rm /tmp/db*; rmdir " + dir)
	}
	t.Logf("%d orders, %d in the ledger", entries[0], entries[1])
	assert.Contains(t, []int{0, 1}, entries[0]-entries[1], "the ledger matches the shop")
	assert.Positive(t, entries[1])
	w.waitUntil(func() bool { return written() > at }) // the program writes to both databases again
	w.nobodyThaws()
}

func (w *world) entries(db string) int {
	w.t.Helper()
	var n int
	_, err := fmt.Sscan(w.machine("sqlite3 -cmd '.timeout 60000' "+db+" 'select count(*) from entries'"), &n)
	require.NoError(w.t, err)
	return n
}

// clone makes a clone of a volume's newest snapshot and returns the clone's device.
func (w *world) clone(disk, name string) string {
	w.t.Helper()
	clone := disk + "-" + name
	w.zfs("clone", disk+"@"+w.newest(disk), clone)
	require.NoError(w.t, site.WaitZvol(w.ctx, clone))
	return "/dev/zvol/" + clone
}

// needsRecovery reports whether an ext4 file system has a journal that must be replayed.
func (w *world) needsRecovery(device string) bool {
	w.t.Helper()
	return strings.Contains(w.machine("dumpe2fs -h "+device+" 2>/dev/null"), "needs_recovery")
}
