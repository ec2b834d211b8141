package checker

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"snapwatch/config"
	"snapwatch/internal/zfs"
)

// Each of two clusters has a guest 1, with a disk of the same name. A test case asks either one
// node, so that only one cluster answers, or one node of each cluster.
func TestNoClusterAnswersForAnother(t *testing.T) {
	in := func(cluster string, guid uint64, age time.Duration) Disk {
		d := aDisk("1", zfs.Hourly, age)
		d.Dataset, d.GUID, d.Newest.GUID = "tank/"+cluster+"/vm-1-disk-0", guid, guid
		return d
	}
	east, west, old := in("east", 100, hour), in("west", 200, hour), in("west", 200, 73*hour)
	from := func(node, cluster string, newest *zfs.Snapshot, d Disk) Evidence {
		e := Evidence{Node: node, Cluster: cluster, Owned: Owned, Dataset: "rpool/vm-1-disk-0", GUID: 9, Newest: newest, Presence: Absent}
		if newest.GUID == d.Newest.GUID {
			e.Presence, e.PresenceGUID = AsSnapshot, newest.GUID
		}
		return e
	}
	silent := func(e Evidence) Evidence { e.Failure = "refused"; return e }
	gone := func(node, cluster string) Evidence { return Evidence{Node: node, Cluster: cluster, Owned: NotOwned} }
	for name, c := range map[string]struct {
		west     Disk
		said     []Evidence // answers about the disk of cluster west
		outcome  Outcome
		verdict  Verdict
		why      string
		eastDisk bool
	}{
		"only east was asked":                {west, []Evidence{from("a", "west", east.Newest, west)}, NoOwner, Fresh, "no node of cluster west was asked", true},
		"and it has no such guest":           {old, []Evidence{gone("a", "west")}, NoOwner, Stale, "no node of cluster west was asked", true},
		"one disk alone":                     {west, []Evidence{from("a", "west", east.Newest, west)}, NoOwner, Fresh, "a: it holds no disk that comes from cluster west", false},
		"one disk alone, not to be orphaned": {old, []Evidence{gone("a", "west")}, NoOwner, Stale, "a: it holds no disk", false},
		"both were asked":                    {west, []Evidence{from("a", "west", east.Newest, west), from("b", "west", west.Newest, west)}, InSync, Fresh, "the newest of b", true},
		"west's does not answer":             {west, []Evidence{from("a", "west", east.Newest, west), {Node: "b", Cluster: "west", Failure: "refused"}}, OwnerUnreachable, Fresh, "b: refused", true},
		"east's does not answer any more":    {old, []Evidence{silent(from("a", "west", east.Newest, old))}, OwnerUnreachable, Stale, "a: refused", true},
		"nor west's, which said that":        {old, []Evidence{silent(from("b", "west", &zfs.Snapshot{GUID: 7, Creation: ago(hour)}, old)), silent(Evidence{Node: "c", Cluster: "west"})}, OwnerUnreachable, Stale, "b: refused", true},
	} {
		t.Run(name, func(t *testing.T) {
			settings := config.Default()
			settings.Sources = []config.Source{{Dataset: "tank/east", Cluster: "east"}, {Dataset: "tank/west", Cluster: "west"}}
			p := NewPolicy(settings)
			said := map[string][]Evidence{c.west.Dataset: c.said}
			disks := []Disk{c.west}
			if c.eastDisk {
				disks = append(disks, east)
				said[east.Dataset] = []Evidence{from("a", "east", east.Newest, east)}
			}
			r := Assemble([]Pool{{Name: "tank", ReadAt: now, Disks: disks}}, p, now).WithOwners(p, said)
			for _, d := range r.Disks {
				switch d.Dataset {
				case c.west.Dataset:
					assert.Equal(t, c.outcome.String(), d.Compared.Outcome.String(), d.Compared.Reason)
					assert.Contains(t, d.Compared.Reason, c.why)
					assert.Equal(t, c.verdict.String(), d.Verdict.String())
				case east.Dataset:
					assert.Equal(t, InSync, d.Compared.Outcome)
				}
			}
		})
	}
	// If all disks come from one cluster, the verdict depends on the answers of this cluster's
	// nodes.
	r := Assemble([]Pool{{Name: "tank", ReadAt: now, Disks: []Disk{old}}}, NewPolicy(config.Default()), now)
	r = r.WithOwners(NewPolicy(config.Default()), map[string][]Evidence{old.Dataset: {node("a", NotOwned, presence(AsBookmark, old.Newest.GUID))}})
	assert.Equal(t, Orphaned, r.Disks[0].Verdict)
}

