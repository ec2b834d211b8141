//go:build e2e

package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/test/site"
)

// TestTwoCopiesOnOneHost: C has two copies of one disk. check and the metrics judge each copy by
// the limits for this copy. After the owner has moved the disk to a different storage, the copy
// from the old storage is orphaned.
func TestTwoCopiesOnOneHost(t *testing.T) {
	w := newNetwork(t)
	const disk, other, gone = "vm-104-disk-0", "vm-105-disk-0", "vm-106-disk-0"
	w.vm(104, disk)
	w.vm(105, other)
	w.vm(106, gone)
	for vmid := 104; vmid <= 106; vmid++ {
		w.start(w.a, vmid)
	}
	w.snap(w.a, "f400")
	for _, dataset := range []string{"tc/new", "ta/fast"} {
		require.NoError(t, site.CreateFilesystem(w.ctx, dataset))
	}
	for _, to := range []string{"tc/" + disk, "tc/new/" + disk} {
		w.send("ta/data/"+disk, to)
	}
	w.replicate(other, gone)
	w.owners()
	w.exporter(w.c)

	// One disk is moved by copying, another is renamed with its snapshots, and the third disk's
	// guest becomes a template.
	w.stop(w.a, 105)
	w.stop(w.a, 106)
	w.zfs("rename", "ta/data/"+other, "ta/fast/"+other)
	w.zfs("rename", "ta/data/"+gone, "ta/data/base-106-disk-0")
	require.NoError(t, w.a.SetTemplate(106))
	w.advanceClock(73 * time.Hour)
	w.snap(w.a, "f400")
	w.send("ta/data/"+disk, "tc/new/"+disk)

	alone := w.judged()
	assert.Equal(t, 2, alone.Code)
	assert.Equal(t, "stale", alone.disks["tc/"+disk].Verdict)
	assert.Equal(t, "CRITICAL", alone.disks["tc/"+disk].State)
	assert.Contains(t, alone.disks["tc/"+disk].Reason, "tc/new/"+disk+" is fresh")
	assert.Equal(t, "fresh", alone.disks["tc/new/"+disk].Verdict)
	metrics, err := w.c.Output(w.ctx, "curl", "-sS", "http://127.0.0.1:10191/metrics")
	require.NoError(t, err)
	assert.Contains(t, metrics, fmt.Sprintf("snapwatch_disk_state{dataset=\"tc/%s\",disk=%q,pool=\"tc\",state=\"stale\",vmid=\"104\"} 1\n", disk, disk))
	page, err := w.c.Output(w.ctx, "curl", "-sS", "http://127.0.0.1:10191/?verdict=stale")
	require.NoError(t, err)
	assert.Contains(t, page, disk)

	require.NoError(t, w.c.WriteFile("/etc/snapwatch/compare.yaml", `datasets: [tc]
sources: [{dataset: tc, origin: ta/data, cluster: pve}, {dataset: tc/new, origin: ta/fast, cluster: pve}]
owners:
  urls: ["http://192.0.2.1:10191", "http://192.0.2.2:10191"]
  allow_http: true
  user: replica
  password_file: /etc/snapwatch/password
`))
	// The owner has moved its disk to another storage: the disk is now a new dataset, without the
	// snapshots that the copy has.
	w.stop(w.a, 104)
	require.NoError(t, site.DestroyDataset(w.ctx, "ta/data/"+disk))
	require.NoError(t, site.CreateZvol(w.ctx, "ta/fast/"+disk, 16))
	asked := w.compared()
	old := asked.disks["tc/"+disk]
	assert.Equal(t, "orphaned", old.Verdict, old.Reason)
	assert.Equal(t, "WARNING", old.State)
	assert.Contains(t, old.Reason, "ta/data/"+disk+" is gone on 192.0.2.1:10191, which has guest 104")
	renamed := asked.disks["tc/"+other]
	assert.Equal(t, "in sync", renamed.Compared.Outcome, renamed.Compared.Reason)
	template := asked.disks["tc/"+gone]
	assert.Equal(t, "orphaned", template.Compared.Outcome, template.Compared.Reason)
	assert.Contains(t, template.Compared.Reason, "guest 106 is a template")
}

