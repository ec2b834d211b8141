package checker

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/config"
	"snapwatch/internal/zfs"
)

// someReport returns a report with a disk for nearly every verdict.
func someReport() Report {
	moved := aDisk("5", zfs.Hourly, day)
	target := aDisk("5", zfs.Hourly, minute, func(d *Disk) { d.Dataset = "fast/vm-5-disk-0" })
	pools := []Pool{
		{Name: "fast", ReadAt: now, Disks: []Disk{target}},
		{Name: "gone", Missing: true, Problem: "pool gone is not imported (zpool import gone)", Disks: []Disk{
			{Dataset: "gone/vm-9-disk-0", VMID: 9, Gone: true},
		}},
		{Name: "tank", ReadAt: now, Took: 1500 * time.Millisecond, Disks: []Disk{
			aDisk("1", zfs.Hourly, 3*hour+50*minute),
			aDisk("2", zfs.Stopped, 4*day),
			aDisk("3", zfs.Daily, 10*minute),
			aDisk("4", zfs.Hourly, 7*hour),
			moved,
			aDisk("901", zfs.Hourly, 9*day),
			aDisk("6", zfs.Hourly, 0, bare, created(hour)),
			aDisk("7", zfs.Hourly, -day),
			aDisk("8", zfs.Stopped, 40*day),
		}, Remarks: []string{"labels not read"}},
		{Name: "weird", Problem: "zfs get: exit status 1: a | b\nc\xff"},
	}
	p := testPolicy()
	p.Maintenance = p.Maintenance[:1]
	return Assemble(pools, p, now).WithGuests(p)
}

// A fresh copy elsewhere on the host does not excuse a stale copy: an equal name proves nothing,
// and every copy should be fresh. The stale copy's reason names the fresh copy.
func TestEveryCopyIsJudgedByItsOwnLimits(t *testing.T) {
	old := aDisk("5", zfs.Hourly, 73*hour)
	for name, c := range map[string]struct {
		copy Disk
		word string
	}{
		"fresh":   {aDisk("5", zfs.Hourly, minute), "; fast/vm-5-disk-0 is fresh: if this one is not needed any more, put it under ignore: or destroy it"},
		"stopped": {aDisk("5", zfs.Stopped, minute), ""},
		"stale":   {aDisk("5", zfs.Hourly, 3*hour), ""},
	} {
		t.Run(name, func(t *testing.T) {
			c.copy.Dataset = "fast/vm-5-disk-0"
			r := Assemble([]Pool{{Name: "tank", Disks: []Disk{old}}, {Name: "fast", Disks: []Disk{c.copy}}}, testPolicy(), now)
			d := r.Disks[0]
			assert.Equal(t, old.Dataset, d.Dataset)
			assert.Equal(t, Stale, d.Verdict)
			assert.Equal(t, Critical, d.State)
			if c.word != "" {
				assert.Contains(t, d.Reason, c.word)
			} else {
				assert.NotContains(t, d.Reason, "fast/")
			}
		})
	}
}

// The verdict on a stale disk becomes orphaned, which is only a warning, if and only if an owner
// answers that no guest uses the disk.
func TestOrphanedNeedsAnAnswer(t *testing.T) {
	stale, off := aDisk("1", zfs.Hourly, 73*hour), aDisk("2", zfs.Stopped, 73*hour)
	p := NewPolicy(config.Default())
	r := Assemble([]Pool{{Name: "tank", ReadAt: now, Disks: []Disk{stale, off}}}, p, now)
	gone := []Evidence{{Node: "a", Owned: NotOwned, Presence: AsSnapshot, PresenceGUID: 7}}
	asked := r.WithOwners(p, map[string][]Evidence{stale.Dataset: gone, off.Dataset: gone})
	assert.Equal(t, Warning, asked.State())
	for _, d := range asked.Disks {
		want := Orphaned
		if d.Dataset == off.Dataset {
			want = Stopped
		}
		assert.Equal(t, want.String(), d.Verdict.String())
		assert.Equal(t, "orphaned", d.Word())
		assert.Equal(t, Warning, d.State)
		assert.Equal(t, "yellow", d.Colour())
	}
	assert.Contains(t, asked.Summary(), "2 of 2 disks orphaned")
	dead := r.WithOwners(p, map[string][]Evidence{stale.Dataset: {{Node: "a", Failure: "refused"}}, off.Dataset: gone})
	assert.Equal(t, Critical, dead.State())
	assert.Equal(t, Stale, dead.Disks[0].Verdict)
	stranger := r.WithOwners(p, map[string][]Evidence{stale.Dataset: {{Node: "a", Owned: NotOwned, Gone: true}}, off.Dataset: gone})
	assert.Equal(t, Critical, stranger.State(), "it never had the disk, as far as is known")
	assert.Equal(t, Stale, stranger.Disks[0].Verdict)
	assert.Contains(t, stranger.Disks[0].FullReason(), "was the guest deleted, or was its node not asked?")
}

