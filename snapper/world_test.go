package snapper

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"snapwatch/config"
	"snapwatch/internal/zfs"
)

var noon = time.Date(2026, time.July, 15, 12, 7, 0, 0, time.UTC)

// testPolicy returns the default policy, of node pve1 in a cluster with pve2.
func testPolicy() Policy {
	return Policy{
		Names:     Names{Node: "pve1", Hostname: "pve1", Peers: []string{"pve2"}},
		Bookmarks: 30, StoppedGrace: 24 * time.Hour, MaxDestroys: 1000, MaxBookmarkDestroys: MaxBookmarkDestroys,
	}
}

// world is a model of a pool in memory; run carries out plans on its lists of snapshots and
// bookmarks.
type world struct {
	disks  []Disk
	policy Policy
	now    time.Time
	txg    uint64
}

// snap adds a snapshot to a disk of the model. Each call of the method snap adds a snapshot that is
// newer than all earlier snapshots.
func (w *world) snap(d *Disk, name string, at time.Time) {
	if d.has(name) {
		panic(d.Name + "@" + name + " is there already")
	}
	w.txg++
	d.Snapshots = append(d.Snapshots, zfs.Snapshot{Dataset: d.Name, Name: name, GUID: 1000 + w.txg, CreateTXG: w.txg, Creation: at})
	d.NewestSnapshot, d.Written = name, 0
}

// managed adds a managed snapshot to a disk of the model.
func (w *world) managed(d *Disk, class zfs.Class, at time.Time) {
	w.snap(d, zfs.FormatSnapshotName(at, class), at)
}

// run makes a plan for the model's disks and carries out the plan. The model refuses snapshots of
// the datasets in the argument `fails`, for lack of space.
func (w *world) run(fails ...string) Plan {
	for i := range w.disks {
		w.disks[i].PoolTXG = w.txg
	}
	plan := MakePlan(w.disks, w.policy, w.now)
	for i := range w.disks {
		w.disks[i].Checked, _ = w.disks[i].NextChecked(0, false)
	}
	w.apply(plan, fails...)
	for i := range w.disks {
		w.disks[i].Checked.TXG = w.txg // as the index also records the snapshots that the run itself took
	}
	return plan
}

func (w *world) apply(plan Plan, fails ...string) {
	outcomes := map[string]Outcome{}
	for _, m := range plan.Abandoned {
		d := w.disk(m.Dataset)
		d.Bookmarks = slices.DeleteFunc(d.Bookmarks, func(b zfs.Snapshot) bool { return b.GUID == m.GUID })
	}
	for _, g := range plan.Guests {
		full := slices.ContainsFunc(g.Disks, func(d DiskPlan) bool { return d.Snapshot && slices.Contains(fails, d.Dataset) })
		for _, dp := range g.Disks {
			if full {
				outcomes[dp.Dataset] = Outcome{Err: errTest, NoSpace: true}
				continue
			}
			d := w.disk(dp.Dataset)
			if dp.Snapshot {
				outcomes[dp.Dataset] = Outcome{Snapshot: g.Snapshot}
				w.snap(d, g.Snapshot, w.now)
			}
			if dp.Bookmark {
				d.Bookmarks = append(d.Bookmarks, d.Snapshots[len(d.Snapshots)-1])
			}
			if dp.Label != "" {
				d.Running = zfs.Property{Value: dp.Label, Received: d.Running.Received, Source: zfs.SourceLocal}
			}
		}
	}
	for _, m := range plan.CreateBookmarks {
		d := w.disk(m.Dataset)
		if !d.has(m.Name) || d.marked(m.Name) {
			panic("marks " + m.FullName() + ", which is gone or has its bookmark")
		}
		d.Bookmarks = append(d.Bookmarks, m)
	}
	for _, dataset := range plan.InheritReceived {
		d := w.disk(dataset)
		d.Running = zfs.Property{Value: d.Running.Received, Received: d.Running.Received, Source: zfs.SourceReceived}
	}
	for _, pool := range w.pools() {
		now, _ := plan.ForPool(pool).Allowed(outcomes)
		for _, gone := range now {
			w.destroy(gone)
		}
	}
	for _, m := range plan.DestroyBookmarks {
		d := w.disk(m.Dataset)
		d.Bookmarks = slices.DeleteFunc(d.Bookmarks, func(b zfs.Snapshot) bool { return b.Name == m.Name })
	}
}

// destroy acts as the channel program: it does not destroy a snapshot if a snapshot that must exist
// instead (a keeper) is missing.
func (w *world) destroy(gone Destroy) {
	d := w.disk(gone.Dataset)
	if slices.ContainsFunc(gone.Keepers, func(keeper string) bool { return !d.has(keeper) }) {
		return
	}
	d.Snapshots = slices.DeleteFunc(d.Snapshots, func(s zfs.Snapshot) bool { return s.Name == gone.Name })
}

func (d *Disk) has(name string) bool {
	for i := range d.Snapshots {
		if d.Snapshots[i].Name == name {
			return true
		}
	}
	return false
}

func (d *Disk) marked(name string) bool {
	return slices.ContainsFunc(d.Bookmarks, func(b zfs.Snapshot) bool { return b.Name == name })
}

func (w *world) pools() []string {
	pools := map[string]bool{}
	for _, d := range w.disks {
		pools[zfs.Pool(d.Name)] = true
	}
	return slices.Sorted(maps.Keys(pools))
}

func (w *world) disk(name string) *Disk {
	i := slices.IndexFunc(w.disks, func(d Disk) bool { return d.Name == name })
	return &w.disks[i]
}

// names returns the names of a disk's snapshots, the oldest first.
func names(d *Disk) []string {
	var list []string
	for _, s := range d.Snapshots {
		list = append(list, s.Name)
	}
	return list
}

// count returns the number of snapshots of a class that a disk has.
func count(d *Disk, class zfs.Class) int {
	n := 0
	for _, s := range d.Snapshots {
		if c, ok := s.Class(); ok && c == class {
			n++
		}
	}
	return n
}

// runningDisk returns a disk of a running guest, with this node's label.
func runningDisk(name string, keep Retention) Disk {
	d := Disk{State: Running, Why: "running", Retention: keep}
	d.Name = name
	d.VMID, _, _ = zfs.ParseDiskName(zfs.Base(name))
	d.Running = zfs.Property{Value: "pve1", Source: zfs.SourceLocal}
	return d
}

// words returns the retention for a text such as "h24 d7", as typed on the command line.
func words(text string) Retention {
	k, err := config.ParseKeep(strings.Fields(text))
	if text != "" && err != nil {
		panic(err)
	}
	return RetentionOf(k)
}

func berlin(t testing.TB) *time.Location {
	t.Helper()
	zone, err := time.LoadLocation("Europe/Berlin")
	require.NoError(t, err)
	return zone
}

// stepsOf returns the steps of a plan in short form: snapshots with their class instead of their
// name, labels, and replaced labels.
func stepsOf(plan Plan) []string {
	var list []string
	for _, g := range plan.Guests {
		for _, d := range g.Disks {
			var words []string
			if d.Snapshot {
				words = append(words, g.Class.String())
			}
			if d.Label != "" {
				words = append(words, "label="+d.Label)
			}
			list = append(list, d.Dataset+" "+strings.Join(words, " "))
		}
	}
	for _, dataset := range plan.InheritReceived {
		list = append(list, dataset+" give back")
	}
	return list
}
