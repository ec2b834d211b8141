//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/checker"
	"snapwatch/test/site"
)

// guests returns the guests in the report of a check on C, by VMID.
func (w *world) guests(r site.Result) map[int]checker.GuestDocument {
	w.t.Helper()
	var doc checker.Document
	require.NoError(w.t, json.Unmarshal([]byte(r.Stdout), &doc))
	all := map[int]checker.GuestDocument{}
	for _, g := range doc.Guests {
		all[g.VMID] = g
	}
	return all
}

// counter writes the number n into each of the guest's disks, as the guest would.
func (w *world) counter(n int, disks ...string) {
	w.t.Helper()
	for _, d := range disks {
		require.NoError(w.t, site.WaitZvol(w.ctx, "ta/data/"+d))
		w.pipe(fmt.Sprintf("printf %%08d %d | dd of=/dev/zvol/ta/data/%s bs=8 conv=notrunc,fsync status=none", n, d))
	}
	w.pipe("zpool sync ta")
}

// counterOf returns the number that counter wrote into a volume.
func (w *world) counterOf(volume string) string {
	w.t.Helper()
	require.NoError(w.t, site.WaitZvol(w.ctx, volume))
	out, err := w.c.Output(w.ctx, "head", "-c", "8", "/dev/zvol/"+volume)
	require.NoError(w.t, err)
	return out
}

// TestGuestTorn: the three disks of a guest are replicated independently, to two pools. The copy of
// the third disk, on the second pool, gets other snapshots than the copies of the first two disks.
// Each copy is fresh, but the guest can only be started as of its restore point: the newest time of
// which all three copies have a snapshot. Clones of the three snapshots of the restore point hold
// one state of the guest. The pool with the third disk is encrypted and its key is not loaded:
// explain prints a command that loads the key.
func TestGuestTorn(t *testing.T) {
	w := newWorld(t)
	w.newPools([]string{"td"})
	require.NoError(t, w.c.WriteFile("/etc/snapwatch/config.yaml", "datasets: [tc, td]\n"))
	disks := []string{"vm-100-disk-0", "vm-100-disk-1", "vm-100-disk-2"}
	w.vm(100, disks...)
	w.start(w.a, 100)
	w.pipe("echo a passphrase >/root/key; zfs create -o encryption=on -o keyformat=passphrase -o keylocation=file:///root/key td/enc")
	copies := []string{"tc/" + disks[0], "tc/" + disks[1], "td/enc/" + disks[2]}
	last := map[string]string{}
	newest := func() string { names := w.snapshots("ta/data/" + disks[0]); return names[len(names)-1] }
	send := func(which ...int) {
		for _, i := range which {
			from, increment := "ta/data/"+disks[i], ""
			if last[disks[i]] != "" {
				increment = "-i @" + last[disks[i]] + " "
			}
			last[disks[i]] = newest()
			w.pipe("zfs send " + increment + from + "@" + newest() + " | zfs receive -F " + copies[i])
		}
	}
	w.counter(1, disks...)
	w.snap(w.a, "f100")
	send(0, 1, 2)
	whole := w.guests(w.check("--format=json"))[100]
	assert.Equal(t, "whole", whole.Verdict, whole.Reason)
	common := newest()
	for n := 2; n <= 5; n++ {
		w.advanceClock(time.Hour)
		w.counter(n, disks...)
		w.snap(w.a, "f100")
		if n%2 == 0 {
			send(0, 1)
		} else {
			send(2)
		}
	}
	r := w.judged()
	for _, c := range copies {
		assert.Equal(t, "fresh", r.disks[c].Verdict, c)
	}
	g := w.guests(r.Result)[100]
	assert.Equal(t, "torn", g.Verdict, g.Reason)
	assert.Equal(t, 1, r.Code)
	assert.True(t, strings.HasPrefix(w.check().Stdout, "WARNING: 1 of 1 guests torn"))
	assert.Equal(t, "autosnap_"+g.Point+"_frequently", common)
	// explain prints commands that clone the guest's disks as of the restore point, and commands
	// that remove the clones.
	w.pipe("udevadm settle; zfs unload-key td/enc")
	explained := w.run(w.c, "explain", "100")
	require.Zero(t, explained.Code, explained.Stderr)
	assert.Contains(t, explained.Stdout, "Guest 100 can be started here as of "+strings.Replace(g.Point, "_", " ", 1))
	assert.Contains(t, explained.Stdout, "Nobody can read the guest's data without the key of td/enc, which is not loaded here.")
	assert.Regexp(t, `room +tc has [0-9.]+[KMG] free; a clone takes only what is written to it, at most [0-9.]+[KMG]: `, explained.Stdout)
	var start, back []string
	for line := range strings.Lines(explained.Stdout) {
		command, is := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "    zfs ")
		switch {
		case is && (strings.HasPrefix(command, "destroy ") || strings.HasPrefix(command, "unload-key ")):
			back = append(back, "zfs "+command)
		case is:
			start = append(start, "zfs "+command)
		}
	}
	require.Len(t, start, 6, explained.Stdout)
	assert.Equal(t, "zfs load-key td/enc", start[0])
	require.Len(t, back, 3)
	for _, command := range start {
		w.pipe(command)
	}
	for _, clone := range []string{"tc/start-100/" + disks[0], "tc/start-100/" + disks[1], "td/start-100/" + disks[2]} {
		assert.Equal(t, "00000001", w.counterOf(clone), "one state of all disks")
	}
	r = w.judged()
	assert.Equal(t, "excluded", r.disks["tc/start-100/"+disks[0]].Verdict)
	beside := w.guests(r.Result)[100]
	assert.Equal(t, "torn", beside.Verdict, "clones are not copies: %s", beside.Reason)
	assert.Equal(t, g.Disks, beside.Disks)
	send(0, 1) // replication continues while the clones exist
	for _, command := range back {
		w.pipe(command)
	}
	left, err := w.c.Output(w.ctx, "zfs", "list", "-H", "-o", "name,keystatus", "-r", "td/enc")
	require.NoError(t, err)
	assert.Equal(t, "td/enc\tunavailable\ntd/enc/"+disks[2]+"\tunavailable", strings.TrimSpace(left))
	assert.Zero(t, w.check("--guest", "100").Code, "what was sent mends it")
}

