package checker

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"pgregory.net/rapid"

	"snapwatch/config"
	"snapwatch/internal/zfs"
)

const (
	minute = time.Minute
	hour   = time.Hour
	day    = 24 * time.Hour
)

// testPolicy returns the default policy with exceptions for VMIDs from 900.
func testPolicy() Policy {
	c := config.Default()
	p := NewPolicy(c)
	p.MaxDataAge = 10 * minute
	p.Ignore = []string{"tank/scratch/*", "vm-901-disk-*"}
	vmid := func(n int) config.Selector {
		return config.Selector{VMID: config.VMIDs{{First: n, Last: n}}}
	}
	p.Overrides = []config.Override{
		{Selector: vmid(902), Ignore: true},
		{Selector: vmid(903), WatchOverride: config.WatchOverride{Warning: config.Duration(day), Critical: config.Duration(2 * day)}},
		{Selector: vmid(904), WatchOverride: config.WatchOverride{MaxStoppedAge: config.Duration(90 * day), MaxInitialReceive: config.Duration(day)}},
		{Selector: config.Selector{Pool: "slow"}, WatchOverride: config.WatchOverride{Critical: config.Duration(12 * hour)}},
	}
	p.Maintenance = []config.Maintenance{
		{Selector: vmid(905), Until: now.Add(minute)},
		{Selector: vmid(906), Until: now},
	}
	return p
}

// aDisk returns a disk whose newest managed snapshot has the given class and age.
func aDisk(vmid string, class zfs.Class, age time.Duration, change ...func(*Disk)) Disk {
	d := Disk{Dataset: "tank/vm-" + vmid + "-disk-0", GUID: 5, Created: ago(100 * day), Newest: managed(class, age), ReadAt: now, HostClock: now}
	d.NewestOfAny = d.Newest.Name
	d.VMID, _, _ = zfs.ParseDiskName(d.Name())
	for _, c := range change {
		c(&d)
	}
	return d
}

func unlisted(d *Disk) { d.Unlisted = "no time" }

func bare(d *Disk) { d.Newest, d.NewestOfAny = nil, "" }

func clone(owned Ownership) func(*Disk) {
	return func(d *Disk) { d.Origin, d.Owned = "tank/vm-9-disk-0@x", owned }
}

func pending(since time.Duration) func(*Disk) {
	return func(d *Disk) { d.PendingReceive, d.PendingSince = true, ago(since) }
}

func created(age time.Duration) func(*Disk) { return func(d *Disk) { d.Created = ago(age) } }

