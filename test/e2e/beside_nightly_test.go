//go:build e2e && nightly

package e2e

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/test/site"
)

// slowPrograms is a script in place of zfs that delays each channel program as a busy pool does, so
// that Proxmox's calls arrive while a run holds a lock.
const slowPrograms = "#!/bin/sh\n[ \"$1\" != program ] || sleep 0.5\nexec /usr/sbin/zfs \"$@\"\n"

// longestFreezeHere is max_freeze in this test: the longest time for which a frozen guest may delay
// a call of Proxmox's programs.
const longestFreezeHere = 6 * time.Second

// nodePair is a cluster of two nodes. snap runs on its nodes in turn, again and again, while the
// test calls Proxmox's programs. Guest 100 is a virtual machine with an agent, guest 200 a
// container; snap on A freezes both guests for their snapshots.
type nodePair struct {
	*standins
	met  int // number of calls of Proxmox that waited for a lock
	mu   sync.Mutex
	ran  []site.Result
	more chan struct{}
}

func newBeside(t *testing.T) *nodePair {
	b := &nodePair{standins: &standins{newWorld(t)}, more: make(chan struct{})}
	b.configure(quick + fmt.Sprintf("max_freeze: %s\nquiesce: [{vmid: 100, how: agent}, {vmid: 200, how: cgroup}]\n", longestFreezeHere))
	b.vm(100, "vm-100-disk-0")
	require.NoError(t, b.a.SetOption(100, "agent", "1"))
	require.NoError(t, b.a.PlayAgent(100))
	b.container(200, "subvol-200-disk-0")
	group, err := site.NewCgroup(200)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, group.Close(context.Background())) })
	require.NoError(t, group.Start("sleep", "infinity"))
	b.does("qm", "start", "100")
	b.does("pct", "start", "200")
	b.snap(b.a, "f100")
	for _, s := range []*site.Site{b.a, b.b} {
		require.NoError(t, s.Install("zfs", slowPrograms))
	}
	for on, to := range map[*site.Site]string{b.a: "tb/data", b.b: "ta/data"} {
		require.NoError(t, on.WriteFile("/run/standin/migrate.to", to))
	}
	ctx, stop := context.WithCancel(b.ctx)
	var running sync.WaitGroup
	running.Go(func() { b.runAgain(ctx, t) })
	t.Cleanup(func() { stop(); running.Wait() })
	return b
}

