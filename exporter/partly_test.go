package exporter

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"snapwatch/internal/zfstest"
)

// If the owner cannot open one of its datasets, the owner still answers about the disks that it has
// just read. If a requested disk was not found, the owner does not say that this disk is gone.
func TestOneBadDatasetOnTheOwner(t *testing.T) {
	w := primaryWorld()
	w.Faults = []zfstest.Fault{{Words: []string{"get", "rpool"}, Exit: 1, Stderr: "cannot open 'rpool/vm-999-cloudinit': I/O error\n"}}
	r := newRig(t, w, owns(100, 101))
	d := compared(t, r, ask("vm-100-disk-0", "", snapshot("hourly", 3, time.Minute)), ask("vm-107-disk-0", "rpool/vm-107-disk-0", snapshot("hourly", 6, time.Hour)))
	assert.Empty(t, d[0].Problem)
	assert.NotNil(t, d[0].ReadAt)
	assert.Contains(t, d[1].Problem, "I/O error")
	assert.False(t, d[1].Gone)
}

// One dataset of a pool cannot be opened for days. During these days, a second disk of the pool is
// destroyed and forgotten, and a third disk is renamed. The exporter no longer looks for the
// forgotten disk, nor for the old name of the renamed disk.
func TestForgottenBesideOneThatCannotBeRead(t *testing.T) {
	w := world()
	r := newRig(t, w)
	r.scrape()
	w.Faults = []zfstest.Fault{{Words: []string{"get", "tank"}, Exit: 1, Stderr: "cannot open 'tank/x': I/O error\n"}}
	r.fake.Set(w)
	r.clock.forward(time.Minute)
	r.scrape()
	gone := w.Datasets[2].Name                  // tank/a/vm-100-disk-0 is destroyed
	w.Datasets[5].Name = "tank/c/vm-103-disk-0" // this disk is renamed
	w.Datasets = append(w.Datasets[:2:2], w.Datasets[3:]...)
	r.fake.Set(w)
	r.forget(t, gone)
	for range 48 { // two days
		r.clock.forward(time.Hour)
		w.Datasets[4].Snapshots[0] = snapshot("hourly", 3, -r.clock.now().Sub(start)+time.Minute)
		w.Datasets[4].Changed = r.clock.now().Add(-time.Minute).Unix()
		r.fake.Set(w)
		r.scrape()
	}
	for _, d := range r.Report().Disks {
		assert.NotEqual(t, gone, d.Dataset, "it was forgotten: %s %s", d.Verdict, d.Reason)
		assert.NotEqual(t, "tank/b/vm-103-disk-0", d.Dataset, "it was renamed: %s %s", d.Verdict, d.Reason)
	}
}
