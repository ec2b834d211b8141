package run

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"snapwatch/internal/zfs"
	"snapwatch/lua"
	"snapwatch/snapper"
	"snapwatch/snapper/index"
)

// indexed is a model of a pool with an index. Runs of snap and other programs take turns at
// changing the pool. No two changes happen in one second, because the index cannot detect a change
// by another program in the second of snap's own last change.
type indexed struct {
	t     *rapid.T
	disks []snapper.Disk // the disks as a full listing shows them
	index index.Index
	now   time.Time
	txg   uint64
	// recalled counts the disks whose snapshots came from the index, so that a run did not list
	// these snapshots.
	recalled int
}

func (w *indexed) tick() {
	w.now = w.now.Add(time.Duration(rapid.IntRange(3, 3600).Draw(w.t, "seconds")) * time.Second)
}

func (w *indexed) some() *snapper.Disk {
	return &w.disks[rapid.IntRange(0, len(w.disks)-1).Draw(w.t, "disk")]
}

// changed must be called after a change of the disk's list of snapshots, and sets the disk's
// properties as ZFS does.
func (w *indexed) changed(d *snapper.Disk) {
	d.SnapshotsChanged = w.now.Unix()
	w.settle(d)
}

func (w *indexed) settle(d *snapper.Disk) {
	d.NewestSnapshot = ""
	if n := len(d.Snapshots); n > 0 {
		d.NewestSnapshot = d.Snapshots[n-1].Name
	}
}

func (w *indexed) take(d *snapper.Disk, name string) {
	w.txg++
	d.Snapshots = append(d.Snapshots, zfs.Snapshot{Dataset: d.Name, Name: name, GUID: 1000 + w.txg, CreateTXG: w.txg, Creation: time.Unix(w.now.Unix(), 0)})
	w.changed(d)
}

// outside changes the snapshots of a disk, or replaces the disk, as another program would.
func (w *indexed) outside() {
	w.tick()
	d := w.some()
	at := 0
	if n := len(d.Snapshots); n > 0 {
		at = rapid.IntRange(0, n-1).Draw(w.t, "snapshot")
	}
	what := rapid.SampledFrom([]string{"snapshot", "managed", "destroy", "rename", "rollback", "recreate", "promote", "nothing"}).Draw(w.t, "outside")
	switch {
	case what == "snapshot":
		w.take(d, fmt.Sprintf("by hand %d", w.txg))
	case what == "managed":
		w.take(d, zfs.FormatSnapshotName(w.now, rapid.SampledFrom(zfs.Rotating()).Draw(w.t, "class")))
	case what == "recreate":
		*d = runningDisk(d.Name, d.Retention)
		w.txg++
		d.GUID = w.txg
	case what == "promote":
		w.promote(d)
	case len(d.Snapshots) == 0:
	case what == "destroy":
		d.Snapshots = slices.Delete(d.Snapshots, at, at+1)
		w.changed(d)
	case what == "rename":
		d.Snapshots[at].Name = zfs.FormatSnapshotName(w.now, zfs.Daily)
		w.changed(d)
	case what == "rollback":
		d.Snapshots = d.Snapshots[:at+1]
		w.changed(d)
	}
}

// promote moves the snapshots of a clone's origin to the clone, as zfs promote does. A promotion
// changes the property snapshots_changed of the former origin, but not of the clone.
func (w *indexed) promote(d *snapper.Disk) {
	of := &w.disks[(slices.IndexFunc(w.disks, func(x snapper.Disk) bool { return x.Name == d.Name })+1)%len(w.disks)]
	if d.Origin == "" && len(of.Snapshots) > 0 { // first, the disk becomes a clone
		d.Snapshots, d.SnapshotsChanged, d.Origin = nil, 0, of.Name+"@"+of.NewestSnapshot
		w.txg++
		d.GUID = w.txg
		w.settle(d)
		return
	}
	origin, _, _ := strings.Cut(d.Origin, "@")
	if origin != of.Name {
		return
	}
	moved := of.Snapshots
	for i := range moved {
		moved[i].Dataset = d.Name
	}
	d.Snapshots, of.Snapshots = append(moved, d.Snapshots...), nil
	d.Origin, of.Origin = of.Origin, d.Name+"@x"
	w.settle(d)
	w.changed(of)
}

