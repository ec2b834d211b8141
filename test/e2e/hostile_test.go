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

// hostileKind is one way to fill C with datasets that could confuse a program that reads the pool.
type hostileKind struct {
	name string
	make func(*world)
	disk string // the name of one such disk, "" if the datasets are not disks
}

// hostileTimeout is long, because the lab emulates the machine and reads many datasets slowly.
const hostileTimeout = "5m"

// hostileKinds has the kinds in the order in which they are made. The test counts the datasets
// whose names are not names of disks, and must count only the long names, so the long names come
// before all other kinds that have such datasets.
var hostileKinds = []hostileKind{
	{"times", (*world).hostileTimes, "tc/hostile/vm-900-disk-0"},
	{"labels", (*world).hostileLabels, "tc/hostile/subvol-910-disk-0"},
	{"long names", (*world).longNames, ""},
	{"snapshots", (*world).othersSnapshots, "tc/hostile/many/t1/subvol-911-disk-1"},
	{"one name", func(w *world) { w.forest("tc/hostile/n", "t$i/subvol-912-disk-0", hostileNames) }, "tc/hostile/n1/t1/subvol-912-disk-0"},
}

// hostileTimes makes disks whose newest snapshot is of 1970, of 2^63 seconds later, and of the year
// 20000.
func (w *world) hostileTimes() {
	w.t.Helper()
	w.pipe("zfs create -V 1M ta/seed")
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
	r := w.check("-t", hostileTimeout, "-v", "--disk", "vm-90*")
	assert.Equal(w.t, 3, r.Code)
	assert.Contains(w.t, r.Stdout, "tc/hostile/vm-901-disk-0")
	assert.Contains(w.t, r.Stdout, "is not a time between 1970 and 9999")
}

// hostileLabels makes a disk whose labels look like rows of another disk's properties.
func (w *world) hostileLabels() {
	w.t.Helper()
	w.pipe("zfs create tc/hostile/subvol-910-disk-0")
	w.zfs("set", "label:running=a\tb\ntc/vm-100-disk-0\tlabel:running\tstopped\treceived", "tc/hostile/subvol-910-disk-0")
	w.zfs("set", "label:nosnap=on\nrows\t\t\n", "tc/hostile/subvol-910-disk-0")
}

// longNames makes datasets with long names that are not the names of disks.
func (w *world) longNames() {
	w.t.Helper()
	w.forest("tc/hostile/l", "${i}"+strings.Repeat("x", 198), hostileLong)
	r := w.check("-t", hostileTimeout, "-v", "--vmid", "100")
	assert.Contains(w.t, r.Stdout, "managed snapshots on "+fmt.Sprint(hostileLong+hostileLong/hostileLeaves)+" datasets whose names are not those of disks")
}

// snapshotEach is a channel program that takes a snapshot of all leaves of the trees in one
// transaction group.
const snapshotEach = `args = ...
for tree in zfs.list.children("tc/hostile/many") do
	for disk in zfs.list.children(tree) do
		local errno = zfs.sync.snapshot(disk .. "@foreign_" .. args["argv"][1])
		if errno ~= 0 then error(disk .. ": " .. errno) end
	end
end
`

// othersSnapshots makes disks with many snapshots of another program. Each disk gets
// hostileSnapshots snapshots, or fewer if hostileTime is over before the last of them.
func (w *world) othersSnapshots() {
	w.t.Helper()
	room := filepath.Join(w.t.TempDir(), "room") // a snapshot takes about 4 kB
	w.pipe("truncate -s 2G " + room + " && zpool add tc " + room)
	w.zfs("create", "tc/hostile/many")
	w.forest("tc/hostile/many/t", "subvol-911-disk-$i", hostileDisks)
	program := filepath.Join(w.t.TempDir(), "each.lua")
	require.NoError(w.t, os.WriteFile(program, []byte(snapshotEach), 0o600))
	begun, made := time.Now(), 0
	for ; made < hostileSnapshots && time.Since(begun) < hostileTime; made++ {
		w.zfs("program", "tc", program, fmt.Sprint(made))
	}
	w.t.Logf("%d snapshots in %s", made*hostileDisks, time.Since(begun))
}

