package checker

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"snapwatch/config"
	"snapwatch/internal/zfs"
)

// part returns a disk of guest 100 whose newest snapshot has the given class and age. Each disk has
// its own guid.
func part(dataset string, class zfs.Class, age time.Duration, change ...func(*Disk)) Disk {
	d := aDisk("100", class, age, change...)
	d.Dataset = dataset
	if d.Newest != nil {
		d.Newest.GUID = uint64(len(dataset))*1000 + uint64(age/time.Second) + uint64(dataset[len(dataset)-1])
	}
	return d
}

// lookedUp returns a function that changes a disk: the lookup of the disk's older snapshots has
// found snapshots of the given ages.
func lookedUp(ages ...time.Duration) func(*Disk) {
	return func(d *Disk) {
		d.Looked = &Looked{}
		for _, age := range ages {
			d.Looked.Points = append(d.Looked.Points, *managed(zfs.Hourly, age))
		}
	}
}

// ahead returns a function that changes a disk: the disk's oldest snapshot that the guest's other
// disks lack gets the given age.
func ahead(age time.Duration, ages ...time.Duration) func(*Disk) {
	return func(d *Disk) { lookedUp(ages...)(d); d.Looked.Ahead = ago(age) }
}

func gone(d *Disk)    { d.Gone = true }
func unread(d *Disk)  { d.Problem = "I/O error" }
func damaged(d *Disk) { d.Damaged = "permanent errors" }

func guestOf(t *testing.T, disks ...Disk) (Guest, Report) {
	t.Helper()
	p := NewPolicy(config.Default())
	r := Assemble([]Pool{{Name: "tank", ReadAt: now, Disks: disks}}, p, now).WithGuests(p)
	require.Len(t, r.Guests, 1)
	for i := range disks {
		if disks[i].Looked != nil {
			disks[i].Looked.Among = Among(r.Guests[0].Disks)
		}
	}
	r = Assemble([]Pool{{Name: "tank", ReadAt: now, Disks: disks}}, p, now).WithGuests(p)
	return r.Guests[0], r
}

const (
	first, second, third = "tank/vm-100-disk-0", "fast/vm-100-disk-1", "tank/vm-100-disk-2"
	copied               = "old/vm-100-disk-0"
)

