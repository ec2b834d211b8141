//go:build e2e

package e2e

import (
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/test/site"
)

// fill writes random bytes, which cannot be compressed, into a volume: the argument kib is their
// number in KiB.
func (w *world) fill(disk string, kib int) {
	w.t.Helper()
	require.NoError(w.t, site.WaitZvol(w.ctx, disk))
	_, err := w.c.Output(w.ctx, "dd", "if=/dev/urandom", "of=/dev/zvol/"+disk, "bs=1k", "count="+strconv.Itoa(kib), "conv=notrunc,fsync", "status=none")
	require.NoError(w.t, err)
}

// assertSameBytes asserts that volumes hold the same bytes, because a successful receive does not
// prove that the bytes are equal.
func (w *world) assertSameBytes(disks ...string) {
	w.t.Helper()
	sums := map[string]string{}
	for _, d := range disks {
		require.NoError(w.t, site.WaitZvol(w.ctx, d))
		out, err := w.c.Output(w.ctx, "sha256sum", "/dev/zvol/"+d)
		require.NoError(w.t, err)
		sums[d] = strings.Fields(out)[0]
	}
	for _, d := range disks[1:] {
		require.Equal(w.t, sums[disks[0]], sums[d], "%s differs from %s", d, disks[0])
	}
}

// common returns the names of the snapshots that two datasets share, by guid.
func (w *world) common(a, b string) []string {
	w.t.Helper()
	guids := map[uint64]bool{}
	list, err := site.Snapshots(w.ctx, a)
	require.NoError(w.t, err)
	for _, s := range list {
		guids[s.GUID] = true
	}
	list, err = site.Snapshots(w.ctx, b)
	require.NoError(w.t, err)
	var names []string
	for _, s := range list {
		if guids[s.GUID] {
			names = append(names, s.Name)
		}
	}
	return names
}

// pv replaces the program pv, through which syncoid pipes all sent data: the replacement counts the
// bytes.
const pv = `#!/usr/bin/perl
open my $out, ">>", "/tmp/sent" or die;
my $n = 0;
while (sysread STDIN, my $data, 65536) { $n += length $data; print $data }
print $out "$n\n";
`

// sent replicates a dataset with syncoid, and returns syncoid's output and the amount of sent data
// in KiB.
func (w *world) sent(from, to string, flags ...string) (said string, kib float64) {
	w.t.Helper()
	require.NoError(w.t, w.c.Install("pv", pv))
	require.NoError(w.t, os.RemoveAll("/tmp/sent"))
	argv := append([]string{"syncoid", "--no-sync-snap"}, flags...)
	r, err := w.c.Run(w.ctx, append(argv, from, to)...)
	require.NoError(w.t, err)
	said = r.Stdout + r.Stderr
	counts, err := os.ReadFile("/tmp/sent")
	if !errors.Is(err, fs.ErrNotExist) { // without the file /tmp/sent, syncoid sent nothing
		require.NoError(w.t, err)
	}
	for _, text := range strings.Fields(string(counts)) {
		n, err := strconv.ParseFloat(text, 64)
		require.NoError(w.t, err)
		kib += n / 1024
	}
	w.t.Logf("C# %s %s %s\n%s-> %d, %.0f KiB sent", strings.Join(argv, " "), from, to, said, r.Code, kib)
	require.Zero(w.t, r.Code)
	return said, kib
}

// days runs snap on a node on each of the next days, from 8 o'clock on. The argument days is the
// number of days, the argument runs the number of runs on each day.
func (w *world) days(s *site.Site, days, runs int, words ...string) {
	w.t.Helper()
	for range days {
		w.tomorrow()
		for i := range runs {
			if i > 0 {
				w.advanceClock(time.Hour)
			}
			w.snap(s, words...)
		}
	}
}

// tomorrow sets the clock to 8 o'clock of the next day.
func (w *world) tomorrow() {
	w.t.Helper()
	now := time.Now().UTC()
	w.advanceClock(time.Date(now.Year(), now.Month(), now.Day()+1, 8, 0, 0, 0, time.UTC).Sub(now))
}

// laterSyncoid reports whether syncoid is 2.2 or later: such a syncoid has --preserve-properties,
// and leaves rolling a copy back to zfs receive.
func (w *world) laterSyncoid() bool {
	w.t.Helper()
	help, err := w.c.Run(w.ctx, "syncoid", "--help")
	require.NoError(w.t, err)
	return strings.Contains(help.Stdout+help.Stderr, "--preserve-properties")
}