// forest makes datasets, each with a managed snapshot, as the leaves of trees that are received,
// because a receive is quicker than zfs create. In the name of a leaf, $i is the leaf's number.
func (w *world) forest(trees, leaf string, datasets int) {
	w.t.Helper()
	file := filepath.Join(w.t.TempDir(), "tree")
	begun := time.Now()
	w.pipe(fmt.Sprintf("zfs create ta/tree && for i in $(seq %d); do zfs create -p ta/tree/%s; done", hostileLeaves, leaf))
	w.pipe(fmt.Sprintf("zfs snapshot -r ta/tree@autosnap_2026-07-01_00:00:00_daily && zfs send -R ta/tree@autosnap_2026-07-01_00:00:00_daily >%s && zfs destroy -r ta/tree", file))
	w.pipe(fmt.Sprintf("seq %d | xargs -P 4 -I{} sh -c 'zfs receive -u %s{} <%s'", datasets/hostileLeaves, trees, file))
	w.t.Logf("%d datasets in %s", datasets, time.Since(begun))
}

// ages matches the metrics that change between two scrapes.
var ages = regexp.MustCompile(`(?m)^snapwatch_disk_newest_snapshot_age_seconds.*$`)

// TestHostileDatasetsSpoilOnlyThemselves: hostile datasets of each kind do not change the verdicts,
// metrics and comparisons of the other disks, for check, for the exporter and for hosts that ask
// the exporter.
func TestHostileDatasetsSpoilOnlyThemselves(t *testing.T) {
	if !hostileApart {
		spoilOnlyThemselves(t, hostileKinds...)
		return
	}
	for _, kind := range hostileKinds {
		t.Run(kind.name, func(t *testing.T) { spoilOnlyThemselves(t, kind) })
	}
}

func spoilOnlyThemselves(t *testing.T, kinds ...hostileKind) {
	w := newNetwork(t)
	w.vm(100, "vm-100-disk-0", "vm-100-disk-1")
	w.owners()
	w.start(w.a, 100)
	w.snap(w.a, "f4")
	w.replicate("vm-100-disk-0", "vm-100-disk-1")
	w.exporter(w.c, "--web.listen-address=127.0.0.1:10191", "--max-data-age=30m")
	cache := filepath.Join(t.TempDir(), "cache")
	require.NoError(t, os.MkdirAll(cache, 0o777))
	for dir := cache; dir != "/tmp" && dir != "/"; dir = filepath.Dir(dir) {
		require.NoError(t, os.Chmod(dir, 0o777))
	}
	scrape := func() string {
		out, err := w.c.Output(w.ctx, "curl", "-sf", "-H", "X-Prometheus-Scrape-Timeout-Seconds: 60", exporterURL+"/metrics")
		require.NoError(t, err)
		return out
	}
	good := []string{"tc/vm-100-disk-0", "tc/vm-100-disk-1"}
	look := func() (told string) {
		for range 2 { // once without the cache, once with it
			begun := time.Now()
			r := w.judgedWithin(hostileTimeout, "--config=/etc/snapwatch/compare.yaml", "--cache", cache+"/newest.json")
			t.Logf("check of %d disks in %s", len(r.disks), time.Since(begun))
			begun = time.Now()
			from := w.judgedWithin(hostileTimeout, "--from", exporterURL)
			t.Logf("check --from of %d disks in %s", len(from.disks), time.Since(begun))
			for _, name := range good {
				require.NotNil(t, r.disks[name].Compared, name)
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
		for line := range strings.Lines(ages.ReplaceAllString(scrape(), "")) {
			if strings.Contains(line, good[0]) || strings.Contains(line, good[1]) {
				told += line
			}
		}
		return told
	}
	before := look()
	assert.Contains(t, before, "fresh OK")
	w.zfs("create", "tc/hostile")
	for _, kind := range kinds {
		kind.make(w)
	}
	for _, kind := range kinds {
		w.waitUntil(func() bool { return strings.Contains(scrape(), kind.disk) }) // the exporter has read it
	}
	assert.Equal(t, before, look())
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

	w.advanceClock(3 * time.Hour)
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
			r, err := w.c.RunAs(w.ctx, "nobody", program(t), "check", cache, "-t", "3m", "--vmid", "100")
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