func TestGuestVerdicts(t *testing.T) {
	for name, c := range map[string]struct {
		disks   []Disk
		verdict GuestVerdict
		state   State
		point   time.Duration // the age of the restore point, -1 for none
	}{
		"whole": {[]Disk{part(first, zfs.Hourly, 10*minute), part(second, zfs.Hourly, 10*minute), part(third, zfs.Daily, 10*minute)}, GuestWhole, OK, 10 * minute},
		"one disk has not arrived yet": {
			[]Disk{part(first, zfs.Hourly, 10*minute, lookedUp(25*minute)), part(second, zfs.Hourly, 25*minute, lookedUp())}, GuestWhole, OK, 25 * minute},
		"torn: each is fresh": {
			[]Disk{part(first, zfs.Hourly, 10*minute, ahead(7*hour, 8*hour)), part(second, zfs.Hourly, 30*minute, ahead(7*hour, 8*hour))}, GuestTorn, Critical, 8 * hour},
		"torn beyond warning": {
			[]Disk{part(first, zfs.Hourly, 10*minute, ahead(3*hour, 4*hour)), part(second, zfs.Hourly, 30*minute, ahead(3*hour, 4*hour))}, GuestTorn, Warning, 4 * hour},
		"nothing in common": {
			[]Disk{part(first, zfs.Hourly, 10*minute, lookedUp()), part(second, zfs.Hourly, 30*minute, lookedUp())}, GuestTorn, Critical, -1},
		"a disk that was added has nothing in common yet": {
			[]Disk{part(first, zfs.Hourly, 30*minute, lookedUp()), part(second, zfs.Hourly, 10*minute, lookedUp(), created(12*minute))}, GuestReceiving, OK, -1},
		"off for days, started, and one disk has arrived": {
			[]Disk{part(first, zfs.Hourly, minute, ahead(minute, 3*day)), part(second, zfs.Stopped, 3*day, lookedUp())}, GuestWhole, OK, 3 * day},
		"started long ago, and one disk is still as it was": {
			[]Disk{part(first, zfs.Hourly, minute, ahead(7*hour, 3*day)), part(second, zfs.Stopped, 3*day, lookedUp())}, GuestTorn, Critical, 3 * day},
		"the same, and since when is not known": {
			[]Disk{part(first, zfs.Hourly, minute, lookedUp(3*day)), part(second, zfs.Stopped, 3*day, lookedUp())}, GuestTorn, Critical, 3 * day},
		"not looked up":        {[]Disk{part(first, zfs.Hourly, 10*minute), part(second, zfs.Hourly, 25*minute)}, GuestUnreadable, Unknown, -1},
		"one cannot be read":   {[]Disk{part(first, zfs.Hourly, 10*minute, unread), part(second, zfs.Hourly, 10*minute)}, GuestUnreadable, Unknown, -1},
		"one is gone":          {[]Disk{part(first, zfs.Hourly, 10*minute, gone), part(second, zfs.Hourly, 10*minute)}, GuestIncomplete, Critical, -1},
		"one is damaged":       {[]Disk{part(first, zfs.Hourly, 10*minute, damaged), part(second, zfs.Hourly, 10*minute)}, GuestDamaged, Critical, 10 * minute},
		"stale":                {[]Disk{part(first, zfs.Hourly, 7*hour, lookedUp()), part(second, zfs.Hourly, 10*minute, lookedUp(7*hour))}, GuestStale, Critical, 7 * hour},
		"stale beyond warning": {[]Disk{part(first, zfs.Hourly, 3*hour)}, GuestStale, Warning, 3 * hour},
		"from the future":      {[]Disk{part(first, zfs.Hourly, -day)}, GuestStale, Warning, 0},
		"receiving":            {[]Disk{part(first, zfs.Hourly, 10*minute), part(second, zfs.Hourly, 0, bare, created(hour), func(d *Disk) { d.Receiving = true })}, GuestReceiving, OK, -1},
		"never":                {[]Disk{part(first, zfs.Hourly, 10*minute), part(second, zfs.Hourly, 0, bare, created(7*hour))}, GuestReceiving, Critical, -1},
		"stopped":              {[]Disk{part(first, zfs.Stopped, 3*day), part(second, zfs.Stopped, 3*day)}, GuestStopped, OK, 3 * day},
		"off again, and one disk has not arrived": {
			[]Disk{part(first, zfs.Stopped, minute, ahead(minute, 3*day)), part(second, zfs.Stopped, 3*day, lookedUp())}, GuestWhole, OK, 3 * day},
		"stopped for very long":   {[]Disk{part(first, zfs.Stopped, 31*day), part(second, zfs.Stopped, 31*day)}, GuestStopped, Warning, 31 * day},
		"excluded":                {[]Disk{part("tank/base-100-disk-0", zfs.Hourly, day, func(d *Disk) { d.Template = true })}, GuestExcluded, OK, -1},
		"an excluded disk is out": {[]Disk{part(first, zfs.Hourly, 10*minute), part(second, zfs.Hourly, 9*day, func(d *Disk) { d.NoSnap = zfs.Property{Value: "true", Source: zfs.SourceLocal}; d.Owned = Owned })}, GuestWhole, OK, 10 * minute},
		"an old copy beside the fresh one": {
			[]Disk{part(first, zfs.Hourly, 10*minute), part(copied, zfs.Hourly, 73*hour, func(d *Disk) { d.Looked = &Looked{Same: []string{first}} })}, GuestWhole, OK, 10 * minute},
		"two disks of one name": {
			[]Disk{part(first, zfs.Hourly, 10*minute, lookedUp(73*hour)), part(copied, zfs.Hourly, 73*hour, func(d *Disk) { d.Looked = &Looked{Others: []string{first}} })}, GuestStale, Critical, 73 * hour},
		"two disks of one name, or one": {[]Disk{part(first, zfs.Hourly, 10*minute), part(copied, zfs.Hourly, 10*minute)}, GuestUnreadable, Unknown, 10 * minute},
	} {
		t.Run(name, func(t *testing.T) {
			g, r := guestOf(t, c.disks...)
			assert.Equal(t, c.verdict.String(), g.Verdict.String(), g.Reason)
			assert.Equal(t, c.state, g.State, g.Reason)
			assert.NotEmpty(t, g.Reason)
			if c.point < 0 {
				assert.Nil(t, g.Point)
			} else if assert.NotNil(t, g.Point) {
				assert.Equal(t, c.point, g.Age)
			}
			assert.Equal(t, Worst(g.State, r.Disks[0].State), Worst(r.States()...), "nothing of it is silenced")
		})
	}
}