// TestNoBookmarkOfAnAbandonedHistory: A fails after C has received snapshots that B does not have.
// When A receives the disk back, ZFS keeps A's bookmarks of the discarded history; an increment
// from such a bookmark would mix two histories on C, with exit status 0.
func TestNoBookmarkOfAnAbandonedHistory(t *testing.T) {
	w := newWorld(t)
	w.vm(100, "vm-100-disk-0")
	w.start(w.a, 100)
	a, b, c := "ta/data/vm-100-disk-0", "tb/data/vm-100-disk-0", "tc/vm-100-disk-0"
	w.fill(a, 500)
	w.days(w.a, 1, 2, "f4")
	w.sent(a, b)
	w.sent(a, c)
	w.snap(w.b, "f4")
	require.NotEmpty(t, w.bookmarks(b), "a copy on a node gets the bookmarks, too")
	assert.Equal(t, w.bookmarks(a), w.bookmarks(b))
	assert.Equal(t, w.snapshots(a), w.snapshots(b), "and nothing else")
	assert.Equal(t, "-", w.label(b))
	w.fill(a, 500)
	w.tomorrow()
	w.snap(w.a, "f4")
	only := w.bookmarks(a)[len(w.bookmarks(a))-1]
	w.sent(a, c)

	require.NoError(t, w.a.KillGuest(100))
	require.NoError(t, w.a.MoveGuestTo(100, w.b))
	w.start(w.b, 100)
	w.fill(b, 100)
	w.snap(w.b, "f4")
	w.sent(b, a)
	require.NotContains(t, w.snapshots(a), only)
	if w.laterSyncoid() {
		require.Contains(t, w.bookmarks(a), only, "zfs receive -F leaves it: if that changes, the rule can go")
	} else {
		require.NotContains(t, w.bookmarks(a), only, "zfs rollback takes it along")
	}
	w.snap(w.a, "f4")
	assert.NotContains(t, w.bookmarks(a), only)
	for _, s := range w.common(a, c) { // the other common snapshots of A and C are destroyed; their bookmarks are kept
		if s != w.snapshots(a)[len(w.snapshots(a))-1] {
			w.zfs("destroy", a+"@"+s)
		}
	}
	require.Empty(t, w.common(a, c))
	said, _ := w.sent(a, c)
	assert.NotContains(t, said, "Sending oldest full snapshot")
	w.assertSameBytes(b, a, c)
}

// ownPools limits prune on A and B to the node's own pool, because all hosts of the lab see all
// pools.
func (w *world) ownPools(more string) {
	w.t.Helper()
	for _, s := range []*site.Site{w.a, w.b} {
		require.NoError(w.t, s.WriteFile("/etc/snapwatch/config.yaml", quick+"datasets: ["+s.Pool+"/data]\n"+more))
	}
}

// TestRelay: B sends to A, and A is a relay that sends to C. While C is cut off, A destroys all
// snapshots that C has. When C is connected again, it continues from a bookmark on A of a snapshot
// that A had received from B.
func TestRelay(t *testing.T) {
	w := newWorld(t)
	w.ownPools("")
	a, b, c := "ta/data/vm-100-disk-0", "tb/data/vm-100-disk-0", "tc/vm-100-disk-0"
	require.NoError(t, site.CreateZvol(w.ctx, b, 16))
	require.NoError(t, w.b.AddVM(100, "vm-100-disk-0"))
	w.start(w.b, 100)
	w.fill(b, 6000)
	relay := func() {
		w.sent(b, a)
		before := w.snapshots(a)
		w.snap(w.a, "f4")
		require.Equal(t, before, w.snapshots(a), "a relay gets no snapshot")
		require.Equal(t, "-", w.label(a), "and no label")
	}
	w.days(w.b, 1, 2, "f4")
	relay()
	w.sent(a, c)
	for range 4 {
		w.fill(b, 50)
		w.days(w.b, 1, 2, "f4")
		relay()
		r := w.run(w.a, "prune", "f1")
		require.Zero(t, r.Code)
		require.Empty(t, r.Stdout+r.Stderr)
	}
	assert.Len(t, w.snapshots(a), 4, "the newest, and the first of 3 days")
	require.Empty(t, w.common(a, c))
	_, kib := w.sent(a, c)
	assert.Less(t, kib, 600.0)
	w.assertSameBytes(b, a, c)
	w.sent(b, a)
	assert.NotEmpty(t, w.common(b, a), "what prune left is enough for B")
}

