package scan

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"snapwatch/checker"
)

// Each test case is a sequence of scans on a node, with the node on which the disk's guest is at
// each scan, and with the expected answer whether the disk is missing after the last scan.
func TestADiskThatGoesWithItsGuestIsNotMissed(t *testing.T) {
	const name = "tank/vm-1-disk-0"
	begin := time.Date(2026, 3, 29, 12, 0, 0, 0, time.UTC)
	type look struct {
		after time.Duration
		node  string
		there bool
	}
	gone := func(node string) look { return look{time.Minute, node, false} }
	there := func(node string) look { return look{time.Minute, node, true} }
	for what, test := range map[string]struct {
		looks  []look
		missed bool
	}{
		"migrated":                                 {[]look{there("a"), there("b"), gone("b")}, false},
		"migrated between two looks":               {[]look{there("a"), gone("b")}, false},
		"destroyed, the disk before the guest":     {[]look{there("a"), gone("a"), gone("")}, false},
		"destroyed, seen in between":               {[]look{there("a"), there(""), gone("")}, false},
		"lost, and the guest is still here":        {[]look{there("a"), gone("a")}, true},
		"a copy for the next node is lost":         {[]look{there("b"), gone("b")}, true},
		"a copy goes with the guest":               {[]look{there("b"), gone("b"), gone("")}, false},
		"a copy of nobody's":                       {[]look{there(""), gone("")}, true},
		"a copy, and a guest of the number later":  {[]look{there(""), there("a"), there(""), gone("")}, false},
		"migrated, and it stays as a copy":         {[]look{there("a"), there("b"), {25 * time.Hour, "b", true}, {time.Minute, "b", true}, gone("b")}, true},
		"migrated by a clock that was ahead":       {[]look{there("a"), {10000 * time.Hour, "b", true}, {-10000 * time.Hour, "b", true}, {time.Minute, "b", true}, gone("b")}, true},
		"migrated and back, and lost":              {[]look{there("a"), there("b"), there("a"), gone("a")}, true},
		"the guest was destroyed long ago":         {[]look{there("b"), there(""), {25 * time.Hour, "", true}, {time.Minute, "", true}, gone("")}, true},
		"the guest moves from one node to a third": {[]look{there("b"), there("c"), gone("c")}, true},
	} {
		t.Run(what, func(t *testing.T) {
			now, s := begin, Inventory{}
			for _, l := range test.looks {
				now = now.Add(l.after)
				pool := checker.Pool{Name: "tank", ReadAt: now}
				if l.there {
					pool.Disks = []checker.Disk{{Dataset: name, VMID: 1, GUID: 7}}
				}
				s, _ = s.Updated([]checker.Pool{pool}, now)
				s, _ = s.Settled([]checker.Pool{pool}, Guests{Here: "a", Node: func(string, int) string { return l.node }}, now)
			}
			assert.Equal(t, test.missed, s.Disks[name].GUID == 7)
		})
	}
}

// A disk whose guest moved away is remembered until the disk's pool is imported and was read.
func TestNothingIsForgottenOfAPoolThatWasNotRead(t *testing.T) {
	now := time.Date(2026, 3, 29, 12, 0, 0, 0, time.UTC)
	s := Inventory{Disks: map[string]KnownDisk{"tank/vm-1-disk-0": {GUID: 7, Since: now, Node: "a"}}}
	for what, pool := range map[string]checker.Pool{
		"not read": {Name: "tank", ReadAt: now, Problem: "hangs"}, "missing": {Name: "tank", ReadAt: now, Missing: true, Problem: "not imported"},
		"never read": {Name: "tank"}, "another": {Name: "other", ReadAt: now}, "read before it was seen": {Name: "tank", ReadAt: now.Add(-time.Second)},
	} {
		after, changed := s.Settled([]checker.Pool{pool}, Guests{Here: "a", Node: func(string, int) string { return "b" }}, now)
		assert.False(t, changed, what)
		assert.Equal(t, s, after, what)
	}
}

// If the exporter knows that a guest moved away, a check that keeps an inventory of its own must
// also know this, and must not report the guest's disk as missing. If the disk comes back, check
// adds the disk to its inventory again.
func TestWhatMovedAwayIsForgottenByWhoeverRemembersIt(t *testing.T) {
	begin := time.Date(2026, 3, 29, 12, 0, 0, 0, time.UTC)
	exporters, _ := Inventory{}.Updated([]checker.Pool{poolReadAt(begin, "tank", 1, 7)}, begin)
	checks := exporters
	on := func(node string) Guests { return Guests{Here: "a", Node: func(string, int) string { return node }} }
	exporters, _ = exporters.Settled([]checker.Pool{poolReadAt(begin, "tank", 1, 7)}, on("a"), begin)
	left := begin.Add(time.Minute)
	exporters, changed := exporters.Settled([]checker.Pool{{Name: "tank", GUID: 1, ReadAt: left}}, on("b"), left)
	assert.True(t, changed)
	assert.Empty(t, checks.With(exporters, left).Disks)

	back := left.Add(time.Minute)
	checks, _ = checks.With(exporters, back).Updated([]checker.Pool{poolReadAt(back, "tank", 1, 7)}, back)
	assert.Len(t, checks.With(exporters, back).Disks, 1)

	after := left.Add(forgottenFor + time.Minute)
	assert.Empty(t, exporters.With(Inventory{}, after).Forgotten, "it is not told for ever")
}

// If a pool has another guid than before, the inventory still knows on which nodes the guests of
// the pool's disks are configured.
func TestAPoolWithAnotherGuidKeepsWhereTheGuestsAre(t *testing.T) {
	now := time.Date(2026, 3, 29, 12, 0, 0, 0, time.UTC)
	s := Inventory{Disks: map[string]KnownDisk{"tank/vm-1-disk-0": {GUID: 7, Since: now, Node: "a"}}}
	s, _ = s.Updated([]checker.Pool{poolReadAt(now.Add(time.Minute), "tank", 1, 7)}, now.Add(time.Minute))
	assert.Equal(t, KnownDisk{GUID: 7, Pool: 1, Since: now, Node: "a"}, s.Disks["tank/vm-1-disk-0"])
}
