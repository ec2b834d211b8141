//go:build e2e

package e2e

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/test/site"
)

// aRecord is the length in bytes of a record of a send stream (dmu_replay_record in OpenZFS'
// zfs_ioctl.h). aChecksum is the length of the checksum at the record's end.
const (
	aRecord   = 312
	aChecksum = 32
)

// sum is a fletcher4 checksum, which protects the records of a send stream.
type sum [4]uint64

func (s *sum) add(b []byte) {
	for ; len(b) >= 4; b = b[4:] {
		s[0] += uint64(binary.LittleEndian.Uint32(b))
		s[1] += s[0]
		s[2] += s[1]
		s[3] += s[2]
	}
}

func (s *sum) put(b []byte) {
	for i, part := range s {
		binary.LittleEndian.PutUint64(b[8*i:], part)
	}
}

// payload returns the number of data bytes that follow a record in a send stream.
func payload(r []byte) int {
	at := func(offset int) int { return int(binary.LittleEndian.Uint32(r[offset:])) }
	const object, write, spill, embedded = 1, 3, 7, 8
	padded := func(n int) int { return (n + 7) &^ 7 }
	switch at(0) {
	case 0:
		return at(4)
	case object:
		if raw := at(36); raw != 0 {
			return raw
		}
		return padded(at(28))
	case write:
		if compressed := at(104); r[50] != 0 && compressed != 0 {
			return compressed
		}
		return at(32)
	case spill:
		return at(16)
	case embedded:
		return padded(at(52))
	}
	return 0
}

// createdAt returns a copy of a snapshot's send stream in which the snapshot has the given creation
// time, in Unix seconds.
func createdAt(stream []byte, seconds uint64) []byte {
	const creation, end = 24, 5
	stream = append([]byte(nil), stream...)
	binary.LittleEndian.PutUint64(stream[creation:], seconds)
	var s sum
	for rest := stream; len(rest) >= aRecord; {
		r := rest[:aRecord]
		switch binary.LittleEndian.Uint32(r) {
		case 0:
			s.add(r)
		case end:
			s.put(r[8:])
			fallthrough
		default:
			s.add(r[:aRecord-aChecksum])
			s.put(r[aRecord-aChecksum:])
			s.add(r[aRecord-aChecksum:])
		}
		more := payload(r)
		s.add(rest[aRecord : aRecord+more])
		rest = rest[aRecord+more:]
	}
	return stream
}

// hostile creates hostile datasets on C: one of each kind that could confuse a program while the
// program reads the pool.
func (w *world) hostile() {
	w.t.Helper()
	w.pipe("zfs create tc/hostile && zfs create -V 1M ta/seed")
	for i, seconds := range []uint64{0, 1 << 63, 568971820800} {
		name := []string{"monthly", "weekly", "yearly"}[i]
		snapshot := "ta/seed@autosnap_2026-01-01_00:00:0" + fmt.Sprint(i) + "_" + name
		w.zfs("snapshot", snapshot)
		file := filepath.Join(w.t.TempDir(), "stream")
		w.pipe("zfs send " + snapshot + " >" + file)
		text, err := os.ReadFile(file)
		require.NoError(w.t, err)
		require.NoError(w.t, os.WriteFile(file, createdAt(text, seconds), 0o600))
		disk := fmt.Sprintf("tc/hostile/vm-%d-disk-0", 900+i)
		w.pipe("zfs receive " + disk + " <" + file)
		assert.Equal(w.t, fmt.Sprint(seconds), strings.TrimSpace(w.zfs("get", "-Hp", "-o", "value", "creation", disk+"@"+snapshot[len("ta/seed@"):])), "ZFS takes it")
	}
	w.pipe("zfs create tc/hostile/subvol-910-disk-0")
	w.zfs("set", "label:running=a\tb\ntc/vm-100-disk-0\tlabel:running\tstopped\treceived", "tc/hostile/subvol-910-disk-0")
	w.zfs("set", "label:nosnap=on\nrows\t\t\n", "tc/hostile/subvol-910-disk-0")
	long := strings.Repeat("x", 190)
	w.pipe(fmt.Sprintf("zfs create tc/hostile/subvol-911-disk-0 && for i in $(seq %d); do zfs snapshot tc/hostile/subvol-911-disk-0@foreign_$i; done", hostileSnapshots))
	w.pipe(fmt.Sprintf("for i in $(seq %d); do zfs create -p tc/hostile/t$i/subvol-912-disk-0; done", hostileNames))
	w.pipe(fmt.Sprintf("for i in $(seq %d); do zfs create tc/hostile/${i}%s; zfs snapshot tc/hostile/${i}%s@autosnap_2026-07-01_00:00:00_daily; done", hostileLong, long, long))
}