// TestPruneOnAReplica checks which snapshots prune destroys and keeps, and that syncoid continues.
func TestPruneOnAReplica(t *testing.T) {
	w := newWorld(t)
	w.vm(100, "vm-100-disk-0", "vm-100-disk-1", "vm-100-disk-2")
	w.start(w.a, 100)
	a, c := "ta/data/vm-100-disk-0", "tc/vm-100-disk-0"
	for i := range 5 {
		w.fill(a, 100)
		w.days(w.a, 1, 2, "f100")
		if i == 1 {
			w.stop(w.a, 100)
			w.snap(w.a, "f100")
		}
		w.replicate("vm-100-disk-0") // A keeps the _stopped snapshot for a day or two
		if i == 1 {
			w.start(w.a, 100)
		}
	}
	disks := []string{"vm-100-disk-0", "vm-100-disk-1", "vm-100-disk-2"}
	w.replicate(disks...)
	w.zfs("hold", "keep", c+"@"+w.snapshots(c)[1])
	w.zfs("clone", c+"@"+w.snapshots(c)[2], "tc/clone")
	w.zfs("snapshot", c+"@manual")
	w.zfs("snapshot", "tc/vm-100-disk-1@__replicate_100-0_1784000000__")
	// A receive is in progress on the third disk.
	third := "tc/vm-100-disk-2"
	w.fill("ta/data/vm-100-disk-2", 4000)
	w.snap(w.a, "f100")
	list := w.snapshots("ta/data/vm-100-disk-2")
	source := "ta/data/vm-100-disk-2@" + list[len(list)-1]
	receiving, err := w.c.Start(w.ctx, "sh", "-c", "(zfs send -i @"+list[len(list)-2]+" "+source+" | head -c 2000000; sleep 600) | zfs receive "+third)
	require.NoError(t, err)
	w.await("zfs", "list", third+"/%recv")

	before := map[string][]string{}
	for _, d := range disks {
		before[d] = w.snapshots("tc/" + d)
	}
	r := w.run(w.c, "prune", "f1", "--dry-run")
	require.Zero(t, r.Code)
	require.Contains(t, r.Stdout, "destroy  "+c+"@")
	require.Contains(t, r.Stdout, "@__replicate_100-0_1784000000__ and other snapshots of pvesr are not managed and are kept")
	for _, d := range disks {
		require.Equal(t, before[d], w.snapshots("tc/"+d))
	}
	r = w.run(w.c, "prune", "f1", "-v")
	require.Zero(t, r.Code)
	require.Contains(t, r.Stderr, third+" is being received: no snapshot of it is destroyed")
	carried := w.snapshots("tc/vm-100-disk-1")
	require.Less(t, len(carried), len(before["vm-100-disk-1"]), "no Proxmox replicates to here")
	require.Contains(t, carried, "__replicate_100-0_1784000000__")
	require.Equal(t, before["vm-100-disk-2"], w.snapshots(third))
	left := w.snapshots(c)
	was := before["vm-100-disk-0"]
	// prune keeps two snapshots of each day; on the second day, one of the two is a _stopped
	// snapshot. prune also keeps the snapshots with a hold or a clone.
	assert.Equal(t, []string{was[1], was[2], was[4], was[5], was[7], was[9], was[10], "manual"}, left, "of %v", was)

	// The receive into the third disk is cut off and leaves a resume token, so prune leaves the
	// third disk alone.
	require.NoError(t, w.killChildren(receiving))
	cut, err := w.c.Run(w.ctx, "sh", "-c", "zfs send -i @"+list[len(list)-2]+" "+source+" | head -c 2000000 | zfs receive -s "+third)
	require.NoError(t, err)
	require.Contains(t, cut.Stderr, "zfs send -t")
	token := strings.TrimSpace(w.zfs("get", "-H", "-o", "value", "receive_resume_token", third))
	needs, err := w.c.RunAs(w.ctx, "nobody", "zfs", "send", "-nvt", token)
	require.NoError(t, err)
	require.Contains(t, needs.Stdout+needs.Stderr, "toname = "+source, "as the runbook says")
	explained, err := w.c.RunAs(w.ctx, "nobody", program(t), "explain", "vm-100-disk-2")
	require.NoError(t, err)
	require.Contains(t, strings.Join(strings.Fields(explained.Stdout), " "), "the source has "+source)
	r = w.run(w.c, "prune", "f1", "-v")
	require.Zero(t, r.Code)
	require.Contains(t, r.Stdout, third+": untouched: a receive is running, or was interrupted and waits to be resumed")
	w.advanceClock(25 * time.Hour)
	r = w.run(w.c, "prune", "f1")
	require.Equal(t, 1, r.Code)
	require.Contains(t, r.Stderr, third+": a receive is running, or was interrupted and waits to be resumed since")
	require.Equal(t, before["vm-100-disk-2"], w.snapshots(third))

	// The receive continues, and is cut off again after more data have arrived: its waiting time
	// begins again then.
	_, err = w.c.Run(w.ctx, "sh", "-c", "zfs send -t "+token+" | head -c 1500000 | zfs receive -s "+third)
	require.NoError(t, err)
	more := strings.TrimSpace(w.zfs("get", "-H", "-o", "value", "receive_resume_token", third))
	require.Greater(t, len(more), 1, "it is not finished")
	require.NotEqual(t, token, more)
	for _, code := range []int{0, 1} {
		r = w.run(w.c, "prune", "f1")
		require.Equal(t, code, r.Code, r.Stderr)
		w.advanceClock(25 * time.Hour)
		require.Equal(t, more, strings.TrimSpace(w.zfs("get", "-H", "-o", "value", "receive_resume_token", third)), "as long as nothing arrives")
	}

	// On node A, prune leaves the disks alone, because the disks belong to a guest of A.
	r = w.run(w.a, "prune", "f1", "-v")
	require.Zero(t, r.Code)
	require.Contains(t, r.Stdout, "not a copy: it belongs to guest 100 of this node")
	require.Len(t, w.classes(a), 11)

	w.zfs("destroy", c+"@manual")
	w.fill(a, 100)
	w.snap(w.a, "f100")
	said, kib := w.sent(a, c)
	assert.NotContains(t, said, "full")
	assert.Less(t, kib, 600.0)
	w.assertSameBytes(a, c)
}

