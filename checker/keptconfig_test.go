package checker

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/config"
	"snapwatch/internal/zfs"
)

// configured says what is kept of the guest's configuration, since when.
func configured(since time.Duration, volumes ...string) func(*Disk) {
	return func(d *Disk) {
		d.Looked = &Looked{Config: &KeptConfig{Day: DayOf(d.Newest.Name), Sum: "1", Name: "web01", Volumes: volumes, Since: ago(since)}}
	}
}

// Where no owner answers, what is kept with the snapshots says what a guest is called and what
// it needs.
func TestWhatAKeptConfigurationNames(t *testing.T) {
	both := []string{"zfs:vm-100-disk-0", "zfs:vm-100-disk-1"}
	for name, c := range map[string]struct {
		disk    func(*Disk)
		policy  func(*Policy)
		verdict GuestVerdict
		state   State
		lacking []string
	}{
		"all is here":           {disk: configured(day, both[0]), verdict: GuestWhole},
		"a disk is not":         {disk: configured(day, both...), verdict: GuestIncomplete, state: Warning, lacking: []string{"vm-100-disk-1"}},
		"it is new":             {disk: configured(hour, both...), verdict: GuestWhole},
		"on another storage":    {disk: configured(day, both[0], "ceph:vm-100-disk-1"), verdict: GuestWhole},
		"ignored":               {disk: configured(day, both...), policy: func(p *Policy) { p.Ignore = []string{"vm-100-disk-1"} }, verdict: GuestWhole},
		"expected":              {disk: configured(day, both...), policy: func(p *Policy) { p.Expect = []config.Selector{{Disk: "vm-100-disk-1"}} }, verdict: GuestIncomplete, state: Critical, lacking: []string{"vm-100-disk-1"}},
		"it names none of ours": {disk: configured(day, "zfs:vm-100-disk-7"), verdict: GuestWhole},
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

// An owner's answer counts for more, whatever is kept; and an excluded disk is not missed.
func TestAKeptConfigurationYields(t *testing.T) {
	p := NewPolicy(config.Default())
	d := part(first, zfs.Hourly, minute, configured(day, "zfs:vm-100-disk-0", "zfs:vm-100-disk-1"))
	n := owning("rpool/data/vm-100-disk-0")
	n.Guests[0].Name = "as it is called now"
	r := Assemble([]Pool{{Name: "tank", ReadAt: now, Disks: []Disk{d}}}, p, now).WithOwners(p, nil, n).WithGuests(p)
	assert.Equal(t, GuestWhole, r.Guests[0].Verdict, r.Guests[0].Reason)
	assert.Equal(t, "as it is called now", r.Guests[0].Name)
	assert.Empty(t, r.Questions)

	p.Ignore = []string{"tank/x/*"}
	excluded := part("tank/x/vm-100-disk-1", zfs.Hourly, day)
	r = Assemble([]Pool{{Name: "tank", ReadAt: now, Disks: []Disk{d, excluded}}}, p, now).WithGuests(p)
	assert.Equal(t, GuestWhole, r.Guests[0].Verdict, r.Guests[0].Reason)
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
	assert.False(t, ask(func(d *Disk) { d.Owned = Owned }), "this host's own")
}