// ages matches the metrics that change between two scrapes.
var ages = regexp.MustCompile(`(?m)^snapwatch_disk_newest_snapshot_age_seconds.*$`)

// TestHostileDatasetsSpoilOnlyThemselves: hostile datasets of each kind do not change the verdicts,
// metrics and comparisons of the other disks, for check, for the exporter and for hosts that ask
// the exporter.
func TestHostileDatasetsSpoilOnlyThemselves(t *testing.T) {
	w := newNetwork(t)
	w.vm(100, "vm-100-disk-0", "vm-100-disk-1")
	w.owners()
	w.start(w.a, 100)
	w.snap(w.a, "f4")
	w.replicate("vm-100-disk-0", "vm-100-disk-1")
	w.exporter(w.c, "--web.listen-address=127.0.0.1:10191", "--max-data-age=30m", "--scan-timeout=10m")
	cache := filepath.Join(t.TempDir(), "cache")
	require.NoError(t, os.MkdirAll(cache, 0o777))
	for dir := cache; dir != "/tmp" && dir != "/"; dir = filepath.Dir(dir) {
		require.NoError(t, os.Chmod(dir, 0o777))
	}
	good := []string{"tc/vm-100-disk-0", "tc/vm-100-disk-1"}
	look := func() (told string) {
		for range 2 { // once without the cache, once with it
			r := w.judged("--config=/etc/snapwatch/compare.yaml", "--cache", cache+"/newest.json")
			from := w.judged("--from", exporterURL)
			for _, name := range good {
				for _, d := range []struct{ verdict, state, newest, compared string }{
					{r.disks[name].Verdict, r.disks[name].State, r.disks[name].Newest.Name, r.disks[name].Compared.Outcome},
					{from.disks[name].Verdict, from.disks[name].State, from.disks[name].Newest.Name, ""},
				} {
					told += fmt.Sprintln(name, d)
				}
			}
			text, err := os.ReadFile(cache + "/newest.json")
			require.NoError(t, err)
			assert.Contains(t, string(text), good[0])
			assert.NotContains(t, r.Stdout, "cache ignored")
		}
		scraped, err := w.c.Output(w.ctx, "curl", "-sf", "-H", "X-Prometheus-Scrape-Timeout-Seconds: 60", exporterURL+"/metrics")
		require.NoError(t, err)
		for line := range strings.Lines(ages.ReplaceAllString(scraped, "")) {
			if strings.Contains(line, good[0]) || strings.Contains(line, good[1]) {
				told += line
			}
		}
		return told
	}
	before := look()
	assert.Contains(t, before, "fresh OK")
	w.hostile()
	assert.Equal(t, before, look())
	r := w.check("-t", "60s", "-v", "--disk", "vm-90*")
	assert.Equal(t, 3, r.Code)
	assert.Contains(t, r.Stdout, "tc/hostile/vm-901-disk-0")
	assert.Contains(t, r.Stdout, "is not a time between 1970 and 9999")
	r = w.check("-t", "60s", "-v", "--vmid", "100")
	assert.Contains(t, r.Stdout, "managed snapshots on "+fmt.Sprint(hostileLong)+" datasets whose names are not those of disks")
}

// exporterURL is the address of a test's exporter on C.
const exporterURL = "http://127.0.0.1:10191"

// slowLists is a script in place of zfs: each call is slow, and a list of snapshots is much slower.
const slowLists = `#!/bin/sh
echo "$@" >>/tmp/slow-calls
case "$*" in "list -Hp -d 1 -t snapshot"*) sleep %s;; *) sleep 0.2;; esac
exec /usr/sbin/zfs "$@"
`

// slow installs slowLists in place of zfs on C, and empties the log of zfs calls.
func (w *world) slow(lists string) {
	w.t.Helper()
	require.NoError(w.t, os.WriteFile("/tmp/slow-calls", nil, 0o666))
	require.NoError(w.t, os.Chmod("/tmp/slow-calls", 0o666))
	require.NoError(w.t, w.c.Install("zfs", fmt.Sprintf(slowLists, lists)))
}

