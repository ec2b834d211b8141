package checker

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/config"
	"snapwatch/internal/zfs"
)

func explained(t *testing.T, said map[string][]Evidence, nodes []NodeAnswer, disks ...Disk) GuestExplanation {
	t.Helper()
	p := NewPolicy(config.Default())
	r := Assemble([]Pool{{Name: "tank", ReadAt: now, Disks: disks}}, p, now)
	if nodes != nil {
		r = r.WithOwners(p, said, nodes...)
	}
	r = r.WithGuests(p)
	require.Len(t, r.Guests, 1)
	return ExplainGuest(r, r.Guests[0], false, Volumes{})
}

// If the disks of a guest have different newest snapshots, the printed commands start the guest
// from the newest snapshots that all disks have in common.
func TestExplainGuestFromItsRestorePoint(t *testing.T) {
	one, two := part(first, zfs.Hourly, 10*minute, lookedUp(25*minute)), part(second, zfs.Hourly, 25*minute, lookedUp())
	e := explained(t, nil, nil, one, two)
	require.Len(t, e.Disks, 2)
	point := one.Looked.Points[0].Name
	assert.Equal(t, []string{
		"zfs create fast/start-100", "zfs create tank/start-100",
		"zfs clone " + second + "@" + two.Newest.Name + " fast/start-100/vm-100-disk-1",
		"zfs clone " + first + "@" + point + " tank/start-100/vm-100-disk-0",
	}, e.Start)
	assert.Equal(t, []string{"zfs destroy -r fast/start-100", "zfs destroy -r tank/start-100"}, e.Back)
	assert.Contains(t, e.Words[0], "25m ago")
}

// Two storages may each have a disk with the same name: the printed commands clone both disks, into
// separate parent datasets.
func TestExplainGuestWithTwoDisksOfOneName(t *testing.T) {
	other := part("tank/ssd/vm-100-disk-0", zfs.Hourly, minute, func(d *Disk) { d.Looked = &Looked{Others: []string{first}} })
	e := explained(t, nil, nil, part(first, zfs.Hourly, minute), other)
	assert.Equal(t, []string{"zfs create tank/start-100", "zfs create tank/start-100-2"}, e.Start[:2])
	assert.True(t, strings.HasSuffix(e.Start[3], " tank/start-100-2/vm-100-disk-0"), e.Start[3])
	assert.Len(t, e.Back, 2)
}

func TestExplainGuestThatCannotBeStarted(t *testing.T) {
	lacks := owning("rpool/data/vm-100-disk-0", "rpool/data/vm-100-disk-1")
	for name, c := range map[string]struct {
		disks []Disk
		nodes []NodeAnswer
		words string
	}{
		"a disk is not here":     {[]Disk{part(first, zfs.Hourly, minute)}, []NodeAnswer{lacks}, "Guest 100 (web01) is not complete here. The disks here have snapshots of 2026-03-29 11:59:00, 1m ago, in common."},
		"a disk is damaged":      {[]Disk{part(first, zfs.Hourly, minute, damaged)}, nil, "Guest 100 cannot be relied on here: " + first + ": permanent errors. The disks here have snapshots of 2026-03-29 11:59:00, 1m ago, in common."},
		"two are not compared":   {[]Disk{part(first, zfs.Hourly, minute), part(copied, zfs.Hourly, minute)}, nil, "Guest 100 cannot be relied on here: it is not known whether "},
		"a disk is gone":         {[]Disk{part(first, zfs.Hourly, minute), part(second, zfs.Hourly, minute, gone)}, nil, "Guest 100 cannot be started here: " + second + " is gone."},
		"nothing is in common":   {[]Disk{part(first, zfs.Hourly, minute, lookedUp()), part(second, zfs.Hourly, hour, lookedUp())}, nil, "Guest 100 cannot be started here: "},
		"a disk has none at all": {[]Disk{part(first, zfs.Hourly, minute), part(second, zfs.Hourly, 0, bare, created(hour))}, nil, "Guest 100 cannot be started here: "},
	} {
		t.Run(name, func(t *testing.T) {
			e := explained(t, nil, c.nodes, c.disks...)
			assert.Contains(t, strings.Join(e.Words, " "), c.words)
			assert.Empty(t, e.Start)
			assert.Empty(t, e.Back)
		})
	}
}

func TestExplainGuestSaysWhatIsLost(t *testing.T) {
	d := part(first, zfs.Hourly, 3*hour)
	nodes := []NodeAnswer{owning("rpool/data/vm-100-disk-0")}
	ahead := Evidence{Node: "pve1", Owned: Owned, GUID: 9, Dataset: "rpool/data/vm-100-disk-0", Presence: AsSnapshot, PresenceGUID: d.Newest.GUID, BehindSince: ago(hour), Now: now,
		Newest: &zfs.Snapshot{Name: managed(zfs.Hourly, 0).Name, GUID: 5, Creation: now}}
	same := ahead
	same.Newest, same.BehindSince = d.Newest, time.Time{}
	for name, c := range map[string]struct {
		said  []Evidence
		nodes []NodeAnswer
		words string
	}{
		"nobody was asked": {nil, nil, "no owner was asked"},
		"nobody answers":   {[]Evidence{{Node: "pve1", Failure: "refused"}}, []NodeAnswer{{Node: "pve1", Failure: "refused"}}, "no owner answers for the guest"},
		"behind":           {[]Evidence{ahead}, nodes, "Its owner, pve1, has had newer snapshots for 1h: the data in these snapshots is not here."},
		"not behind":       {[]Evidence{same}, nodes, "Its owner, pve1, has no newer snapshots."},
	} {
		t.Run(name, func(t *testing.T) {
			e := explained(t, map[string][]Evidence{d.Dataset: c.said}, c.nodes, d)
			assert.Contains(t, strings.Join(e.Words, " "), c.words)
		})
	}
}

// The commands that explain prints can be pasted into a shell, even if a dataset's name contains a
// blank.
func TestExplainGuestWithABlankInAName(t *testing.T) {
	d := part("tank/my backup/vm-100-disk-0", zfs.Hourly, minute)
	e := explained(t, nil, nil, d)
	assert.Equal(t, "zfs clone 'tank/my backup/vm-100-disk-0@"+d.Newest.Name+"' tank/start-100/vm-100-disk-0", e.Start[1])
}
