//go:build e2e

package e2e

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/test/site"
)

// standby returns a node of another cluster. The node has the same name as A, a pool tb, and copies
// of the configurations of A's guests.
func (w *world) standby(vmids ...int) *site.Site {
	w.t.Helper()
	s, err := site.Start(w.ctx, site.Config{Name: "S", Node: "pve-a", Cluster: "standby", Pool: "tb"})
	require.NoError(w.t, err)
	w.t.Cleanup(func() { require.NoError(w.t, s.Close()) })
	require.NoError(w.t, s.WriteFile("/etc/snapwatch/config.yaml", quick))
	for _, vmid := range vmids {
		require.NoError(w.t, s.AddVM(vmid, fmt.Sprintf("vm-%d-disk-0", vmid)))
	}
	return s
}

// changes runs snap on a site, and returns records that the run has added to the history of pool
// tb: those about disks whose names match the argument disks.
func (w *world) changes(s *site.Site, disks *regexp.Regexp, args ...string) []string {
	w.t.Helper()
	events := func() []string { return strings.Split(strings.TrimSpace(w.zpoolHistory("tb")), "\n") }
	before := len(events())
	r := w.run(s, append([]string{"snap"}, args...)...)
	require.Zero(w.t, r.Code)
	return slices.DeleteFunc(events()[before:], func(line string) bool {
		return !strings.Contains(line, "[txg:") || !disks.MatchString(line)
	})
}

func (w *world) zpoolHistory(pool string) string {
	w.t.Helper()
	out, err := w.c.Output(w.ctx, "zpool", "history", "-i", pool)
	require.NoError(w.t, err)
	return out
}

// sendAs sends a disk's newest state under the name of another tool's snapshot, without properties.
func (w *world) sendAs(from, to, name, last string) {
	w.t.Helper()
	w.zfs("snapshot", from+"@"+name)
	base := ""
	if last != "" {
		base = "-i @" + last + " "
	}
	w.pipe("zfs send " + base + from + "@" + name + " | zfs receive -F " + to)
}

// sendByAll replicates each of A's disks to the standby in a different way: three disks under the
// snapshot names of three other tools, and four disks by syncoid, two of them without properties,
// one with received properties and one with local properties.
func (w *world) sendByAll(round int) {
	w.t.Helper()
	for i, name := range []string{"zrepl_20260715_%04d00_000", "auto-2026-07-15_10-%02d", "rep_default_2026-07-15_10:%02d:00"} {
		last := ""
		if round > 0 {
			last = fmt.Sprintf(name, round-1)
		}
		disk := fmt.Sprintf("/data/vm-%d-disk-0", 101+i)
		w.sendAs("ta"+disk, "tb"+disk, fmt.Sprintf(name, round), last)
	}
	for vmid, flags := range map[int][]string{104: nil, 105: {"--sendoptions=p"}, 106: {"--preserve-properties"}, 107: nil} {
		disk := fmt.Sprintf("/data/vm-%d-disk-0", vmid)
		to := "tb" + disk
		if vmid == 107 {
			to = "tb/data/vm-110-disk-1"
		}
		w.send("ta"+disk, to, flags...)
	}
}

// types runs snapwatch at a terminal, as a person does.
func (w *world) types(s *site.Site, line string) site.Result {
	w.t.Helper()
	r, err := s.Run(w.ctx, "script", "-qec", program(w.t)+" "+line, "/dev/null")
	require.NoError(w.t, err)
	w.tell(s, strings.Fields(line), r)
	return r
}