// run makes two plans, one with a full list of snapshots and one with the index, compares the two
// plans, and carries out the second one.
func (w *indexed) run() {
	w.tick()
	var heads []snapper.Disk
	for _, d := range w.disks {
		head := runningDisk(d.Name, d.Retention)
		head.Dataset = d.Dataset
		heads = append(heads, head)
	}
	p := pool{name: "tank", disks: heads, index: w.index, readAt: w.now}
	for _, d := range p.recall() {
		truth := w.find(d.Name)
		d.Snapshots, d.Bookmarks = slices.Clone(truth.Snapshots), slices.Clone(truth.Bookmarks)
	}
	w.recalled += len(p.disksWhere(func(d *snapper.Disk) bool { return d.Recalled }))
	p.keep()
	want := snapper.MakePlan(w.disks, testPolicy(), w.now)
	got := snapper.MakePlan(p.disks, testPolicy(), w.now)
	// The questions of the two plans are not compared: with the index, a plan may also ask for a
	// new list of bookmarks.
	want.Ask, got.Ask = snapper.Questions{}, snapper.Questions{}
	require.Equal(w.t, want, got)
	if rapid.IntRange(0, 9).Draw(w.t, "killed") == 0 {
		return // the next run finds the index of an earlier run
	}
	if rapid.IntRange(0, 5).Draw(w.t, "meanwhile") == 0 {
		w.outside()
	}
	w.now = w.now.Add(time.Second)
	w.apply(&p, want)
	x, err := index.Parse(p.index.Text())
	require.NoError(w.t, err)
	w.index = x
}

func (w *indexed) find(dataset string) *snapper.Disk {
	i := slices.IndexFunc(w.disks, func(d snapper.Disk) bool { return d.Name == dataset })
	return &w.disks[i]
}

// apply changes the pool as the channel programs do, and enters the changes in the index as a run
// does.
func (w *indexed) apply(p *pool, plan snapper.Plan) {
	outcomes := map[string]snapper.Outcome{}
	for _, g := range plan.Guests {
		got := map[string]lua.Outcome{}
		for _, dp := range g.Disks {
			d := w.find(dp.Dataset)
			o := lua.Outcome{ListChange: lua.ListChange{Before: d.SnapshotsChanged}}
			if dp.Snapshot {
				w.take(d, g.Snapshot)
				made := d.Snapshots[len(d.Snapshots)-1]
				o.Snapshot, o.GUID, o.CreateTXG, o.Creation = errno(0), int64(made.GUID), int64(made.CreateTXG), made.Creation.Unix()
				outcomes[d.Name] = snapper.Outcome{Snapshot: g.Snapshot}
			}
			if dp.Bookmark {
				d.Bookmarks = append(d.Bookmarks, d.Snapshots[len(d.Snapshots)-1])
				o.Bookmark = errno(0)
			}
			o.After = d.SnapshotsChanged
			got[d.Name] = o
		}
		p.index.Snapshotted(g, got)
	}
	for _, m := range plan.CreateBookmarks {
		d := w.find(m.Dataset)
		there := slices.ContainsFunc(d.Bookmarks, func(b zfs.Snapshot) bool { return b.Name == m.Name })
		if has(d, m.Name) && !there {
			d.Bookmarks = append(d.Bookmarks, m)
		}
		p.index.BookmarkCreated(m.Dataset, m.Name, has(d, m.Name) && !there)
	}
	w.now = w.now.Add(time.Second)
	now, _ := plan.ForPool("tank").Allowed(outcomes)
	for _, batch := range requests(now, &p.index) {
		w.destroy(p, batch)
	}
	for _, m := range plan.DestroyBookmarks {
		d := w.find(m.Dataset)
		d.Bookmarks = slices.DeleteFunc(d.Bookmarks, func(b zfs.Snapshot) bool { return b.Name == m.Name })
		p.index.BookmarkDestroyed(m)
	}
}

func (w *indexed) destroy(p *pool, batch lua.DestroyRequest) {
	d := w.find(batch.Dataset)
	got := lua.Destroyed{Gone: map[string]syscall.Errno{}, ListChange: lua.ListChange{Before: d.SnapshotsChanged}}
	for _, keeper := range batch.Keepers {
		if !has(d, keeper) {
			p.index.Destroyed(d.Name, lua.Destroyed{Missing: keeper})
			return
		}
	}
	for _, name := range batch.Destroy {
		d.Snapshots = slices.DeleteFunc(d.Snapshots, func(s zfs.Snapshot) bool { return s.Name == name })
		got.Gone[name] = 0
	}
	w.changed(d)
	got.After = d.SnapshotsChanged
	p.index.Destroyed(d.Name, got)
}

// A plan with the index equals the plan with a full list of snapshots, whatever other programs
// change between runs and during runs.
func TestIndexNeverChangesThePlan(t *testing.T) {
	recalled := 0
	rapid.Check(t, func(t *rapid.T) {
		w := &indexed{t: t, now: noon}
		for i := range 3 {
			d := runningDisk(fmt.Sprintf("tank/data/vm-10%d-disk-0", i), words("f3 h2 d2"))
			d.GUID = uint64(i + 1)
			w.disks = append(w.disks, d)
		}
		w.txg = 100
		for range rapid.IntRange(2, 12).Draw(t, "steps") {
			if rapid.IntRange(0, 3).Draw(t, "who") == 0 {
				w.outside()
			} else {
				w.run()
			}
		}
		recalled += w.recalled
	})
	require.Positive(t, recalled, "the index was of no use in any history")
}
