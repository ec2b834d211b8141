//go:build e2e

package e2e

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/zfs"
	"snapwatch/test/site"
)

// keptOn returns the guest's configuration from the property of a snapshot, "-" if the snapshot has
// no such property of its own.
func (w *world) keptOn(snapshot string) string {
	w.t.Helper()
	value, source, err := site.Property(w.ctx, snapshot, zfs.GuestConfig)
	require.NoError(w.t, err)
	if strings.HasPrefix(source, "inherited") {
		return "-"
	}
	return value
}

// TestGuestConfig: snap keeps a guest's configuration with its snapshots, in the same transaction
// group, and guest-config finds the configuration on a host that has only copies.
func TestGuestConfig(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, w.a.WriteFile("/etc/snapwatch/config.yaml", quick+"capture_config: true\n"))
	w.vm(100, "vm-100-disk-0", "vm-100-disk-1")
	require.NoError(t, w.a.SetOption(100, "cipassword", "secret"))
	require.NoError(t, w.a.SetOption(100, "name", "web01"))
	w.start(w.a, 100)
	const first, second = "ta/data/vm-100-disk-0", "ta/data/vm-100-disk-1"
	newest := func(disk string) string {
		names := w.snapshots(disk)
		return disk + "@" + names[len(names)-1]
	}
	w.snap(w.a, "f2")
	for _, disk := range []string{first, second} {
		assert.Greater(t, len(w.keptOn(newest(disk))), 100, disk)
	}
	w.snap(w.a, "f2")
	assert.Regexp(t, "^@[0-9a-f]{16}$", w.keptOn(newest(first)), "nothing changed")
	r := w.run(w.a, "guest-config", "100")
	require.Zero(t, r.Code)
	assert.Contains(t, r.Stdout, "scsi1: local-zfs:vm-100-disk-1")
	assert.Contains(t, r.Stdout, "left out: cipassword\n")
	assert.NotContains(t, r.Stdout, "secret")

	// When snap destroys the snapshot that keeps the guest's whole configuration, another snapshot
	// gets the whole configuration.
	w.snap(w.a, "f2")
	assert.Greater(t, len(w.keptOn(newest(first))), 100)
	unchanged := w.run(w.a, "guest-config", "100").Stdout
	assert.Equal(t, r.Stdout, unchanged)

	// If replication sends properties, each copy contains the guest's configuration, and an
	// ordinary user can read the configuration from the copy.
	w.send(first, "tc/vm-100-disk-0", "--sendoptions=p")
	lacks := w.guests(w.judged("-w", "1s", "-c", "10d").Result)[100]
	assert.Equal(t, "web01", lacks.Name)
	assert.Equal(t, []string{"vm-100-disk-1"}, lacks.Lacking, "a disk that was never sent: %s", lacks.Reason)
	w.zfs("create", "tc/plain")
	w.send(second, "tc/plain/vm-100-disk-1")
	assert.Empty(t, w.guests(w.judged("-w", "1s", "-c", "10d").Result)[100].Lacking)
	assert.Contains(t, w.run(w.c, "explain", "web01").Stdout, "guest 100 (web01)")
	got, err := w.c.RunAs(w.ctx, "nobody", program(t), "guest-config", "100")
	require.NoError(t, err)
	assert.Equal(t, unchanged, got.Stdout, got.Stderr)
	require.NoError(t, site.DestroyDataset(w.ctx, "tc/vm-100-disk-0"))
	plain := w.run(w.c, "guest-config", "100")
	assert.Equal(t, 2, plain.Code)
	assert.Contains(t, plain.Stderr, "syncoid --sendoptions=p")

	// snap stores a guest's configuration again when the configuration has changed, and when the
	// guest has stopped. guest-config can also print the configuration from before a change.
	before := w.snapshots(first)[1]
	require.NoError(t, w.a.SetOption(100, "memory", "2048"))
	w.snap(w.a, "f9")
	w.snap(w.a, "f9")
	assert.Regexp(t, "^@", w.keptOn(newest(first)))
	w.stop(w.a, 100)
	w.snap(w.a, "f9")
	require.Contains(t, newest(first), "_stopped")
	assert.Greater(t, len(w.keptOn(newest(first))), 100)
	w.send(first, "tc/vm-100-disk-0", "--sendoptions=R")
	assert.Contains(t, w.run(w.c, "guest-config", "100").Stdout, "memory: 2048")
	assert.Equal(t, unchanged, w.run(w.c, "guest-config", "100", "--at", before).Stdout)
}