// TestCopiesOnAStandby: a standby node has configurations of guests that run elsewhere, and copies
// of the disks of these guests. snap on the standby node leaves the copies alone, whichever program
// sends to them. snap also leaves alone a copy from another cluster that has the VMID of a local
// guest. Of the guests that are configured on the standby node, snap handles only the guest that is
// started there.
func TestCopiesOnAStandby(t *testing.T) {
	w := newWorld(t)
	for vmid := 101; vmid <= 107; vmid++ {
		w.vm(vmid, fmt.Sprintf("vm-%d-disk-0", vmid))
		w.start(w.a, vmid)
	}
	s := w.standby(101, 102, 103, 104, 105, 106, 110)
	require.NoError(t, site.CreateZvol(w.ctx, "tb/data/vm-110-disk-0", 16))
	w.start(s, 110)
	copies := regexp.MustCompile(`tb/data/vm-(10[1-6]-disk-0|110-disk-1)\b`)
	for round := range feeds {
		for vmid := 101; vmid <= 107; vmid++ {
			w.fill(fmt.Sprintf("ta/data/vm-%d-disk-0", vmid), 64)
		}
		w.snap(w.a, "f4")
		w.sendByAll(round)
		did := slices.DeleteFunc(w.changes(s, copies, "f4"), func(line string) bool { return strings.Contains(line, "] bookmark ") })
		require.Empty(t, did, "round %d", round)
	}
	assert.NotEmpty(t, w.classes("tb/data/vm-110-disk-0"), "the guest that runs here has its snapshots")
	assert.Equal(t, "pve-a local", w.labelSource("tb/data/vm-106-disk-0"))

	for vmid := 101; vmid <= 106; vmid++ {
		w.start(s, vmid)
	}
	w.snap(s, "f4")
	for vmid := 101; vmid <= 106; vmid++ {
		disk := fmt.Sprintf("tb/data/vm-%d-disk-0", vmid)
		assert.Equal(t, "pve-a local", w.labelSource(disk))
		list := w.snapshots(disk)
		assert.NotContains(t, w.snapshots("ta/data/"+disk[len("tb/data/"):]), list[len(list)-1], disk)
	}
	for vmid := 101; vmid <= 106; vmid++ {
		w.stop(s, vmid)
	}
	w.snap(s, "f4")
	for vmid := 101; vmid <= 106; vmid++ {
		assert.Regexp(t, "_stopped$", w.newestBookmark(fmt.Sprintf("tb/data/vm-%d-disk-0", vmid)), "it is its own guest's now")
	}
}

// TestCopyAgainAfterAFailback: a standby node ran the guest, stopped the guest, and now receives
// the guest's disk again. snap on the standby recognizes the disk as a copy by the pool's history.
func TestCopyAgainAfterAFailback(t *testing.T) {
	w := newWorld(t)
	const disk, back = "/data/vm-101-disk-0", "tb/data/vm-101-disk-0"
	w.vm(101, "vm-101-disk-0")
	w.start(w.a, 101)
	w.snap(w.a, "f4")
	w.stop(w.a, 101)
	s := w.standby(101)
	for _, way := range []string{"syncoid", "syncoid --preserve-properties", "zrepl"} {
		// The standby takes over the guest and then gives the guest back.
		w.send("ta"+disk, "tb"+disk)
		w.start(s, 101)
		w.fill(back, 64)
		w.snap(s, "f4")
		w.stop(s, 101)
		w.snap(s, "f4")
		require.Equal(t, "stopped", w.label(back), way)
		require.Regexp(t, "_stopped$", w.newestBookmark(back), way)
		w.send("tb"+disk, "ta"+disk)
		w.start(w.a, 101)
		last := w.newestBookmark(back)
		for round := range feeds {
			w.fill("ta"+disk, 64)
			w.snap(w.a, "f4")
			switch name := fmt.Sprintf("zrepl_%d_%d", len(way), round); {
			case strings.HasPrefix(way, "syncoid"):
				w.send("ta"+disk, "tb"+disk, strings.Fields(way)[1:]...)
			default:
				w.zfs("snapshot", "ta"+disk+"@"+name)
				w.pipe("zfs send -i @" + last + " ta" + disk + "@" + name + " | zfs receive -F tb" + disk)
				last = name
			}
			did := slices.DeleteFunc(w.changes(s, regexp.MustCompile(back+`\b`), "f4"), func(line string) bool { return strings.Contains(line, "] bookmark ") })
			require.Empty(t, did, "%s, round %d", way, round)
		}
		w.stop(w.a, 101)
		w.snap(w.a, "f4")
	}
	// With --adopt, a person makes snap treat a copy as this node's own disk.
	require.Zero(t, w.types(s, "snap f4 --no-cron --adopt 101").Code)
	assert.Equal(t, "stopped", w.label(back))
}