// Snapshots of a guest's disks form a restore point if their names have the same time; their
// classes do not matter. Snapshots with the same time in their names but with very different
// creation times come from two clocks, and form no restore point.
func TestThePointIsOneTime(t *testing.T) {
	one, other := *managed(zfs.Hourly, hour), *managed(zfs.Daily, hour)
	both := [][]zfs.Snapshot{{*managed(zfs.Hourly, minute), one}, {other, *managed(zfs.Hourly, day)}}
	assert.Equal(t, []zfs.Snapshot{one, other}, CommonPoint(both))
	other.Creation = other.Creation.Add(hour)
	both[1][0] = other
	assert.Nil(t, CommonPoint(both), "the hour that is there twice in autumn")
	assert.Nil(t, CommonPoint(nil))
	g, _ := guestOf(t, part(first, zfs.Hourly, hour, lookedUp()), part(second, zfs.Hourly, hour, lookedUp(), func(d *Disk) { d.Newest.Creation = ago(0) }))
	assert.Nil(t, g.Point)
	third := *managed(zfs.Hourly, hour)
	between, last := third, third
	between.Creation, last.Creation = ago(51*minute), ago(42*minute)
	assert.Nil(t, CommonPoint([][]zfs.Snapshot{{between}, {third}, {last}}))
	g, _ = guestOf(t, part(first, zfs.Hourly, hour, lookedUp(), func(d *Disk) { d.Newest = &between }),
		part(second, zfs.Hourly, hour, lookedUp()), part("tank/vm-100-disk-2", zfs.Hourly, hour, lookedUp(), func(d *Disk) { d.Newest = &last }))
	assert.Nil(t, g.Point, "each is near the first disk's, and two are far apart")
}

// A clock was set back an hour, so one disk has two snapshots of the restore point's time. The
// restore point consists of the snapshots that were made together, whichever disk has two snapshots
// of the restore point's time.
func TestThePointOfATimeThatCameTwice(t *testing.T) {
	at := func(class zfs.Class, created time.Duration, guid uint64) zfs.Snapshot {
		s := *managed(class, hour)
		s.GUID, s.Creation = guid, ago(created)
		return s
	}
	early, late, other := at(zfs.Frequently, 65*minute, 1), at(zfs.Hourly, 5*minute, 2), at(zfs.Frequently, 65*minute, 3)
	for name, lists := range map[string][][]zfs.Snapshot{
		"the first disk":  {{early, late}, {other}},
		"the second disk": {{other}, {early, late}},
		"in any order":    {{other}, {late, early}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, s := range CommonPoint(lists) {
				assert.Equal(t, other.Creation, s.Creation)
			}
			assert.Len(t, CommonPoint(lists), 2)
		})
	}
	one, two := part(first, zfs.Hourly, minute), part(second, zfs.Hourly, minute)
	one.Newest, one.Looked = &late, &Looked{Points: []zfs.Snapshot{early}}
	two.Newest, two.Looked = &other, &Looked{Points: []zfs.Snapshot{other}}
	g, r := guestOf(t, one, two)
	require.NotNil(t, g.Point)
	assert.Equal(t, GuestWhole.String(), g.Verdict.String(), g.Reason)
	for _, d := range ExplainGuest(r, g, false, Volumes{}).Disks {
		assert.Equal(t, other.Creation, d.At.Creation, "the plan clones what was made together")
	}
}

// A clock was set back, so one disk has two snapshots with the same time in their names. If the
// later one of these two snapshots is the disk's newest snapshot, the disk has been ahead of the
// guest's other disks since its newest snapshot was created.
func TestTornByATimeThatCameTwice(t *testing.T) {
	again := *managed(zfs.Hourly, 8*hour)
	again.GUID, again.Creation = 7, ago(7*hour)
	one, two := part(first, zfs.Hourly, hour, ahead(7*hour, 8*hour), func(d *Disk) { d.Newest = &again }), part(second, zfs.Hourly, 8*hour, lookedUp())
	c := guestEvaluation{guestDisks: &guestDisks{serving: []*Result{{Disk: one}, {Disk: two}}}, now: now}
	c.look()
	require.NotNil(t, c.found)
	assert.Equal(t, 7*hour, c.timeApart())
}

func TestTheLimitsOfAGuestAreThoseOfAllItsDisks(t *testing.T) {
	p := NewPolicy(config.Default())
	p.Overrides = []config.Override{{Selector: config.Selector{Disk: "vm-100-disk-1"}, WatchOverride: config.WatchOverride{Warning: config.Duration(day), Critical: config.Duration(2 * day)}}}
	weekly := part(second, zfs.Daily, 20*hour, lookedUp())
	r := Assemble([]Pool{{Disks: []Disk{part(first, zfs.Hourly, minute, ahead(19*hour, 20*hour)), weekly}}}, p, now).WithGuests(p)
	assert.Equal(t, GuestWhole.String(), r.Guests[0].Verdict.String(), r.Guests[0].Reason)
}

func TestGuestsAreOfOneCluster(t *testing.T) {
	c := config.Default()
	c.Sources = []config.Source{{Dataset: "tank/east", Cluster: "east"}, {Dataset: "tank/west", Cluster: "west"}}
	east, west := part("tank/east/vm-100-disk-0", zfs.Hourly, minute), part("tank/west/vm-100-disk-0", zfs.Hourly, 7*hour)
	r := Assemble([]Pool{{Name: "tank", Disks: []Disk{east, west}}}, NewPolicy(c), now).WithGuests(NewPolicy(c))
	require.Len(t, r.Guests, 2)
	assert.Equal(t, "west", r.Guests[0].Cluster)
	assert.Equal(t, GuestStale, r.Guests[0].Verdict)
	assert.Equal(t, GuestWhole, r.Guests[1].Verdict)
	assert.Empty(t, differenceQuestions(r))
}