// The cluster of a node is known only while this host has a copy of one of the node's disks. A disk
// of a node whose cluster is unknown counts as absent, unless a disk here may be the copy of this
// disk.
func TestWhatANodeOfAnUnknownClusterHas(t *testing.T) {
	settings := config.Default()
	settings.Sources = []config.Source{{Dataset: "tank/east", Origin: "rpool/data", Cluster: "east"}, {Dataset: "tank/west", Origin: "rpool/data", Cluster: "west"}}
	east, west := part("tank/east/vm-100-disk-0", zfs.Hourly, minute), part("tank/west/vm-100-disk-0", zfs.Hourly, hour)
	holds := func(node, cluster string, d Disk) Evidence {
		return Evidence{Node: node, Cluster: cluster, Owned: Owned, GUID: 99, Newest: d.Newest, Presence: AsSnapshot, PresenceGUID: d.Newest.GUID, Now: now}
	}
	both := func(node string) map[string][]Evidence {
		return map[string][]Evidence{east.Dataset: {holds(node, "east", east)}, west.Dataset: {holds(node, "west", west)}}
	}
	for name, c := range map[string]struct {
		here   []Disk
		said   map[string][]Evidence
		has    string
		vmid   int
		expect string
		absent [2]int
	}{
		"nothing of it is here":         {here: []Disk{east}, said: both("a"), has: "rpool/data/vm-700-disk-0", vmid: 700, absent: [2]int{0, 1}},
		"expect names it":               {here: []Disk{east}, said: both("a"), has: "rpool/data/vm-700-disk-0", vmid: 700, expect: "rpool/data/vm-700-*", absent: [2]int{1, 0}},
		"the other cluster's is here":   {here: []Disk{east}, said: both("a"), has: "rpool/data/vm-100-disk-0", vmid: 100, absent: [2]int{0, 1}},
		"one that nobody holds is here": {here: []Disk{east, west}, said: map[string][]Evidence{east.Dataset: {holds("a", "east", east)}}, has: "rpool/data/vm-100-disk-0", vmid: 100},
		"it holds disks of two":         {here: []Disk{east, west}, said: both("b"), has: "rpool/data/vm-100-disk-0", vmid: 100},
		"it holds others of two":        {here: []Disk{east, west}, said: both("b"), has: "rpool/data/vm-100-disk-1", vmid: 100, absent: [2]int{0, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			p := NewPolicy(settings)
			if c.expect != "" {
				p.Expect = []config.Selector{{Disk: c.expect}}
			}
			n := owning(c.has)
			n.Node, n.Guests[0].VMID = "b", c.vmid
			r := Assemble([]Pool{{Name: "tank", ReadAt: now, Disks: c.here}}, p, now).WithOwners(p, c.said, n).WithGuests(p)
			expected, others := r.Absent()
			assert.Equal(t, c.absent, [2]int{expected, others})
			for _, g := range r.Guests {
				if len(g.Lacking) > 0 {
					assert.Equal(t, "web01", g.Name)
				}
			}
		})
	}
}

// Two disks have one VMID, and sources: in the configuration covers only the first disk. Until the
// configuration says where the second disk comes from, check does not know whether both disks
// belong to one guest, and whether this guest is torn.
func TestAGuestThatSourcesMayCutInTwo(t *testing.T) {
	east := part("tank/east/vm-100-disk-0", zfs.Hourly, minute)
	for name, c := range map[string]struct {
		other  Disk
		change func(*config.Config)
		state  State
	}{
		"another disk":                 {other: part("fast/vm-100-disk-1", zfs.Hourly, minute), state: Unknown},
		"a stale one":                  {other: part("fast/vm-100-disk-1", zfs.Hourly, day), state: Critical},
		"the configuration names it":   {other: part("fast/vm-100-disk-1", zfs.Hourly, minute), change: func(c *config.Config) { c.Sources = append(c.Sources, config.Source{Dataset: "fast", Cluster: "east"}) }},
		"it is from another cluster":   {other: part("fast/vm-100-disk-1", zfs.Hourly, minute), change: func(c *config.Config) { c.Sources = append(c.Sources, config.Source{Dataset: "fast", Cluster: "west"}) }},
		"a disk of the same name":      {other: part("fast/vm-100-disk-0", zfs.Hourly, minute)},
		"this host's own":              {other: part("fast/vm-100-disk-1", zfs.Hourly, minute, func(d *Disk) { d.Owned = Owned })},
		"another guest's":              {other: aDisk("101", zfs.Hourly, minute)},
		"ignored":                      {other: part("fast/vm-100-disk-1", zfs.Hourly, minute), change: func(c *config.Config) { c.Ignore = []string{"fast/*"} }},
		"the configuration names none": {other: part("fast/vm-100-disk-1", zfs.Hourly, minute), change: func(c *config.Config) { c.Sources = nil }},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config.Default()
			cfg.Sources = []config.Source{{Dataset: "tank/east", Origin: "rpool/data", Cluster: "east"}}
			if c.change != nil {
				c.change(&cfg)
			}
			p := NewPolicy(cfg)
			r := Assemble([]Pool{{Name: "tank", ReadAt: now, Disks: []Disk{east, c.other}}}, p, now).WithGuests(p)
			assert.Equal(t, c.state.String(), Worst(r.States()...).String())
			if c.state == Unknown {
				assert.Equal(t, "it is not known whether fast/vm-100-disk-1 is a disk of guest 100 of east: name its origin under sources:", r.Guests[0].Reason)
			}
		})
	}
}
