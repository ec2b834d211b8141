package exporter

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"snapwatch/internal/zfstest"
)

// One dataset on the owner cannot be opened: of the disks beside it, which it has just read, it
// answers. Of one that it did not find there it does not.
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
