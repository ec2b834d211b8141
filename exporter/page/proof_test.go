package page

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/checker"
	"snapwatch/internal/zfs"
)

// A guest whose proof failed is well, but it has a row of its own, after the guests that alarm.
func TestAGuestWhoseProofFailedHasARow(t *testing.T) {
	var disks []checker.Disk
	for vmid := range 20 {
		disks = append(disks, disk(fmt.Sprintf("tank/vm-%d-disk-0", 100+vmid), 100+vmid, zfs.Hourly, time.Minute))
	}
	disks[7] = disk("tank/vm-107-disk-0", 107, zfs.Hourly, 3*time.Hour)
	f := facts(0, disks...)
	f.Report = f.Report.WithGuests(policy())
	at := now.Add(-time.Hour)
	failed := checker.OpenFault{Kind: checker.FaultFiles, Point: "2026-03-29_10:00:00", At: at, Wrong: []string{"fsck"}}
	f.Report = f.Report.WithProofs(policy(), checker.Proofs{Guests: []checker.Proof{{VMID: 103, Last: checker.Drill{At: at}, Open: []checker.OpenFault{failed}}}})
	v := newView(f, query{Sort: sorts[0], Page: 1})
	require.Len(t, v.Rows, 2)
	assert.Equal(t, 107, v.Rows[0].Guest.VMID)
	assert.Equal(t, 103, v.Rows[1].Guest.VMID)
	assert.Equal(t, "proof failed: the drill of 2026-03-29 10:00:00 failed, 1h ago: fsck; to end this warning: snapwatch drill 103", v.Rows[1].Why)
	assert.Equal(t, "whole", v.Rows[1].Guest.Word)
	assert.Equal(t, 18, v.Fold.Count)
	assert.Empty(t, v.Notes, "the row has it")
	assert.Equal(t, checker.Warning, v.State)

	v = newView(f, query{Sort: sorts[0], Page: 1, Guest: 103})
	require.NotNil(t, v.Rows[1].About)
	assert.Contains(t, v.Rows[1].About.Words, v.Rows[1].Why)
}