// TestSnapThatIsNotRegistered: the guests were off and have _stopped snapshots; then the package is
// removed and installed again, and the guests run again. The node reports that snap is not
// registered. C asks the node, and check on C reports that nothing starts snap on the node.
func TestSnapThatIsNotRegistered(t *testing.T) {
	w := newNetwork(t)
	const disk, c = "vm-100-disk-0", "tc/vm-100-disk-0"
	w.vm(100, disk)
	w.owners()
	w.start(w.a, 100)
	w.snap(w.a, "f4")
	w.stop(w.a, 100)
	w.snap(w.a, "f4")
	w.send("ta/data/"+disk, c)
	off := w.compared()
	assert.True(t, off.disks[c].Compared.Proven)
	require.Equal(t, 0, off.Code, "nothing is registered here, but somebody starts snap: it ran just now")

	w.advanceClock(3 * time.Hour)
	w.start(w.a, 100)
	now := w.compared()
	assert.Equal(t, 1, now.Code)
	assert.Contains(t, now.Stdout, "nothing starts snap on 192.0.2.1:10191")
	assert.False(t, now.disks[c].Compared.Proven, "a _stopped of a guest that lives proves nothing")
	assert.Equal(t, "in sync", now.disks[c].Compared.Outcome, "it has just been started")
	metrics, err := w.a.Output(w.ctx, "curl", "-sS", "-u", "replica:replica", "http://192.0.2.1:10191/metrics")
	require.NoError(t, err)
	assert.Contains(t, metrics, "\nsnapwatch_run_unregistered 1\n")

	w.advanceClock(7 * time.Hour)
	assert.Equal(t, "stopped", w.judged().disks[c].Verdict, "C alone cannot know")
	late := w.compared()
	assert.Equal(t, 2, late.Code)
	assert.Equal(t, "lagging", late.disks[c].Compared.Outcome)
	assert.Contains(t, late.disks[c].Compared.Reason, "guest 100 runs on 192.0.2.1:10191 for 7h")
	w.snap(w.a, "f4")
	w.send("ta/data/"+disk, c)
	assert.Zero(t, w.compared().Code)
}

// TestMemory: the exporter's list of known disks remains right in three situations: a script
// destroys and forgets disks during the scrapes of two clients; a pool is imported under a new name
// and then under its old name again; the file of the list is cut short.
func TestMemory(t *testing.T) {
	w := newNetwork(t)
	const disks = 6
	for i := range disks {
		require.NoError(t, site.CreateZvol(w.ctx, fmt.Sprintf("tc/vm-%d-disk-0", 200+i), 16))
	}
	w.zfs("snapshot", "-r", "tc@autosnap_"+time.Now().UTC().Format("2006-01-02_15:04:05")+"_hourly")
	require.NoError(t, w.c.WriteFile("/etc/snapwatch/config.yaml", "{}\n"))
	require.NoError(t, w.c.WriteFile("/etc/snapwatch/all.yaml", "{}\n"))
	e := w.exporter(w.c)
	scrape := "curl -sS http://127.0.0.1:10191/metrics"
	w.pipe(scrape + " >/dev/null")
	seen, err := w.c.ReadFile("/var/lib/snapwatch-exporter/seen.json")
	require.NoError(t, err)
	require.Contains(t, seen, "tc/vm-205-disk-0")

	w.pipe("for i in 1 2; do (while [ ! -e /run/enough ]; do " + scrape + " >/dev/null || true; done) & done; " +
		fmt.Sprintf("for n in $(seq 201 205); do zfs destroy -r tc/vm-$n-disk-0 && %s forget tc/vm-$n-disk-0 || exit 1; done; ", program(t)) +
		scrape + " >/dev/null; sleep 6; " + scrape + " >/dev/null; touch /run/enough; wait")
	after, err := w.c.Output(w.ctx, "curl", "-sS", "http://127.0.0.1:10191/metrics")
	require.NoError(t, err)
	assert.Contains(t, after, "vm-200-disk-0")
	assert.NotContains(t, after, "vm-203-disk-0", "what was forgotten stays so")
	e.Stop()

	rename := func(from, to string) {
		t.Helper()
		w.pipe("file=$(zpool list -HPv -o name " + from + " | grep -o '/[^[:space:]]*' | head -1) && zpool export " + from +
			" && zpool import -o cachefile=none -d \"$(dirname $file)\" " + from + " " + to)
	}
	assert.Zero(t, w.check("--pool", "tc").Code)
	rename("tc", "zc")
	r := w.check("--format=json")
	assert.NotContains(t, r.Stdout, `"missing": true`, r.Stdout)
	assert.NotContains(t, r.Stdout, `"verdict": "missing"`)
	e = w.exporter(w.c)
	w.pipe(scrape + " >/dev/null")
	rename("zc", "tc")
	r = w.check("--format=json")
	assert.NotContains(t, r.Stdout, `"missing": true`, "who reads the exporter's memory alone does not miss the old name")
	w.pipe(scrape + " >/dev/null")
	e.Stop()

	w.pipe("truncate -s 30 /var/lib/snapwatch-exporter/seen.json")
	assert.Equal(t, 1, w.check("--pool", "tc").Code, "it is not taken for an empty one")
	w.exporter(w.c)
	after, err = w.c.Output(w.ctx, "curl", "-sS", "http://127.0.0.1:10191/metrics")
	require.NoError(t, err)
	assert.Contains(t, after, "\nsnapwatch_memory_kept 0\n")
	told := w.check("--pool", "tc")
	assert.Equal(t, 1, told.Code)
	assert.Contains(t, told.Stdout, "are not missed: disks seen before")
}
