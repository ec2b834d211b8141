package run

import (
	"os"
	"path/filepath"
	"testing"

	"snapwatch/snapper"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// goneMeanwhile is a fake zfs: its disk vm-101-disk-0 disappears after the fake zfs has listed the
// disks, and before it lists the disks' snapshots. The file "left" says how many lists of snapshots
// will still find vm-101-disk-0 gone.
const goneMeanwhile = `#!/bin/sh
cd "${0%/*}"
left=$(cat left)
disk() {
	for row in "available 1" "refreservation 0" "usedbyrefreservation 0" "creation 1" "origin -" "prevsnap $1@a" "inconsistent 0" "receive_resume_token -" "written 0" "snapshots_changed 1" "label:running -" "label:nosnap -" "guid $2"; do
		printf '%s\t%s\t%s\t-\n' "$1" "${row% *}" "${row#* }"
	done
}
case "$*" in
get*)
	disk tank/data 6
	disk tank/data/vm-100-disk-0 7
	if [ $left -gt 0 ]; then disk tank/data/vm-101-disk-0 8; fi ;;
*snapshot*)
	printf 'tank/data/vm-100-disk-0@a\t1\t1\t1\n'
	if [ $left -gt 0 ]; then
		echo $((left - 1)) >left
		echo "cannot open 'tank/data/vm-101-disk-0': dataset does not exist" >&2
		exit 1
	fi ;;
esac
`

// If a disk disappears while its pool is read, the run still reads all remaining disks.
func TestADiskGoesWhileItsPoolIsRead(t *testing.T) {
	for name, c := range map[string]struct {
		times  string
		fails  bool
		listed int
	}{
		"never": {"0", false, 1}, "once": {"1", false, 1}, "again and again": {"9", true, 2},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(dir, "zfs"), []byte(goneMeanwhile), 0o755))
			require.NoError(t, os.WriteFile(filepath.Join(dir, "left"), []byte(c.times), 0o600))
			t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
			p := testPool()
			p.parents = []string{"tank/data"}
			err := p.readDisks(t.Context(), Pool.Children)
			assert.Equal(t, c.fails, err != nil, "%v", err)
			require.Len(t, p.disks, c.listed)
			assert.Len(t, p.disks[0].Snapshots, 1)
		})
	}
}

// bookmarksOnly is a fake zfs whose only disk has lost its snapshots and still has a bookmark.
const bookmarksOnly = `#!/bin/sh
case "$*" in
get*)
	for row in "creation 1" "origin -" "prevsnap -" "inconsistent 0" "receive_resume_token -" "written 0" "snapshots_changed 1" "label:running -" "label:nosnap -" "guid 7"; do
		printf 'tank/data/vm-100-disk-0\t%s\t%s\t-\n' "${row% *}" "${row#* }"
	done ;;
*bookmark*) printf 'tank/data/vm-100-disk-0#a\t1\t1\t1\n' ;;
*) exit 1 ;;
esac
`

// A disk whose snapshots were destroyed to free space still has its bookmarks. If a run missed the
// bookmarks of a disk without snapshots, it would create a second bookmark for the same day.
func TestBookmarksOfADiskWithoutSnapshots(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "zfs"), []byte(bookmarksOnly), 0o755))
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	p := testPool()
	p.parents = []string{"tank/data/vm-100-disk-0"}
	require.NoError(t, p.readDisks(t.Context(), Pool.Descendants))
	require.Len(t, p.disks, 1)
	assert.Empty(t, p.disks[0].Snapshots)
	assert.Len(t, p.disks[0].Bookmarks, 1)
}

// If ZFS has the property snapshots_changed, a run does not list the bookmarks of a disk that never
// had a snapshot.
func TestNeverSnapshottedIsNotListed(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "zfs"), []byte("#!/bin/sh\necho \"$*\" >>"+dir+"/log\n"), 0o755))
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	known := runningDisk(disk0, nil)
	known.SnapshotsChanged = 9
	never := runningDisk(disk1, nil)
	for name, disks := range map[string][]snapper.Disk{"2.1": {never}, "2.2": {known, never}} {
		_ = os.Remove(filepath.Join(dir, "log"))
		p := testPool()
		p.disks = disks
		require.NoError(t, p.readSnapshots(t.Context(), []*snapper.Disk{&p.disks[len(disks)-1]}))
		_, err := os.Stat(filepath.Join(dir, "log"))
		assert.Equal(t, name == "2.1", err == nil, name)
	}
}

const strangeTime = `#!/bin/sh
case "$*" in
get*) for n in 100 101; do
	for row in "creation 1" "origin -" "prevsnap tank/data/vm-$n-disk-0@a" "inconsistent 0" "receive_resume_token -" "written 0" "snapshots_changed 1" "label:running -" "label:nosnap -" "guid $n"; do
		printf 'tank/data/vm-%s-disk-0\t%s\t%s\t-\n' $n "${row% *}" "${row#* }"
	done
done ;;
*snapshot*) printf 'tank/data/vm-100-disk-0@a\t1\t1\t568971820800\ntank/data/vm-101-disk-0@a\t1\t1\t1\n' ;;
esac
`

// A send stream can contain a snapshot with an impossible creation time. Each run leaves a disk
// with a snapshot of an impossible time alone, and reports the disk. The run works on all disks
// without such a snapshot.
func TestAStrangeTime(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "zfs"), []byte(strangeTime), 0o755))
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	p := testPool()
	p.parents = []string{"tank/data/vm-100-disk-0", "tank/data/vm-101-disk-0"}
	for range 2 {
		p.report.Problems = nil
		require.NoError(t, p.readDisks(t.Context(), Pool.Descendants))
		p.keep()
		require.Len(t, p.disks, 2)
		assert.Contains(t, p.disks[0].Problem, `@a: creation: "568971820800" is not a time`)
		assert.Empty(t, p.disks[1].Problem)
		assert.Len(t, p.disks[1].Snapshots, 1)
		require.Len(t, p.report.Problems, 1)
		assert.Contains(t, p.report.Problems[0].Text, `tank/data/vm-100-disk-0 is left alone: @a: creation: "568971820800"`)
	}
}
