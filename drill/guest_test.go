package drill

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"snapwatch/checker"
	"snapwatch/internal/zfs"
)

func TestCandidate(t *testing.T) {
	at := taken(disk0, zfs.Stopped, time.Hour)
	folder := taken("tank/subvol-100-disk-1", zfs.Stopped, time.Hour)
	explanation := func() (checker.GuestExplanation, checker.Volumes) {
		e := checker.GuestExplanation{
			Guest: checker.Guest{VMID: 100, Cluster: "home", Name: "web", Verdict: checker.GuestStopped, Point: &checker.Point{Time: "2026-07-15_11:07:00"}, Others: []string{"fast/vm-100-disk-0"}},
			Start: []string{"zfs clone …"}, Arrived: now.Add(-time.Hour),
		}
		for _, s := range []zfs.Snapshot{at, folder} {
			d := checker.GuestDisk{At: &s}
			d.Dataset, d.VMID, d.Newest = s.Dataset, 100, &s
			d.Compared = &checker.Comparison{Proven: s.Dataset == disk0}
			e.Disks = append(e.Disks, d)
		}
		return e, checker.Volumes{Found: map[string]zfs.Volume{disk0: {EncryptionRoot: "tank", Locked: true}, folder.Dataset: {EncryptionRoot: "tank/open"}}}
	}
	e, v := explanation()
	g, why := Candidate(e, v)
	assert.Empty(t, why)
	assert.Equal(t, Guest{Cluster: "home", VMID: 100, Name: "100 (web) of home", Point: "2026-07-15_11:07:00", Others: []string{"fast/vm-100-disk-0"}, Arrived: now.Add(-time.Hour), Disks: []Disk{
		{Dataset: disk0, At: at, EncryptionRoot: "tank", IsOwners: true},
		{Dataset: folder.Dataset, At: folder, Filesystem: true},
	}}, g)
	older := taken(disk0, zfs.Hourly, 2*time.Hour)
	e.Disks[0].At = &older
	g, _ = Candidate(e, v)
	assert.False(t, g.Disks[0].IsOwners, "the owner answered about the newest snapshot")

	for name, c := range map[string]struct {
		change func(*checker.GuestExplanation, *checker.Volumes)
		why    string
	}{
		"own": {func(e *checker.GuestExplanation, _ *checker.Volumes) { e.Own = true }, "it is configured on this host, so its disks are no copies"},
		"excluded": {func(e *checker.GuestExplanation, _ *checker.Volumes) {
			e.Verdict, e.Reason = checker.GuestExcluded, "ignore"
		}, "ignore"},
		"not startable": {func(e *checker.GuestExplanation, _ *checker.Volumes) { e.Start, e.Reason = nil, disk0+" is gone" }, disk0 + " is gone"},
		"no point":      {func(e *checker.GuestExplanation, _ *checker.Volumes) { e.Start = nil }, "its disks have no restore point here"},
		"unknown keys": {func(_ *checker.GuestExplanation, v *checker.Volumes) {
			v.Problems = map[string]string{"tank": "zfs hangs"}
		}, "it is unknown whether the key of " + disk0 + " is loaded: zfs hangs"},
		"a disk is gone": {func(_ *checker.GuestExplanation, v *checker.Volumes) { delete(v.Found, folder.Dataset) }, "it is unknown whether the key of tank/subvol-100-disk-1 is loaded: it is gone"},
	} {
		e, v := explanation()
		c.change(&e, &v)
		g, why := Candidate(e, v)
		assert.Equal(t, c.why, why, name)
		assert.Zero(t, g, name)
	}
}
