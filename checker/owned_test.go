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

// owning returns the answer of a node that has guest 100 with the given disks. Every disk in the
// answer was created long ago and has a new snapshot.
func owning(datasets ...string) NodeAnswer {
	g := OwnedGuest{VMID: 100, Name: "web01", Alive: true}
	for _, d := range datasets {
		g.Disks = append(g.Disks, OwnedDisk{Dataset: d, Created: ago(day), Newest: ago(minute)})
	}
	return NodeAnswer{Node: "pve1", At: now, Now: now, Guests: []OwnedGuest{g}}
}

func TestWhatAnOwnerHasAndIsNotHere(t *testing.T) {
	vmid := config.Selector{VMID: config.VMIDs{{First: 100, Last: 100}}}
	for name, c := range map[string]struct {
		here    []Disk
		node    NodeAnswer
		policy  func(*Policy)
		change  func(*NodeAnswer)
		verdict GuestVerdict
		state   State
		lacking []string
	}{
		"all is here":            {here: []Disk{part(first, zfs.Hourly, minute)}, node: owning("rpool/data/vm-100-disk-0"), verdict: GuestWhole},
		"a disk is not":          {here: []Disk{part(first, zfs.Hourly, minute)}, node: owning("rpool/data/vm-100-disk-0", "rpool/data/vm-100-disk-1"), verdict: GuestIncomplete, state: Warning, lacking: []string{"rpool/data/vm-100-disk-1"}},
		"nothing is":             {node: owning("rpool/data/vm-100-disk-0"), verdict: GuestIncomplete, state: Warning, lacking: []string{"rpool/data/vm-100-disk-0"}},
		"it is expected":         {node: owning("rpool/data/vm-100-disk-0"), policy: func(p *Policy) { p.Expect = []config.Selector{vmid} }, verdict: GuestIncomplete, state: Critical, lacking: []string{"rpool/data/vm-100-disk-0"}},
		"one of two of one name": {here: []Disk{part(first, zfs.Hourly, minute)}, node: owning("rpool/data/vm-100-disk-0", "ssd/vm-100-disk-0"), verdict: GuestIncomplete, state: Warning, lacking: []string{"ssd/vm-100-disk-0"}},
		"two copies are one of two": {here: []Disk{part(first, zfs.Hourly, minute), part(copied, zfs.Hourly, day, func(d *Disk) { d.Looked = &Looked{Same: []string{first}} })},
			node: owning("rpool/data/vm-100-disk-0", "ssd/vm-100-disk-0"), verdict: GuestIncomplete, state: Warning, lacking: []string{"ssd/vm-100-disk-0"}},
		"by where it is from": {here: []Disk{part(first, zfs.Hourly, minute)}, node: owning("rpool/data/vm-100-disk-0", "ssd/vm-100-disk-0"), policy: func(p *Policy) {
			p.OriginOf = func(string) (string, string) { return "", "ssd/vm-100-disk-0" }
		}, verdict: GuestIncomplete, state: Warning, lacking: []string{"rpool/data/vm-100-disk-0"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := NewPolicy(config.Default())
			if c.policy != nil {
				c.policy(&p)
			}
			r := Assemble([]Pool{{Name: "tank", Disks: c.here}}, p, now).WithOwners(p, nil, c.node).WithGuests(p)
			require.Len(t, r.Guests, 1)
			g := r.Guests[0]
			assert.Equal(t, c.verdict.String(), g.Verdict.String(), g.Reason)
			assert.Equal(t, c.state, g.State)
			assert.Equal(t, c.lacking, g.Lacking)
			assert.Equal(t, "web01", g.Name)
			assert.Equal(t, len(c.lacking), g.Expected()-g.Found())
		})
	}
}

