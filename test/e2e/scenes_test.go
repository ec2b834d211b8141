//go:build e2e && nightly

package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/test/site"
)

// pathHere replaces the PATH of the scripts in the pages by a PATH that includes the replacement of
// ssh.
var pathHere = []string{"PATH=/usr/sbin", "PATH=" + site.BinDir + ":/usr/sbin"}

// TestSceneCopyContainers: a copy of each running container has the data of one moment and the
// container's configuration. After the containers were copied, the node has only the snapshot, and
// no hold or clone. If a copy fails at any point, the next copy still succeeds.
func TestSceneCopyContainers(t *testing.T) {
	w := newWorld(t)
	shown := w.shown()
	w.terminal(w.a, `exec sh -c "$*"`)
	for vmid, disk := range map[int]string{200: "subvol-200-disk-0", 201: "subvol-201-disk-0", 202: "subvol-202-disk-0"} {
		w.container(vmid, disk)
		w.machine("zfs set mountpoint=/tmp/" + disk + " ta/data/" + disk + "; mountpoint -q /tmp/" + disk + " || zfs mount ta/data/" + disk + "; echo " + disk + " >/tmp/" + disk + "/file")
	}
	w.start(w.a, 200)
	w.start(w.a, 201)
	const recipes = "docs/recipes.md"
	leisure := shown.block(recipes, "snapwatch snap", "/rpool/data/", "/tmp/", "rpool/data/", "ta/data/", "ct-201", "/tmp/ct-201")
	require.NoError(t, w.a.Install("take-copy", shown.block(recipes, "#!/bin/sh", pathHere...)))
	require.NoError(t, w.a.Install("copy-guest", shown.block(recipes, "#!/bin/sh", append(pathHere, "tank/copies/", "tc/", "/srv/copies/", "/etc/snapwatch/copied-")...)))
	require.NoError(t, w.a.WriteFile("/etc/snapwatch/config.yaml", quick+"bookmarks: 0\n"+shown.block(recipes, "capture_config")))
	mounts := func() string {
		out, err := w.a.Output(w.ctx, "sh", "-c", "grep ' zfs ' /proc/self/mounts | cut -d' ' -f1 | sort")
		require.NoError(t, err)
		return out
	}
	before := mounts()
	w.snap(w.a, "f1")
	w.snap(w.a, "f1") // the second copy replaces the first one

	for vmid, disk := range map[string]string{"200": "subvol-200-disk-0", "201": "subvol-201-disk-0"} {
		source := "ta/data/" + disk
		require.Len(t, w.snapshots(source), 1)
		assert.Empty(t, w.bookmarks(source))
		assert.Equal(t, w.snapshots(source), w.common(source, "tc/"+disk))
		kept, err := w.a.ReadFile("/etc/snapwatch/copied-" + vmid + ".conf")
		require.NoError(t, err)
		assert.Contains(t, kept, "rootfs: local-zfs:"+disk)
		assert.Equal(t, kept, w.run(w.c, "guest-config", vmid).Stdout, "the copy has it, too")
		text, err := w.c.Output(w.ctx, "sh", "-ec", "zfs set mountpoint=/run/copy tc/"+disk+"; zfs mount tc/"+disk+" || true; cat /run/copy/file; zfs unmount tc/"+disk)
		require.NoError(t, err)
		assert.Equal(t, disk+"\n", text)
	}
	assert.NotContains(t, w.zfs("list", "-H", "-o", "name", "-r", "tc"), "subvol-202", "it does not run")
	assert.Equal(t, before, mounts())
	for line := range strings.Lines(w.zfs("get", "-H", "-o", "value", "-r", "-t", "snapshot", "userrefs,clones", "ta")) {
		assert.Contains(t, []string{"0\n", "-\n", "\n"}, line, "a hold or a clone")
	}

	// Two attempts to copy a guest fail: in the first attempt, the destroy of the guest's old copy
	// fails; in the second attempt, the hook ends between the two steps by which the new copy
	// replaces the old copy.
	const source, there = "ta/data/subvol-200-disk-0", "tc/subvol-200-disk-0"
	old := there + "@" + w.snapshots(there)[0]
	w.zfs("hold", "mine", old)
	require.Contains(t, w.run(w.a, "snap", "f1").Stderr, "copy-guest")
	require.Contains(t, w.zfs("list", "-H", "-o", "name", "-r", "tc"), there+".new")
	w.zfs("release", "mine", old)
	w.snap(w.a, "f1")
	require.Equal(t, w.snapshots(source), w.common(source, there))
	w.zfs("rename", there, there+".new")
	w.snap(w.a, "f1")
	assert.Equal(t, w.snapshots(source), w.common(source, there))
	assert.NotContains(t, w.zfs("list", "-H", "-o", "name", "-r", "tc"), ".new")

	// A person types the command of cron's line, and afterwards packs the files of the snapshot
	// that was taken during the freeze.
	require.NoError(t, w.a.WriteFile("/etc/cron.d/snapwatch", "*/15 * * * * root "+site.BinDir+"/snapwatch snap f1\n"))
	snap, pack, _ := strings.Cut(leisure, "\n")
	w.typed(w.a, snap)
	w.machine(pack)
	assert.Equal(t, "subvol-201-disk-0\n", w.machine("zstd -dc /tmp/ct-201.tar.zst | tar -xOf - ./file"))
}

