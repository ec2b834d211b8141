//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/checker"
	"snapwatch/test/site"
)

// TestPoolHealth tests the verdicts on pools that follow from zpool's output: a mirror loses a
// device, a scrub finds a damaged byte under a snapshot, the last scrub was 50 days ago, and the
// only device of a pool is lost. The test plays each situation twice: with the zpool of the
// machine, and with a zpool that prints no JSON, as before OpenZFS 2.3.
func TestPoolHealth(t *testing.T) {
	for name, zpool := range map[string]string{
		"as it is": `exec /usr/sbin/zpool "$@"`,
		"as text":  `case " $* " in *" -j "*) echo "invalid option 'j'" >&2; exit 2 ;; esac; exec /usr/sbin/zpool "$@"`,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.backToday()
			w.pipe("mkdir -p -m 777 /tmp/asked")
			require.NoError(t, w.c.Install("zpool", "#!/bin/sh\numask 0\necho \"$*\" >>/tmp/asked/log\n"+zpool+"\n"))
			w.breakAByte()
			w.loseADevice()
			w.waitForAScrub()
		})
	}
}

// pools runs check on C with a long timeout, and returns the verdicts about the pools and the whole
// document.
func (w *world) pools() (map[string]checker.PoolDocument, checker.Document) {
	w.t.Helper()
	s := w.judged()
	var doc checker.Document
	require.NoError(w.t, json.Unmarshal([]byte(s.Stdout), &doc))
	for _, p := range doc.Pools {
		if p.Health != nil {
			assert.Empty(w.t, p.Health.Unknown, "every line of zpool status is understood")
			assert.Empty(w.t, p.Health.Problem)
		}
		w.t.Logf("%s: %s %s: %s", p.Pool, p.State, p.Verdict, p.Reason)
	}
	return s.pools, doc
}