func TestVerdicts(t *testing.T) {
	label := func(value string, source zfs.Source) zfs.Property { return zfs.Property{Value: value, Source: source} }
	tooYoung := testPolicy()
	tooYoung.Warning = Limit{Range: &Range{Start: 60, End: 7200}, Rule: "-w"}
	trusting := testPolicy()
	trusting.TrustLabel = true
	for name, c := range map[string]struct {
		disk    Disk
		policy  *Policy
		verdict Verdict
		state   State
		rule    string
	}{
		"unreadable: a problem":                      {disk: aDisk("1", zfs.Hourly, minute, func(d *Disk) { d.Problem = "p" }), verdict: Unreadable, state: Unknown},
		"unreadable: before missing":                 {disk: aDisk("1", zfs.Hourly, minute, func(d *Disk) { d.Problem, d.Gone = "p", true }), verdict: Unreadable, state: Unknown},
		"unreadable: read too long ago":              {disk: aDisk("1", zfs.Hourly, minute, func(d *Disk) { d.ReadAt = ago(10*minute + 1) }), verdict: Unreadable, state: Unknown, rule: "two intervals"},
		"unreadable: though stopped":                 {disk: aDisk("1", zfs.Stopped, minute, func(d *Disk) { d.ReadAt = ago(11 * minute) }), verdict: Unreadable, state: Unknown, rule: "two intervals"},
		"unreadable: though ignored":                 {disk: aDisk("901", zfs.Stopped, minute, func(d *Disk) { d.Problem = "p" }), verdict: Unreadable, state: Unknown},
		"read just in time":                          {disk: aDisk("1", zfs.Hourly, minute, func(d *Disk) { d.ReadAt = ago(10 * minute) }), verdict: Fresh, rule: "limits.warning"},
		"unlisted: young enough":                     {disk: aDisk("1", zfs.Hourly, hour, unlisted), verdict: Fresh, rule: "limits.warning"},
		"unlisted: beyond the limit":                 {disk: aDisk("1", zfs.Hourly, 3*hour, unlisted), verdict: Unreadable, state: Unknown},
		"unlisted: stopped and young enough":         {disk: aDisk("1", zfs.Stopped, hour, unlisted), verdict: Stopped, rule: "limits.max_stopped_age"},
		"unlisted: stopped, and perhaps started":     {disk: aDisk("1", zfs.Stopped, 3*hour, unlisted), verdict: Unreadable, state: Unknown},
		"unlisted: from the future":                  {disk: aDisk("1", zfs.Hourly, -hour, unlisted), verdict: Unreadable, state: Unknown},
		"unlisted: what is too young alarms":         {disk: aDisk("1", zfs.Hourly, hour, unlisted), policy: &tooYoung, verdict: Unreadable, state: Unknown},
		"missing":                                    {disk: aDisk("1", zfs.Hourly, minute, func(d *Disk) { d.Gone = true }), verdict: Missing, state: Critical, rule: "seen before"},
		"missing: though nothing was read for long":  {disk: aDisk("1", zfs.Hourly, minute, func(d *Disk) { d.Gone, d.ReadAt = true, ago(day) }), verdict: Missing, state: Critical, rule: "seen before"},
		"missing: a template too":                    {disk: aDisk("1", zfs.Hourly, minute, func(d *Disk) { d.Gone, d.Template = true, true }), verdict: Missing, state: Critical, rule: "seen before"},
		"missing: not if ignored":                    {disk: aDisk("901", zfs.Hourly, minute, func(d *Disk) { d.Gone = true }), verdict: Excluded, rule: "ignore vm-901-disk-*"},
		"receiving: first receive":                   {disk: aDisk("1", zfs.Hourly, 0, bare, created(6*day), func(d *Disk) { d.Receiving = true }), verdict: Receiving, rule: "limits.max_initial_receive"},
		"receiving: before excluded":                 {disk: aDisk("901", zfs.Hourly, 0, bare, created(6*day), func(d *Disk) { d.Receiving = true }), verdict: Receiving, rule: "limits.max_initial_receive"},
		"receiving: too long":                        {disk: aDisk("1", zfs.Hourly, 0, bare, created(8*day), func(d *Disk) { d.Receiving = true }), verdict: Receiving, state: Warning, rule: "limits.max_initial_receive"},
		"receiving: too long by an override":         {disk: aDisk("904", zfs.Hourly, 0, bare, created(2*day), func(d *Disk) { d.Receiving = true }), verdict: Receiving, state: Warning, rule: "overrides[2].max_initial_receive (vmid 904)"},
		"receiving: not with a snapshot":             {disk: aDisk("1", zfs.Hourly, 7*hour, func(d *Disk) { d.Receiving = true }), verdict: Stale, state: Critical, rule: "limits.critical"},
		"excluded: ignore by dataset":                {disk: aDisk("1", zfs.Hourly, day, func(d *Disk) { d.Dataset = "tank/scratch/vm-1-disk-0" }), verdict: Excluded, rule: "ignore tank/scratch/*"},
		"excluded: ignore by disk":                   {disk: aDisk("901", zfs.Hourly, day), verdict: Excluded, rule: "ignore vm-901-disk-*"},
		"excluded: ignore by override":               {disk: aDisk("902", zfs.Hourly, day), verdict: Excluded, rule: "overrides[0].ignore (vmid 902)"},
		"excluded: maintenance":                      {disk: aDisk("905", zfs.Hourly, day), verdict: Excluded, rule: "maintenance (vmid 905) until 2026-03-29T12:01:00Z"},
		"not excluded: maintenance is over":          {disk: aDisk("906", zfs.Hourly, day), verdict: Stale, state: Critical, rule: "limits.critical"},
		"excluded: template":                         {disk: aDisk("1", zfs.Hourly, day, bare, func(d *Disk) { d.Template = true }), verdict: Excluded, rule: "template"},
		"excluded: nosnap":                           {disk: aDisk("1", zfs.Hourly, day, func(d *Disk) { d.NoSnap, d.Owned = label("nosnap", zfs.SourceLocal), Owned }), verdict: Excluded, rule: "label:nosnap=nosnap"},
		"not excluded: nosnap arrived":               {disk: aDisk("1", zfs.Hourly, day, func(d *Disk) { d.NoSnap, d.Owned = label("nosnap", zfs.SourceReceived), NotOwned }), verdict: Stale, state: Critical, rule: "limits.critical"},
		"not excluded: nosnap, and it never came":    {disk: aDisk("1", zfs.Hourly, 0, bare, created(7*hour), func(d *Disk) { d.NoSnap = label("on", zfs.SourceInherited) }), verdict: Never, state: Critical, rule: "limits.critical"},
		"not excluded: nosnap set on a copy":         {disk: aDisk("1", zfs.Hourly, day, func(d *Disk) { d.NoSnap, d.Owned = label("nosnap", zfs.SourceLocal), NotOwned }), verdict: Stale, state: Critical, rule: "limits.critical"},
		"not excluded: whose it is is not known":     {disk: aDisk("1", zfs.Hourly, day, func(d *Disk) { d.NoSnap = label("on", zfs.SourceLocal) }), verdict: Stale, state: Critical, rule: "limits.critical"},
		"excluded: nosnap inherited":                 {disk: aDisk("1", zfs.Hourly, day, func(d *Disk) { d.NoSnap, d.Owned = label("1", zfs.SourceInherited), Owned }), verdict: Excluded, rule: "label:nosnap=1"},
		"excluded: a clone of a copy":                {disk: aDisk("1", zfs.Hourly, 0, bare, created(day), clone(NotOwned)), verdict: Excluded, rule: "clone"},
		"not excluded: a linked clone that is used":  {disk: aDisk("1", zfs.Hourly, 0, bare, created(day), clone(Owned)), verdict: Never, state: Critical, rule: "limits.critical"},
		"not excluded: perhaps it is used":           {disk: aDisk("1", zfs.Hourly, 0, bare, created(day), clone(OwnershipUnknown)), verdict: Never, state: Critical, rule: "limits.critical"},
		"not excluded: a clone that got snapshots":   {disk: aDisk("1", zfs.Hourly, 7*hour, clone(NotOwned)), verdict: Stale, state: Critical, rule: "limits.critical"},
		"excluded: before future":                    {disk: aDisk("901", zfs.Hourly, -day), verdict: Excluded, rule: "ignore vm-901-disk-*"},
		"not excluded: nosnap off":                   {disk: aDisk("1", zfs.Hourly, day, func(d *Disk) { d.NoSnap = label("off", zfs.SourceLocal) }), verdict: Stale, state: Critical, rule: "limits.critical"},
		"never: new":                                 {disk: aDisk("1", zfs.Hourly, 0, bare, created(hour)), verdict: Never, rule: "limits.warning"},
		"never: beyond warning":                      {disk: aDisk("1", zfs.Hourly, 0, bare, created(3*hour)), verdict: Never, state: Warning, rule: "limits.warning"},
		"never: beyond critical":                     {disk: aDisk("1", zfs.Hourly, 0, bare, created(7*hour)), verdict: Never, state: Critical, rule: "limits.critical"},
		"never: only foreign snapshots":              {disk: aDisk("1", zfs.Hourly, 0, func(d *Disk) { d.Newest = nil }), verdict: Never, state: Critical, rule: "limits.critical"},
		"never: though a receive is pending":         {disk: aDisk("1", zfs.Hourly, 0, bare, func(d *Disk) { d.PendingReceive = true }), verdict: Never, state: Critical, rule: "limits.critical"},
		"never: on a clock that went back":           {disk: aDisk("1", zfs.Hourly, 0, bare, created(-day), func(d *Disk) { d.HostClock = ago(-day) }), verdict: Never, state: Warning, rule: "limits.warning"},
		"future":                                     {disk: aDisk("1", zfs.Hourly, -5*minute-1), verdict: Future, state: Warning, rule: "clock skew"},
		"future: stopped":                            {disk: aDisk("1", zfs.Stopped, -6*minute), verdict: Future, state: Warning, rule: "clock skew"},
		"future: within jitter":                      {disk: aDisk("1", zfs.Hourly, -5*minute), verdict: Fresh, rule: "limits.warning"},
		"future: the clock here went back":           {disk: aDisk("1", zfs.Hourly, minute, func(d *Disk) { d.HostClock = ago(-6 * minute) }), verdict: Future, state: Warning, rule: "clock skew"},
		"future: the clock went back, stopped":       {disk: aDisk("1", zfs.Stopped, minute, func(d *Disk) { d.HostClock = ago(-6 * minute) }), verdict: Future, state: Warning, rule: "clock skew"},
		"stale even on a clock that went back":       {disk: aDisk("1", zfs.Hourly, 7*hour, func(d *Disk) { d.HostClock = ago(-6 * minute) }), verdict: Stale, state: Critical, rule: "limits.critical"},
		"stopped":                                    {disk: aDisk("1", zfs.Stopped, 29*day), verdict: Stopped, rule: "limits.max_stopped_age"},
		"stopped: too long":                          {disk: aDisk("1", zfs.Stopped, 31*day), verdict: Stopped, state: Warning, rule: "limits.max_stopped_age"},
		"stopped: long by an override":               {disk: aDisk("904", zfs.Stopped, 31*day), verdict: Stopped, rule: "overrides[2].max_stopped_age (vmid 904)"},
		"stopped: not while a receive is pending":    {disk: aDisk("1", zfs.Stopped, 3*hour, func(d *Disk) { d.PendingReceive = true }), verdict: Stale, state: Warning, rule: "limits.warning"},
		"stopped: a receive has just begun":          {disk: aDisk("1", zfs.Stopped, 20*day, pending(10*minute)), verdict: Stopped, rule: "limits.max_stopped_age"},
		"stopped: a receive up to the warning":       {disk: aDisk("1", zfs.Stopped, 20*day, pending(2*hour)), verdict: Stopped, rule: "limits.max_stopped_age"},
		"stopped: not beyond it":                     {disk: aDisk("1", zfs.Stopped, 20*day, pending(2*hour+1)), verdict: Stale, state: Critical, rule: "limits.critical"},
		"stopped: a receive, by an override":         {disk: aDisk("903", zfs.Stopped, 20*day, pending(23*hour)), verdict: Stopped, rule: "limits.max_stopped_age"},
		"stopped: fresh while a receive is pending":  {disk: aDisk("1", zfs.Stopped, hour, func(d *Disk) { d.PendingReceive = true }), verdict: Fresh, rule: "limits.warning"},
		"stopped: a label is not judged":             {disk: aDisk("1", zfs.Stopped, day, func(d *Disk) { d.Running = label("node1", zfs.SourceReceived) }), verdict: Stopped, rule: "limits.max_stopped_age"},
		"stopped: unless it is trusted":              {disk: aDisk("1", zfs.Stopped, day, func(d *Disk) { d.Running = label("node1", zfs.SourceReceived) }), policy: &trusting, verdict: Stale, state: Critical, rule: "limits.critical"},
		"stopped: an inherited label is not trusted": {disk: aDisk("1", zfs.Stopped, day, func(d *Disk) { d.Running = label("node1", zfs.SourceInherited) }), policy: &trusting, verdict: Stopped, rule: "limits.max_stopped_age"},
		"not stopped: a trusted label grants none":   {disk: aDisk("1", zfs.Hourly, day, func(d *Disk) { d.Running = label("stopped", zfs.SourceReceived) }), policy: &trusting, verdict: Stale, state: Critical, rule: "limits.critical"},
		"stale: warning":                             {disk: aDisk("1", zfs.Hourly, 2*hour+time.Second), verdict: Stale, state: Warning, rule: "limits.warning"},
		"stale: critical":                            {disk: aDisk("1", zfs.Hourly, 6*hour+time.Second), verdict: Stale, state: Critical, rule: "limits.critical"},
		"stale: by an override":                      {disk: aDisk("903", zfs.Hourly, 25*hour), verdict: Stale, state: Warning, rule: "overrides[1].warning (vmid 903)"},
		"stale: a later override adds":               {disk: aDisk("1", zfs.Hourly, 7*hour, func(d *Disk) { d.Dataset = "slow/vm-1-disk-0" }), verdict: Stale, state: Warning, rule: "limits.warning"},
		"fresh":                                      {disk: aDisk("1", zfs.Hourly, 2*hour), verdict: Fresh, rule: "limits.warning"},
		"fresh: by an override":                      {disk: aDisk("903", zfs.Hourly, 23*hour), verdict: Fresh, rule: "overrides[1].warning (vmid 903)"},
		"fresh: of any class but stopped":            {disk: aDisk("1", zfs.Yearly, hour), verdict: Fresh, rule: "limits.warning"},
	} {
		t.Run(name, func(t *testing.T) {
			p := testPolicy()
			if c.policy != nil {
				p = *c.policy
			}
			j := Judge(&c.disk, &p, now)
			assert.Equal(t, c.verdict.String(), j.Verdict.String(), j.Reason)
			assert.Equal(t, c.state.String(), j.State.String(), j.Reason)
			assert.Equal(t, c.rule, j.Limit.Rule)
			assert.NotEmpty(t, j.Reason)
		})
	}
}

