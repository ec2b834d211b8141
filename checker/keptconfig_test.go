package checker

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/config"
	"snapwatch/internal/zfs"
)

// configured returns a function that changes a disk: the guest configuration kept with the disk's
// snapshots gets the given volumes and age.
func configured(since time.Duration, volumes ...string) func(*Disk) {
	return func(d *Disk) {
		d.Looked = &Looked{Config: &KeptConfig{Day: zfs.DayOf(d.Newest.Name), Sum: "1", Name: "web01", Volumes: volumes, Since: ago(since)}}
	}
}

// If no owner answers, the guest's name and the list of its disks come from the guest configuration
// that is kept with snapshots.
func TestWhatAKeptConfigurationNames(t *testing.T) {
	both := []string{"zfs:vm-100-disk-0", "zfs:vm-100-disk-1"}
	for name, c := range map[string]struct {
		disk    func(*Disk)
		policy  func(*Policy)
		verdict GuestVerdict
		state   State
		lacking []string
	}{
		"all is here":                          {disk: configured(day, both[0]), verdict: GuestWhole},
		"a disk is not":                        {disk: configured(day, both...), verdict: GuestIncomplete, state: Warning, lacking: []string{"vm-100-disk-1"}},
		"it is new":                            {disk: configured(hour, both...), verdict: GuestWhole},
		"on another storage":                   {disk: configured(day, both[0], "ceph:vm-100-disk-1"), verdict: GuestWhole},
		"ignored":                              {disk: configured(day, both...), policy: func(p *Policy) { p.Ignore = []string{"vm-100-disk-1"} }, verdict: GuestWhole},
		"expected":                             {disk: configured(day, both...), policy: func(p *Policy) { p.Expect = []config.Selector{{Disk: "vm-100-disk-1"}} }, verdict: GuestIncomplete, state: Critical, lacking: []string{"vm-100-disk-1"}},
		"two storages have one of that name":   {disk: configured(day, "zfs:vm-100-disk-0", "fast:vm-100-disk-0"), verdict: GuestIncomplete, state: Warning, lacking: []string{"fast:vm-100-disk-0"}},
		"the other one's storage is ignored":   {disk: configured(day, "fast:vm-100-disk-0", "zfs:vm-100-disk-0"), policy: func(p *Policy) { p.Ignore = []string{"fast:*"} }, verdict: GuestWhole},
		"the other one is expected":            {disk: configured(day, "zfs:vm-100-disk-0", "fast:vm-100-disk-0"), policy: func(p *Policy) { p.Expect = []config.Selector{{Disk: "vm-100-disk-0"}} }, verdict: GuestIncomplete, state: Critical, lacking: []string{"fast:vm-100-disk-0"}},
		"a storage that shares just that name": {disk: configured(day, "zfs:vm-100-disk-0", "lvm:vm-100-disk-0", "lvm:vm-100-disk-1"), policy: func(p *Policy) { p.Ignore = []string{"lvm:vm-100-disk-0"} }, verdict: GuestWhole},
		"this host has the guest":              {disk: func(d *Disk) { configured(day, both...)(d); d.Owned = Owned }, verdict: GuestWhole},
		"it names none of ours":                {disk: configured(day, "zfs:vm-100-disk-7"), verdict: GuestWhole},
	} {
		t.Run(name, func(t *testing.T) {
			p := NewPolicy(config.Default())
			if c.policy != nil {
				c.policy(&p)
			}
			r := Assemble([]Pool{{Name: "tank", ReadAt: now, Disks: []Disk{part(first, zfs.Hourly, minute, c.disk)}}}, p, now).WithGuests(p)
			require.Len(t, r.Guests, 1)
			g := r.Guests[0]
			assert.Equal(t, c.verdict.String(), g.Verdict.String(), g.Reason)
			assert.Equal(t, c.state, g.State)
			assert.Equal(t, c.lacking, g.Lacking)
			assert.Equal(t, "web01", g.Name)
			assert.Empty(t, r.Questions)
			assert.Len(t, Filter{Guests: []string{"web01"}}.Apply(r).Guests, 1)
		})
	}
}