// TestAdopt: snap treats an unknown disk as this node's own without --adopt only if a guest's
// configuration names the disk and all snapshots of the disk. snap --adopt lists all other unknown
// disks, and snap --adopt with VMIDs takes over the disks of these guests.
func TestAdopt(t *testing.T) {
	w := newWorld(t)
	for vmid := 101; vmid <= 103; vmid++ {
		w.vm(vmid, fmt.Sprintf("vm-%d-disk-0", vmid))
	}
	w.zfs("snapshot", "ta/data/vm-102-disk-0@before")
	config, err := w.a.Configuration(102)
	require.NoError(t, err)
	require.NoError(t, w.a.WriteFile("/etc/pve/nodes/pve-a/qemu-server/102.conf", config+"\n[before]\nscsi0: local-zfs:vm-102-disk-0,size=1G\nsnaptime: 1784116021\n"))
	w.zfs("snapshot", "ta/data/vm-103-disk-0@byhand")
	const byHand = "ta/data/vm-103-disk-0"
	w.snap(w.a, "f4")
	assert.Equal(t, []string{"stopped"}, w.classes("ta/data/vm-101-disk-0"))
	assert.Equal(t, []string{"stopped"}, w.classes("ta/data/vm-102-disk-0"))
	assert.Empty(t, w.classes(byHand))
	r := w.types(w.a, "snap f4 --no-cron --adopt")
	assert.Contains(t, r.Stdout, byHand)
	assert.Empty(t, w.classes(byHand), "without a name nothing is taken")
	require.Zero(t, w.types(w.a, "snap f4 --no-cron --adopt 103").Code)
	assert.Equal(t, []string{"stopped"}, w.classes(byHand))
	assert.Equal(t, "stopped", w.label(byHand))
}

// TestCameBackWhileOff: a guest moved to the other node, and later came back while it was off. The
// guest's disk was received without properties and has A's old label. Node A treats the disk as its
// own again: snap takes one _stopped snapshot if the disk was written between two runs, and C does
// not alarm.
func TestCameBackWhileOff(t *testing.T) {
	w := newWorld(t)
	const diskA, diskB, diskC = "ta/data/vm-100-disk-0", "tb/data/vm-100-disk-0", "tc/vm-100-disk-0"
	w.vm(100, "vm-100-disk-0")
	w.start(w.a, 100)
	w.snap(w.a, "f4")
	w.send(diskA, diskB)
	w.stop(w.a, 100)
	require.NoError(t, w.a.MoveGuestTo(100, w.b))
	w.start(w.b, 100)
	w.fill(diskB, 64)
	w.snap(w.b, "f4")
	w.snap(w.a, "f4")
	require.Equal(t, "pve-a local", w.labelSource(diskA), "it was seen to run here last")
	w.stop(w.b, 100)
	w.snap(w.b, "f4")
	w.send(diskB, diskA)
	require.NoError(t, w.b.MoveGuestTo(100, w.a))
	w.snap(w.a, "f4")
	assert.Equal(t, "stopped local", w.labelSource(diskA))
	assert.Equal(t, w.classes(diskB), w.classes(diskA), "B has made its _stopped")
	w.fill(diskA, 64)
	w.snap(w.a, "f4")
	w.snap(w.a, "f4")
	assert.Equal(t, append(w.classes(diskB), "stopped"), w.classes(diskA), "it ran between two runs")
	w.send(diskA, diskC)
	w.advanceClock(10 * time.Hour)
	w.snap(w.a, "f4")
	assert.Zero(t, w.check().Code)
}
