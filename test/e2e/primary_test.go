//go:build e2e

package e2e

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/test/site"
)

// TestComparedWithTheOwner: replication dies while the guest is off, and the guest
// starts again. The replica alone sees a stopped guest; with its owner asked, it
// lags. The two are asked on one host here, since all sites share the pools.
func TestComparedWithTheOwner(t *testing.T) {
	w := newWorld(t)
	w.vm(100, "vm-100-disk-0")
	disk := "ta/data/vm-100-disk-0"
	w.start(w.a, 100)
	w.snap(w.a, "f4")
	w.stop(w.a, 100)
	w.snap(w.a, "f4")
	w.replicate("vm-100-disk-0")

	require.NoError(t, w.a.WriteFile("/etc/snapwatch/owner.yaml", "datasets: [ta]\n"))
	require.NoError(t, w.a.WriteFile("/etc/snapwatch/replica.yaml", "datasets: [tc]\n"))
	exporter, err := w.a.Start(w.ctx, program(t), "exporter", "--config", "/etc/snapwatch/owner.yaml", "--web.listen-address=127.0.0.1:10191")
	require.NoError(t, err)
	defer exporter.Stop()
	require.NoError(t, exporter.WaitFor(w.ctx, "127.0.0.1:10191"))
	check := func() site.Result {
		return w.run(w.a, "check", "-v", "-t", "60s", "--config", "/etc/snapwatch/replica.yaml", "--primary", "http://127.0.0.1:10191")
	}
	proven := check()
	assert.Zero(t, proven.Code)
	assert.Contains(t, proven.Stdout, "'unproven'=0")

	// The owner lost the snapshot and kept its bookmark: that proves as much.
	stopped := w.snapshots(disk)[1]
	w.zfs("destroy", disk+"@"+stopped)
	w.start(w.a, 100)
	w.snap(w.a, "f4")
	w.later(7 * time.Hour)
	w.snap(w.a, "f4")
	blind := w.check()
	assert.Zero(t, blind.Code, "the replica alone is blind")
	lagging := check()
	assert.Equal(t, 2, lagging.Code)
	assert.Contains(t, lagging.Stdout, "lag")

	w.send(disk, "tc/vm-100-disk-0")
	assert.Zero(t, check().Code)
}