func TestTableOfVerdictsIsInItsOwnOrder(t *testing.T) {
	names := map[string]bool{}
	for i, row := range Verdicts() {
		assert.Equal(t, Verdict(i), row.Verdict)
		assert.False(t, names[row.Name], row.Name)
		names[row.Name] = true
		assert.NotEmpty(t, row.Meaning)
		for level := Within; level <= BeyondCritical; level++ {
			assert.NotEmpty(t, row.Colours[level])
			if level > Within {
				assert.GreaterOrEqual(t, row.States[level].severity(), row.States[level-1].severity(), row.Name)
			}
		}
	}
	assert.Equal(t, "no verdict", Verdict(len(names)).String())
}

// judged returns the judgement of a disk by testPolicy at the time now.
func judged(d Disk) Judgement {
	p := testPolicy()
	return Judge(&d, &p, now)
}

// anyDisk draws random facts about a disk, also unlikely facts.
func anyDisk(t *rapid.T) Disk {
	d := Disk{Dataset: rapid.SampledFrom([]string{"tank/vm-1-disk-0", "tank/scratch/vm-1-disk-0", "slow/vm-903-disk-1"}).Draw(t, "dataset")}
	d.VMID, _, _ = zfs.ParseDiskName(d.Name())
	d.Created = ago(time.Duration(rapid.Int64Range(-int64(day), int64(100*day)).Draw(t, "created")))
	if rapid.Bool().Draw(t, "snapshot") {
		class := rapid.SampledFrom(append(zfs.Rotating(), zfs.Stopped)).Draw(t, "class")
		d.Newest = managed(class, time.Duration(rapid.Int64Range(-int64(day), int64(100*day)).Draw(t, "age")))
	}
	d.Template = rapid.Bool().Draw(t, "template")
	d.Receiving = rapid.Bool().Draw(t, "receiving")
	d.PendingReceive = rapid.Bool().Draw(t, "pending")
	d.Gone = rapid.Bool().Draw(t, "gone")
	d.Problem = rapid.SampledFrom([]string{"", "", "", "broken"}).Draw(t, "problem")
	d.Origin = rapid.SampledFrom([]string{"", "tank/vm-9-disk-0@x"}).Draw(t, "origin")
	d.Owned = Ownership(rapid.IntRange(0, 2).Draw(t, "owned"))
	d.NoSnap.Value = rapid.SampledFrom([]string{"", "on"}).Draw(t, "nosnap")
	d.ReadAt = ago(time.Duration(rapid.Int64Range(0, int64(20*minute)).Draw(t, "read")))
	d.HostClock = ago(time.Duration(rapid.Int64Range(-int64(day), int64(day)).Draw(t, "clock")))
	return d
}

