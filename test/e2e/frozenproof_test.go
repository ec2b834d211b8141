//go:build e2e && (nightly || soak)

package e2e

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/report"
	"snapwatch/test/site"
)

// proofs is a test cluster with two guests. The first guest is a container with processes that
// write. The second guest is a virtual machine: a real guest agent freezes the machine's file
// system, which is in use.
type proofs struct {
	*world
	box site.Cgroup
}

const (
	proofBox  = 200
	proofVM   = 100
	proofDisk = "ta/data/vm-100-disk-0"
)

func newProofs(t *testing.T) proofs {
	w := newWorld(t)
	w.configure(still + "groups: [{name: both, vmid: '100,200', quiesce: agent}]\nquiesce: [{vmid: 200, how: cgroup}]\n")
	p := proofs{w, w.box(proofBox)}
	require.NoError(t, site.CreateZvol(w.ctx, proofDisk, 48))
	w.machine("mkfs.ext4 -q /dev/zvol/" + proofDisk)
	require.NoError(t, w.a.AddVM(proofVM, "vm-100-disk-0"))
	w.start(w.a, proofVM)
	agent, err := w.a.StartAgent(w.ctx, proofVM, proofDisk)
	require.NoError(t, err)
	t.Cleanup(func() { agent.Kill() })
	w.machine("mkdir -p /tmp/vm-100 && mount /dev/zvol/" + proofDisk + " /tmp/vm-100")
	t.Cleanup(func() { require.NoError(t, syscall.Unmount("/tmp/vm-100", syscall.MNT_DETACH)) })
	return p
}

// dirty makes the virtual machine's file system dirty: it writes a file.
func (p proofs) dirty() { p.machine("date >/tmp/vm-100/file") }

// frozen reports whether the container is frozen.
func (p proofs) frozen() bool {
	p.t.Helper()
	box, err := p.box.Frozen() // asking the agent would take seconds
	require.NoError(p.t, err)
	return box
}

// worth returns what snap says about the consistency of the last snapshots of the virtual machine
// and of the container. If snap calls the virtual machine's snapshot consistent, the file system in
// this snapshot must have no journal to replay.
func (p proofs) worth(trial string) (vm, box report.Consistency) {
	p.t.Helper()
	all := p.quiesced()
	if q := all[proofVM]; q.Snapshot != "" {
		want := map[bool]string{true: "application", false: "-"}[q.Consistent == report.Application]
		assert.Equal(p.t, want, strings.TrimSpace(p.zfs("get", "-H", "-o", "value", "snapwatch:consistent", proofDisk+"@"+q.Snapshot)), trial)
	}
	if q := all[proofVM]; q.Consistent == report.Application {
		clone := proofDisk + "-" + trial
		p.zfs("clone", proofDisk+"@"+q.Snapshot, clone)
		require.NoError(p.t, site.WaitZvol(p.ctx, clone))
		assert.False(p.t, p.needsRecovery("/dev/zvol/"+clone), "%s: called consistent: %+v", trial, q)
	}
	return all[proofVM].Consistent, all[proofBox].Consistent
}

