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

// hook puts a hook on a site, as docs/recipes.md has it, and returns its path.
func (w *world) hook(s *site.Site, name, text string) string {
	w.t.Helper()
	path := "/etc/snapwatch/" + name
	require.NoError(w.t, s.WriteFile(path, "#!/bin/sh\nset -eu\nsnapwatch() { "+program(w.t)+" \"$@\"; }\n"+text))
	_, err := s.Output(w.ctx, "chmod", "755", path)
	require.NoError(w.t, err)
	return path
}

// copyHook copies each disk of a running guest, and what the guest is made of.
const copyHook = `
for disk in $SNAPWATCH_DISKS; do
	copy=tc/${disk##*/}
	zfs send -p "$disk@$SNAPWATCH_SNAPSHOT" | sh -c "zfs receive -u $copy.new && { zfs destroy -r $copy; zfs rename $copy.new $copy; }"
done
snapwatch guest-config "$SNAPWATCH_VMID" --at "$SNAPWATCH_SNAPSHOT" >"/etc/snapwatch/copied-$SNAPWATCH_VMID.conf"
`

// TestSceneCopyContainers: each running container is copied as it was at one moment, with its
// configuration, and nothing is left behind on the node but the snapshot.
func TestSceneCopyContainers(t *testing.T) {
	w := newWorld(t)
	for vmid, disk := range map[int]string{200: "subvol-200-disk-0", 201: "subvol-201-disk-0", 202: "subvol-202-disk-0"} {
		w.container(vmid, disk)
		w.pipe("zfs set mountpoint=/run/" + disk + " ta/data/" + disk + " && zfs mount ta/data/" + disk + "; echo " + disk + " >/run/" + disk + "/file")
	}
	w.start(w.a, 200)
	w.start(w.a, 201)
	path := w.hook(w.a, "copy", copyHook)
	require.NoError(t, w.a.WriteFile("/etc/snapwatch/config.yaml", quick+"bookmarks: 0\ncapture_config: true\nhooks: {after_snapshot: [{argv: ["+path+"], timeout: 5m}]}\n"))
	mounts := func() string {
		out, err := w.c.Output(w.ctx, "sh", "-c", "grep ' zfs ' /proc/self/mounts | cut -d' ' -f1 | sort")
		require.NoError(t, err)
		return out
	}
	before := mounts()
	w.snap(w.a, "f1")
	w.snap(w.a, "f1") // the second copy takes the first one's place

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
}

// deltaHook sends what is missing on the other side when the guest has stopped.
const deltaHook = `
for disk in $SNAPWATCH_DISKS; do
	there=td/data/${disk##*/}
	newest=$(zfs list -H -d 1 -t snapshot -o name -S createtxg "$there" | head -n 1)
	zfs send -p -I "@${newest#*@}" "$disk@$SNAPWATCH_SNAPSHOT" | zfs receive "$there"
done
`

// TestSceneMove moves a guest to a node of another cluster: the big pass while it runs,
// the rest once it has stopped, by a hook.
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
	// Proxmox could start a guest while hooks run, also while those of another guest do. It
	// takes the lock for itself alone, so the two hooks try that one after the other.
	const free = "mkdir -p /run/lock/qemu-server\nflock /run/lock/trying flock -n /run/lock/qemu-server/lock-100.conf true || exit 9\n"
	delta := w.hook(w.a, "delta", free+deltaHook)
	other := w.hook(w.a, "other", free+"zfs get -H -o value label:running "+here+" >/etc/snapwatch/seen\n")
	require.NoError(t, w.a.WriteFile("/etc/snapwatch/config.yaml", quick+"capture_config: true\n"+
		"hooks:\n  after_stop: [{argv: ["+delta+"], vmid: 100, timeout: 10m}]\n  before_snapshot: [{argv: ["+other+"], vmid: 101}]\n"))

	// The big pass: the guest runs, and writes on.
	w.fill(here, 8000)
	w.snap(w.a, "f4")
	begun := time.Now()
	w.pipe("zfs send -p " + here + "@" + w.snapshots(here)[0] + " | zfs receive " + there)
	big := time.Since(begun)
	w.fill(here, 200)

	// The guest stops; the run that finds it so sends the rest.
	w.stop(w.a, 100)
	down := time.Now()
	w.snap(w.a, "f4")
	sent := time.Since(down)
	newest := w.snapshots(there)[len(w.snapshots(there))-1]
	require.Contains(t, newest, "_stopped")
	w.same(here, there)
	seen, err := w.a.ReadFile("/etc/snapwatch/seen")
	require.NoError(t, err)
	assert.Equal(t, "stopped\n", seen, "a stop waits for no other guest's hook")

	// It starts there, as it was here.
	r := w.run(d, "guest-config", "100")
	require.Zero(t, r.Code)
	require.NoError(t, d.WriteFile("/etc/pve/nodes/pve-d/qemu-server/100.conf", r.Stdout))
	w.start(d, 100)
	t.Logf("big pass %s while it ran; down for %s, of which stop, look again and delta pass took %s",
		big.Round(time.Second/10), time.Since(down).Round(time.Second/10), sent.Round(time.Second/10))
	w.snap(d, "f4")
	assert.Equal(t, "pve-d", w.label(there))
	assert.Equal(t, "stopped", w.label(here))
	classes := w.classes(there)
	assert.Equal(t, "frequently", classes[len(classes)-1])
}