// runAgain runs snap in turn on A and on B until ctx ends.
func (b *nodePair) runAgain(ctx context.Context, t *testing.T) {
	for ctx.Err() == nil {
		for _, s := range []*site.Site{b.a, b.b} {
			r, err := s.Run(b.ctx, program(t), "snap", "f100")
			if b.ctx.Err() != nil {
				return // the end of the test ended this run
			}
			assert.NoError(t, err)
			b.mu.Lock()
			b.ran = append(b.ran, r)
			close(b.more)
			b.more = make(chan struct{})
			b.mu.Unlock()
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// next waits for the end of the next run of snap on A or B.
func (b *nodePair) next() {
	b.t.Helper()
	b.mu.Lock()
	more := b.more
	b.mu.Unlock()
	select {
	case <-more:
	case <-b.ctx.Done():
		require.NoError(b.t, b.ctx.Err())
	}
}

// lockOf returns the path of Proxmox's lock of a guest's configuration.
func lockOf(vmid int) string {
	if vmid >= 200 {
		return fmt.Sprintf("/run/lock/lxc/pve-config-%d.lock", vmid)
	}
	return fmt.Sprintf("/run/lock/qemu-server/lock-%d.conf", vmid)
}

// ours reports whether a run of snap on A holds the lock of the guest's configuration: only snap
// takes this lock shared.
func (b *nodePair) ours(vmid int) bool {
	b.t.Helper()
	var inode uint64
	err := b.a.Inside(func() error {
		info, err := os.Stat(lockOf(vmid))
		if err == nil {
			inode = info.Sys().(*syscall.Stat_t).Ino
		}
		return err
	})
	if os.IsNotExist(err) {
		return false
	}
	require.NoError(b.t, err)
	locks, err := os.ReadFile("/proc/locks")
	require.NoError(b.t, err)
	for line := range strings.Lines(string(locks)) {
		f := strings.Fields(line)
		if len(f) > 5 && f[1] == "FLOCK" && f[3] == "READ" && strings.HasSuffix(f[5], fmt.Sprintf(":%d", inode)) {
			return true
		}
	}
	return false
}

// meets waits until a run of snap holds the guest's lock. Then meets calls a program of Proxmox,
// and the call must succeed.
func (b *nodePair) meets(vmid int, argv ...string) {
	b.t.Helper()
	b.waitUntil(func() bool { return b.ours(vmid) })
	b.does(argv...)
}

// onB runs a command on B.
func (b *nodePair) onB(argv ...string) {
	b.t.Helper()
	r, err := b.b.Run(b.ctx, argv...)
	require.NoError(b.t, err)
	require.Zero(b.t, r.Code, "B# %v\n%s%s", argv, r.Stdout, r.Stderr)
}

// waited asserts that no program of Proxmox has waited for a lock for longer than `most` since the
// method waited was last called.
func (b *nodePair) waited(most time.Duration) {
	b.t.Helper()
	const log = "/run/standin/waits.log"
	for _, s := range []*site.Site{b.a, b.b} {
		text, err := s.ReadFile(log)
		if os.IsNotExist(err) {
			continue
		}
		require.NoError(b.t, err)
		require.NoError(b.t, s.Remove(log))
		for line := range strings.Lines(text) {
			var path string
			var ms int64
			_, err := fmt.Sscan(line, &path, &ms)
			require.NoError(b.t, err)
			b.t.Logf("%s: waited for %s for %d ms", s.Name, path, ms)
			assert.LessOrEqual(b.t, time.Duration(ms)*time.Millisecond, most, path)
			b.met++
		}
	}
}

// `most` is the longest time for which a program of Proxmox may wait if the guest is not frozen.
// `mostFrozen` is the longest time for which a program of Proxmox may wait if the guest is frozen.
// Even on the slow, emulated machine, a run of snap finishes its work for one guest within the time
// `most`.
const (
	most       = 3 * time.Second
	mostFrozen = longestFreezeHere + most
)

// kinds has, by VMID, the program of Proxmox that changes the guest. disks has, by VMID, the
// dataset of the guest's disk on A.
var (
	kinds = map[int]string{100: "qm", 200: "pct"}
	disks = map[int]string{100: "ta/data/vm-100-disk-0", 200: "ta/data/subvol-200-disk-0"}
)

// TestBesideProxmox: while snap runs every few seconds, no call of Proxmox's programs fails, and no
// call waits longer than snap's work for one guest takes.
func TestBesideProxmox(t *testing.T) {
	b := newBeside(t)
	for _, story := range []struct {
		name string
		play func(*nodePair)
		met  bool // true if at least one call of Proxmox must wait for a run of snap
	}{
		{"start", (*nodePair).starts, true},
		{"stop", (*nodePair).stops, true},
		{"pvesr", (*nodePair).replicates, true},
		{"backup", (*nodePair).backsUp, true},
		{"rollback", (*nodePair).rollsBack, false},
		{"migration", (*nodePair).migrates, true},
	} {
		t.Run(story.name, func(t *testing.T) {
			b.t, b.met = t, 0
			story.play(b)
			b.waited(mostFrozen)
			assert.True(t, b.met > 0 || !story.met, "no call met a run")
			for _, disk := range disks {
				b.waitUntil(func() bool { return b.label(disk) == "pve-a" })
			}
			b.mu.Lock()
			defer b.mu.Unlock()
			for _, r := range b.ran {
				if r.Code != 0 {
					t.Logf("%s%s-> %d", r.Stdout, r.Stderr, r.Code)
				}
			}
			t.Logf("%d runs", len(b.ran))
			b.ran = nil
		})
	}
}

// starts is the part of the test that starts guests while a run of snap takes the guests' last
// snapshots, or just after the run has taken these snapshots.
func (b *nodePair) starts() {
	for range 2 {
		for vmid, program := range kinds {
			b.does(program, "stop", fmt.Sprint(vmid))
			b.waited(mostFrozen)
			b.waitUntil(func() bool { return b.ours(vmid) || b.label(disks[vmid]) == "stopped" })
			b.does(program, "start", fmt.Sprint(vmid))
			b.waited(most)
		}
	}
}

// stops is the part of the test that stops and reboots guests while a run of snap takes the guests'
// snapshots.
func (b *nodePair) stops() {
	for vmid, program := range kinds {
		for _, word := range []string{"stop", "shutdown"} {
			b.meets(vmid, program, word, fmt.Sprint(vmid))
			b.does(program, "start", fmt.Sprint(vmid))
		}
		b.meets(vmid, program, "reboot", fmt.Sprint(vmid))
	}
}

// replicates replicates guests by pvesr while a run of snap takes snapshots of these guests, or has
// frozen them.
func (b *nodePair) replicates() {
	for range 3 {
		for vmid := range kinds {
			b.meets(vmid, "pvesr", fmt.Sprint(vmid))
		}
	}
	b.next()
	b.next()
	state, err := b.a.Agent(100)
	require.NoError(b.t, err)
	assert.Equal(b.t, "thawed", state)
}

// backsUp backs up running guests, and a machine that is off and must remain off.
func (b *nodePair) backsUp() {
	disk := disks[100]
	b.takes("copy", "8s")
	for vmid := range kinds {
		b.meets(vmid, "vzdump", fmt.Sprint(vmid))
	}
	b.does("qm", "stop", "100")
	b.waitUntil(func() bool { return b.label(disk) == "stopped" })
	was := b.snapshots(disk)
	b.does("vzdump", "100")
	b.next()
	b.next()
	assert.Equal(b.t, was, b.snapshots(disk))
	b.takes("copy", "")
	b.does("qm", "start", "100")
}

// rollsBack rolls back a machine whose QEMU takes a minute to end, and a container that takes some
// seconds. If a run of snap takes a snapshot just before the rollback, Proxmox refuses the rollback
// and changes nothing.
func (b *nodePair) rollsBack() {
	for vmid, takes := range map[int]string{100: "1m", 200: "8s"} {
		program := kinds[vmid]
		for n := 0; ; n++ {
			name := fmt.Sprintf("before%d", n)
			b.next()
			b.takes("stop", "")
			b.does(program, "snapshot", fmt.Sprint(vmid), name)
			b.takes("stop", takes)
			r := b.pve(program, "rollback", fmt.Sprint(vmid), name)
			if n < 5 && strings.Contains(r.Stderr, "is not most recent snapshot") {
				continue
			}
			require.Zero(b.t, r.Code)
			break
		}
		b.takes("stop", "")
		b.says(vmid, "lock:", false)
		b.does(program, "start", fmt.Sprint(vmid))
	}
}

// migrates is the part of the test that migrates the guests to B and back.
func (b *nodePair) migrates() {
	b.takes("copy", "8s")
	b.meets(100, "qm", "migrate", "100", "pve-b")
	b.onB("qm", "start", "100")
	b.meets(200, "pct", "migrate", "200", "pve-b", "--restart")
	b.onB("pct", "start", "200")
	for _, disk := range []string{"tb/data/vm-100-disk-0", "tb/data/subvol-200-disk-0"} {
		b.waitUntil(func() bool { return b.label(disk) == "pve-b" })
	}
	b.onB("qm", "migrate", "100", "pve-a")
	b.does("qm", "start", "100")
	b.onB("pct", "migrate", "200", "pve-a", "--restart")
	b.does("pct", "start", "200")
	b.takes("copy", "")
}

// TestLongMigration: each run of snap during a migration of three hours takes a snapshot of the
// migrating guest.
func TestLongMigration(t *testing.T) {
	const disk, runs = "ta/data/vm-100-disk-0", 12
	s := &standins{newWorld(t)}
	s.vm(100, "vm-100-disk-0")
	s.does("qm", "start", "100")
	s.snap(s.a, "f100")
	migration := s.startCall("copy", "qm", "migrate", "100", "pve-b")
	for n := range runs {
		s.advanceClock(15 * time.Minute)
		require.Zero(t, s.run(s.a, "snap", "f100").Code)
		assert.Len(t, s.snapshots(disk), n+2)
	}
	s.endCall("copy", migration)
	was := s.snapshots(disk)
	require.Zero(t, s.run(s.a, "snap", "f100").Code)
	assert.Equal(t, was, s.snapshots(disk), "it is B's")
}