// differenceQuestions returns those questions of a report that are about the differences between a
// guest's disks.
func differenceQuestions(r Report) []GuestQuestion {
	return slices.DeleteFunc(slices.Clone(r.Questions), func(q GuestQuestion) bool { return len(q.Compare)+len(q.Common) == 0 })
}

// The report asks for older snapshots only for guests whose disks have different newest snapshots.
func TestQuestions(t *testing.T) {
	_, r := guestOf(t, part(first, zfs.Hourly, minute), part(second, zfs.Hourly, minute))
	assert.Empty(t, differenceQuestions(r))
	_, r = guestOf(t, part(first, zfs.Hourly, minute), part(second, zfs.Hourly, 20*minute), part(third, zfs.Hourly, minute))
	require.Len(t, r.Questions, 1)
	assert.Len(t, r.Questions[0].Common, 3)
	assert.False(t, r.Questions[0].Apart)
	_, r = guestOf(t, part(first, zfs.Hourly, minute, lookedUp(day)), part(second, zfs.Stopped, day, lookedUp()))
	assert.True(t, r.Questions[0].Apart)
	_, r = guestOf(t, part(first, zfs.Hourly, minute), part(copied, zfs.Hourly, 20*minute))
	require.Len(t, r.Questions, 1)
	assert.Len(t, r.Questions[0].Compare, 2)
	assert.Empty(t, r.Questions[0].Common, "first which of them are one disk")
}

// A lookup of snapshots of some of a guest's disks proves nothing about the guest's other disks.
func TestNothingInCommonIsOfAllThatWasLookedAt(t *testing.T) {
	one, two := part(first, zfs.Hourly, minute, lookedUp()), part(second, zfs.Hourly, hour, lookedUp())
	one.Looked.Among, two.Looked.Among = Among([]string{first, second, third}), Among([]string{first, second, third})
	r := Assemble([]Pool{{Name: "tank", Disks: []Disk{one, two}}}, NewPolicy(config.Default()), now).WithGuests(NewPolicy(config.Default()))
	assert.Equal(t, GuestUnreadable, r.Guests[0].Verdict)
}

// The last restore point was looked up among more disks than the guest's verdict now depends on.
// The remaining disks have this old restore point in common, but perhaps also a newer one. So an
// old restore point does not prove that the guest is torn.
func TestAPointAmongMoreDisksDoesNotTearAGuest(t *testing.T) {
	judged := func(point time.Duration, among ...string) Guest {
		one, two := part(first, zfs.Hourly, 5*minute, ahead(point, point)), part(second, zfs.Hourly, 20*minute, ahead(point, point))
		one.Looked.Among, two.Looked.Among = Among(among), Among(among)
		return Assemble([]Pool{{Name: "tank", Disks: []Disk{one, two}}}, NewPolicy(config.Default()), now).WithGuests(NewPolicy(config.Default())).Guests[0]
	}
	assert.Equal(t, GuestTorn.String(), judged(8*hour, first, second).Verdict.String())
	assert.Equal(t, GuestUnreadable.String(), judged(8*hour, first, second, third).Verdict.String())
	assert.Equal(t, GuestWhole.String(), judged(hour, first, second, third).Verdict.String(), "it is at least as new")
}

// For any lists of snapshots, the restore point is a time that is in the lists of all disks, and no
// newer time is in all lists.
func TestCommonPointIsTheNewest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lists := make([][]zfs.Snapshot, rapid.IntRange(1, 4).Draw(t, "disks"))
		counts := map[int]int{}
		for i := range lists {
			for _, h := range rapid.SliceOfDistinct(rapid.IntRange(0, 12), rapid.ID[int]).Draw(t, "hours") {
				lists[i] = append(lists[i], *managed(zfs.Hourly, time.Duration(h)*hour))
				counts[h]++
			}
		}
		want := -1
		for h, n := range counts {
			if n == len(lists) && (want < 0 || h < want) {
				want = h
			}
		}
		got := CommonPoint(lists)
		if want < 0 {
			require.Nil(t, got)
			return
		}
		require.Len(t, got, len(lists))
		for _, s := range got {
			require.True(t, s.Creation.Equal(ago(time.Duration(want)*hour)))
		}
	})
}

func TestMoreThatAreNotHere(t *testing.T) {
	for n, want := range map[int]string{1: "", 2: ", nor is another", 3: ", nor are 2 others"} {
		assert.Equal(t, want, andMore(n))
	}
}