func TestEveryDiskHasAVerdictWithItsReason(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := anyDisk(t)
		j := judged(d)
		assert.Equal(t, table[j.Verdict].States[j.Level], j.State)
		assert.NotEmpty(t, j.Reason)
		assert.GreaterOrEqual(t, j.Age, time.Duration(0))
		if j.State == OK && !d.Template && d.NoSnap.Value == "" && j.Verdict != Excluded {
			assert.Empty(t, d.Problem)
			assert.False(t, d.Gone)
		}
	})
}

func TestAnAlarmNeverEndsByGettingOlder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := anyDisk(t)
		if d.Newest == nil {
			return // the age in this verdict is that of the dataset
		}
		later := d
		moved := *d.Newest
		moved.Creation = moved.Creation.Add(-time.Duration(rapid.Int64Range(0, int64(60*day)).Draw(t, "older")))
		later.Newest = &moved
		before, after := judged(d), judged(later)
		if before.Verdict == Future {
			return // an older snapshot is not in the future, and may be fresh
		}
		assert.GreaterOrEqual(t, after.State.severity(), before.State.severity(), "%v, then %v", before, after)
	})
}

func TestAStoppedDiskIsSilentOnlyWhenProved(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := anyDisk(t)
		j := judged(d)
		if j.Verdict != Stopped {
			return
		}
		class, _ := d.Newest.Class()
		assert.Equal(t, zfs.Stopped, class)
		assert.False(t, d.PendingReceive)
		assert.Equal(t, now.Sub(d.Newest.Creation) > 30*day, j.State == Warning)
	})
}

