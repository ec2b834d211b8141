package exporter

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"snapwatch/internal/zfstest"
)

// A disk that cannot be read, for whatever reason, keeps its newest known snapshot in the metrics.
// Without the time of the disk's newest snapshot in the metrics, the alert for the age of this
// snapshot would end.
func TestADiskThatCannotBeReadKeepsItsTime(t *testing.T) {
	const of = `{dataset="tank/b/vm-103-disk-0",disk="vm-103-disk-0",pool="tank",`
	for name, change := range map[string]func(*rig, *zfstest.World){
		"its list takes too long": func(_ *rig, w *zfstest.World) {
			w.Faults = []zfstest.Fault{{Words: []string{"list", "snapshot", "vm-103-disk-0"}, Takes: 3 * time.Second}}
		},
		"its list fails": func(_ *rig, w *zfstest.World) {
			w.Faults = []zfstest.Fault{{Words: []string{"list", "snapshot", "vm-103-disk-0"}, Exit: 1, Stderr: "cannot open: I/O error\n"}}
		},
		"its pool cannot be read": func(_ *rig, w *zfstest.World) {
			w.Faults = []zfstest.Fault{{Words: []string{"tank"}, Exit: 1, Stderr: "cannot open 'tank': I/O error\n"}}
		},
		"its pool is suspended": func(r *rig, _ *zfstest.World) { r.fake.Pool("tank", "SUSPENDED") },
	} {
		t.Run(name, func(t *testing.T) {
			w := world()
			r := newRig(t, w, func(s *Settings) { s.ScanTimeout = time.Second })
			newest := strconv.FormatFloat(seconds(start.Add(-7*time.Hour)), 'g', -1, 64)
			assert.Equal(t, newest, line(r.scrape(), "snapwatch_disk_newest_snapshot_timestamp_seconds"+of))
			// The disk's newest snapshot was taken by pvesr, so the scan must list the disk's
			// snapshots.
			d := &w.Datasets[5]
			for i := range 2 {
				d.Snapshots = append(d.Snapshots, zfstest.Snapshot{Name: "__replicate_103-0_" + strconv.Itoa(1700000000+i) + "__", GUID: uint64(77 + i), TXG: uint64(50 + i), Creation: start.Unix()})
				d.Changed = r.clock.now().Unix()
				change(r, &w)
				r.fake.Set(w)
				r.clock.forward(time.Hour)
				page := r.scrape()
				assert.Equal(t, "1", line(page, "snapwatch_disk_state"+of+`state="unreadable"`))
				assert.Equal(t, newest, line(page, "snapwatch_disk_newest_snapshot_timestamp_seconds"+of))
				assert.Equal(t, strconv.Itoa(3600*(8+i)), line(page, "snapwatch_disk_newest_snapshot_age_seconds"+of))
			}
		})
	}
}
