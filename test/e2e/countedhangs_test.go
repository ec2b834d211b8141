//go:build e2e && counted

package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/report"
)

// TestCountedAgentHangs: a guest agent that hangs at any of its calls delays a run of snap by no
// more than the time budget for freezes. All guests get their snapshots, and snap freezes the
// guests with working agents for these snapshots.
func TestCountedAgentHangs(t *testing.T) {
	w := newWorld(t)
	const budget = 10 * time.Second
	w.configure(quick + "max_freeze: 10s\nquiesce: [{vmid: 100-101, how: agent}]\n")
	for vmid := 100; vmid <= 102; vmid++ {
		w.vm(vmid, fmt.Sprintf("vm-%d-disk-0", vmid))
		w.start(w.a, vmid)
		require.NoError(t, w.a.PlayAgent(vmid))
	}
	usual, r := w.took(t, "f9")
	require.Zero(t, r.Code, r.Stderr)
	for i, what := range []string{"fsfreeze-status", "fsfreeze-freeze", "fsfreeze-thaw"} {
		require.NoError(t, w.a.SetPveshFault("hang."+what+"-101", ""))
		hung, r := w.took(t, "f9")
		t.Logf("%s hangs: %s, usually %s", what, hung, usual)
		assert.Less(t, hung-usual, budget, what)
		q := w.quiesced()
		assert.Equal(t, report.Application, q[100].Consistent, what)
		// The watchdog saw no thaw of guest 101, so nothing proves that the guest was frozen until
		// its snapshot existed.
		assert.Equal(t, report.Crash, q[101].Consistent, what)
		if what == "fsfreeze-thaw" {
			assert.Contains(t, r.Stderr, "guest 101 was frozen for its snapshot, and may still be")
		}
		for vmid := 100; vmid <= 102; vmid++ {
			assert.Len(t, w.snapshots(fmt.Sprintf("ta/data/vm-%d-disk-0", vmid)), i+2, "%s: guest %d", what, vmid)
		}
		require.NoError(t, w.a.ClearPveshFault())
		w.nobodyThaws() // the watchdog tries to thaw the guest until a thaw succeeds
		state, err := w.a.Agent(101)
		require.NoError(t, err)
		assert.Equal(t, "thawed", state, what)
	}
}
