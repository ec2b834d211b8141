//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/checker"
	"snapwatch/drill"
	"snapwatch/test/site"
)

// fakeFish plays guestfish: it logs its arguments and its script, and reads each device. While the
// file /tmp/drill/hold exists, the second script of a look does not end; with the file
// /tmp/drill/slow it takes two seconds.
const fakeFish = `#!/bin/sh
script=$(cat)
printf 'argv:%s\n%s\n' "$*" "$script" >>/tmp/drill/log
for device in $(printf '%s\n' "$script" | sed -n 's/^add-drive "\(.*\)" format:raw$/\1/p'); do
	head -c 4096 "$device" >/dev/null || exit 1
done
echo 'snapwatch: started'
case $script in
*list-filesystems*) printf 'snapwatch: file systems\n/dev/sda: ext4\nsnapwatch: roots\nsnapwatch: end\n' ;;
*)
	[ ! -e /tmp/drill/hold ] || exec sleep 700
	[ ! -e /tmp/drill/slow ] || sleep 2
	printf 'snapwatch: done 0\n0\nsnapwatch: done 1\ntrue\nsnapwatch: done 2\nsnapwatch: end\n'
	;;
esac
`

// drills is a world with copies on C that can be drilled: the disks of guest 100, and of container
// 200.
type drills struct{ *world }

func newDrills(t *testing.T) drills {
	w := drills{newWorld(t)}
	w.pipe("rm -rf /tmp/drill && mkdir /tmp/drill && : >/tmp/drill/log")
	require.NoError(t, w.c.Install("guestfish", fakeFish))
	w.vm(100, "vm-100-disk-0", "vm-100-disk-1")
	w.containerWithSystem(200)
	w.start(w.a, 100)
	w.start(w.a, 200)
	w.history(func(i int) { w.fill("ta/data/vm-100-disk-0", 200*(i+1)) })
	w.replicate("vm-100-disk-0", "vm-100-disk-1", "subvol-200-disk-0")
	return w
}

// containerWithSystem configures a container on A whose dataset holds an operating system.
func (w drills) containerWithSystem(vmid int) {
	w.t.Helper()
	disk := fmt.Sprintf("subvol-%d-disk-0", vmid)
	w.container(vmid, disk)
	w.machine(fmt.Sprintf(`zfs set mountpoint=/tmp/ct-%[1]d ta/data/%[2]s; mountpoint -q /tmp/ct-%[1]d || zfs mount ta/data/%[2]s
mkdir -p /tmp/ct-%[1]d/etc /tmp/ct-%[1]d/usr/lib; ln -s ../usr/lib/os-release /tmp/ct-%[1]d/etc/os-release
printf 'ID=lab\nPRETTY_NAME="Lab Linux 7"\n' >/tmp/ct-%[1]d/usr/lib/os-release; head -c 300000 /dev/urandom >/tmp/ct-%[1]d/data`, vmid, disk))
}

// history makes three snapshots of A's disks, and calls change before each of them. The second
// snapshot shows that A keeps a snapshot for an hour and more, because it is not the first of its
// hour.
func (w drills) history(change func(i int)) {
	w.t.Helper()
	w.advanceClock(time.Until(time.Now().Truncate(time.Hour).Add(time.Hour + time.Minute)))
	for i, after := range []time.Duration{0, 20 * time.Minute, 100 * time.Minute} {
		w.advanceClock(after)
		change(i)
		w.snap(w.a, "f100")
	}
}

// has makes the fake guestfish behave as the named file says, until the function that has returns
// is called.
func (w drills) has(file string) (end func()) {
	w.t.Helper()
	require.NoError(w.t, os.WriteFile("/tmp/drill/"+file, nil, 0o644))
	return func() { require.NoError(w.t, os.Remove("/tmp/drill/"+file)) }
}

// looking starts a drill of guests whose look does not end, and returns when the look has begun.
func (w drills) looking(guests ...string) *site.Process {
	w.t.Helper()
	require.NoError(w.t, os.WriteFile("/tmp/drill/log", nil, 0o644))
	p, err := w.c.Start(w.ctx, append([]string{program(w.t), "drill"}, guests...)...)
	require.NoError(w.t, err)
	w.waitUntil(func() bool { return strings.Contains(w.fished(), "fsck ext4") })
	return p
}