// If no copy of an owner's disk is here, check is silent only for one of three reasons: the guest
// has been off for long, the disk is new, or the configuration says so.
func TestWhatNeedNotBeHere(t *testing.T) {
	disk := "rpool/data/vm-100-disk-0"
	for name, c := range map[string]struct {
		policy func(*Policy)
		change func(*NodeAnswer)
	}{
		"off for longer than the limit": {change: func(n *NodeAnswer) { n.Guests[0].Alive, n.Guests[0].Disks[0].Newest = false, ago(7*hour) }},
		"new":                           {change: func(n *NodeAnswer) { n.Guests[0].Disks[0].Created = ago(hour) }},
		"the node's clock is ahead":     {change: func(n *NodeAnswer) { n.Now = now.Add(day); n.Guests[0].Disks[0].Created = now.Add(23 * hour) }},
		"ignored":                       {policy: func(p *Policy) { p.Ignore = []string{"vm-100-disk-0"} }},
		"its name there is ignored":     {policy: func(p *Policy) { p.Ignore = []string{"rpool/*/*"} }},
	} {
		t.Run(name, func(t *testing.T) {
			p, n := NewPolicy(config.Default()), owning(disk)
			if c.policy != nil {
				c.policy(&p)
			}
			if c.change != nil {
				c.change(&n)
			}
			assert.Empty(t, Assemble(nil, p, now).WithOwners(p, nil, n).WithGuests(p).Guests)
		})
	}
	n := owning(disk)
	n.Guests[0].Disks[0].Newest = ago(7 * hour)
	p := NewPolicy(config.Default())
	assert.Len(t, Assemble(nil, p, now).WithOwners(p, nil, n).WithGuests(p).Guests, 1, "it is alive")
	r := Filter{VMIDs: []int{101}}.Apply(Assemble(nil, p, now)).WithOwners(p, nil, n).WithGuests(p)
	assert.Empty(t, r.Guests, "another guest is asked for")
}

// A disk that was created while its node's clock was ahead has a creation time in the future. A
// disk with a creation time in the future does not count as new.
func TestAnAbsentDiskFromTheFuture(t *testing.T) {
	for created, absent := range map[time.Duration]int{clockSlack: 0, clockSlack + 1: 1, 365 * day: 1} {
		p, n := NewPolicy(config.Default()), owning("rpool/data/vm-100-disk-0")
		n.Guests[0].Disks[0].Created = now.Add(created)
		_, others := Assemble(nil, p, now).WithOwners(p, nil, n).Absent()
		assert.Equal(t, absent, others, created)
	}
}

// A guest has the name that is in the newest answer about the guest, in whatever order the
// configuration lists the nodes.
func TestTheNameOfTheNewestAnswerCounts(t *testing.T) {
	p := NewPolicy(config.Default())
	is, was := owning("rpool/data/vm-100-disk-0"), owning("rpool/data/vm-100-disk-0")
	was.Node, was.Failure, was.At, was.Guests[0].Name = "pve0", "refused", ago(20*day), "old"
	for _, nodes := range [][]NodeAnswer{{is, was}, {was, is}} {
		r := Assemble([]Pool{{Name: "tank", ReadAt: now, Disks: []Disk{part(first, zfs.Hourly, minute)}}}, p, now).WithOwners(p, nil, nodes...).WithGuests(p)
		assert.Equal(t, "web01", r.Guests[0].Name)
	}
}

// A disk that the configuration lists under expect must be on this host even if its guest stopped
// long ago; a new disk must be here only after the time of the warning limit.
func TestWhatIsExpectedOfAGuestThatIsOff(t *testing.T) {
	p, n := NewPolicy(config.Default()), owning("rpool/data/vm-100-disk-0")
	p.Expect = []config.Selector{{Disk: "vm-100-disk-0"}}
	n.Guests[0].Alive = false
	for _, age := range []time.Duration{hour, 7 * hour, 30 * day} {
		n.Guests[0].Disks[0] = OwnedDisk{Dataset: "rpool/data/vm-100-disk-0", Created: ago(60 * day), Newest: ago(age)}
		expected, _ := Assemble(nil, p, now).WithOwners(p, nil, n).Absent()
		assert.Equal(t, 1, expected, "off for %s", age)
	}
	n.Guests[0].Disks[0].Created = ago(hour)
	expected, _ := Assemble(nil, p, now).WithOwners(p, nil, n).Absent()
	assert.Zero(t, expected, "it is new")
}

func TestExpectedAndNotHere(t *testing.T) {
	p := NewPolicy(config.Default())
	p.Expect = []config.Selector{{VMID: config.VMIDs{{First: 100, Last: 101}}}, {Disk: "rpool/data/vm-7-disk-0"}}
	r := Assemble([]Pool{{Name: "tank", Disks: []Disk{aDisk("7", zfs.Hourly, minute)}}}, p, now)
	assert.Equal(t, Critical, r.State())
	require.Len(t, r.Notes, 1)
	assert.Contains(t, r.Notes[0].Text, "no disk here matches vmid 100-101")
	assert.Equal(t, len(r.Notes), r.Unmet)
	assert.Empty(t, Filter{VMIDs: []int{7}}.Apply(r).Notes)
	r = Assemble([]Pool{{Name: "tank", Disks: []Disk{aDisk("101", zfs.Hourly, minute)}}}, p, now)
	assert.Equal(t, OK, r.State())
}