// breakAByte damages, on the device itself, a block that belongs only to a snapshot and no longer
// to the disk's present data. The first damaged snapshot is the newest one of its disk; the second
// damaged snapshot is not the newest one.
func (w *world) breakAByte() {
	t := w.t
	const disk, other, hidden = "tc/data/vm-100-disk-0", "tc/data/vm-101-disk-0", "tc/data/vm-102-disk-0"
	snapshot := func(d string, age time.Duration) string {
		name := "autosnap_" + time.Now().UTC().Add(-age).Format("2006-01-02_15:04:05") + "_hourly"
		w.zfs("snapshot", d+"@"+name)
		return name
	}
	write := func(d string) {
		w.pipe("dd if=/dev/urandom of=/tmp/block bs=64k count=1 status=none && dd if=/tmp/block of=/dev/zvol/" + d + " bs=64k oflag=direct status=none && zpool sync tc")
	}
	for _, d := range []string{disk, other, hidden} {
		require.NoError(t, site.CreateZvol(w.ctx, d, 8))
		write(d)
	}
	write(disk)
	at := w.onDevice()
	old := snapshot(disk, time.Minute)
	write(disk)
	snapshot(other, 0)
	snapshot(hidden, 0)

	pools, _ := w.pools()
	assert.Equal(t, "ok", pools["tc"].Verdict)
	assert.Equal(t, "ONLINE", pools["tc"].Health.State)
	assert.Positive(t, pools["tc"].Health.Allocated)
	assert.False(t, pools["tc"].Health.Created.IsZero(), "never scrubbed: it counts from when it was made")

	w.breakAt(at)
	w.pipe("zpool scrub -w tc")
	pools, doc := w.pools()
	assert.Equal(t, []string{"errors", "CRITICAL"}, []string{pools["tc"].Verdict, pools["tc"].State})
	assert.Contains(t, pools["tc"].Reason, "disks unknown: needs root (snapwatch health)")
	for _, d := range doc.Disks {
		assert.Equal(t, "fresh", d.Verdict, d.Dataset)
	}

	w.lookForDamage()
	pools, doc = w.pools()
	assert.Contains(t, pools["tc"].Reason, "permanent error")
	assert.Contains(t, pools["tc"].Reason, " in "+disk)
	verdicts := map[string]string{}
	for _, d := range doc.Disks {
		verdicts[d.Dataset] = d.Verdict
		if d.Dataset == disk {
			w.saysWhichSnapshot(d.Reason, old)
		}
	}
	assert.Equal(t, map[string]string{disk: "damaged", other: "fresh", hidden: "fresh"}, verdicts)
	for _, g := range doc.Guests {
		assert.Equal(t, map[int]string{100: "damaged", 101: "whole", 102: "whole"}[g.VMID], g.Verdict)
	}

	// After the destroy of the damaged snapshot, zpool lists errors that belong to no dataset. A
	// scrub removes the errors of destroyed snapshots from zpool's list.
	w.zfs("destroy", disk+"@"+old)
	snapshot(disk, 0)
	w.scrubTwice()
	w.lookForDamage()
	pools, doc = w.pools()
	assert.Equal(t, "ok", pools["tc"].Verdict)
	for _, d := range doc.Disks {
		assert.Equal(t, "fresh", d.Verdict, d.Dataset)
	}

	// If a damaged snapshot is not the newest one of its disk, OpenZFS with the feature head_errlog
	// counts the error but does not name the dataset, so the pool is critical.
	write(hidden)
	at = w.onDevice()
	middle := snapshot(hidden, 2*time.Hour)
	write(hidden)
	snapshot(hidden, 3*time.Hour)
	w.breakAt(at)
	w.pipe("zpool scrub -w tc")
	w.lookForDamage()
	pools, doc = w.pools()
	assert.Equal(t, "CRITICAL", pools["tc"].State, "errors that nobody finds are errors")
	for _, d := range doc.Disks {
		if d.Dataset == hidden {
			t.Logf("%s is %s: %s", d.Dataset, d.Verdict, d.Reason)
			assert.Contains(t, []string{"damaged", "fresh"}, d.Verdict)
			assert.Equal(t, d.Verdict == "fresh", strings.Contains(pools["tc"].Reason, "ZFS does not say where") || strings.Contains(pools["tc"].Reason, "does not list any more"))
		}
	}
	w.zfs("destroy", hidden+"@"+middle)
	w.scrubTwice()
	w.lookForDamage()
	pools, _ = w.pools()
	assert.Equal(t, "ok", pools["tc"].Verdict)
}

func (w *world) lookForDamage() {
	w.t.Helper()
	out, err := w.c.Output(w.ctx, program(w.t), "health")
	require.NoError(w.t, err)
	status, err := w.c.Output(w.ctx, "zpool", "status", "-v", "tc")
	require.NoError(w.t, err)
	w.t.Logf("C# snapwatch health\n%s%s", out, status)
}

func (w *world) scrubTwice() { w.pipe("zpool scrub -w tc; zpool scrub -w tc; zpool clear tc") }

const brokenVdev = "/tmp/tc.vdev"

// onDevice searches the device of pool tc for the block that was written last, and returns all
// places of the block. One of the places may be in the intent log.
func (w *world) onDevice() (places []int64) {
	w.t.Helper()
	block, err := w.c.Output(w.ctx, "head", "-c", "4096", "/tmp/block")
	require.NoError(w.t, err)
	device, err := os.ReadFile(brokenVdev)
	require.NoError(w.t, err)
	for from := 0; ; {
		at := bytes.Index(device[from:], []byte(block))
		if at < 0 {
			break
		}
		places = append(places, int64(from+at))
		from += at + len(block)
	}
	require.NotEmpty(w.t, places, "the block is on the device as it was written")
	return places
}

// breakAt flips the bits of one byte at each of the given places of the device.
func (w *world) breakAt(places []int64) {
	w.t.Helper()
	file, err := os.OpenFile(brokenVdev, os.O_RDWR, 0)
	require.NoError(w.t, err)
	for _, at := range places {
		one := make([]byte, 1)
		_, err = file.ReadAt(one, at)
		require.NoError(w.t, err)
		_, err = file.WriteAt([]byte{^one[0]}, at)
		require.NoError(w.t, err)
	}
	require.NoError(w.t, file.Close())
}

