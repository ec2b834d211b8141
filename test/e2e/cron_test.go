//go:build e2e

package e2e

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestCron: a run of snap at a terminal writes a line for snap into cron's file. The real cron
// daemon reads snap's line and starts snap, and snap takes the next snapshot.
func TestCron(t *testing.T) {
	w := newWorld(t)
	w.vm(100, "vm-100-disk-0")
	w.start(w.a, 100)
	const installed, replaceable = "/usr/local/sbin/snapwatch", "/srv/bin/snapwatch"
	_, err := w.a.Output(w.ctx, "sh", "-c", "install -o root -m 755 "+program(t)+" "+installed+" && mkdir -m 777 /srv/bin && install -o root -m 755 "+program(t)+" "+replaceable)
	require.NoError(t, err)
	// script(1) runs snap at a terminal.
	r, err := w.a.Run(w.ctx, "script", "-qec", replaceable+" snap f9", "/dev/null")
	require.NoError(t, err)
	require.Equal(t, 1, r.Code, r.Stdout)
	assert.Contains(t, r.Stdout, "not registered in cron: another user may replace the program that cron would run as root: others may write /srv/bin")
	_, err = w.a.ReadFile("/etc/cron.d/snapwatch")
	require.Error(t, err)
	require.Len(t, w.snapshots("ta/data/vm-100-disk-0"), 1)
	r, err = w.a.Run(w.ctx, "script", "-qec", installed+" snap f9", "/dev/null")
	require.NoError(t, err)
	require.Zero(t, r.Code, r.Stdout)
	assert.Contains(t, r.Stdout, "registered in /etc/cron.d/snapwatch")
	line, err := w.a.ReadFile("/etc/cron.d/snapwatch")
	require.NoError(t, err)
	assert.Contains(t, line, "*/15 * * * * root "+installed+" snap f9\n")
	require.Len(t, w.snapshots("ta/data/vm-100-disk-0"), 2)
	// A run of snap with a different retention does not change cron's line, and destroys no
	// snapshot that the retention in this line keeps.
	r, err = w.a.Run(w.ctx, "script", "-qec", installed+" snap f1", "/dev/null")
	require.NoError(t, err)
	require.Zero(t, r.Code, r.Stdout)
	assert.Contains(t, r.Stdout, "this run uses the registered words instead: snap f9")
	require.Len(t, w.snapshots("ta/data/vm-100-disk-0"), 3)
	r, err = w.a.Run(w.ctx, "script", "-qec", installed+" snap f1 >/dev/null 2>&1", "/dev/null")
	require.NoError(t, err)
	require.Zero(t, r.Code, r.Stdout)
	require.Len(t, w.snapshots("ta/data/vm-100-disk-0"), 4, "the terminal is standard input")
	again, err := w.a.ReadFile("/etc/cron.d/snapwatch")
	require.NoError(t, err)
	require.Equal(t, line, again)

	events, err := w.a.Start(w.ctx, "zpool", "events", "-f", "-v", "-H")
	require.NoError(t, err)
	defer events.Kill()
	cron, err := w.a.Start(w.ctx, "cron", "-f")
	require.NoError(t, err)
	defer cron.Stop()
	now := time.Now()
	w.advanceClock(now.Truncate(15 * time.Minute).Add(15*time.Minute - 3*time.Second).Sub(now))
	quarter := time.Now().Add(3 * time.Second).Format("2006-01-02_15:04")
	require.NoError(t, events.WaitFor(w.ctx, "vm-100-disk-0@autosnap_"+quarter))
	assert.Len(t, w.snapshots("ta/data/vm-100-disk-0"), 5)
	assert.Contains(t, w.snapshots("ta/data/vm-100-disk-0")[4], "autosnap_"+quarter)
}