// await waits until a command succeeds.
func (w *world) await(argv ...string) {
	w.t.Helper()
	for {
		r, err := w.c.Run(w.ctx, argv...)
		require.NoError(w.t, err)
		if r.Code == 0 {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// killChildren kills the process sleep 600 in a shell's pipeline, so that the zfs receive at the
// end of the pipeline reads an end of file.
func (w *world) killChildren(p *site.Process) error {
	_, err := w.c.Output(w.ctx, "pkill", "-x", "-f", "sleep 600")
	p.Wait()
	return err
}

// TestUnblock: unblock destroys all snapshots and bookmarks that are newer than the target of a
// rollback, so that a plain zfs rollback works. After the rollback, replication to C continues.
func TestUnblock(t *testing.T) {
	w := newWorld(t)
	w.vm(100, "vm-100-disk-0", "vm-100-disk-1")
	w.start(w.a, 100)
	a, c := "ta/data/vm-100-disk-0", "tc/vm-100-disk-0"
	both := []string{a, "ta/data/vm-100-disk-1"}
	w.fill(a, 200)
	w.days(w.a, 1, 2, "f100")
	w.replicate("vm-100-disk-0")
	for _, d := range both {
		w.zfs("snapshot", d+"@before")
	}
	w.fill(a, 200)
	w.days(w.a, 1, 2, "f100")
	w.replicate("vm-100-disk-0")
	had := [][]string{w.snapshots(a), w.bookmarks(a)}
	unchanged := func() {
		t.Helper()
		require.Equal(t, had, [][]string{w.snapshots(a), w.bookmarks(a)})
	}

	r := w.run(w.a, "unblock", "100", "before")
	require.Zero(t, r.Code)
	require.Equal(t, 6, strings.Count(r.Stdout, "blocks the rollback: "), "2 snapshots and 1 bookmark of each disk")
	unchanged()
	release, err := w.a.HoldFlock(100)
	require.NoError(t, err)
	require.Equal(t, 2, w.run(w.a, "unblock", "100", "before", "--yes").Code)
	require.NoError(t, release())
	require.NoError(t, w.a.SetLock(100, "snapshot"))
	require.Equal(t, 2, w.run(w.a, "unblock", "100", "before", "--yes").Code)
	require.NoError(t, w.a.SetLock(100, ""))
	w.zfs("snapshot", both[1]+"@manual")
	require.Equal(t, 1, w.run(w.a, "unblock", "100", "before", "--yes").Code)
	unchanged()
	w.zfs("destroy", both[1]+"@manual")

	// A guest has two disks. If unblock cannot destroy one of the snapshots that it must destroy,
	// unblock destroys no snapshot of either disk.
	last := both[1] + "@" + w.snapshots(both[1])[len(w.snapshots(both[1]))-1]
	refused := func(why string) {
		t.Helper()
		r := w.run(w.a, "unblock", "100", "before", "--yes")
		require.Equal(t, 1, r.Code, r.Stderr)
		require.Contains(t, r.Stderr, why)
		unchanged()
	}
	w.zfs("hold", "mine", last)
	refused(last + " has a hold (zfs holds " + last)
	w.zfs("release", "mine", last)
	w.zfs("clone", last, "ta/trial")
	refused(last + " has a clone, which must be destroyed or promoted first: ta/trial")
	w.zfs("destroy", "ta/trial")
	sends, err := w.a.Start(w.ctx, "sh", "-c", "zfs send "+both[0]+"@"+w.snapshots(both[0])[len(w.snapshots(both[0]))-1]+" | (head -c 1 >/dev/null; echo going; until test -e /run/sent; do sleep 0.1; done)")
	require.NoError(t, err)
	require.NoError(t, sends.WaitFor(w.ctx, "going"))
	refused("cannot be destroyed: it has a hold, or is being sent")
	_, err = w.a.Output(w.ctx, "touch", "/run/sent")
	require.NoError(t, err)
	sends.Wait()

	// The test makes a bookmark in the way of syncoid --create-bookmark. snap finds the test's
	// bookmark neither in its index nor in a head list.
	newest := w.snapshots(a)[len(w.snapshots(a))-1]
	w.zfs("bookmark", a+"@"+newest, a+"#"+newest)
	require.NotContains(t, had[1], newest)

	require.Zero(t, w.run(w.a, "unblock", "100", "before", "--yes").Code)
	w.stop(w.a, 100)
	for _, d := range both {
		w.zfs("rollback", d+"@before")
		assert.Equal(t, "before", w.snapshots(d)[len(w.snapshots(d))-1])
	}
	w.start(w.a, 100)
	w.fill(a, 100)
	w.snap(w.a, "f100")
	said, kib := w.sent(a, c)
	assert.NotContains(t, said, "full")
	assert.Less(t, kib, 600.0)
	w.assertSameBytes(a, c)

	// No managed snapshot is older than the snapshot @first: after a rollback to @first, receivers
	// would have no common snapshot.
	w.vm(101, "vm-101-disk-0")
	w.zfs("snapshot", "ta/data/vm-101-disk-0@first")
	w.start(w.a, 101)
	w.snap(w.a, "f100")
	r = w.run(w.a, "unblock", "101", "first", "--yes")
	require.Equal(t, 1, r.Code)
	require.Contains(t, r.Stderr, "--lose-base removes the bases nevertheless")
	require.Len(t, w.snapshots("ta/data/vm-101-disk-0"), 2)
	require.Zero(t, w.run(w.a, "unblock", "101", "first", "--yes", "--lose-base").Code)
	require.Equal(t, []string{"first"}, w.snapshots("ta/data/vm-101-disk-0"))
	w.zfs("rollback", "ta/data/vm-101-disk-0@first")
}

// TestEncryptedRaw: an encrypted disk is sent raw to C, which has no key, also from a bookmark.
func TestEncryptedRaw(t *testing.T) {
	w := newWorld(t)
	a, c := "ta/data/vm-100-disk-0", "tc/vm-100-disk-0"
	_, err := w.c.Output(w.ctx, "sh", "-c", "head -c 32 /dev/urandom >/tmp/key")
	require.NoError(t, err)
	w.zfs("create", "-o", "encryption=on", "-o", "keyformat=raw", "-o", "keylocation=file:///tmp/key", "-s", "-V", "16M", a)
	require.NoError(t, w.a.AddVM(100, "vm-100-disk-0"))
	w.start(w.a, 100)
	w.fill(a, 6000)
	w.days(w.a, 1, 2, "f2")
	w.sent(a, c, "--sendoptions=w")
	w.fill(a, 100)
	w.days(w.a, 1, 2, "f2")
	require.Empty(t, w.common(a, c))
	said, kib := w.sent(a, c, "--sendoptions=w")
	assert.NotContains(t, said, "full")
	assert.Less(t, kib, 600.0)
	require.Zero(t, w.run(w.c, "prune", "f1").Code)
	w.fill(a, 100)
	w.snap(w.a, "f2")
	_, kib = w.sent(a, c, "--sendoptions=w")
	assert.Less(t, kib, 600.0)
	assert.Equal(t, "unavailable\n", w.zfs("get", "-H", "-o", "value", "keystatus", c))
	w.zfs("load-key", "-L", "file:///tmp/key", c)
	w.assertSameBytes(a, c)
}
