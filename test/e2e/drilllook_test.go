//go:build e2e && outside

package e2e

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/drill"
	"snapwatch/test/outside"
	"snapwatch/test/site"
)

// The disks of the guests that are drilled: an ext4 on a partition, an xfs on a logical volume, and a
// container's.
const ext4Disk, xfsDisk, containerDisk = "vm-100-disk-0", "vm-102-disk-0", "subvol-200-disk-0"

// TestDrillByGuestfish: drills with the real guestfish, which runs outside of the lab's machine (make
// test-drill-lab), while replication continues. Copies of file systems that were in use pass; copies
// of file systems that were broken on A fail, until they are mended there.
func TestDrillByGuestfish(t *testing.T) {
	w := drills{newWorld(t)}
	w.fromImage(100, ext4Disk, outside.Ext4Image, outside.Ext4MiB)
	w.fromImage(102, xfsDisk, outside.XFSImage, outside.XFSMiB)
	w.containerWithSystem(200)
	for _, vmid := range []int{100, 102, 200} {
		w.start(w.a, vmid)
	}
	w.history(func(int) {})
	w.replicate(ext4Disk, xfsDisk, containerDisk)
	w.advanceClock(20 * time.Minute)
	w.snap(w.a, "f100") // to be sent during the drills
	f := w.fishOutside()

	t.Log("an ext4 on a partition, while copies of other guests arrive")
	inUse := journalInUse(t, "/dev/zvol/tc/"+ext4Disk)
	require.True(t, inUse, "the journal of the copy is in use")
	f.looked = func(script string) {
		if strings.Contains(script, "fsck") {
			inUse = journalInUse(t, "/dev/zvol/tc/snapwatch-drill/g100/d-0")
		}
	}
	r := w.drill(100, ext4Disk, f, func() { w.arrive(xfsDisk, containerDisk) })
	require.Zero(t, r.Code)
	assert.Regexp(t, `^guest 100 as of \S+ \S+: checked in \S+s; 13\.0\n$`, r.Stdout, "libguestfs names the version of a Debian")
	assert.False(t, inUse, "the journal was replayed on the clone")

	t.Log("an xfs on a logical volume, while copies of other guests arrive")
	written := occurrences(t, "/dev/zvol/tc/"+xfsDisk, outside.LastFile)
	require.Equal(t, 1, written, "only the journal of the copy has the last file")
	f.looked = func(script string) {
		if strings.Contains(script, "xfs-repair") {
			written = occurrences(t, "/dev/zvol/tc/snapwatch-drill/g102/d-0", outside.LastFile)
		}
	}
	r = w.drill(102, xfsDisk, f, func() { w.arrive(ext4Disk) })
	require.Zero(t, r.Code)
	assert.Regexp(t, `^guest 102 as of \S+ \S+: checked in \S+s; 13\.0\n$`, r.Stdout)
	assert.Greater(t, written, 1, "the journal was replayed on the clone")
	f.looked = func(string) {}

	t.Log("a container")
	r = w.drill(200, containerDisk, f, nil)
	require.Zero(t, r.Code)
	assert.Regexp(t, `^guest 200 as of \S+ \S+: checked in \S+s; Lab Linux 7\n$`, r.Stdout)
	for _, vmid := range []int{100, 102, 200} {
		w.proof(vmid, "")
	}

	t.Log("file systems that were broken on A")
	w.onA(ext4Disk, outside.PartitionStart, `e2fsck -fy "$device" || [ $? -le 2 ]; debugfs -w -R "clri /etc/hostname" "$device"`)
	// The three sectors behind the xfs's superblock name its free space and its inodes.
	w.onA(xfsDisk, outside.VolumeStart, `dd if="$device" of=/tmp/sectors skip=1 count=3; dd if=/dev/zero of="$device" seek=1 count=3 conv=notrunc`)
	w.sendAll()
	r = w.drill(100, ext4Disk, f, nil)
	assert.Equal(t, 1, r.Code)
	assert.Regexp(t, `failed: checking /dev/sda1 \(ext4\): the checker found faults \(exit status \d+\)`, r.Stdout)
	r = w.drill(102, xfsDisk, f, nil)
	assert.Equal(t, 1, r.Code)
	assert.Regexp(t, `failed: mounting /dev/vg0/root \(xfs\), which replays its journal: mount.*: Structure needs cleaning`, r.Stdout)
	r = w.drill(200, containerDisk, f, nil)
	assert.Zero(t, r.Code, "other guests pass")
	faults := map[int]string{100: "the checker found faults", 102: "Structure needs cleaning"}
	for vmid, fault := range faults {
		w.proof(vmid, fault)
		assert.NotNil(t, w.record(vmid).Good, "the drill before")
	}
	w.proof(200, "")

	t.Log("mended on A; then a superblock and the label of a physical volume are lost")
	w.onA(ext4Disk, outside.PartitionStart, `e2fsck -fy "$device" || [ $? -le 2 ]
dd if="$device" of=/tmp/superblock bs=1k skip=1 count=1; dd if=/dev/zero of="$device" bs=1k seek=1 count=1 conv=notrunc`)
	w.onA(xfsDisk, outside.VolumeStart, `dd if=/tmp/sectors of="$device" seek=1 conv=notrunc`)
	w.onA(xfsDisk, outside.PartitionStart, `dd if="$device" of=/tmp/label skip=1 count=1; dd if=/dev/zero of="$device" seek=1 count=1 conv=notrunc`)
	w.sendAll()
	for vmid, disk := range map[int]string{100: ext4Disk, 102: xfsDisk} {
		r = w.drill(vmid, disk, f, nil)
		assert.Equal(t, 1, r.Code)
		faults[vmid] = "not recognised: 1 of 1 file systems"
		assert.Contains(t, r.Stdout, "failed: "+faults[vmid])
		w.proof(vmid, faults[vmid])
	}

	t.Log("mended on A")
	w.onA(ext4Disk, outside.PartitionStart, `dd if=/tmp/superblock of="$device" bs=1k seek=1 conv=notrunc`)
	w.onA(xfsDisk, outside.PartitionStart, `dd if=/tmp/label of="$device" seek=1 conv=notrunc`)
	w.sendAll()
	for vmid, disk := range map[int]string{100: ext4Disk, 102: xfsDisk} {
		w.proof(vmid, faults[vmid]) // the copy is whole again, and nobody has looked
		r = w.drill(vmid, disk, f, nil)
		assert.Zero(t, r.Code)
		w.proof(vmid, "")
	}
}