// TestSceneMove moves a guest to a node of another cluster: most data is sent while the guest runs,
// and a hook sends the rest after the guest has stopped.
func TestSceneMove(t *testing.T) {
	w := newWorld(t)
	w.newPools([]string{"td"})
	d, err := site.Start(w.ctx, site.Config{Name: "D", Node: "pve-d", Cluster: "other", Pool: "td"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	require.NoError(t, d.WriteFile("/etc/snapwatch/config.yaml", quick+"datasets: [td/data]\n"))
	const here, there = "ta/data/vm-100-disk-0", "td/data/vm-100-disk-0"
	w.vm(100, "vm-100-disk-0")
	w.start(w.a, 100)
	w.vm(101, "vm-101-disk-0")
	w.start(w.a, 101)
	shown := w.shown()
	w.terminal(w.a, `exec sh -c "$(printf '%s' "$*" | sed 's,\bta/,td/,g')"`)
	w.terminal(d, "exit 1")
	words := []string{"rpool/", "ta/"}
	const recipes = "docs/recipes.md"
	// Proxmox must be able to start a guest while hooks of this or of another guest run. Proxmox
	// takes the guest's lock exclusively, so the test's two hooks try the lock one after the other.
	const free = "mkdir -p /run/lock/qemu-server\nflock /run/lock/trying flock -n /run/lock/qemu-server/lock-100.conf true || exit 9\n"
	require.NoError(t, w.a.Install("send-rest", shown.block(recipes, "#!/bin/sh", append(pathHere, "set -eu\n", "set -eu\n"+free)...)))
	require.NoError(t, w.a.Install("other", "#!/bin/sh\nset -eu\n"+free+"zfs get -H -o value label:running "+here+" >/etc/snapwatch/seen\n"))
	require.NoError(t, w.a.WriteFile("/etc/snapwatch/config.yaml", quick+"capture_config: true\n"+
		shown.block(recipes, "hooks:")+"  before_snapshot: [{argv: ["+site.BinDir+"/other], vmid: 101}]\n"))
	require.NoError(t, w.a.WriteFile("/etc/cron.d/snapwatch", "*/15 * * * * root "+site.BinDir+"/snapwatch snap f4\n"))

	// In the first pass of the move, the guest runs and continues to write.
	w.fill(here, 8000)
	begun := time.Now()
	w.typed(w.a, shown.block(recipes, "snapwatch snap", words...))
	big := time.Since(begun)
	w.fill(here, 200)

	// The guest stops; a hook of the run that notices the stop sends the rest of the data.
	w.stop(w.a, 100)
	down := time.Now()
	w.snap(w.a, "f4")
	sent := time.Since(down)
	w.typed(w.a, shown.block(recipes, "ssh pve9", words...))
	newest := w.snapshots(there)[len(w.snapshots(there))-1]
	require.Contains(t, newest, "_stopped")
	w.assertSameBytes(here, there)
	seen, err := w.a.ReadFile("/etc/snapwatch/seen")
	require.NoError(t, err)
	assert.Equal(t, "stopped\n", seen, "a stop waits for no other guest's hook")

	// The guest starts on the new node, with the same data.
	line, rest, _ := strings.Cut(shown.block(recipes, "snapwatch guest-config"), "\n")
	w.typed(d, line)
	require.Equal(t, "qm start 100\n", rest)
	w.start(d, 100)
	t.Logf("big pass %s while it ran; down for %s, of which stop, look again and delta pass took %s",
		big.Round(time.Second/10), time.Since(down).Round(time.Second/10), sent.Round(time.Second/10))
	w.snap(d, "f4")
	assert.Equal(t, "pve-d", w.label(there))
	assert.Equal(t, "stopped", w.label(here))
	classes := w.classes(there)
	assert.Equal(t, "frequently", classes[len(classes)-1])
}