// An owner's answer has precedence over the guest configuration that is kept with snapshots. A disk
// that the owner excludes from snapshots is not reported as lacking.
func TestAKeptConfigurationYields(t *testing.T) {
	p := NewPolicy(config.Default())
	d := part(first, zfs.Hourly, minute, configured(day, "zfs:vm-100-disk-0", "zfs:vm-100-disk-1"))
	n := owning("rpool/data/vm-100-disk-0")
	n.Guests[0].Name = "as it is called now"
	r := Assemble([]Pool{{Name: "tank", ReadAt: now, Disks: []Disk{d}}}, p, now).WithOwners(p, nil, n).WithGuests(p)
	assert.Equal(t, GuestWhole, r.Guests[0].Verdict, r.Guests[0].Reason)
	assert.Equal(t, "as it is called now", r.Guests[0].Name)
	assert.Empty(t, r.Questions)

	p.Maintenance = []config.Maintenance{{Selector: config.Selector{Disk: "tank/x/*"}, Until: now.Add(day)}}
	excluded := part("tank/x/vm-100-disk-1", zfs.Hourly, day)
	r = Assemble([]Pool{{Name: "tank", ReadAt: now, Disks: []Disk{d, excluded}}}, p, now).WithGuests(p)
	assert.Equal(t, GuestWhole, r.Guests[0].Verdict, r.Guests[0].Reason)
}

// If no owner has given a complete answer that is recent enough, check uses the kept configuration
// in addition to the owner's last answer. If both name the same lacking disk, check reports this
// disk once.
func TestAKeptConfigurationStandsInForAnIncompleteAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		change  func(*NodeAnswer)
		disks   []string
		lacking []string
	}{
		"it answers":               {func(*NodeAnswer) {}, nil, nil},
		"silent for a moment":      {func(n *NodeAnswer) { n.Failure, n.At = "refused", ago(minute) }, nil, nil},
		"silent for long":          {func(n *NodeAnswer) { n.Failure, n.At = "refused", ago(20*day) }, nil, []string{"vm-100-disk-1"}},
		"it answered in a future":  {func(n *NodeAnswer) { n.Failure, n.At = "refused", now.Add(365*day) }, nil, []string{"vm-100-disk-1"}},
		"it has not read a pool":   {func(n *NodeAnswer) { n.Unread = []string{"rpool"} }, nil, []string{"vm-100-disk-1"}},
		"both know it":             {func(n *NodeAnswer) { n.Unread = []string{"ssd"} }, []string{"rpool/data/vm-100-disk-1"}, []string{"rpool/data/vm-100-disk-1"}},
		"its last answer knows it": {func(n *NodeAnswer) { n.Failure, n.At = "refused", ago(20*day) }, []string{"rpool/data/vm-100-disk-1"}, []string{"rpool/data/vm-100-disk-1"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := NewPolicy(config.Default())
			p.MaxDataAge = DefaultMaxDataAge
			d := part(first, zfs.Hourly, minute, configured(9*day, "zfs:vm-100-disk-0", "zfs:vm-100-disk-1"))
			n := owning(append([]string{"rpool/data/vm-100-disk-0"}, c.disks...)...)
			c.change(&n)
			r := Assemble([]Pool{{Name: "tank", ReadAt: now, Disks: []Disk{d}}}, p, now).WithOwners(p, nil, n).WithGuests(p)
			assert.Equal(t, c.lacking, r.Guests[0].Lacking)
			assert.Equal(t, "web01", r.Guests[0].Name)
		})
	}
}

// lackingHere returns the disks that guest 100 lacks on this host. The first of the given disks
// keeps the guest's configuration.
func lackingHere(p Policy, disks ...Disk) []string {
	return Assemble([]Pool{{Name: "tank", ReadAt: now, Disks: disks}}, p, now).WithGuests(p).guestOf(disks[0]).Lacking
}

func (r Report) guestOf(d Disk) (g Guest) {
	for _, g = range r.Guests {
		if slices.Contains(g.Disks, d.Dataset) {
			break
		}
	}
	return g
}