// saysWhichSnapshot checks that the reason in a damaged disk's verdict names the damaged snapshot,
// if the pool's features allow ZFS to find this snapshot.
func (w *world) saysWhichSnapshot(reason, damaged string) {
	feature, err := w.c.Run(w.ctx, "zpool", "get", "-H", "-o", "value", "feature@head_errlog", "tc")
	require.NoError(w.t, err)
	if strings.TrimSpace(feature.Stdout) == "active" {
		assert.Equal(w.t, "permanent errors in @"+damaged, reason)
	} else {
		assert.Contains(w.t, reason, "ZFS does not tell in which snapshots")
	}
}

// loseADevice makes one device of a mirror fail, and then the only device of a second pool.
func (w *world) loseADevice() {
	t := w.t
	single := w.newDevice("single", 128, sound)
	w.pipe("mkdir /tmp/mirror && truncate -s 128M /tmp/mirror/a /tmp/mirror/b && zpool create -o cachefile=none -O mountpoint=none tm mirror /tmp/mirror/a /tmp/mirror/b")
	t.Cleanup(func() {
		w.ctx = context.Background()
		w.pipe("zpool destroy -f tm && rm -r /tmp/mirror")
	})
	w.pipe("zpool create -o cachefile=none -o failmode=wait -O mountpoint=none ts /dev/mapper/single")
	t.Cleanup(func() { single.remove("ts") })
	for _, d := range []string{"tm/subvol-102-disk-0", "ts/subvol-103-disk-0"} {
		require.NoError(t, site.CreateFilesystem(w.ctx, d))
		w.zfs("snapshot", d+"@autosnap_"+time.Now().UTC().Format("2006-01-02_15:04:05")+"_hourly")
	}
	require.NoError(t, w.c.WriteFile("/etc/snapwatch/config.yaml", "datasets: [tc, tm, ts]\n"))
	pools, _ := w.pools()
	assert.Equal(t, "ok", pools["tm"].Verdict)

	w.pipe("zpool export tm && rm /tmp/mirror/b && zpool import -o cachefile=none -d /tmp/mirror tm")
	pools, _ = w.pools()
	assert.Equal(t, []string{"degraded", "WARNING"}, []string{pools["tm"].Verdict, pools["tm"].State})
	assert.Regexp(t, `^ZFS calls it DEGRADED: \S+ is UNAVAIL \(zpool status tm\)$`, pools["tm"].Reason)
	assert.Equal(t, "ok", pools["ts"].Verdict)

	// snapwatch does not run zpool for a suspended pool, and does not wait for such a pool.
	single.fail()
	w.pipe("timeout -s KILL 60 zfs set test:written=1 ts >/dev/null 2>&1 </dev/null & :")
	w.waitUntil(func() bool { return w.poolState("ts") == "SUSPENDED" })
	w.pipe(": >/tmp/asked/log")
	begun := time.Now()
	pools, _ = w.pools()
	assert.Less(t, time.Since(begun), 30*time.Second)
	assert.Equal(t, []string{"suspended", "CRITICAL"}, []string{pools["ts"].Verdict, pools["ts"].State})
	assert.Equal(t, "ok", pools["tc"].Verdict)
	asked, err := w.c.Output(w.ctx, "cat", "/tmp/asked/log")
	require.NoError(t, err)
	assert.Contains(t, asked, "status")
	assert.NotContains(t, asked, "ts\n")
	_, err = w.c.Output(w.ctx, "timeout", "60", program(t), "health")
	require.ErrorContains(t, err, "pool ts is suspended")
	single.mend()
	w.pipe("zpool clear ts")
	w.waitUntil(func() bool { return w.poolState("ts") == "ONLINE" })
}

func (w *world) poolState(pool string) string {
	state, err := os.ReadFile("/proc/spl/kstat/zfs/" + pool + "/state")
	require.NoError(w.t, err)
	return strings.TrimSpace(string(state))
}