// slowCalls returns the calls of zfs since the last call of slow whose arguments begin with the
// given words.
func (w *world) slowCalls(begin string) (calls []string) {
	w.t.Helper()
	text, err := os.ReadFile("/tmp/slow-calls")
	require.NoError(w.t, err)
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, begin) {
			calls = append(calls, line)
		}
	}
	return calls
}

// cacheOfNobody returns check's flag for a cache file that the user nobody can write.
func (w *world) cacheOfNobody() string {
	w.t.Helper()
	require.NoError(w.t, os.RemoveAll("/tmp/cache-of-nobody"))
	w.pipe("install -d -o nobody -m 700 /tmp/cache-of-nobody")
	return "--cache=/tmp/cache-of-nobody/newest.json"
}

// TestNoTimeForLists: replication makes snapshots of its own, and check has no time to list each
// disk's snapshots. check remembers the newest snapshot that its last list of the disk showed. If
// check has no time for a new list, the disk is fresh while the remembered snapshot exists and is
// young, and unknown when the remembered snapshot is old or gone. A check that has time to list all
// snapshots gives the right verdicts.
func TestNoTimeForLists(t *testing.T) {
	w := newWorld(t)
	disks := []string{"vm-100-disk-0", "vm-100-disk-1"}
	w.vm(100, disks...)
	w.start(w.a, 100)
	w.snap(w.a, "f4")
	w.replicate(disks...)
	cache := w.cacheOfNobody()
	require.Zero(t, w.check("-t", "60s", cache).Code)
	w.slow("30")
	ofReplication := func(name string) {
		for _, d := range disks {
			w.zfs("snapshot", "tc/"+d+"@syncoid_c_"+name)
		}
	}
	ofReplication("1")
	r := w.check("-t", "8s", cache, "-vv")
	assert.Zero(t, r.Code)
	assert.Contains(t, r.Stdout, "it may be younger: reading pool tc took too long")
	require.NotEmpty(t, w.slowCalls("list -Hp -d 1 -t snapshot"))

	w.later(3 * time.Hour)
	assert.Equal(t, 3, w.check("-t", "8s", cache).Code, "what came since may be young, or not")
	w.slow("0.2")
	assert.Equal(t, 1, w.check("-t", "60s", cache).Code)

	// A rollback destroys the newest snapshot that an earlier check listed, so check can no longer
	// prove that the disk is fresh.
	w.snap(w.a, "f4")
	w.replicate(disks...)
	require.Zero(t, w.check("-t", "60s", cache).Code)
	newest := w.newest("tc/vm-100-disk-0")
	w.slow("30")
	w.zfs("destroy", "tc/vm-100-disk-0@"+newest)
	ofReplication("2")
	r = w.check("-t", "8s", cache, "-vv")
	assert.Equal(t, 3, r.Code)
	assert.Contains(t, r.Stdout, "OK tc/vm-100-disk-1")
	w.slow("0.2")
	r = w.check("-t", "60s", cache, "-vv")
	assert.Equal(t, 1, r.Code)
	assert.Contains(t, r.Stdout, "WARNING tc/vm-100-disk-0")
}

// TestFortyChecksAtOnce: a monitoring system runs forty checks in one second, while zfs is slow. No
// check is late, since all checks share one reading of the pool.
func TestFortyChecksAtOnce(t *testing.T) {
	w := newWorld(t)
	w.vm(100, "vm-100-disk-0", "vm-100-disk-1")
	w.start(w.a, 100)
	w.snap(w.a, "f4")
	w.replicate("vm-100-disk-0", "vm-100-disk-1")
	cache := w.cacheOfNobody()
	w.slow("0.2")
	begun := time.Now()
	var checks sync.WaitGroup
	results := make([]site.Result, 40)
	for i := range results {
		checks.Go(func() {
			r, err := w.c.RunAs(w.ctx, "nobody", program(t), "check", cache, "-t", "30s", "--vmid", "100")
			assert.NoError(t, err)
			results[i] = r
		})
	}
	checks.Wait()
	for _, r := range results {
		assert.Zero(t, r.Code, r.Stdout)
	}
	listings := len(w.slowCalls("get "))
	assert.Less(t, listings, 12)
	t.Logf("%d listings, %s", listings, time.Since(begun))
}