// fished returns the log of the fake guestfish.
func (w drills) fished() string {
	w.t.Helper()
	log, err := os.ReadFile("/tmp/drill/log")
	require.NoError(w.t, err)
	return string(log)
}

// clones returns the datasets below the dataset of the drills on C that are clones.
func (w drills) clones() (all []string) {
	w.t.Helper()
	r, err := w.c.Run(w.ctx, "zfs", "list", "-H", "-r", "-o", "name,origin", "tc/snapwatch-drill")
	require.NoError(w.t, err)
	for line := range strings.Lines(r.Stdout) {
		if f := strings.Fields(line); f[1] != "-" {
			all = append(all, f[0])
		}
	}
	return all
}

// properties returns the values of a dataset's properties.
func (w drills) properties(dataset string, names ...string) string {
	w.t.Helper()
	return strings.Join(strings.Fields(w.zfs("get", "-H", "-o", "value", strings.Join(names, ","), dataset)), " ")
}

// record returns the record of a guest on C.
func (w drills) record(vmid int) drill.Record {
	w.t.Helper()
	text, err := w.c.ReadFile("/var/lib/snapwatch/drills.json")
	require.NoError(w.t, err)
	records, err := checker.ParseProofs([]byte(text))
	require.NoError(w.t, err)
	r, found := drill.Records(records).Of(drill.Guest{VMID: vmid})
	require.True(w.t, found, "guest %d in %s", vmid, text)
	return r
}

// unseen checks that check, the exporter and prune on C see the given disks, and no disk of a drill.
func (w drills) unseen(disks ...string) {
	w.t.Helper()
	r := w.check("--format", "json")
	var doc struct {
		Disks []struct{ Dataset string } `json:"disks"`
	}
	require.NoError(w.t, json.Unmarshal([]byte(r.Stdout), &doc))
	var seen []string
	for _, d := range doc.Disks {
		seen = append(seen, d.Dataset)
	}
	assert.ElementsMatch(w.t, disks, seen)
	pruned := w.run(w.c, "prune", "f1", "--dry-run")
	assert.Zero(w.t, pruned.Code)
	for _, text := range []string{r.Stdout, pruned.Stdout, pruned.Stderr} {
		assert.NotContains(w.t, text, "snapwatch-drill")
	}
}

