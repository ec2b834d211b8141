//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
	"snapwatch/test/site"
)

// The constant `still` configures snapwatch with a max_freeze of 20 seconds, because the emulated
// machine is slow.
const still = quick + "max_freeze: 20s\n"

// machine runs a shell's command line on the machine itself and not in a site. On the machine, the
// disks are mounted, so the kernel also mounts the disks' snapshots below .zfs/snapshot.
func (w *world) machine(line string) string {
	w.t.Helper()
	out, err := exec.CommandContext(w.ctx, "sh", "-ec", line).CombinedOutput()
	require.NoError(w.t, err, "%s\n%s", line, out)
	return string(out)
}

// box makes a container on A with a file system on /tmp/ct-VMID, and returns the container's
// cgroup. A process of the container writes each line first into the file a and then into the file
// b of the container's file system.
func (w *world) box(vmid int) site.Cgroup {
	w.t.Helper()
	disk := fmt.Sprintf("subvol-%d-disk-0", vmid)
	w.container(vmid, disk)
	w.machine(fmt.Sprintf("zfs set mountpoint=/tmp/ct-%d ta/data/%s; mountpoint -q /tmp/ct-%d || zfs mount ta/data/%s", vmid, disk, vmid, disk))
	w.start(w.a, vmid)
	c, err := site.NewCgroup(vmid)
	require.NoError(w.t, err)
	w.t.Cleanup(func() { require.NoError(w.t, c.Close(context.Background())) })
	require.NoError(w.t, c.Start("sh", "-c", fmt.Sprintf("cd /tmp/ct-%d; n=0; while :; do n=$((n+1)); echo $n >>a; echo $n >>b; sleep 0.2; done", vmid)))
	return c
}

// boxes calls the method box for each VMID from first to last, and returns the cgroups of the
// created containers by VMID.
func (w *world) boxes(first, last int) map[int]site.Cgroup {
	w.t.Helper()
	all := map[int]site.Cgroup{}
	for vmid := first; vmid <= last; vmid++ {
		all[vmid] = w.box(vmid)
	}
	return all
}

// holdGroup takes a snapshot of a frozen group, the containers from first to last, and returns the
// longest freeze of a container in seconds.
func (w *world) holdGroup(first, last int) (longest float64) {
	w.t.Helper()
	var members []string
	for vmid := first; vmid <= last; vmid++ {
		members = append(members, strconv.Itoa(vmid))
	}
	w.configure(still + "groups: [{name: boxes, vmid: '" + strings.Join(members, ",") + "', quiesce: cgroup}]\n")
	w.snap(w.a, "f9")
	all := w.quiesced()
	require.Len(w.t, all, len(members))
	for vmid, q := range all {
		require.Equal(w.t, report.Application, q.Consistent, "guest %d: %+v", vmid, q)
		require.Positive(w.t, q.Seconds)
		longest = max(longest, q.Seconds)
	}
	return longest
}

// quiesced returns, by VMID, the entries about freezes in the report of snap's last run on A.
func (w *world) quiesced() map[int]report.Quiesced {
	w.t.Helper()
	text, err := w.a.ReadFile("/var/lib/snapwatch/last-run.json")
	require.NoError(w.t, err)
	var run report.Run
	require.NoError(w.t, json.Unmarshal([]byte(text), &run))
	all := map[int]report.Quiesced{}
	for _, q := range run.Quiesced {
		w.t.Logf("%+v", q)
		all[q.VMID] = q
	}
	return all
}

func (w *world) configure(text string) {
	w.t.Helper()
	require.NoError(w.t, w.a.WriteFile("/etc/snapwatch/config.yaml", text))
}

// nobodyThaws waits until two conditions are met: no process on A can freeze or thaw a guest any
// more, and no process on A holds a pool's lock.
func (w *world) nobodyThaws() {
	w.t.Helper()
	w.waitUntil(func() bool {
		running, err := w.a.Processes()
		require.NoError(w.t, err)
		for _, p := range running {
			line := strings.Join(p.Argv, " ")
			if strings.HasPrefix(line, "snapwatch watchdog") || strings.Contains(line, "pvesh create") || strings.HasPrefix(line, "zfs ") || strings.HasPrefix(line, "zpool ") {
				return false
			}
		}
		return true
	})
}

// parameter sets a parameter of the ZFS module for this test.
func (w *world) parameter(name, value string) {
	w.t.Helper()
	path := "/sys/module/zfs/parameters/" + name
	was, err := os.ReadFile(path)
	require.NoError(w.t, err)
	require.NoError(w.t, os.WriteFile(path, []byte(value), 0))
	w.t.Cleanup(func() { require.NoError(w.t, os.WriteFile(path, was, 0)) })
}

// dirty returns the number of bytes that a pool's latest transaction groups had to write, from the
// pool's kstat.
func (w *world) dirty(pool string) map[uint64]uint64 {
	w.t.Helper()
	text, err := os.ReadFile(filepath.Join(zfs.KstatDir, pool, "txgs"))
	require.NoError(w.t, err)
	all := map[uint64]uint64{}
	for line := range strings.Lines(string(text)) {
		var txg, birth, bytes uint64
		var state string
		if n, _ := fmt.Sscan(line, &txg, &birth, &state, &bytes); n == 4 {
			all[txg] = bytes
		}
	}
	return all
}

// newest returns the name of a dataset's newest snapshot.
func (w *world) newest(dataset string) string {
	w.t.Helper()
	names := w.snapshots(dataset)
	require.NotEmpty(w.t, names)
	return names[len(names)-1]
}

// took runs snap on A, and returns the duration and the result of this run.
func (w *world) took(t *testing.T, args ...string) (time.Duration, site.Result) {
	t.Helper()
	begun := time.Now()
	r := w.run(w.a, append([]string{"snap"}, args...)...)
	return time.Since(begun), r
}