// fromImage configures a virtual machine on A with a volume from an image of the job.
func (w drills) fromImage(vmid int, disk, image string, mib int) {
	w.t.Helper()
	require.NoError(w.t, site.CreateZvol(w.ctx, "ta/data/"+disk, mib))
	w.machine(fmt.Sprintf("gunzip -c %s | dd of=/dev/zvol/ta/data/%s bs=1M iflag=fullblock conv=sparse,notrunc,fsync", filepath.Join(filepath.Dir(program(w.t)), image), disk))
	require.NoError(w.t, w.a.AddVM(vmid, disk))
}

// onA runs a shell's command line with $device, which is the part of a volume of A from the byte start
// on.
func (w drills) onA(disk string, start int, line string) {
	w.t.Helper()
	w.t.Log(w.machine(fmt.Sprintf("modprobe loop; device=$(losetup -f --show -o %d /dev/zvol/ta/data/%s); %s; sync; losetup -d $device", start, disk, line)))
}

// sendAll makes snapshots on A and sends them to C.
func (w drills) sendAll() {
	w.t.Helper()
	w.advanceClock(20 * time.Minute)
	w.snap(w.a, "f100")
	w.arrive(ext4Disk, xfsDisk, containerDisk)
}

// arrive sends the newest snapshots of A's disks to C, and requires that they were not there before and
// are there after that.
func (w drills) arrive(disks ...string) {
	w.t.Helper()
	for _, disk := range disks {
		newest := w.newest("ta/data/" + disk)
		require.NotContains(w.t, w.snapshots("tc/"+disk), newest)
		w.replicate(disk)
		require.Equal(w.t, newest, w.newest("tc/"+disk))
	}
}