// TestFreezeProven: between the freeze and the snapshot, other programs thaw a guest, or a process
// is killed, or a process hangs. No run wrongly calls a snapshot consistent, and no guest is frozen
// after the next run.
func TestFreezeProven(t *testing.T) {
	p := newProofs(t)
	p.dirty()
	p.snap(p.a, "f48")
	vm, box := p.worth("still")
	assert.Equal(t, report.Application, vm)
	assert.Equal(t, report.Application, box)

	// Another program thaws one of the guests after the guest's freeze and before the channel
	// program that takes the snapshots.
	const thaws = "pvesh create /nodes/localhost/qemu/100/agent/fsfreeze-thaw --output-format json"
	for name, test := range map[string]struct {
		line    string
		vm, box report.Consistency
	}{
		"box": {"echo 0 >/sys/fs/cgroup/lxc/200/cgroup.freeze", report.Application, report.Crash},
		"vm":  {thaws, report.Crash, report.Application},
	} {
		p.dirty()
		p.beforeProgram(p.a, "guest", test.line)
		r := p.run(p.a, "snap", "f48")
		assert.Equal(t, 1, r.Code)
		assert.Contains(t, r.Stderr, "it was no longer fully frozen when it was thawed")
		vm, box := p.worth("thawed-" + name)
		assert.Equal(t, test.vm, vm, name)
		assert.Equal(t, test.box, box, name)
		require.NoError(t, p.a.Remove(site.BinDir+"/zfs"))
	}
	p.nobodyThaws()

	// The test kills each process of the run at random moments, and lets the guest's agent hang at
	// random moments.
	usual, _ := p.took(t, "f48")
	events := map[string]func(){
		"run":      func() { p.kill("snap f48") },
		"watchdog": func() { p.kill("snapwatch watchdog") },
		"pvesh":    func() { p.kill("pvesh create") },
		"both":     func() { p.kill("snap f48", "snapwatch watchdog") },
		"all":      func() { p.kill("snap f48", "snapwatch watchdog", "pvesh create") },
		"agent":    func() { p.machine("pkill -STOP -x qemu-ga; sleep 4; pkill -CONT -x qemu-ga") },
	}
	names := []string{"run", "watchdog", "pvesh", "both", "all", "agent"}
	for i := range frozenTrials {
		name := names[i%len(names)]
		trial := fmt.Sprintf("%d-%s", i, name)
		p.dirty()
		run, err := p.a.Start(p.ctx, program(t), "snap", "f48")
		require.NoError(t, err)
		if (i+i/len(names))%2 == 0 { // over all trials each process is killed in both ways
			p.untilFrozenOr(run)
			time.Sleep(rand.N(200 * time.Millisecond))
		} else {
			time.Sleep(rand.N(usual))
		}
		trial += fmt.Sprintf("-%v", p.frozen())
		events[name]()
		r := run.Wait()
		t.Logf("%s\n%s-> %d", trial, r.Stderr, r.Code)
		p.nobodyThaws()
		if r.Code >= 0 && r.Code < 128 {
			p.worth(trial)
		}
		// The next run of snap thaws guests that the killed run left frozen, and reports these
		// thaws.
		again := p.run(p.a, "snap", "f48")
		p.nobodyThaws()
		assert.False(t, p.frozen(), trial)
		status, err := p.a.Output(p.ctx, "pvesh", "create", "/nodes/localhost/qemu/100/agent/fsfreeze-status", "--output-format", "json")
		require.NoError(t, err)
		assert.Contains(t, status, "thawed", trial)
		left, err := p.a.Output(p.ctx, "sh", "-c", "ls /run/snapwatch/frozen 2>/dev/null || true")
		require.NoError(t, err)
		assert.Empty(t, left, "%s: %s", trial, again.Stderr)
		vm, box := p.worth(trial + "-next")
		if again.Code == 0 {
			assert.Equal(t, report.Application, vm, trial)
			assert.Equal(t, report.Application, box, trial)
		}
	}
}

// untilFrozenOr waits until the container is frozen or the run has ended.
func (p proofs) untilFrozenOr(run *site.Process) {
	p.t.Helper()
	p.waitUntil(func() bool { return p.frozen() || syscall.Kill(run.PID(), 0) != nil })
}

// kill kills all processes of A whose command lines contain one of the words.
func (p proofs) kill(words ...string) {
	p.t.Helper()
	running, err := p.a.Processes()
	require.NoError(p.t, err)
	for _, r := range running {
		for _, word := range words {
			if strings.Contains(strings.Join(r.Argv, " "), word) {
				_ = syscall.Kill(r.PID, syscall.SIGKILL)
			}
		}
	}
}