func TestWorst(t *testing.T) {
	assert.Equal(t, OK, Worst())
	assert.Equal(t, Warning, Worst(OK, Warning))
	assert.Equal(t, Unknown, Worst(Warning, Unknown, OK))
	assert.Equal(t, Critical, Worst(Unknown, Critical, Warning))
}

// A disk may have snapshots that are newer than the newest known one. The state of such a disk is
// OK only if the state would be OK with any newer snapshots.
func TestABoundSilencesNothing(t *testing.T) {
	classes := append(zfs.Rotating(), zfs.Stopped)
	rapid.Check(t, func(t *rapid.T) {
		p := testPolicy()
		p.TrustLabel = rapid.Bool().Draw(t, "trust")
		limit := rapid.SampledFrom([]Range{{End: 7200}, {Start: 60, End: 7200}, {Start: 600, End: 1200, Inside: true}})
		p.Warning.Range, p.Critical.Range = new(limit.Draw(t, "warning")), new(limit.Draw(t, "critical"))
		p.MaxStoppedAge.Range.End = float64(rapid.IntRange(600, 9000).Draw(t, "max stopped"))
		age := rapid.IntRange(-600, 9000).Draw(t, "age")
		known := aDisk("1", rapid.SampledFrom(classes).Draw(t, "class"), time.Duration(age)*time.Second, unlisted)
		known.PendingReceive = rapid.Bool().Draw(t, "pending")
		known.Running = zfs.Property{Value: "a", Source: zfs.SourceLocal}
		truth := known
		truth.Unlisted = ""
		truth.Newest = managed(rapid.SampledFrom(classes).Draw(t, "class after"), time.Duration(rapid.IntRange(min(age, 0), max(age, 0)).Draw(t, "age after"))*time.Second)
		if said, is := Judge(&known, &p, now), Judge(&truth, &p, now); said.State == OK && is.State != OK {
			t.Fatalf("said %s (%s), and it is %s (%s)", said.Verdict, said.Reason, is.Verdict, is.Reason)
		}
	})
}