// asker starts an exporter on C that asks the owners. The returned function metrics returns the
// exporter's metrics. The returned function `from` returns the result of a check that uses the
// exporter.
func (w *world) asker() (metrics func() string, from func() checkResult) {
	w.t.Helper()
	w.exporter(w.c, "--config=/etc/snapwatch/compare.yaml", "--web.listen-address=127.0.0.1:10195", "--state-dir=/var/lib/snapwatch-asker")
	metrics = func() string {
		out, err := w.c.Output(w.ctx, "curl", "-sf", "http://127.0.0.1:10195/metrics")
		require.NoError(w.t, err)
		return out
	}
	return metrics, func() checkResult { return w.judged("--from=http://127.0.0.1:10195") }
}

// TestGuestAbsent: a check that asks the owner reports a guest that was never sent to C, from the
// first check on. After C's configuration ignores the guest, check no longer reports the guest.
func TestGuestAbsent(t *testing.T) {
	w := newNetwork(t)
	w.vm(100, "vm-100-disk-0")
	w.vm(101, "vm-101-disk-0")
	w.owners()
	w.start(w.a, 100)
	w.start(w.a, 101)
	w.snap(w.a, "f4")
	w.replicate("vm-100-disk-0")
	assert.Zero(t, w.compared().Code, "a new guest has the limit as its grace")
	w.advanceClock(3 * time.Hour)
	w.snap(w.a, "f4")
	w.replicate("vm-100-disk-0")
	told := w.compared()
	assert.Equal(t, 1, told.Code)
	g := w.guests(told.Result)[101]
	assert.Equal(t, "incomplete", g.Verdict)
	assert.Equal(t, []string{"ta/data/vm-101-disk-0"}, g.Lacking)
	assert.Contains(t, g.Reason, "ignore: [vm-101-disk-0]")

	metrics, from := w.asker()
	w.waitUntil(func() bool { return strings.Contains(metrics(), `snapwatch_absent_disks{severity="warning"} 1`) })
	assert.Equal(t, "incomplete", w.guests(from().Result)[101].Verdict)

	config, err := w.c.ReadFile("/etc/snapwatch/compare.yaml")
	require.NoError(t, err)
	require.NoError(t, w.c.WriteFile("/etc/snapwatch/compare.yaml", config+"expect: [{vmid: 101}]\n"))
	assert.Equal(t, 2, w.compared().Code)
	require.NoError(t, w.c.WriteFile("/etc/snapwatch/compare.yaml", config+"ignore: [vm-101-disk-0]\n"))
	assert.Zero(t, w.compared().Code)
}