// A disk whose guest is alive never has the verdict stopped, even if the disk's newest snapshot is
// a _stopped one.
func TestAliveIsNotStopped(t *testing.T) {
	p := NewPolicy(config.Default())
	off := aDisk("1", zfs.Stopped, 3*day)
	r := Assemble([]Pool{{Name: "tank", ReadAt: now, Disks: []Disk{off}}}, p, now)
	for name, c := range map[string]struct {
		since   time.Duration
		verdict Verdict
		state   State
	}{"since a moment": {minute, Fresh, OK}, "beyond warning": {3 * hour, Stale, Warning}, "beyond critical": {7 * hour, Stale, Critical}} {
		t.Run(name, func(t *testing.T) {
			e := Evidence{Node: "a", Owned: Owned, GUID: 9, Newest: off.Newest, Presence: AsSnapshot, PresenceGUID: off.Newest.GUID, Alive: true, AliveSince: ago(c.since), Now: now}
			asked := r.WithOwners(p, map[string][]Evidence{off.Dataset: {e}}).WithGuests(p)
			assert.Equal(t, c.verdict, asked.Disks[0].Verdict)
			assert.Equal(t, c.state, asked.Disks[0].State)
			assert.NotEqual(t, GuestStopped, asked.Guests[0].Verdict)
			e.Problem = "I/O error"
			asked = r.WithOwners(p, map[string][]Evidence{off.Dataset: {e}})
			assert.Equal(t, Stale, asked.Disks[0].Verdict, "for how long is not known")
		})
	}
}

// A guest moved away from a node that no longer answers. In the last answer of the node that is
// down, the guest still has a disk; the copy on this host must count as a copy of the disk on the
// guest's new node.
func TestAGuestThatMovedFromANodeThatIsDown(t *testing.T) {
	p := NewPolicy(config.Default())
	down, up := owning("rpool/data/vm-100-disk-0"), owning("rpool/data/vm-100-disk-0")
	down.Failure, up.Node = "refused", "pve2"
	r := Assemble([]Pool{{Name: "tank", Disks: []Disk{part(first, zfs.Hourly, minute)}}}, p, now).WithOwners(p, nil, down, up)
	expected, others := r.Absent()
	assert.Zero(t, expected+others)
	r = Assemble([]Pool{{Name: "tank"}}, p, now).WithOwners(p, nil, down)
	_, others = r.Absent()
	assert.Equal(t, 1, others, "what only that said stands")

	d := part(first, zfs.Hourly, minute)
	owns := func(node string) Evidence {
		return Evidence{Node: node, Owned: Owned, GUID: 9, Newest: d.Newest, Presence: AsSnapshot, PresenceGUID: d.Newest.GUID, Now: now}
	}
	for name, c := range map[string]struct {
		nodes   []NodeAnswer
		outcome Outcome
		owner   string
	}{
		"the one that had it is silent": {[]NodeAnswer{down, up}, InSync, "pve2"},
		"both answer":                   {[]NodeAnswer{{Node: "pve1"}, up}, TwoOwners, ""},
		"neither does":                  {[]NodeAnswer{down, {Node: "pve2", Failure: "refused"}}, TwoOwners, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := Assemble([]Pool{{Name: "tank", ReadAt: now, Disks: []Disk{d}}}, p, now).WithOwners(p, map[string][]Evidence{first: {owns("pve1"), owns("pve2")}}, c.nodes...)
			assert.Equal(t, c.outcome.String(), r.Disks[0].Compared.Outcome.String(), r.Disks[0].Compared.Reason)
			assert.Equal(t, c.owner, r.Disks[0].Compared.Owner)
		})
	}
}

