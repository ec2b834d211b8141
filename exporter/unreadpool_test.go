package exporter

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"snapwatch/checker"
	"snapwatch/internal/zfs"
	"snapwatch/internal/zfstest"
)

// While a pool of the owner cannot be read, a disk that the owner does not find may have moved to
// this pool, so the owner does not answer that the disk is gone.
func TestNotGoneWhileAPoolIsUnread(t *testing.T) {
	newest := snapshot("hourly", 3, time.Hour)
	r := newRig(t, zfstest.World{Datasets: []zfstest.Dataset{
		{Name: "rpool", GUID: 1}, {Name: "rpool/data", GUID: 3}, {Name: "tank", GUID: 2}, disk("tank/vm-100-disk-0", 11, newest),
	}}, owns(100))
	r.fake.Pool("tank", "SUSPENDED")
	asked := ask("vm-100-disk-0", "rpool/data/vm-100-disk-0", newest)
	d := compared(t, r, asked)[0]
	assert.False(t, d.Gone)
	assert.Contains(t, d.Problem, "not every pool could be read, and the disk may be in one of these")
	r.fake.Pool("tank", "ONLINE")
	r.clock.forward(time.Minute)
	d = compared(t, r, asked)[0]
	assert.Empty(t, d.Problem)
	assert.Equal(t, "tank/vm-100-disk-0", d.Dataset, "it moved")
}

// If a guest's own disk is in a pool that the owner has lost, an old copy on the same node does not
// replace this disk in the owner's answers.
func TestNoCopyAnswersForALostPool(t *testing.T) {
	old := snapshot("hourly", 1, 30*24*time.Hour)
	w := zfstest.World{Datasets: []zfstest.Dataset{
		{Name: "rpool", GUID: 1}, {Name: "backup", GUID: 2}, {Name: "other", GUID: 3},
		disk("rpool/data/vm-100-disk-0", 11, old, snapshot("hourly", 3, time.Minute)),
		disk("backup/vm-100-disk-0", 12, old), disk("backup/vm-101-disk-0", 13, old),
	}}
	r := newRig(t, w, owns(100))
	assert.Contains(t, compared(t, r, ask("vm-100-disk-0", "", old))[0].Problem, "2 disks are called")
	r.fake.Pool("rpool", "")
	r.clock.forward(time.Minute)
	for _, after := range []time.Duration{0, time.Hour} {
		r.clock.forward(after)
		assert.NotEmpty(t, compared(t, r, ask("vm-100-disk-0", "", old))[0].Problem)
		assert.Equal(t, "backup/vm-101-disk-0", compared(t, r, ask("vm-101-disk-0", "", old))[0].Dataset, "the lost pool never had that one")
		assert.Empty(t, compared(t, r, ask("vm-101-disk-0", "", old))[0].Problem)
	}
	// A pool that the exporter has never read could contain any disk.
	r = newRig(t, w, owns(100))
	r.fake.Pool("rpool", "SUSPENDED")
	assert.Contains(t, compared(t, r, ask("vm-101-disk-0", "", old))[0].Problem, "the guest's disk may be another one")
}

// A dataset that zfs cannot read does not affect the pool's other disks: their values are those of
// the present reading. The unreadable disk keeps the values of its last reading until these are too
// old.
func TestOneDatasetThatCannotBeRead(t *testing.T) {
	w := world()
	r := newRig(t, w)
	r.scrape()
	w.Datasets[1].Snapshots = append(w.Datasets[1].Snapshots, snapshot("hourly", 50, 0))
	w.Faults = []zfstest.Fault{{Words: []string{"get", "tank"}, DropRows: 15, Exit: 1, Stderr: "cannot open 'tank/x': I/O error\n"}}
	r.fake.Set(w)
	r.clock.forward(time.Minute)
	read := map[time.Time]int{}
	metrics := r.scrape()
	for _, d := range r.Report().Disks {
		if zfs.Pool(d.Dataset) == "tank" {
			read[d.ReadAt]++
			assert.NotEqual(t, checker.Unreadable, d.Verdict)
		}
	}
	assert.Len(t, read, 2, "some now, and what is left before: %v", read)
	assert.Equal(t, "0", line(metrics, `snapwatch_pool_scrape_success{pool="tank"}`))
	assert.Equal(t, "1", line(metrics, `snapwatch_pool_state{pool="tank",state="unreadable"}`))
	r.clock.forward(10 * time.Minute)
	r.scrape()
	unreadable := 0
	for _, d := range r.Report().Disks {
		if d.Verdict == checker.Unreadable {
			unreadable++
			assert.Equal(t, "tank", zfs.Pool(d.Dataset))
		}
	}
	assert.Positive(t, unreadable)
	assert.Less(t, unreadable, 4)
}

// On a host without the ZFS kernel module, the report says why it contains no pools.
func TestAReportWithoutZFSSaysWhy(t *testing.T) {
	r := newRig(t, world(), func(s *Settings) { s.Scanner.Kstat = filepath.Join(t.TempDir(), "none") })
	r.Refresh(t.Context())
	assert.Equal(t, "the ZFS module is not loaded (modprobe zfs)", r.Report().Summary())
	assert.Equal(t, checker.Unknown, r.Report().State())
}
