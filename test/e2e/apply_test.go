//go:build e2e

package e2e

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/zfs"
)

// TestSameTransaction: ZFS allows only one snapshot of a dataset in a transaction group. If another
// program has taken a snapshot of a disk in the present transaction group, snap tries again and
// takes its own snapshot of the disk in a later group.
func TestSameTransaction(t *testing.T) {
	w := newWorld(t)
	w.vm(100, "vm-100-disk-0", "vm-100-disk-1")
	w.start(w.a, 100)
	second := "ta/data/vm-100-disk-1"
	// The test takes the unmanaged snapshot inside snap's first channel program: only there both
	// snapshots of the disk are certainly due in one transaction group.
	require.NoError(t, w.a.Install("zfs", `#!/bin/sh
if [ "$1" = program ] && mkdir /run/met 2>/dev/null; then
	{ echo 'zfs.sync.snapshot("`+second+`@foreign")'; cat; } | /usr/sbin/zfs "$@" | tee /run/answer
	exit
fi
exec /usr/sbin/zfs "$@"
`))
	w.snap(w.a, "f4")
	answer, err := w.a.ReadFile("/run/answer")
	require.NoError(t, err)
	require.Contains(t, strings.Join(strings.Fields(answer), ""), `"snapshot":11`, "ZFS answered EAGAIN")
	require.Contains(t, strings.Join(strings.Fields(answer), ""), `"undone":0`, "the first disk's went again")
	first := w.snapshots("ta/data/vm-100-disk-0")
	assert.Len(t, first, 1)
	assert.Equal(t, []string{"foreign", first[0]}, w.snapshots(second))
	assert.Equal(t, w.txg("ta/data/vm-100-disk-0"), w.txg(second), "both disks in one transaction group")
	assert.Equal(t, "pve-a", w.label(second))
}

// TestManyDestroys: a run of snap destroys at most max_destroys snapshots, in batches, of which the
// first ones are small; the next run destroys the snapshots that are left.
func TestManyDestroys(t *testing.T) {
	const had, most = 50, 200 // had: snapshots on each disk; most: max_destroys
	w := newWorld(t)
	var disks []string
	for i := range 6 {
		disks = append(disks, fmt.Sprintf("vm-100-disk-%d", i))
	}
	w.vm(100, disks...)
	w.start(w.a, 100)
	now := time.Now().UTC()
	for i := range had {
		argv := []string{"zfs", "snapshot"}
		for _, d := range disks {
			argv = append(argv, "ta/data/"+d+"@"+zfs.FormatSnapshotName(now.Add(time.Duration(i-had-1)*time.Minute), zfs.Frequently))
		}
		_, err := w.a.Output(w.ctx, argv...)
		require.NoError(t, err)
	}
	require.NoError(t, w.a.WriteFile("/etc/snapwatch/config.yaml", fmt.Sprintf("%smax_destroys: %d\n", quick, most)))
	r := w.run(w.a, "snap", "f1", "--no-cron", "-v")
	assert.Zero(t, r.Code)
	assert.Contains(t, r.Stderr, "ta/data: 100 snapshots are due and not destroyed (max_destroys 200): the next runs continue")
	left := 0
	for _, d := range disks {
		left += len(w.snapshots("ta/data/" + d))
	}
	assert.Equal(t, len(disks)*(had+1)-most, left)
	assert.Regexp(t, `^50 (100 50|[0-9]+ )`, w.destroysByTXG(), "batches begin small and may grow")

	w.snap(w.a, "f1")
	for _, d := range disks {
		assert.Len(t, w.snapshots("ta/data/"+d), 1)
	}
}

var destroyed = regexp.MustCompile(`\[txg:(\d+)\] destroy ta/data/vm-100-disk-\d@`)

// destroysByTXG returns, for each transaction group in order, the number of snapshots that were
// destroyed in this group.
func (w *world) destroysByTXG() string {
	w.t.Helper()
	history, err := w.a.Output(w.ctx, "zpool", "history", "-i", "ta")
	require.NoError(w.t, err)
	var order []string
	count := map[string]int{}
	for _, m := range destroyed.FindAllStringSubmatch(history, -1) {
		if count[m[1]]++; count[m[1]] == 1 {
			order = append(order, m[1])
		}
	}
	var sizes []string
	for _, txg := range order {
		sizes = append(sizes, fmt.Sprint(count[txg]))
	}
	return strings.Join(sizes, " ") + " "
}

// TestHighAvailability: high availability will probably start a stopped guest again, so snap
// accepts the stop only after two runs have found the guest stopped.
func TestHighAvailability(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, w.a.WriteFile("/etc/pve/ha/resources.cfg", "vm: 100\n\tstate started\n"))
	disk := w.stopped(100, "vm-100-disk-0")
	w.untouched(t, disk)
	w.start(w.a, 100) // high availability starts the guest again
	w.snap(w.a, "f100")
	w.stop(w.a, 100)
	w.untouched(t, disk)
	w.final(t, disk)
}

// TestRefreshStopped: snap takes a new _stopped snapshot of a stopped guest every day, so that a
// replica can see that replication works. snap destroys older _stopped snapshots after they have
// expired.
func TestRefreshStopped(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, w.a.WriteFile("/etc/snapwatch/config.yaml", quick+"refresh_stopped: 24h\n"))
	disk := w.stopped(100, "vm-100-disk-0")
	w.final(t, disk)
	w.advanceClock(23 * time.Hour)
	w.untouched(t, disk)
	for range 2 {
		w.advanceClock(25 * time.Hour)
		w.snap(w.a, "f100")
	}
	names := w.snapshots(disk)
	assert.Equal(t, 2, count(w.classes(disk), "stopped"), "of three the first went, a day after there was a newer one: %v", names)
	assert.Equal(t, "stopped", w.label(disk))
	assert.Len(t, w.snapshots(disk), len(names))
}