// After a node has stopped answering, check uses the alarming parts of the node's last answer, but
// only for the snapshot about which the node was asked.
func TestWhatASilentNodeSaidLast(t *testing.T) {
	p := NewPolicy(config.Default())
	off := aDisk("1", zfs.Stopped, 3*day)
	newer := &zfs.Snapshot{Name: zfs.FormatSnapshotName(ago(hour), zfs.Hourly), GUID: 77, Creation: ago(hour)}
	is := Evidence{Node: "a", Failure: "refused", Owned: Owned, GUID: 9, Newest: off.Newest, Presence: AsSnapshot, PresenceGUID: off.Newest.GUID, About: off.Newest, Now: now}
	for name, c := range map[string]struct {
		change  func(*Evidence)
		outcome Outcome
		verdict Verdict
		state   State
	}{
		"it was well":                  {func(*Evidence) {}, OwnerUnreachable, Stopped, Unknown},
		"its guest lived for a moment": {func(e *Evidence) { e.Alive, e.AliveSince = true, ago(minute) }, OwnerUnreachable, Stale, Unknown},
		"for longer than the limit":    {func(e *Evidence) { e.Alive, e.AliveSince = true, ago(7*hour) }, Lagging, Stale, Critical},
		"it was behind":                {func(e *Evidence) { e.Newest, e.BehindSince = newer, ago(7*hour) }, Lagging, Stopped, Critical},
		"it diverged":                  {func(e *Evidence) { e.Newest, e.PresenceGUID = newer, 5 }, Diverged, Stopped, Critical},
		"of another snapshot": {func(e *Evidence) {
			earlier := &zfs.Snapshot{Name: zfs.FormatSnapshotName(ago(4*day), zfs.Stopped), GUID: 5, Creation: ago(4 * day)}
			e.Alive, e.AliveSince, e.About, e.Newest = true, ago(7*hour), earlier, earlier
		}, OwnerUnreachable, Stopped, Unknown},
		"it was not its guest":       {func(e *Evidence) { e.Alive, e.Owned = true, NotOwned }, OwnerUnreachable, Stopped, Unknown},
		"it took no snapshots of it": {func(e *Evidence) { e.Excluded = "nosnap" }, OwnerUnreachable, Stopped, Unknown},
		"its disk was gone":          {func(e *Evidence) { e.Gone = true }, OwnerUnreachable, Stopped, Unknown},
	} {
		t.Run(name, func(t *testing.T) {
			e := is
			c.change(&e)
			r := Assemble([]Pool{{Name: "tank", ReadAt: now, Disks: []Disk{off}}}, p, now).WithOwners(p, map[string][]Evidence{off.Dataset: {e}})
			d := r.Disks[0]
			assert.Equal(t, c.outcome.String(), d.Compared.Outcome.String(), d.Compared.Reason)
			assert.Equal(t, c.verdict, d.Verdict, d.Reason)
			assert.Equal(t, c.state, d.State)
			assert.Contains(t, d.Compared.Reason, "refused")
		})
	}
}

// If a copy has received a newer snapshot after the owner was asked, the owner's answer proves
// nothing about this newer snapshot.
func TestAnAnswerAboutAnEarlierSnapshot(t *testing.T) {
	p := NewPolicy(config.Default())
	d := aDisk("1", zfs.Hourly, hour)
	before := &zfs.Snapshot{Name: zfs.FormatSnapshotName(ago(5*hour), zfs.Hourly), GUID: 77, Creation: ago(5 * hour)}
	e := Evidence{Node: "a", Owned: Owned, GUID: 9, Presence: AsSnapshot, PresenceGUID: before.GUID, About: before, BehindSince: ago(4 * hour), Now: now}
	for name, c := range map[string]struct {
		newest  *zfs.Snapshot
		outcome Outcome
		lag     time.Duration
	}{
		"it is the owner's newest": {d.Newest, InSync, 0},
		"it came since":            {before, InSync, 0},
		"there is a newer one":     {&zfs.Snapshot{Name: "x", GUID: 5, Creation: ago(0)}, InSync, hour},
	} {
		t.Run(name, func(t *testing.T) {
			e.Newest = c.newest
			got := Compare(d, Fresh, p, []Evidence{e})
			assert.Equal(t, c.outcome.String(), got.Outcome.String(), got.Reason)
			assert.Equal(t, c.lag, got.Lag)
			assert.False(t, got.Proven)
		})
	}
}

