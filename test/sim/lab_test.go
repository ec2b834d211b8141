package sim

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/zfs"
)

// The random weeks that are made for the lab break no promise of docs/reliability.md in the model,
// and contain every kind of step that a lab can play.
func TestLabWeeks(t *testing.T) {
	happened := map[string]bool{}
	var sum Stats
	for seed := range uint64(200) {
		setup, plan := LabWeek(seed, 40)
		w := NewWorld(setup)
		w.PlayIn(nowhere{}, 40, plan)
		assert.Empty(t, w.Fail, "seed %d: %s", seed, w.Story())
		for _, s := range plan {
			happened[s.Kind] = true
		}
		sum.add(w.stats)
	}
	for _, kind := range append([]string{"reuse"}, labKinds...) {
		assert.True(t, happened[kind], kind)
	}
	t.Logf("%+v", sum)
	assert.Greater(t, sum.Stops, 500)
	assert.Greater(t, sum.Based, 1000)
}

// LabDay returns a day that a lab can play. In the model, the day of LabDay breaks no promise of
// docs/reliability.md, and each step of the day has its effect.
func TestLabDay(t *testing.T) {
	setup, plan := LabDay()
	w := NewWorld(setup)
	w.PlayIn(nowhere{}, DayTicks, plan)
	require.Empty(t, w.Fail, w.Story())
	story := strings.Join(w.story, "\n")
	for _, words := range []string{"guest 100 is on pve-b now", "guest 101 is on pve-b now", "guest 100 is on pve-a now", "guest 101 is on pve-a now"} {
		assert.Contains(t, story, words)
	}
	disks := w.Disks(SiteA)
	assert.Equal(t, []string{"tank/data/base-102-disk-0", "tank/data/subvol-101-disk-0", "tank/data/vm-100-disk-0", "tank/data/vm-100-disk-1"}, slices.Sorted(maps.Keys(disks)))
	assert.Equal(t, 1, disks["tank/data/vm-100-disk-0"].Size)
	for _, name := range []string{"tank/data/subvol-101-disk-0", "tank/data/vm-100-disk-0", "tank/data/vm-100-disk-1"} {
		d := disks[name]
		assert.NotZero(t, d.RolledBack, name)
		assert.Len(t, slices.DeleteFunc(slices.Clone(d.Snapshots), func(s zfs.Snapshot) bool { return !strings.HasPrefix(s.Name, "__replicate_") }), 1, name)
		assert.True(t, slices.ContainsFunc(d.Snapshots, func(s zfs.Snapshot) bool { return strings.HasSuffix(s.Name, "_stopped") }), name)
		assert.Contains(t, w.Disks(SiteB), name)
	}
	assert.Len(t, w.Disks(SiteB), 4, "with the template")
	assert.Contains(t, w.Disks(SiteC), "vault/tank/data/vm-103-disk-0")
	t.Logf("%+v", w.stats)
}

// replicated returns a simulated world, the world's nodes A and B, and the name of the first disk
// on A. In the returned world, B has a copy of each disk on A.
func replicated() (w *World, a, b *node, disk string) {
	w = NewWorld(plain(properties))
	w.replicateFirst()
	return w, w.nodes[SiteA], w.nodes[SiteB], w.guests[w.order[0]].disks[0]
}

// If a person destroys a copy and receives the copy in full again, the new copy is a new dataset:
// the new copy has all sent snapshots, but no bookmark and no unsent snapshot of the old copy (seed
// 900001 on real ZFS).
func TestStartedOver(t *testing.T) {
	w, a, b, name := replicated()
	src, dst := a.sets[name], b.sets[name]
	if src == nil || dst == nil {
		t.Fatalf("%s is not on both nodes", name)
	}
	was := dst.guid
	dst.running = zfs.Property{Value: "stopped", Source: zfs.SourceLocal}
	dst.snaps, dst.marks = nil, []zfs.Snapshot{{Name: "left"}}

	w.send(a, name, b.sets, name, b, false)

	dst = b.sets[name]
	assert.NotEqual(t, was, dst.guid)
	assert.Equal(t, zfs.Property{Value: "pve-a", Source: zfs.SourceReceived, Received: "pve-a"}, dst.running)
	assert.Len(t, dst.snaps, len(src.snaps))
	assert.Empty(t, dst.marks)
	assert.Equal(t, dst.guid, w.pairs["pve-b "+name].target)
}

// If syncoid has no new snapshot of a disk to send, syncoid sends no properties either (seed
// 900002 on real ZFS).
func TestNothingToSend(t *testing.T) {
	w, a, b, name := replicated()
	was := b.sets[name].running
	a.sets[name].running.Value = "stopped"
	w.now = w.now.Add(time.Hour)

	w.send(a, name, b.sets, name, b, false)

	assert.Equal(t, was, b.sets[name].running)
	assert.Equal(t, w.now, w.pairs["pve-b "+name].last)
}

// A node writes to a disk, takes a snapshot, and then receives two increments on top of the
// snapshot. ZFS counts the first of these increments as a write, and does not count the second
// (seeds 900022, 900023 and 900027 on real ZFS, 900101 for a container's disk).
func TestAnIncrementDropsTheLog(t *testing.T) {
	for _, name := range []string{"tank/data/vm-100-disk-0", "tank/data/subvol-101-disk-0"} {
		t.Run(name, func(t *testing.T) {
			w, a, b, _ := replicated()
			src, dst := a.sets[name], b.sets[name]
			w.write(dst)
			last := w.snapshot(b, dst, "last")
			w.send(b, name, a.sets, name, a, false)
			assert.Zero(t, w.written(src, src.snaps[len(src.snaps)-1]), "the received data are as they were sent")

			w.snapshot(a, src, "back")
			w.send(a, name, b.sets, name, b, false)
			assert.NotZero(t, w.written(dst, last), "the increment dropped the intent log")
			back := dst.snaps[len(dst.snaps)-1]

			w.snapshot(a, src, "again")
			w.send(a, name, b.sets, name, b, false)
			assert.Zero(t, w.written(dst, back))
		})
	}
}