// waitForAScrub checks the verdict on a pool whose last scrub was 50 days ago.
func (w *world) waitForAScrub() {
	w.advanceClock(50 * 24 * time.Hour)
	pools, _ := w.pools()
	assert.Equal(w.t, []string{"scrub", "WARNING"}, []string{pools["tc"].Verdict, pools["tc"].State})
	assert.Contains(w.t, pools["tc"].Reason, "its last scrub ended 50d ago (limit 45d, limits.max_scrub_age): zpool scrub tc")
	assert.Contains(w.t, pools["tm"].Reason, "no scrub is known to have ended since the pool was made 50d ago")
	w.pipe("zpool scrub -w tc")
	pools, _ = w.pools()
	assert.Equal(w.t, "ok", pools["tc"].Verdict)
}

// TestFullPool: check reports the fill level of a pool, and alarms if the fill level exceeds the
// configured limits. On a node, snap warns about a full pool.
func TestFullPool(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, site.NewPool(w.ctx, "tf", 2048))
	t.Cleanup(func() { require.NoError(t, site.DestroyPool(context.Background(), "tf")) })
	require.NoError(t, site.CreateFilesystem(w.ctx, "tf/subvol-100-disk-0"))
	w.zfs("snapshot", "tf/subvol-100-disk-0@autosnap_"+time.Now().UTC().Format("2006-01-02_15:04:05")+"_hourly")
	require.NoError(t, w.c.WriteFile("/etc/snapwatch/config.yaml", "datasets: [tf]\n"))
	pools, _ := w.pools()
	assert.Equal(t, "ok", pools["tf"].Verdict)
	// ZFS reserves so little of the pool for itself that 91 % of the pool can be filled.
	w.pipe(`zfs create -o mountpoint=/tmp/tf -o compression=off -o checksum=off -o recordsize=1M tf/fill &&
size=$(zpool list -Hpo size tf) && dd if=/dev/zero of=/tmp/tf/zero bs=1M count=$((size * 91 / 100 / 1048576 + 4)) status=none && zpool sync tf`)
	pools, _ = w.pools()
	assert.Equal(t, []string{"full", "CRITICAL"}, []string{pools["tf"].Verdict, pools["tf"].State})
	assert.Regexp(t, `^9[12]% of it is taken \(limit 90%, limits\.fill_critical\)`, pools["tf"].Reason)
	require.NoError(t, w.c.WriteFile("/etc/snapwatch/config.yaml", "datasets: [tf]\nlimits: {fill_critical: 95%}\n"))
	pools, _ = w.pools()
	assert.Equal(t, []string{"full", "WARNING"}, []string{pools["tf"].Verdict, pools["tf"].State})
	require.NoError(t, w.c.WriteFile("/etc/snapwatch/config.yaml", "datasets: [tf]\npool_ignore: [full]\n"))
	pools, _ = w.pools()
	assert.Equal(t, "ok", pools["tf"].Verdict)

	// On a node, snap reports a full pool in one mail, and destroys no snapshot to get space.
	w.vm(101, "vm-101-disk-0")
	w.start(w.a, 101)
	require.NoError(t, w.a.WriteFile("/etc/snapwatch/config.yaml", quick+"datasets: [ta/data, tf]\n"))
	r := w.run(w.a, "snap", "f4")
	assert.Equal(t, 1, r.Code)
	assert.Regexp(t, `warning: pool tf: 9[12]% of it is taken \(limit 90%, limits\.fill_critical\): a full pool takes no snapshot\. Find what fills it: zfs list -o space -S used tf;`, r.Stderr)
	r = w.run(w.a, "snap", "f4")
	assert.Zero(t, r.Code, r.Stderr)
	assert.Empty(t, r.Stderr)
	assert.Len(t, w.snapshots("ta/data/vm-101-disk-0"), 2)
	assert.Len(t, w.snapshots("tf/subvol-100-disk-0"), 1)
	r = w.run(w.a, "doctor")
	assert.Regexp(t, `(?m)^FAILED +pool +tf: 9[12]% of it is taken`, r.Stdout)
	w.zfs("destroy", "tf/fill") // tf/fill is mounted only on C, where this command runs
}
