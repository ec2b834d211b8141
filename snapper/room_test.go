package snapper

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/report"
	"snapwatch/internal/zfs"
)

const gib = 1 << 30

// thick returns a thick volume of a running guest. The volume's reservation has the given size. The
// used part of the reservation is the number of bytes written since the volume's last snapshot.
func thick(name string, size, written, free uint64) Disk {
	return Disk{State: Running, VMID: 100, Dataset: zfs.Dataset{
		Name: name, Written: written, RefReservation: size, UsedByRefReservation: size - min(size, written), Available: free + size - min(size, written),
	}}
}

// A snapshot of a thick volume reserves as much space as was written since the volume's last
// snapshot; a snapshot of a thin volume reserves none. A pool is short of free space if its free
// space is less than twice the space that the snapshots of this run reserve, because the snapshots
// of the next run may reserve the same space.
func TestRoom(t *testing.T) {
	a, b, thin := thick("tank/data/vm-100-disk-0", 100*gib, 8*gib, 30*gib), thick("tank/data/vm-101-disk-0", 50*gib, 4*gib, 30*gib), Disk{State: Running, Dataset: zfs.Dataset{Name: "tank/data/vm-102-disk-0", Written: 90 * gib, Available: 30 * gib}}
	overwritten := thick("tank/data/vm-103-disk-0", 10*gib, 12*gib, 30*gib)
	off, ignored, excluded := a, a, a
	off.State, ignored.Ignored = Stopped, "ignore: *"
	excluded.NoSnap = zfs.Property{Value: "on", Source: zfs.SourceLocal}
	narrow := thick("tank/small/vm-104-disk-0", 5*gib, 3*gib, 4*gib) // a volume below a dataset with a quota
	for name, c := range map[string]struct {
		disks    []Disk
		thick    int
		reserves uint64
		free     uint64
		short    string
	}{
		"nothing":           {},
		"thin":              {disks: []Disk{thin}},
		"thick":             {disks: []Disk{a, b, thin}, thick: 2, reserves: 12 * gib, free: 30 * gib},
		"off":               {disks: []Disk{off, ignored, excluded}},
		"more than its own": {disks: []Disk{overwritten}, thick: 1, reserves: 10 * gib, free: 30 * gib},
		"not for the next":  {disks: []Disk{a, b, overwritten}, thick: 3, reserves: 22 * gib, free: 30 * gib, short: "the snapshots of 3 thick volumes reserve 22.0G now (vm-103-disk-0 10.0G, vm-100-disk-0 8.0G, vm-101-disk-0 4.0G), and 30.0G are free: once the guests have written as much again, there is no room for the next snapshots"},
		"not for this run":  {disks: []Disk{thick("tank/data/vm-100-disk-0", 100*gib, 40*gib, 30*gib)}, thick: 1, reserves: 40 * gib, free: 30 * gib, short: "the snapshot of 1 thick volume reserves 40.0G now (vm-100-disk-0 40.0G), and 30.0G are free: there is no room for it"},
		"below a quota":     {disks: []Disk{a, narrow}, thick: 2, reserves: 11 * gib, free: 30 * gib, short: "below tank/small the snapshot of 1 thick volume reserves 3.0G now (vm-104-disk-0 3.0G), and 4.0G are free: once the guests have written as much again, there is no room for the next snapshot"},
	} {
		t.Run(name, func(t *testing.T) {
			r := JudgeRoom(PoolRoom{Pool: "tank", Disks: c.disks, Size: 1000, Allocated: 790, FillWarning: 80, FillCritical: 90})
			assert.Equal(t, report.Room{Size: 1000, Allocated: 790, Thick: c.thick, Reserves: c.reserves, Free: c.free, Short: r.Short}, r)
			if c.short == "" {
				assert.Empty(t, r.Short)
				return
			}
			assert.Equal(t, c.short+"; free some (zfs list -o space -S used tank), keep fewer snapshots, or make the volumes thin (zfs set refreservation=none DATASET)", r.Short)
		})
	}
}

// snap reports a pool that is fuller than the limits of check allow.
func TestAFullPool(t *testing.T) {
	const do = ": a full pool takes no snapshot. Find what fills it: zfs list -o space -S used tank; destroy what is not needed, or keep fewer snapshots. Nothing is thinned out by itself"
	for name, c := range map[string]struct {
		size, allocated   uint64
		warning, critical int
		full              string
		grave             bool
	}{
		"not known":     {warning: 80, critical: 90},
		"room":          {size: 1000, allocated: 799, warning: 80, critical: 90},
		"at warning":    {size: 1000, allocated: 800, warning: 80, critical: 90, full: "80% of it is taken (limit 80%, limits.fill_warning)"},
		"at critical":   {size: 1000, allocated: 910, warning: 80, critical: 90, full: "91% of it is taken (limit 90%, limits.fill_critical)", grave: true},
		"no critical":   {size: 1000, allocated: 910, warning: 80, full: "91% of it is taken (limit 80%, limits.fill_warning)"},
		"no limit":      {size: 1000, allocated: 999},
		"not rounded":   {size: 1000, allocated: 899, warning: 95, critical: 90},
		"critical only": {size: 1000, allocated: 900, critical: 90, full: "90% of it is taken (limit 90%, limits.fill_critical)", grave: true},
	} {
		t.Run(name, func(t *testing.T) {
			r := JudgeRoom(PoolRoom{Pool: "tank", Size: c.size, Allocated: c.allocated, FillWarning: c.warning, FillCritical: c.critical})
			want := c.full
			if want != "" {
				want += do
			}
			assert.Equal(t, want, r.Full)
			assert.Equal(t, c.grave, r.FullCritical)
		})
	}
}

// The plan names the space that each snapshot of a thick volume reserves.
func TestThePlanSaysWhatASnapshotReserves(t *testing.T) {
	disks := []Disk{thick("tank/data/vm-100-disk-0", 100*gib, 8*gib, 30*gib)}
	disks[0].Retention, disks[0].GUID, disks[0].Guests = Retention{zfs.Frequently: 4}, 1, []int{100}
	disks[0].Running = zfs.Property{Value: "pve1", Source: zfs.SourceLocal}
	plan := MakePlan(disks, testPolicy(), noon)
	require.Len(t, plan.Guests, 1)
	require.True(t, plan.Guests[0].Disks[0].Snapshot)
	assert.Equal(t, "a thick volume: the snapshot reserves 8.0G", plan.Guests[0].Disks[0].Takes)
}