// TestDrill: drills of the copies on C, with a program in place of guestfish.
func TestDrill(t *testing.T) {
	w := newDrills(t)
	const disk, first = "tc/vm-100-disk-0", "tc/snapwatch-drill/g100/d-0"
	copies := []string{disk, "tc/vm-100-disk-1", "tc/subvol-200-disk-0"}
	newest := w.newest(disk)

	t.Log("a look, while others use the pool")
	release := w.has("hold")
	held := w.looking("100")
	assert.Equal(t, []string{first, "tc/snapwatch-drill/g100/d-1"}, w.clones())
	assert.Regexp(t, `^dev off g100 \d{4}-\S+Z `+disk+"@"+newest+"$", w.properties(first, "volmode", "readonly", "snapwatch:drill", "origin"))
	assert.Equal(t, "off none", w.properties("tc/snapwatch-drill", "canmount", "mountpoint"))
	drives := regexp.MustCompile(`^argv:\nset-backend direct\nadd-drive "(/dev/zd\d+)" format:raw\nadd-drive "/dev/zd\d+" format:raw\nrun\n`).FindStringSubmatch(w.fished())
	require.NotNil(t, drives, w.fished())
	assert.Equal(t, first, strings.TrimSpace(w.machine("/lib/udev/zvol_id "+drives[1])))
	w.unseen(copies...)
	exporter := w.exporter(w.c, "--web.listen-address=127.0.0.1:10191")
	metrics, err := w.c.Output(w.ctx, "curl", "-sf", "http://127.0.0.1:10191/metrics")
	require.NoError(t, err)
	assert.Contains(t, metrics, `dataset="`+disk+`"`)
	assert.NotContains(t, metrics, "snapwatch-drill")
	exporter.Stop()

	t.Log("a second drill of the guest, another program's snapshot of a clone, and a receive that must destroy the cloned snapshot")
	w.zfs("snapshot", "-r", "tc/snapwatch-drill/g100@others")
	r := w.run(w.c, "drill", "100")
	assert.Equal(t, 1, r.Code)
	assert.Contains(t, r.Stderr, "another drill of guest 100 is at work")
	list := w.snapshots("ta/data/vm-100-disk-0")
	base := list[len(list)-2]
	w.zfs("destroy", "ta/data/vm-100-disk-0@"+newest)
	w.fill("ta/data/vm-100-disk-0", 4000)
	w.snap(w.a, "f100")
	sent := "zfs send -i @" + base + " ta/data/vm-100-disk-0@" + w.newest("ta/data/vm-100-disk-0")
	failed, err := w.c.Run(w.ctx, "sh", "-c", sent+" | zfs receive -F "+disk)
	require.NoError(t, err)
	t.Logf("a receive during the drill: %+v", failed)
	assert.NotZero(t, failed.Code, "a snapshot with a clone cannot be destroyed")
	receiving, err := w.c.Start(w.ctx, "sh", "-c", "("+sent+" | head -c 2000000; sleep 600) | zfs receive -F "+disk)
	require.NoError(t, err)
	ended := held.Wait()
	t.Logf("%+v", ended)
	assert.Equal(t, 1, ended.Code)
	assert.Contains(t, ended.Stderr, "guest 100: no proof: a receive into "+disk+" has begun")
	assert.Empty(t, w.clones())
	r = w.run(w.c, "drill", "100")
	assert.Equal(t, 1, r.Code)
	assert.Regexp(t, disk+" is being received|a receive into", r.Stderr)
	require.NoError(t, w.killChildren(receiving))
	w.pipe(sent + " | zfs receive -F " + disk)
	assert.Equal(t, w.newest("ta/data/vm-100-disk-0"), w.newest(disk))
	w.replicate("vm-100-disk-1", "subvol-200-disk-0")
	release()

	t.Log("a drill that ends by itself")
	r = w.run(w.c, "drill", "100")
	require.Zero(t, r.Code)
	assert.Regexp(t, `^guest 100 as of \S+ \S+: checked in \S+s\n$`, r.Stdout)
	assert.Empty(t, w.clones())
	proof := w.record(100).Last
	assert.Equal(t, drill.Checked, proof.Reach)
	assert.Contains(t, w.newest(disk), proof.Point)
	assert.Positive(t, proof.Seconds)
	w.unseen(copies...)

	t.Log("a container")
	r = w.run(w.c, "drill", "200", "--read", "1/2")
	require.Zero(t, r.Code)
	assert.Regexp(t, `^guest 200 as of \S+ \S+: checked in \S+s; 146K read, from 0\.0% to 50\.0% of each disk; Lab Linux 7\n$`, r.Stdout)
	half := w.record(200).Last.ReadBytes
	r = w.run(w.c, "drill", "200", "--read", "1/2")
	require.Zero(t, r.Code)
	assert.Contains(t, r.Stdout, "from 50.0% to 100.0%")
	assert.Empty(t, w.clones())
	size := strings.TrimSpace(w.machine("cat /tmp/ct-200/data /tmp/ct-200/usr/lib/os-release | wc -c"))
	assert.Equal(t, size, strconv.FormatUint(half+w.record(200).Last.ReadBytes, 10), "each byte is read once")
	mounted, err := os.ReadFile("/proc/self/mounts")
	require.NoError(t, err)
	assert.NotContains(t, string(mounted), "snapwatch-drill")

	t.Log("a full pool")
	w.fill("tc/vm-100-disk-1", 12000)
	require.NoError(t, w.c.WriteFile("/etc/snapwatch/config.yaml", "datasets: [tc]\nlimits: {fill_warning: 1%, fill_critical: 90%}\n"))
	r = w.run(w.c, "drill", "100")
	assert.Equal(t, 1, r.Code)
	assert.Regexp(t, `pool tc is \d+% full \(limit 1%, limits.fill_warning\)`, r.Stderr)
	require.NoError(t, w.c.WriteFile("/etc/snapwatch/config.yaml", "datasets: [tc]\n"))

	t.Log("a key that is not loaded")
	w.pipe("head -c 32 /dev/urandom >/tmp/key && zfs create -o encryption=on -o keyformat=raw -o keylocation=file:///tmp/key -s -V 16M ta/data/vm-400-disk-0")
	require.NoError(t, w.a.AddVM(400, "vm-400-disk-0"))
	w.start(w.a, 400)
	w.snap(w.a, "f100")
	w.send("ta/data/vm-400-disk-0", "tc/vm-400-disk-0", "--sendoptions=w")
	r = w.run(w.c, "drill", "400")
	assert.Zero(t, r.Code)
	assert.Contains(t, r.Stdout, "encrypted, not looked at: the key of tc/vm-400-disk-0 is not loaded")
	assert.Equal(t, drill.Nothing, w.record(400).Last.Reach)

	w.findsABrokenBlock()
}

