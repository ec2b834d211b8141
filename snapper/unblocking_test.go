package snapper

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/internal/zfs"
)

// TestPlanUnblock checks which snapshots and bookmarks unblock would destroy before a rollback to
// the snapshot "to", and which snapshots and bookmarks unblock would keep.
func TestPlanUnblock(t *testing.T) {
	daily := func(at string) string { return zfs.FormatSnapshotName(at2(at), zfs.Daily) }
	one, two, three := daily("07-12 00:00"), daily("07-13 00:00"), daily("07-14 00:00")
	for _, test := range []struct {
		name                 string
		snapshots, bookmarks []string // the oldest first; "" means no snapshot at this place
		want                 []string
		base                 string
		refusal              string
	}{
		{"nothing newer", []string{one, "to"}, []string{one, ""}, nil, one, ""},
		{"newer ones", []string{one, "to", two, three}, []string{"", "", two, three}, []string{"@" + two, "@" + three, "#" + two, "#" + three}, one, ""},
		{"only a newer bookmark", []string{one, "to", ""}, []string{"", "", two}, []string{"#" + two}, one, ""},
		{"only a bookmark remains", []string{"", "to", two}, []string{one, "", ""}, []string{"@" + two}, "#" + one, ""},
		{"a bookmark of what remains", []string{one, "to", two}, []string{one, "", ""}, []string{"@" + two}, one, ""},
		{"a newer bookmark remains beside an older snapshot", []string{one, "", "to", three}, []string{"", two, "", ""}, []string{"@" + three}, "#" + two, ""},
		{"nothing remains", []string{"", "to", two}, nil, []string{"@" + two}, "", ""},
		{"somebody else's that is older", []string{one, "syncoid_x", "to", two}, []string{"", "zrepl_1", "", ""}, []string{"@" + two}, one, ""},
		{"somebody else's that is newer", []string{one, "to", two, "manual"}, nil, []string{"@" + two}, one, disk0 + "@manual is newer and not managed"},
		{"somebody else's bookmark that is newer", []string{one, "to", two}, []string{"", "", "zrepl_1"}, []string{"@" + two}, one, disk0 + "#zrepl_1 is newer and not managed"},
		{"Proxmox's own replication", []string{one, "to", "__replicate_100-0_1__", two}, nil, []string{"@" + two}, one, ""},
		{"not there", []string{one, two}, nil, nil, "", `no disk of the guest has a snapshot "to"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := runningDisk(disk0, nil)
			for i, name := range test.snapshots {
				s := zfs.Snapshot{Name: name, GUID: uint64(i), CreateTXG: uint64(i + 1)}
				if name != "" {
					d.Snapshots = append(d.Snapshots, s)
				}
				if i < len(test.bookmarks) && test.bookmarks[i] != "" {
					s.Name = test.bookmarks[i]
					d.Bookmarks = append(d.Bookmarks, s)
				}
			}
			other := runningDisk("tank/data/vm-100-disk-1", nil)
			u := PlanUnblock([]Disk{d, other}, "to")
			var got []string
			base := ""
			for _, disk := range u.Disks {
				assert.Equal(t, disk0, disk.Dataset, "a disk without the snapshot is not rolled back")
				for _, s := range disk.Snapshots {
					got = append(got, "@"+s.Name)
				}
				for _, b := range disk.Bookmarks {
					got = append(got, "#"+b.Name)
				}
				base = disk.Base.Name
				if disk.BaseIsBookmark {
					base = "#" + base
				}
			}
			assert.Equal(t, test.want, got)
			assert.Equal(t, test.base, base)
			assert.Equal(t, test.want == nil, u.Empty())
			if test.refusal == "" {
				assert.Empty(t, u.Refusals)
				assert.Equal(t, base == "", len(u.Baseless()) > 0)
			} else if assert.Len(t, u.Refusals, 1) {
				assert.Contains(t, u.Refusals[0], test.refusal)
			}
		})
	}
	d := runningDisk(disk0, nil)
	d.ResumeToken, d.Snapshots = true, []zfs.Snapshot{{Name: "to"}}
	assert.Contains(t, PlanUnblock([]Disk{d}, "to").Refusals[0], "this is a copy")
}

// If a disk could not be read completely, it is unknown which snapshots prevent a rollback, so
// unblock destroys none.
func TestPlanUnblockUnread(t *testing.T) {
	good, bad := runningDisk(disk0, nil), runningDisk("tank/data/vm-100-disk-1", nil)
	good.Snapshots = []zfs.Snapshot{{Name: "to", CreateTXG: 1}}
	bad.Problem = "@x: creation"
	u := PlanUnblock([]Disk{good, bad}, "to")
	assert.Equal(t, []string{"tank/data/vm-100-disk-1 could not be read: @x: creation"}, u.Refusals)
}

// If unblock cannot destroy one of the newer snapshots, the rollback remains impossible, so unblock
// destroys no other snapshot either.
func TestUnblockingRefusesWhatIsPinned(t *testing.T) {
	const free, held, cloned = "autosnap_2026-07-14_00:00:00_daily", "autosnap_2026-07-15_00:00:00_daily", "autosnap_2026-07-16_00:00:00_daily"
	d, other := runningDisk(disk0, nil), runningDisk("pool/vm-100-disk-1", nil)
	d.Snapshots = []zfs.Snapshot{{Name: held, CreateTXG: 1}, {Name: "to", CreateTXG: 2}, {Name: free, CreateTXG: 3}}
	other.Snapshots = []zfs.Snapshot{{Name: "to", CreateTXG: 2}, {Name: held, CreateTXG: 3}, {Name: cloned, CreateTXG: 4}}
	u := PlanUnblock([]Disk{d, other}, "to")
	require.Equal(t, []string{disk0 + "@" + free}, u.Names(zfs.Pool(disk0)), "what is older is not in the way")
	u.RefusePinned(map[string]zfs.Pin{disk0 + "@" + held: {Held: true}, disk0 + "@" + free: {}})
	require.Empty(t, u.Refusals)
	u.RefusePinned(map[string]zfs.Pin{other.Name + "@" + held: {Held: true}, other.Name + "@" + cloned: {Held: true, Clones: []string{"pool/a", "pool/b"}}})
	require.Len(t, u.Refusals, 3)
	assert.Contains(t, u.Refusals[0], "zfs release TAG "+other.Name+"@"+held)
	assert.Contains(t, u.Refusals[2], "promoted first: pool/a, pool/b")
}