// A diverged copy still counts as diverged after somebody makes a snapshot on the copy. The copy
// ceases to count as diverged as soon as the node was asked about the new snapshot, or the copy has
// the node's newest snapshot.
func TestACopyDivergesUntilItsOwnerIsAskedAgain(t *testing.T) {
	p := NewPolicy(config.Default())
	d := aDisk("1", zfs.Hourly, minute)
	about, theirs := &zfs.Snapshot{Name: zfs.FormatSnapshotName(ago(2*hour), zfs.Hourly), GUID: 77, Creation: ago(2 * hour)}, &zfs.Snapshot{Name: zfs.FormatSnapshotName(ago(9*hour), zfs.Hourly), GUID: 78, Creation: ago(9 * hour)}
	is := Evidence{Node: "a", Owned: Owned, GUID: 9, Presence: Absent, NeverHad: true, Newest: theirs, About: about, Now: now}
	for name, c := range map[string]struct {
		change  func(*Evidence)
		outcome Outcome
	}{
		"it never had the one before": {func(*Evidence) {}, Diverged},
		"it does not have it":         {func(e *Evidence) { e.NeverHad = false }, Diverged},
		"it had another of that name": {func(e *Evidence) { e.Presence, e.PresenceGUID = AsSnapshot, 3 }, Diverged},
		"it was asked about this one": {func(e *Evidence) {
			e.About, e.Presence, e.PresenceGUID, e.NeverHad = d.Newest, AsSnapshot, d.Newest.GUID, false
		}, InSync},
		"this one is its newest": {func(e *Evidence) { e.Newest = d.Newest }, InSync},
		"it had the one before":  {func(e *Evidence) { e.Presence, e.PresenceGUID, e.NeverHad = AsBookmark, about.GUID, false }, InSync},
		"it is silent since":     {func(e *Evidence) { e.Failure = "refused" }, Diverged},
	} {
		t.Run(name, func(t *testing.T) {
			e := is
			c.change(&e)
			got := Compare(d, Fresh, p, []Evidence{e})
			assert.Equal(t, c.outcome.String(), got.Outcome.String(), got.Reason)
		})
	}
}

// The JSON document of an exporter contains the answers of all nodes that it asked.
func TestWhatNodesSaidIsInTheDocument(t *testing.T) {
	p := NewPolicy(config.Default())
	d := aDisk("100", zfs.Stopped, 3*day)
	d.Looked = &Looked{Points: []zfs.Snapshot{*managed(zfs.Hourly, hour)}, Among: "x", Ahead: ago(hour), Same: []string{"a"}, Others: []string{"b"}, Problem: "c"}
	d.Looked.Points[0].Dataset = d.Dataset
	node := owning("rpool/data/vm-100-disk-0", "rpool/data/vm-100-disk-1")
	e := Evidence{Node: "pve1", Owned: Owned, Dataset: "rpool/data/vm-100-disk-0", GUID: 9, Presence: AsBookmark, PresenceGUID: 7, About: &zfs.Snapshot{Dataset: d.Dataset, Name: managed(zfs.Hourly, 2*hour).Name, GUID: 3, Creation: ago(2 * hour)}, BehindSince: ago(hour), ReadAt: ago(minute),
		Newest: &zfs.Snapshot{Dataset: "rpool/data/vm-100-disk-0", Name: managed(zfs.Hourly, 0).Name, GUID: 4, Creation: now}, Now: now, Alive: true, AliveSince: ago(2 * hour)}
	failed := Evidence{Node: "pve2", Failure: "refused"}
	r := Assemble([]Pool{{Name: "tank", ReadAt: now, Disks: []Disk{d}}}, p, now).WithOwners(p, map[string][]Evidence{d.Dataset: {e, failed}}, node).WithGuests(p)
	text, err := json.Marshal(r.Document())
	require.NoError(t, err)
	var doc Document
	require.NoError(t, json.Unmarshal(text, &doc))
	pools, err := doc.Facts()
	require.NoError(t, err)
	assert.Equal(t, d.Looked, pools[0].Disks[0].Looked)
	said, nodes, err := doc.Said()
	require.NoError(t, err)
	assert.Equal(t, []NodeAnswer{node}, nodes)
	assert.Equal(t, map[string][]Evidence{d.Dataset: {e, failed}}, said)
	again := Assemble(pools, p, now).WithOwners(p, said, nodes...).WithGuests(p)
	assert.Equal(t, r.Guests, again.Guests)
}
