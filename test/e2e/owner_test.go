//go:build e2e

package e2e

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/checker"
	"snapwatch/internal/zfs"
	"snapwatch/test/site"
)

const (
	replicaHash = "$2a$04$/tau3y8neWEU1SjYyYNOzuzRumlNocspRUS0kaQmsiZN.jaZ6fude"
	// webAuth requires the user name and password "replica".
	webAuth = "basic_auth_users:\n  replica: " + replicaHash + "\n"
)

// owners starts an exporter on A for A's pool and an exporter on B for B's pool, and configures
// check on C to ask both exporters over the network. The exporters send names of guests and disks
// only to clients with the password.
func (w *world) owners() (exporters []*site.Process) {
	w.t.Helper()
	for _, node := range []*site.Site{w.a, w.b} {
		require.NoError(w.t, node.WriteFile("/etc/snapwatch/owner.yaml", "datasets: ["+node.Pool+"]\n"))
		require.NoError(w.t, node.WriteFile("/etc/snapwatch/web.yaml", webAuth))
		exporters = append(exporters, w.exporter(node, "--config=/etc/snapwatch/owner.yaml", "--web.config.file=/etc/snapwatch/web.yaml", "--web.listen-address=:10191"))
	}
	require.NoError(w.t, w.c.WriteFile("/etc/snapwatch/password", "replica\n"))
	require.NoError(w.t, w.c.WriteFile("/etc/snapwatch/compare.yaml", `datasets: [tc]
owners:
  urls: ["http://192.0.2.1:10191", "http://192.0.2.2:10191"]
  allow_http: true
  user: replica
  password_file: /etc/snapwatch/password
`))
	return exporters
}

// checkResult is the result of a check: pools by name, disks by dataset.
type checkResult struct {
	site.Result
	pools map[string]checker.PoolDocument
	disks map[string]checker.DiskDocument
}

// judged returns the result of a check on C with a long timeout.
func (w *world) judged(args ...string) checkResult {
	w.t.Helper()
	return w.judgedWithin("60s", args...)
}

// judgedWithin runs check on C and parses its JSON output.
func (w *world) judgedWithin(timeout string, args ...string) checkResult {
	w.t.Helper()
	r := w.check(append([]string{"--format=json", "--timeout", timeout}, args...)...)
	var doc checker.Document
	require.NoError(w.t, json.Unmarshal([]byte(r.Stdout), &doc))
	s := checkResult{r, map[string]checker.PoolDocument{}, map[string]checker.DiskDocument{}}
	for _, p := range doc.Pools {
		s.pools[p.Pool] = p
	}
	for _, d := range doc.Disks {
		s.disks[d.Dataset] = d
	}
	return s
}

// compared returns the result of a check on C that asks the owners and has a long timeout.
func (w *world) compared() checkResult { return w.judged("--config=/etc/snapwatch/compare.yaml") }

// toldAlike asserts that the commands status and explain report the same verdict on a disk on C as
// the command check.
func (w *world) toldAlike(disk string, checked checkResult) {
	w.t.Helper()
	d := checked.disks[disk]
	var doc checker.Document
	status := w.run(w.c, "status", "--config=/etc/snapwatch/compare.yaml", "--format=json")
	require.NoError(w.t, json.Unmarshal([]byte(status.Stdout), &doc), status.Stderr)
	require.Len(w.t, doc.Disks, len(checked.disks))
	at := slices.IndexFunc(doc.Disks, func(o checker.DiskDocument) bool { return o.Dataset == disk })
	require.GreaterOrEqual(w.t, at, 0)
	assert.Equal(w.t, d.Verdict, doc.Disks[at].Verdict)
	assert.Equal(w.t, d.State, doc.Disks[at].State)

	table := w.run(w.c, "status", "--disks", "--config=/etc/snapwatch/compare.yaml")
	assert.Contains(w.t, table.Stdout, zfs.Base(disk))
	assert.Contains(w.t, table.Stdout, d.Verdict)
	explained := w.run(w.c, "explain", zfs.Base(disk), "--config=/etc/snapwatch/compare.yaml")
	assert.Zero(w.t, explained.Code, explained.Stderr)
	assert.Contains(w.t, explained.Stdout, d.Compared.Owner)
	assert.Contains(w.t, explained.Stdout, d.Newest.Name)
}

// TestOwnerAfterFailover: replication fails while the guest is off, and then the guest starts
// again. Only the guest's owner knows that the guest has started again. Later the guest fails over
// from A to B, so B is the owner. After the failover, A is only a relay for B's snapshots and has
// no newer snapshot than C, so A's answer does not count.
func TestOwnerAfterFailover(t *testing.T) {
	w := newNetwork(t)
	const disk, c = "vm-100-disk-0", "tc/vm-100-disk-0"
	a, b := "ta/data/"+disk, "tb/data/"+disk
	w.vm(100, disk)
	w.owners()
	w.start(w.a, 100)
	w.snap(w.a, "f4")
	w.stop(w.a, 100)
	w.snap(w.a, "f4")
	w.send(a, c)
	proven := w.compared().disks[c].Compared
	assert.Equal(t, "192.0.2.1:10191", proven.Owner)
	assert.True(t, proven.Proven)

	// The guest was off for long, so immediately after the guest's start an old copy does not yet
	// prove that replication fails. The owner has destroyed the newest snapshot that C has, but
	// kept the snapshot's bookmark: the bookmark also proves that C has the owner's last state.
	w.zfs("destroy", a+"@"+w.snapshots(a)[1])
	w.advanceClock(7 * time.Hour)
	w.start(w.a, 100)
	w.snap(w.a, "f4")
	assert.Zero(t, w.compared().Code, "the replica is behind since a moment ago")
	w.advanceClock(7 * time.Hour)
	w.snap(w.a, "f4")
	assert.Zero(t, w.judged().Code, "the replica alone is blind")
	lagging := w.compared()
	assert.Equal(t, 2, lagging.Code)
	assert.Equal(t, "lagging", lagging.disks[c].Compared.Outcome)
	w.toldAlike(c, lagging)

	// The guest fails over to B, and B's snapshots reach C by way of A.
	w.send(a, b)
	require.NoError(t, w.a.KillGuest(100))
	require.NoError(t, w.a.MoveGuestTo(100, w.b))
	w.start(w.b, 100)
	w.snap(w.b, "f4")
	w.stop(w.b, 100)
	w.snap(w.b, "f4")
	w.send(b, a)
	w.send(a, c)
	moved := w.compared()
	assert.Zero(t, moved.Code)
	assert.Equal(t, "192.0.2.2:10191", moved.disks[c].Compared.Owner)
	assert.True(t, moved.disks[c].Compared.Proven)

	w.start(w.b, 100)
	w.snap(w.b, "f4")
	w.advanceClock(7 * time.Hour)
	w.snap(w.b, "f4")
	assert.Equal(t, w.snapshots(a)[len(w.snapshots(a))-1], w.snapshots(c)[len(w.snapshots(c))-1], "A has no more than C")
	assert.Zero(t, w.judged().Code)
	dead := w.compared()
	assert.Equal(t, 2, dead.Code)
	assert.Equal(t, "lagging", dead.disks[c].Compared.Outcome)
	assert.Equal(t, "192.0.2.2:10191", dead.disks[c].Compared.Owner)
	w.send(b, c)
	assert.Zero(t, w.compared().Code)
}