func TestExpiredMaintenanceIsAWarning(t *testing.T) {
	p := NewPolicy(config.Default())
	p.Maintenance = []config.Maintenance{{Selector: config.Selector{Pool: "tank"}, Until: now}}
	r := Assemble([]Pool{{Name: "tank", ReadAt: now, Disks: []Disk{aDisk("1", zfs.Hourly, minute)}}}, p, now)
	assert.Equal(t, Warning, r.State())
	assert.Contains(t, r.Notes[0].Text, "pool tank ended at 2026-03-29T12:00:00Z")
}

func TestAMissingPoolUnderMaintenanceIsSilentAsAWholeOnly(t *testing.T) {
	gone := []Pool{{Name: "tank", Missing: true, Problem: "p", Disks: []Disk{{Dataset: "tank/vm-1-disk-0", VMID: 1, Gone: true}}}}
	p := NewPolicy(config.Default())
	p.Maintenance = []config.Maintenance{{Selector: config.Selector{Pool: "tank"}, Until: now.Add(hour)}}
	assert.Equal(t, OK, Assemble(gone, p, now).State())
	p.Maintenance[0].Disk = "vm-1-*"
	assert.Equal(t, Critical, Assemble(gone, p, now).State())
}

func TestAPoolThatFailsNowIsAnAlarmOnceWhatWasReadIsTooOld(t *testing.T) {
	p := testPolicy()
	at := func(read time.Time) State {
		pool := Pool{Name: "tank", Problem: "x", ReadAt: read, Disks: []Disk{aDisk("1", zfs.Hourly, minute, func(d *Disk) { d.ReadAt = read })}}
		p.Maintenance = nil
		return Assemble([]Pool{pool}, p, now).State()
	}
	assert.Equal(t, OK, at(ago(10*minute)))
	assert.Equal(t, Unknown, at(ago(10*minute+1)))
	assert.Equal(t, Unknown, at(time.Time{}))
}

func TestFilter(t *testing.T) {
	r := someReport()
	for name, c := range map[string]struct {
		filter Filter
		disks  int
		pools  int
		state  State
		note   string
	}{
		"all":               {Filter{}, 11, 4, Critical, ""},
		"one disk":          {Filter{VMIDs: []int{3}}, 1, 3, Critical, ""}, // the unread pool may contain other disks of the guest
		"another pool":      {Filter{Disks: []string{"tank/vm-3-*", "we*/vm-3-*"}}, 1, 2, Unknown, ""},
		"a pool":            {Filter{Pools: []string{"fast"}}, 1, 1, OK, ""},
		"disk and pool":     {Filter{Pools: []string{"tank"}, Disks: []string{"vm-3-*"}}, 1, 1, OK, ""},
		"by dataset":        {Filter{Pools: []string{"tank", "fast"}, Disks: []string{"fast/vm-5-disk-0"}}, 1, 1, OK, ""},
		"nothing":           {Filter{VMIDs: []int{77}}, 0, 2, Critical, "no disk matches --vmid 77"},
		"one of two":        {Filter{Pools: []string{"tank"}, VMIDs: []int{3, 77}}, 1, 1, Unknown, "no disk matches --vmid 77"},
		"misspelt pool":     {Filter{Pools: []string{"tnak"}}, 0, 0, Unknown, "no disk matches --pool tnak"},
		"misspelt disk":     {Filter{Disks: []string{"vm-3-disk"}}, 0, 2, Critical, `no disk matches --disk "vm-3-disk"`},
		"a missing disk":    {Filter{VMIDs: []int{9}}, 1, 2, Critical, ""},
		"unreadable pool":   {Filter{Pools: []string{"weird"}}, 0, 1, Unknown, "no disk matches --pool weird"},
		"no common element": {Filter{Pools: []string{"fast"}, VMIDs: []int{3}}, 0, 0, Unknown, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := c.filter.Apply(r)
			assert.Len(t, got.Disks, c.disks)
			assert.Len(t, got.Pools, c.pools)
			assert.Equal(t, c.state.String(), got.State().String())
			if c.note != "" {
				require.NotEmpty(t, got.Notes)
				assert.Equal(t, c.note, got.Notes[0].Text)
			}
		})
	}
}

func TestADocumentHoldsEveryFact(t *testing.T) {
	r := someReport()
	var back Document
	text, err := json.Marshal(r.Document())
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &back))
	pools, err := back.Facts()
	require.NoError(t, err)
	p := testPolicy()
	p.Maintenance = p.Maintenance[:1]
	again := Assemble(pools, p, now)
	require.Len(t, again.Disks, len(r.Disks))
	for i, d := range again.Disks {
		assert.Equal(t, r.Disks[i].Judgement, d.Judgement, d.Dataset)
	}
	assert.Equal(t, r.State(), again.State())
}