// findsABrokenBlock breaks a block of a disk of guest 100 on the device of C's pool. A drill that
// reads all blocks finds it, and the container's drill finds nothing.
func (w drills) findsABrokenBlock() {
	t := w.t
	const from, to = "ta/data/vm-100-disk-1", "tc/vm-100-disk-1"
	w.pipe("dd if=/dev/urandom of=/tmp/block bs=64k count=1 status=none && dd if=/tmp/block of=/dev/zvol/" + from + " bs=64k seek=3 oflag=direct status=none && zpool sync ta")
	w.snap(w.a, "f100")
	w.replicate("vm-100-disk-0", "vm-100-disk-1", "subvol-200-disk-0")
	w.pipe("zpool export tc")
	w.breakAt(w.onDevice())
	w.pipe("zpool import -o cachefile=none -d /tmp tc") // nothing of it is in memory any more
	require.NoError(t, site.WaitZvol(w.ctx, to))

	r := w.run(w.c, "drill", "100", "--read", "1/1")
	assert.Equal(t, 1, r.Code)
	assert.Contains(t, r.Stdout, "failed: "+to+"@"+w.newest(to)+": reading at byte 196608: input/output error")
	assert.True(t, w.record(100).Last.Failed())
	assert.NotNil(t, w.record(100).Good, "the drill before")
	r = w.run(w.c, "drill", "200", "--read", "1/1")
	assert.Zero(t, r.Code)
	assert.Empty(t, w.clones())
}

// TestDrillKilled: a drill is killed at random moments. The next run of health or prune destroys
// each clone that the drill left.
func TestDrillKilled(t *testing.T) {
	w := newDrills(t)
	defer w.has("slow")()
	begun := time.Now()
	require.Zero(t, w.run(w.c, "drill", "100").Code)
	usual := time.Since(begun)
	before := w.snapshots("tc/vm-100-disk-0")
	random := rand.New(rand.NewPCG(34, 17))
	left := 0
	for i := range drillKills {
		p, err := w.c.Start(w.ctx, program(t), "drill", "100")
		require.NoError(t, err)
		// A quarter of the time passes before the first clone.
		after := usual/5 + time.Duration(random.Int64N(int64(usual*4/5)))
		time.Sleep(after)
		p.Kill()
		there := w.clones()
		left += len(there)
		next := []string{"health"}
		if i%2 == 1 {
			next = []string{"prune", "f100"}
		}
		r := w.run(w.c, next...)
		assert.Zero(t, r.Code, "%v", next)
		assert.Empty(t, w.clones(), "killed after %s with %v", after, there)
		notes, err := w.c.Output(w.ctx, "ls", "/var/lib/snapwatch/drills")
		require.NoError(t, err)
		assert.Empty(t, notes)
	}
	assert.Positive(t, left, "some drills were killed while clones existed")
	assert.Equal(t, before, w.snapshots("tc/vm-100-disk-0"))
	assert.Zero(t, w.run(w.c, "drill", "100").Code)
	t.Logf("%d clones were left by %d killed drills; a drill takes %s", left, drillKills, usual)
}
