//go:build e2e && nightly

package e2e

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/zfs"
)

// The script `noting` replaces a program. At each start of the program, the script logs the start
// and the containers whose locks a run of snap holds. A shared lock of a container is snap's lock,
// because Proxmox's programs take the lock exclusively.
const noting = `#!/bin/sh
who=$(stat -c '%%i %%n' /run/lock/lxc/pve-config-* 2>/dev/null | awk '
FILENAME == "/proc/locks" { if ($2 == "FLOCK" && $4 == "READ") { split($6, at, ":"); held[at[3]] = 1 }; next }
$1 in held { gsub(/.*pve-config-|[.]lock/, "", $2); printf "%%s ", $2 }' /proc/locks -)
echo "$who|%[1]s $*" >>/run/started.log
exec %[2]s "$@"
`

var vmidInName = regexp.MustCompile(`subvol-(\d+)-disk`)

// TestOnlyOwnProgramsUnderLocks: 40 guests have just failed over to A. On A, the disks of the 40
// guests have 200 bookmarks of the discarded history. One further guest has stopped. While a run of
// snap holds locks of guests, the run starts only channel programs for the locked guests.
func TestOnlyOwnProgramsUnderLocks(t *testing.T) {
	const guests, lost = 40, 5
	w := newWorld(t)
	w.container(300, "subvol-300-disk-0")
	w.start(w.a, 300)
	w.snap(w.a, "f100")
	w.zfs("create", "tb/all")
	disks := make([]string, guests)
	for i := range disks {
		disks[i] = fmt.Sprintf("subvol-%d-disk-0", 201+i)
	}
	w.failsOver(lost, disks)
	for i, d := range disks {
		require.NoError(t, w.a.AddContainer(201+i, d))
		w.start(w.a, 201+i)
	}
	require.Equal(t, guests*lost, w.bookmarksLeft(lost))
	w.stop(w.a, 300)

	for _, name := range []string{"/usr/sbin/zfs", "/usr/sbin/zpool", "/usr/bin/pvesh"} {
		base := name[strings.LastIndex(name, "/")+1:]
		require.NoError(t, w.a.Install(base, fmt.Sprintf(noting, base, name)))
	}
	w.takes("pvesh", "2s")
	r := w.run(w.a, "snap", "f100")
	require.Zero(t, r.Code)
	assert.Equal(t, "stopped", w.label("ta/data/subvol-300-disk-0"))
	snapshots := w.zfs("list", "-H", "-r", "-t", "snapshot", "-o", "name", "ta/data")
	for _, d := range disks {
		assert.Len(t, regexp.MustCompile(`ta/data/`+d+`@autosnap_.*_frequently`).FindAllString(snapshots, -1), 1, d)
	}
	assert.Zero(t, w.bookmarksLeft(lost), "bookmarks of the history that A does not have any more")
	log, err := w.a.ReadFile("/run/started.log")
	require.NoError(t, err)
	under := map[string]int{}
	for line := range strings.Lines(log) {
		held, started, _ := strings.Cut(strings.TrimSpace(line), "|")
		if held == "" {
			continue
		}
		assert.Regexp(t, `^zfs program -j ta - guest `, started)
		locked := strings.Fields(held)
		for _, m := range vmidInName.FindAllStringSubmatch(started, -1) {
			assert.Contains(t, locked, m[1], started)
			under[m[1]]++
		}
	}
	t.Logf("%d programs were started, %d guests were locked", strings.Count(log, "\n"), len(under))
	assert.Len(t, under, guests+1, "each guest was locked, or this proves nothing")
}

// bookmarksLeft returns the number of bookmarks of the discarded history that A still has.
func (w *world) bookmarksLeft(lost int) (n int) {
	w.t.Helper()
	bookmarks := w.zfs("list", "-H", "-r", "-t", "bookmark", "-o", "name", "ta/data")
	for _, name := range lostNames(lost) {
		n += strings.Count(bookmarks, "#"+name+"\n")
	}
	return n
}

// lostNames returns the names of n snapshots that A had and B never received. A has bookmarks of
// the snapshots with these names.
func lostNames(n int) (names []string) {
	day := time.Date(2026, 7, 1, 9, 0, 0, 0, time.UTC)
	for i := range n {
		names = append(names, zfs.FormatSnapshotName(day.AddDate(0, 0, i), zfs.Daily))
	}
	return names
}

// failsOver lets A receive the disks below tb/all again. On A, each receive discards a part of the
// history of the received disk. Each disk on A keeps bookmarks of the discarded history. The
// argument `lost` is the number of these bookmarks for each disk.
func (w *world) failsOver(lost int, disks []string) {
	w.t.Helper()
	each := func(line string) {
		w.pipe("printf '%s\\n' " + strings.Join(disks, " ") + " | xargs -P 4 -I DISK sh -ec '" + line + "'")
	}
	each("zfs create -o mountpoint=none tb/all/DISK")
	base := zfs.FormatSnapshotName(time.Date(2026, 6, 30, 9, 0, 0, 0, time.UTC), zfs.Daily)
	w.zfs("snapshot", "-r", "tb/all@"+base)
	each("zfs send tb/all/DISK@" + base + " | zfs receive ta/data/DISK")
	var program strings.Builder
	for _, name := range lostNames(lost) {
		var made []string
		for _, d := range disks {
			made = append(made, "ta/data/"+d+"@"+name)
			fmt.Fprintf(&program, "assert(zfs.sync.bookmark('ta/data/%[1]s@%[2]s', 'ta/data/%[1]s#%[2]s') == 0)\n", d, name)
		}
		w.zfs(append([]string{"snapshot"}, made...)...)
	}
	w.pipe("zfs program ta - <<'END'\n" + program.String() + "END\n")
	w.zfs("snapshot", "-r", "tb/all@since")
	each("zfs send -i @" + base + " tb/all/DISK@since | zfs receive -F ta/data/DISK")
	assert.Contains(w.t, w.snapshots("ta/data/"+disks[0]), "since")
}