// drill drills a guest with one disk on C, and checks that nothing of the drill is left. drill calls
// meanwhile, if it is not nil, while guestfish checks the file systems.
func (w drills) drill(vmid int, disk string, f *fish, meanwhile func()) site.Result {
	w.t.Helper()
	before, err := site.Snapshots(w.ctx, "tc/"+disk)
	require.NoError(w.t, err)
	begun := time.Now()
	p, err := w.c.Start(w.ctx, program(w.t), "drill", fmt.Sprint(vmid))
	require.NoError(w.t, err)
	if meanwhile != nil {
		w.begins(f)
		meanwhile()
		assert.Equal(w.t, []string{fmt.Sprintf("tc/snapwatch-drill/g%d/d-0", vmid)}, w.clones(), "the drill continues")
	}
	w.t.Logf("waiting for the drill of guest %d", vmid)
	r := p.Wait()
	w.t.Logf("the drill of guest %d took %s: %+v", vmid, time.Since(begun).Round(time.Second), r)
	left := strings.Fields(w.zfs("list", "-H", "-o", "name", "-r", "tc/snapwatch-drill"))
	assert.NotContains(w.t, strings.Join(left, " "), "/d-", "clones are left")
	assert.Empty(w.t, strings.Trim(w.zfs("get", "-H", "-o", "value", "-r", "-t", "snapshot", "clones", "tc"), "-\n"), "snapshots have clones")
	after, err := site.Snapshots(w.ctx, "tc/"+disk)
	require.NoError(w.t, err)
	assert.Equal(w.t, before, after, "the copy and its GUIDs")
	assert.Equal(w.t, "0", w.properties("tc/"+disk, "written"), "the copy")
	last := w.record(vmid).Last
	assert.Equal(w.t, r.Code != 0, last.Failed())
	if r.Code == 0 {
		assert.Equal(w.t, drill.Checked, last.Reach)
	}
	assert.Contains(w.t, w.newest("tc/"+disk), last.Point)
	return r
}

// proof checks that check and the metrics have a verdict on the proof of a guest. said is the fault
// that check names, "" if the proof is good.
func (w drills) proof(vmid int, said string) {
	w.t.Helper()
	r := w.check("--vmid", fmt.Sprint(vmid))
	about := fmt.Sprintf("guest %d: proof failed: ", vmid)
	verdict := "fresh"
	if said != "" {
		verdict = "failed"
		assert.Equal(w.t, 1, r.Code)
		assert.Regexp(w.t, about+".*"+regexp.QuoteMeta(said), r.Stdout)
	} else {
		assert.Zero(w.t, r.Code)
		assert.NotContains(w.t, r.Stdout, about)
	}
	exporter := w.exporter(w.c, "--web.listen-address=127.0.0.1:10191")
	defer exporter.Stop()
	metrics, err := w.c.Output(w.ctx, "curl", "-sf", "http://127.0.0.1:10191/metrics")
	require.NoError(w.t, err)
	state := fmt.Sprintf(`(?m)^snapwatch_guest_proof_state\{[^}]*state="%s"[^}]*vmid="%d"[^}]*\} 1$`, verdict, vmid)
	assert.Regexp(w.t, state, metrics)
}

// journalInUse reports whether the ext4 on a device's partition has a journal that must be replayed.
func journalInUse(t *testing.T, device string) bool {
	t.Helper()
	const features, recovers = outside.PartitionStart + 1024 + 0x60, 4 // s_feature_incompat, EXT4_FEATURE_INCOMPAT_RECOVER
	file, err := os.Open(device)
	require.NoError(t, err)
	defer func() { _ = file.Close() }()
	var bits [4]byte
	_, err = file.ReadAt(bits[:], features)
	require.NoError(t, err)
	return binary.LittleEndian.Uint32(bits[:])&recovers != 0
}

// occurrences returns how often a device has a text.
func occurrences(t *testing.T, device, text string) int {
	t.Helper()
	file, err := os.Open(device)
	require.NoError(t, err)
	defer func() { _ = file.Close() }()
	found := 0
	for block := make([]byte, 1<<20); ; {
		n, err := io.ReadFull(file, block)
		found += bytes.Count(block[:n], []byte(text))
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return found
		}
		require.NoError(t, err)
	}
}
