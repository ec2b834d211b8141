//go:build e2e && nightly

package e2e

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/report"
	"snapwatch/test/site"
)

// whileFrozen starts a run of snap and calls the function `do` between the freeze and the channel
// program: the channel program waits for the end of do. whileFrozen returns after the run and the
// channel program have ended; the channel program also ends if the run is killed.
func (p proofs) whileFrozen(do func()) site.Result {
	p.t.Helper()
	p.beforeProgram(p.a, "guest", "touch /run/held; while [ -e /run/held ]; do sleep 0.05; done")
	run, err := p.a.Start(p.ctx, program(p.t), "snap", "f48")
	require.NoError(p.t, err)
	p.waitUntil(func() bool { _, err := p.a.ReadFile("/run/held"); return err == nil })
	do()
	require.NoError(p.t, p.a.Remove("/run/held"))
	r := run.Wait()
	p.t.Logf("%s-> %d", r.Stderr, r.Code)
	p.waitUntil(func() bool {
		running, err := p.a.Processes()
		require.NoError(p.t, err)
		return !strings.Contains(strings.Join(argvs(running), "\n"), "/zfs program")
	})
	require.NoError(p.t, p.a.Remove(site.BinDir+"/zfs"))
	return r
}

// endAgent kills the guest's agent and thaws the guest's file systems, as the end of the guest does.
func (p proofs) endAgent() {
	p.machine("pkill -KILL -x qemu-ga; until ! pgrep -x qemu-ga >/dev/null; do sleep 0.05; done; fsfreeze -u /tmp/vm-100")
	require.NoError(p.t, p.a.Remove("/run/agent-100"))
	require.NoError(p.t, p.a.Remove("/run/qemu-server/100.qga"))
}

func (p proofs) startAgent() {
	agent, err := p.a.StartAgent(p.ctx, proofVM, proofDisk)
	require.NoError(p.t, err)
	p.t.Cleanup(func() { agent.Kill() })
}

// agentSays returns the answer of the virtual machine's agent: frozen or thawed.
func (p proofs) agentSays() string {
	status, err := p.a.Output(p.ctx, "pvesh", "create", "/nodes/localhost/qemu/100/agent/fsfreeze-status", "--output-format", "json")
	require.NoError(p.t, err)
	return status
}

func (p proofs) notes() string {
	left, err := p.a.Output(p.ctx, "sh", "-c", "ls /run/snapwatch/frozen 2>/dev/null || true")
	require.NoError(p.t, err)
	return left
}

// TestFrozenResetAndSuspended: while a guest is frozen, the guest is reset, suspended, or restarted
// without its agent. The guest's snapshot never counts as consistent, and at the end the guest is
// not frozen.
func TestFrozenResetAndSuspended(t *testing.T) {
	p := newProofs(t)

	p.dirty()
	r := p.whileFrozen(func() { p.endAgent(); p.startAgent() })
	assert.Equal(t, 1, r.Code)
	vm, box := p.worth("reset")
	assert.Equal(t, report.Crash, vm)
	assert.Equal(t, report.Application, box)
	assert.Contains(t, p.agentSays(), "thawed")
	p.nobodyThaws()
	assert.Empty(t, p.notes())

	// The suspended agent gives no answer until after max_freeze and after the end of the run.
	p.dirty()
	r = p.whileFrozen(func() { p.machine("pkill -STOP -x qemu-ga") })
	assert.Equal(t, 1, r.Code)
	vm, _ = p.worth("suspended")
	assert.NotEqual(t, report.Application, vm)
	r = p.run(p.a, "snap", "f48")
	assert.Equal(t, 1, r.Code)
	vm, _ = p.worth("suspended-next")
	assert.NotEqual(t, report.Application, vm)
	p.machine("pkill -CONT -x qemu-ga")
	p.nobodyThaws()
	p.run(p.a, "snap", "f48")
	p.nobodyThaws()
	assert.Contains(t, p.agentSays(), "thawed")
	assert.Empty(t, p.notes())
	p.snap(p.a, "f48")
	vm, _ = p.worth("resumed")
	assert.Equal(t, report.Application, vm)

	// After the restart, the guest has no agent that could say whether the guest is frozen. The
	// restart gives the guest a new process, and a new process is not frozen.
	restart := func() {
		p.endAgent()
		require.NoError(t, p.a.KillGuest(proofVM))
		p.start(p.a, proofVM)
	}
	p.dirty()
	r = p.whileFrozen(restart)
	assert.Equal(t, 1, r.Code)
	assert.Contains(t, r.Stderr, "it was started again since")
	vm, _ = p.worth("restarted")
	assert.NotEqual(t, report.Application, vm)
	p.nobodyThaws()
	assert.Empty(t, p.notes())

	p.startAgent()
	p.dirty()
	p.whileFrozen(func() {
		p.kill("snapwatch watchdog", "snap f48")
		p.nobodyThaws()
		restart()
	})
	p.nobodyThaws()
	r = p.run(p.a, "snap", "f48")
	assert.Contains(t, r.Stderr, "guest 100 was frozen for its snapshot at")
	assert.Contains(t, r.Stderr, "no run tries any more: it no longer runs: it was started again since then")
	assert.Empty(t, p.notes())
	r = p.run(p.a, "snap", "f48")
	assert.NotContains(t, r.Stderr, "guest 100 was frozen")
	p.startAgent()
	p.snap(p.a, "f48")
	vm, _ = p.worth("again")
	assert.Equal(t, report.Application, vm)
}