// Two kinds of datasets do not count as a disk of the guest: an ignored disk, and a clone that
// somebody made to try something.
func TestWhatIsLeftOutIsNotTheDisk(t *testing.T) {
	p := testPolicy()
	p.Ignore = []string{"old/*"}
	guest := part(first, zfs.Hourly, minute, configured(day, "zfs:vm-100-disk-0", "zfs:vm-100-disk-1"))
	clone := part("tank/start-100/vm-100-disk-1", zfs.Hourly, minute)
	clone.Newest, clone.NewestOfAny, clone.Origin, clone.Owned = nil, "", first+"@"+guest.Newest.Name, NotOwned
	for name, d := range map[string]Disk{"an ignored rest": part("old/vm-100-disk-1", zfs.Hourly, 300*day), "a trial clone": clone} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, []string{"vm-100-disk-1"}, lackingHere(p, guest, d))
			bare := part(first, zfs.Hourly, minute)
			r := Assemble([]Pool{{Name: "tank", ReadAt: now, Disks: []Disk{bare, d}}}, p, now)
			_, others := r.WithOwners(p, nil, owning(first, "tank/vm-100-disk-1")).Absent()
			assert.Equal(t, 1, others)
			e := p
			e.Expect = []config.Selector{{Disk: "vm-100-disk-1"}}
			assert.Equal(t, Critical, Assemble([]Pool{{Name: "tank", ReadAt: now, Disks: []Disk{bare, d}}}, e, now).State())
		})
	}
	live := part("old/vm-100-disk-1", zfs.Hourly, hour)
	e := Evidence{Node: "pve1", Owned: Owned, GUID: 9, Newest: live.Newest, Presence: AsSnapshot, PresenceGUID: live.Newest.GUID, Now: now}
	r := Assemble([]Pool{{Name: "tank", ReadAt: now, Disks: []Disk{part(first, zfs.Hourly, minute), live}}}, p, now)
	_, others := r.WithOwners(p, map[string][]Evidence{live.Dataset: {e}}, owning(first, "tank/vm-100-disk-1")).Absent()
	assert.Zero(t, others, "an ignored copy that the owner knows is the disk")
}

// A guest of another cluster with the same VMID has separate disks, even if their names are
// equal. A guest may use a disk whose name contains another guest's VMID.
func TestWhoseDiskAKeptConfigurationNames(t *testing.T) {
	p := testPolicy()
	other := part("tank/vm-200-disk-0", zfs.Hourly, hour)
	other.VMID = 200
	assert.Empty(t, lackingHere(p, part(first, zfs.Hourly, minute, configured(day, "zfs:vm-100-disk-0", "zfs:vm-200-disk-0")), other))

	p.SeveralClusters = true
	p.OriginOf = func(d string) (string, string) {
		return map[bool]string{true: "A", false: "B"}[zfs.Within(d, "tank/a")], ""
	}
	a := part("tank/a/vm-100-disk-0", zfs.Hourly, minute, configured(day, "zfs:vm-100-disk-0", "zfs:vm-100-disk-1"))
	assert.Equal(t, []string{"vm-100-disk-1"}, lackingHere(p, a, part("tank/b/vm-100-disk-0", zfs.Hourly, hour), part("tank/b/vm-100-disk-1", zfs.Hourly, hour)))
	p.OriginOf = func(d string) (string, string) {
		return map[bool]string{true: "A", false: "B"}[zfs.Within(d, "tank/a")], "rpool/data/" + zfs.Base(d)
	}
	assert.Equal(t, []string{"vm-100-disk-1"}, lackingHere(p, a, part("tank/b/vm-100-disk-1", zfs.Hourly, hour)))
	assert.Empty(t, lackingHere(p, a, part("tank/a/vm-100-disk-1", zfs.Hourly, minute)), "by where it is from")
}

func TestAConfigurationIsAskedForOnceADay(t *testing.T) {
	p := NewPolicy(config.Default())
	ask := func(change ...func(*Disk)) bool {
		r := Assemble([]Pool{{Name: "tank", ReadAt: now, Disks: []Disk{part(first, zfs.Hourly, minute, change...)}}}, p, now).WithGuests(p)
		return len(r.Questions) == 1 && r.Questions[0].Config != nil && r.Questions[0].Config.Dataset == first
	}
	assert.True(t, ask())
	assert.False(t, ask(configured(day)))
	assert.True(t, ask(configured(day), func(d *Disk) { d.Looked.Config.Day = "2026-03-28" }))
	assert.True(t, ask(func(d *Disk) { d.Owned = Owned }), "for its name")
}
