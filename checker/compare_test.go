package checker

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"pgregory.net/rapid"

	"snapwatch/config"
	"snapwatch/internal/zfs"
)

// says returns the evidence of a node that owns the disk. The argument newest is the node's newest
// snapshot of the disk.
func says(newest *zfs.Snapshot, change ...func(*Evidence)) Evidence {
	e := Evidence{Node: "a", Owned: Owned, Dataset: "rpool/data/vm-1-disk-0", GUID: 99, Newest: newest, Presence: AsSnapshot, PresenceGUID: 7}
	for _, c := range change {
		c(&e)
	}
	return e
}

// ownersSnapshot returns a managed snapshot that the owner has and the replica does not.
func ownersSnapshot(class zfs.Class, age time.Duration) *zfs.Snapshot {
	s := managed(class, age)
	s.GUID = 8
	return s
}

func presence(h Presence, guid uint64) func(*Evidence) {
	return func(e *Evidence) { e.Presence, e.PresenceGUID = h, guid }
}

func readBefore(age time.Duration) func(*Evidence) {
	return func(e *Evidence) { e.ReadAt, e.Now = ago(age), now }
}

func node(name string, owned Ownership, change ...func(*Evidence)) Evidence {
	e := Evidence{Node: name, Owned: owned}
	for _, c := range change {
		c(&e)
	}
	return e
}

func TestCompare(t *testing.T) {
	fresh, stopped := aDisk("1", zfs.Hourly, hour), aDisk("1", zfs.Stopped, 3*day)
	no := node("b", NotOwned)
	gone := func(e *Evidence) { e.Gone, e.Dataset = true, "rpool/data/vm-1-disk-0" }
	excluded := func(e *Evidence) { e.Excluded = "label:nosnap=on" }
	lives := func(since time.Duration) func(*Evidence) {
		return func(e *Evidence) { e.Alive, e.AliveSince, e.Now = true, ago(since), now }
	}
	for name, c := range map[string]struct {
		disk    Disk
		verdict Verdict
		nodes   []Evidence
		outcome Outcome
		state   State
		reason  string
		rule    string
		proven  bool
	}{
		"in sync: the same newest":                   {disk: fresh, nodes: []Evidence{says(fresh.Newest), no}, outcome: InSync, reason: "the newest of a", rule: "limits.warning"},
		"in sync: newer within the limit":            {disk: fresh, nodes: []Evidence{says(ownersSnapshot(zfs.Hourly, 0))}, outcome: InSync, reason: "1h behind", rule: "limits.warning"},
		"in sync: by an override":                    {disk: aDisk("903", zfs.Hourly, 20*hour), verdict: Fresh, nodes: []Evidence{says(ownersSnapshot(zfs.Hourly, 0))}, outcome: InSync, rule: "overrides[1].warning (vmid 903)"},
		"stopped: proven":                            {disk: stopped, verdict: Stopped, nodes: []Evidence{says(stopped.Newest)}, outcome: InSync, proven: true, rule: "limits.warning"},
		"stopped: not proven by a newer one":         {disk: stopped, verdict: Stopped, nodes: []Evidence{says(ownersSnapshot(zfs.Stopped, 3*day-hour))}, outcome: InSync, rule: "limits.warning"},
		"fresh is nothing to prove":                  {disk: fresh, verdict: Fresh, nodes: []Evidence{says(fresh.Newest)}, outcome: InSync, rule: "limits.warning"},
		"lagging: replication died while it was off": {disk: stopped, verdict: Stopped, nodes: []Evidence{says(ownersSnapshot(zfs.Hourly, 0), presence(AsBookmark, 7)), no}, outcome: Lagging, state: Critical, reason: "3d behind", rule: "limits.critical"},
		"lagging: warning":                           {disk: aDisk("1", zfs.Stopped, 3*hour), verdict: Stopped, nodes: []Evidence{says(ownersSnapshot(zfs.Hourly, 0))}, outcome: Lagging, state: Warning, reason: "limit 2h, limits.warning", rule: "limits.warning"},
		"lagging: and cannot continue":               {disk: stopped, verdict: Stopped, nodes: []Evidence{says(ownersSnapshot(zfs.Hourly, 0), presence(Absent, 0))}, outcome: Lagging, state: Critical, reason: "gone and has no bookmark", rule: "limits.critical"},
		"read before: the same newest":               {disk: fresh, nodes: []Evidence{says(fresh.Newest, readBefore(8*minute))}, outcome: InSync, reason: "the newest of a, too, as a read it 8m ago", rule: "limits.warning"},
		"read before: ours was made after it":        {disk: aDisk("1", zfs.Hourly, minute), nodes: []Evidence{says(ownersSnapshot(zfs.Hourly, hour), presence(Absent, 0), readBefore(8*minute))}, outcome: OwnerUnreadable, state: Unknown, reason: "does not have"},
		"read before: ours was made before it":       {disk: fresh, nodes: []Evidence{says(ownersSnapshot(zfs.Hourly, 5*hour), presence(Absent, 0), readBefore(8*minute))}, outcome: Diverged, state: Critical, reason: "is not newer, as a read it 8m ago"},
		"diverged: the owner was rolled back":        {disk: fresh, nodes: []Evidence{says(ownersSnapshot(zfs.Hourly, 5*hour), presence(Absent, 0))}, outcome: Diverged, state: Critical, reason: "does not have"},
		"diverged: two of the same second":           {disk: fresh, nodes: []Evidence{says(ownersSnapshot(zfs.Daily, hour), presence(Absent, 0))}, outcome: Diverged, state: Critical, reason: "is not newer"},
		"diverged: the name with another guid":       {disk: fresh, nodes: []Evidence{says(ownersSnapshot(zfs.Hourly, 0), presence(AsSnapshot, 6))}, outcome: Diverged, state: Critical, reason: "another snapshot"},
		"diverged: the bookmark with another guid":   {disk: fresh, nodes: []Evidence{says(ownersSnapshot(zfs.Hourly, 0), presence(AsBookmark, 6))}, outcome: Diverged, state: Critical, reason: "another bookmark"},
		"not diverged: newer, and the owner has it":  {disk: fresh, nodes: []Evidence{says(ownersSnapshot(zfs.Hourly, 2*hour))}, outcome: InSync, rule: "limits.warning"},
		"not diverged: older, and the owner lost it": {disk: fresh, nodes: []Evidence{says(ownersSnapshot(zfs.Hourly, 0), presence(Absent, 0))}, outcome: InSync, rule: "limits.warning"},
		"diverged: the owner never had it":           {disk: aDisk("1", zfs.Hourly, minute), nodes: []Evidence{says(ownersSnapshot(zfs.Hourly, 0), presence(Absent, 0), func(e *Evidence) { e.NeverHad = true })}, outcome: Diverged, state: Critical, reason: "a never had autosnap_2026-03-29_11:59:00_hourly: does something make snapshots on this copy, such as sanoid?"},
		"after failover: the other node owns it":     {disk: stopped, verdict: Stopped, nodes: []Evidence{node("a", NotOwned, func(e *Evidence) { e.ConfiguredOn = "b" }), says(ownersSnapshot(zfs.Hourly, 0), func(e *Evidence) { e.Node = "b" })}, outcome: Lagging, state: Critical, reason: "of b", rule: "limits.critical"},
		"one owner, another node is down":            {disk: fresh, nodes: []Evidence{says(fresh.Newest), {Node: "b", Failure: "refused"}}, outcome: InSync, rule: "limits.warning"},
		"one owner, another node does not know":      {disk: fresh, nodes: []Evidence{says(fresh.Newest), node("b", OwnershipUnknown)}, outcome: InSync, rule: "limits.warning"},
		"two owners":                                 {disk: fresh, nodes: []Evidence{says(fresh.Newest), says(fresh.Newest, func(e *Evidence) { e.Node = "b" })}, outcome: TwoOwners, state: Unknown, reason: "a, b each say"},
		"two, but one says that it is a replica":     {disk: fresh, nodes: []Evidence{says(fresh.Newest), says(fresh.Newest, func(e *Evidence) { e.Replica = true })}, outcome: InSync, rule: "limits.warning"},
		"a replica is not an owner":                  {disk: fresh, nodes: []Evidence{says(fresh.Newest, func(e *Evidence) { e.Replica = true })}, outcome: NoOwner, state: Unknown, reason: "is itself a replica"},
		"this host is not an owner":                  {disk: fresh, nodes: []Evidence{says(fresh.Newest, func(e *Evidence) { e.GUID = 5 })}, outcome: NoOwner, state: Unknown, reason: "is itself a replica"},
		"no owner: on a node that is not listed":     {disk: fresh, nodes: []Evidence{no, node("a", NotOwned, func(e *Evidence) { e.ConfiguredOn = "d" })}, outcome: NoOwner, state: Unknown, reason: "guest 1 is on d"},
		"no owner: a node does not know":             {disk: fresh, nodes: []Evidence{no, node("a", OwnershipUnknown, func(e *Evidence) { e.Why = "pmxcfs" })}, outcome: NoOwner, state: Unknown, reason: "has guest 1: a: pmxcfs"},
		"unreachable":                                {disk: fresh, nodes: []Evidence{no, {Node: "a", Failure: "refused"}}, outcome: OwnerUnreachable, state: Unknown, reason: "a: refused"},
		"unreachable: though it said yes":            {disk: fresh, nodes: []Evidence{says(fresh.Newest, func(e *Evidence) { e.Failure = "cut" })}, outcome: OwnerUnreachable, state: Unknown, reason: "a: cut"},
		"unreadable: its pool":                       {disk: fresh, nodes: []Evidence{says(fresh.Newest, func(e *Evidence) { e.Problem = "pool rpool is suspended" })}, outcome: OwnerUnreadable, state: Unknown, reason: "a: pool rpool is suspended"},
		"unreadable: no managed snapshot":            {disk: fresh, nodes: []Evidence{says(nil)}, outcome: OwnerUnreadable, state: Unknown, reason: "a has no managed snapshot of rpool/data/vm-1-disk-0"},
		"unreadable: it does not say what it holds":  {disk: fresh, nodes: []Evidence{says(ownersSnapshot(zfs.Hourly, 0), presence(PresenceUnknown, 0))}, outcome: OwnerUnreadable, state: Unknown, reason: "does not say"},
		"orphaned":                                          {disk: stopped, verdict: Stopped, nodes: []Evidence{no, node("a", NotOwned, presence(AsSnapshot, 7))}, outcome: OutcomeOrphaned, state: Warning, reason: "no node has guest 1 any more (2 asked), and a had this disk: look before you remove it"},
		"orphaned: a bookmark is left":                      {disk: stopped, verdict: Stopped, nodes: []Evidence{node("a", NotOwned, presence(AsBookmark, 7))}, outcome: OutcomeOrphaned, state: Warning, reason: "a had this disk"},
		"orphaned: a template of another node":              {disk: stopped, verdict: Stopped, nodes: []Evidence{no, node("a", NotOwned, gone, func(e *Evidence) { e.Template = true })}, outcome: OutcomeOrphaned, state: Warning, reason: "a had this disk"},
		"not orphaned: strangers say no":                    {disk: stopped, verdict: Stopped, nodes: []Evidence{no, node("a", NotOwned, gone)}, outcome: NoOwner, state: Unknown, reason: "no node has guest 1 (2 asked), and none is known to have had this disk: was the guest deleted"},
		"not orphaned: the name with another guid":          {disk: fresh, nodes: []Evidence{node("a", NotOwned, presence(AsSnapshot, 6))}, outcome: NoOwner, state: Unknown, reason: "none is known"},
		"not orphaned: only a replica holds it":             {disk: fresh, nodes: []Evidence{no, node("c", NotOwned, presence(AsSnapshot, 7), func(e *Evidence) { e.Replica = true })}, outcome: NoOwner, state: Unknown, reason: "(1 asked)"},
		"orphaned: a replica has no say":                    {disk: fresh, nodes: []Evidence{node("a", NotOwned, presence(AsSnapshot, 7)), node("c", NotOwned, func(e *Evidence) { e.Replica = true })}, outcome: OutcomeOrphaned, state: Warning, reason: "(1 asked)"},
		"orphaned: gone at its owner":                       {disk: stopped, verdict: Stopped, nodes: []Evidence{node("a", Owned, gone)}, outcome: OutcomeOrphaned, state: Warning, reason: "rpool/data/vm-1-disk-0 is gone on a, which has guest 1: look before you remove it, or put it under ignore:"},
		"orphaned: a template":                              {disk: stopped, verdict: Stopped, nodes: []Evidence{node("a", Owned, gone, func(e *Evidence) { e.Template = true })}, outcome: OutcomeOrphaned, state: Warning, reason: "guest 1 is a template on a now"},
		"orphaned: though it never had a snapshot":          {disk: aDisk("1", zfs.Hourly, 0, bare), verdict: Never, nodes: []Evidence{node("a", Owned, gone)}, outcome: OutcomeOrphaned, state: Warning, reason: "is gone on a"},
		"not orphaned: gone on a node that is not an owner": {disk: stopped, verdict: Stopped, nodes: []Evidence{node("a", NotOwned, gone, func(e *Evidence) { e.ConfiguredOn = "b" })}, outcome: NoOwner, state: Unknown},
		"excluded by its owner":                             {disk: fresh, nodes: []Evidence{says(ownersSnapshot(zfs.Hourly, -day), excluded)}, outcome: OutcomeExcluded, reason: "a takes no snapshots of the disk: label:nosnap=on"},
		"excluded: never had one":                           {disk: aDisk("1", zfs.Hourly, 0, bare), verdict: Never, nodes: []Evidence{says(nil, excluded)}, outcome: OutcomeExcluded},
		"not excluded by another node":                      {disk: fresh, nodes: []Evidence{says(fresh.Newest), node("b", NotOwned, excluded)}, outcome: InSync, rule: "limits.warning"},
		"stopped: lives since a moment ago":                 {disk: stopped, verdict: Stopped, nodes: []Evidence{says(stopped.Newest, lives(minute))}, outcome: InSync, reason: "guest 1 runs on a for 1m, but its newest snapshot there is still autosnap_2026-03-26_12:00:00_stopped", rule: "limits.warning"},
		"stopped: lives beyond the warning":                 {disk: stopped, verdict: Stopped, nodes: []Evidence{says(stopped.Newest, lives(3*hour))}, outcome: Lagging, state: Warning, reason: "runs on a for 3h", rule: "limits.warning"},
		"stopped: lives beyond the critical":                {disk: stopped, verdict: Stopped, nodes: []Evidence{says(stopped.Newest, lives(7*hour), func(e *Evidence) { e.Unregistered = true })}, outcome: Lagging, state: Critical, reason: "nothing starts snap there", rule: "limits.critical"},
		"stopped: lives, not known since":                   {disk: stopped, verdict: Stopped, nodes: []Evidence{says(stopped.Newest, lives(0), func(e *Evidence) { e.AliveSince = time.Time{} })}, outcome: Lagging, state: Critical, reason: "runs on a for 3d", rule: "limits.critical"},
		"stopped: lives since before it":                    {disk: stopped, verdict: Stopped, nodes: []Evidence{says(stopped.Newest, lives(9*day))}, outcome: Lagging, state: Critical, reason: "runs on a for 3d", rule: "limits.critical"},
		"stopped: lives, and newer ones come":               {disk: stopped, verdict: Stopped, nodes: []Evidence{says(ownersSnapshot(zfs.Hourly, 3*day-hour), lives(9*day))}, outcome: InSync, rule: "limits.warning"},
		"not compared: excluded":                            {disk: fresh, verdict: Excluded, nodes: []Evidence{says(ownersSnapshot(zfs.Hourly, -day))}, outcome: NotCompared},
		"not compared: missing":                             {disk: fresh, verdict: Missing, nodes: []Evidence{no}, outcome: NotCompared},
		"not compared: nothing here":                        {disk: aDisk("1", zfs.Hourly, 0, bare), verdict: Never, nodes: []Evidence{says(fresh.Newest)}, outcome: NotCompared},
		"nobody was asked":                                  {disk: fresh, outcome: NoOwner, state: Unknown},
	} {
		t.Run(name, func(t *testing.T) {
			if c.verdict == Unreadable {
				c.verdict = Fresh
			}
			got := Compare(c.disk, c.verdict, testPolicy(), c.nodes)
			assert.Equal(t, c.outcome.String(), got.Outcome.String(), got.Reason)
			assert.Equal(t, c.state.String(), got.State.String(), got.Reason)
			assert.Contains(t, got.Reason, c.reason)
			assert.NotEmpty(t, got.Reason)
			assert.Equal(t, c.rule, got.Limit.Rule)
			assert.Equal(t, c.proven, got.Proven)
		})
	}
}

func TestTableOfOutcomesIsInItsOwnOrder(t *testing.T) {
	for i, row := range Outcomes() {
		assert.Equal(t, Outcome(i), row.Outcome)
		assert.NotEmpty(t, row.Name)
		assert.NotEmpty(t, row.Meaning)
	}
}

func anyEvidence(t *rapid.T) Evidence {
	e := Evidence{Node: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "node")}
	e.Failure = rapid.SampledFrom([]string{"", "", "refused"}).Draw(t, "failure")
	e.Owned = Ownership(rapid.IntRange(0, 2).Draw(t, "owned"))
	e.Replica = rapid.Bool().Draw(t, "replica")
	e.ConfiguredOn = rapid.SampledFrom([]string{"", "d"}).Draw(t, "on")
	e.Problem = rapid.SampledFrom([]string{"", "", "broken"}).Draw(t, "problem")
	e.Presence = Presence(rapid.IntRange(0, 3).Draw(t, "held"))
	e.PresenceGUID = rapid.SampledFrom([]uint64{0, 7, 8}).Draw(t, "guid")
	e.Gone = rapid.Bool().Draw(t, "gone")
	e.Template = rapid.Bool().Draw(t, "template")
	e.Excluded = rapid.SampledFrom([]string{"", "", "label:nosnap=on"}).Draw(t, "excluded")
	e.Alive = rapid.Bool().Draw(t, "alive")
	e.Unregistered = rapid.Bool().Draw(t, "unregistered")
	if rapid.Bool().Draw(t, "snapshot") {
		e.Newest = managed(zfs.Hourly, time.Duration(rapid.Int64Range(-int64(day), int64(100*day)).Draw(t, "age")))
		e.Newest.GUID = rapid.SampledFrom([]uint64{7, 8}).Draw(t, "newest guid")
	}
	return e
}

// The answers of nodes must not improve the state of a disk or of the report. There are two
// exceptions: a disk of which the owner takes no snapshots, and a disk that the owner does not use
// any more.
func TestAComparisonNeverMakesAStateBetter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := anyDisk(t)
		nodes := rapid.SliceOfN(rapid.Custom(anyEvidence), 0, 4).Draw(t, "nodes")
		p := testPolicy()
		before := Assemble([]Pool{{Name: zfs.Pool(d.Dataset), ReadAt: now, Disks: []Disk{d}}}, p, now)
		after := before.WithOwners(p, map[string][]Evidence{d.Dataset: nodes})
		switch outcome := after.Disks[0].Compared.Outcome; {
		case after.Disks[0].Verdict == Orphaned:
			assert.Contains(t, []Verdict{Stale, Never}, before.Disks[0].Verdict)
			assert.Equal(t, OutcomeOrphaned, outcome)
			assert.Equal(t, Warning, after.Disks[0].State)
			return
		case outcome == OutcomeExcluded:
			assert.Equal(t, Excluded, after.Disks[0].Verdict)
			assert.Equal(t, OK, after.Disks[0].State)
			return
		case before.Disks[0].Verdict == Stopped && after.Disks[0].Compared.Alive:
			assert.Contains(t, []Verdict{Fresh, Stale}, after.Disks[0].Verdict, "its guest lives: it is not stopped")
			return
		}
		assert.GreaterOrEqual(t, after.State().severity(), before.State().severity())
		assert.GreaterOrEqual(t, after.Disks[0].State.severity(), before.Disks[0].State.severity())
		assert.Equal(t, before.Disks[0].Verdict, after.Disks[0].Verdict, "the local verdict stands")
		assert.Nil(t, before.Disks[0].Compared, "the report it was made from is as before")
		c := after.Disks[0].Compared
		assert.NotEmpty(t, c.Reason)
		assert.Contains(t, outcomes[c.Outcome].States, c.State)
		if c.Proven {
			assert.Equal(t, Stopped, after.Disks[0].Verdict)
		}
	})
}

func TestAComparisonIsToldApartFromTheVerdict(t *testing.T) {
	dead, proven, off := aDisk("1", zfs.Stopped, 3*day), aDisk("2", zfs.Stopped, day), aDisk("3", zfs.Stopped, day)
	pools := []Pool{{Name: "tank", ReadAt: now, Disks: []Disk{dead, proven, off, aDisk("4", zfs.Hourly, hour)}}}
	p := NewPolicy(config.Default())
	r := Assemble(pools, p, now).WithGuests(p)
	assert.Equal(t, "1 of 4 guests whole, 1 of 4 disks fresh, oldest vm-4-disk-0 1h (limit 2h); 3 stopped (unproven)", r.Summary())
	r = r.WithOwners(p, map[string][]Evidence{
		dead.Dataset:            {says(ownersSnapshot(zfs.Hourly, 0))},
		proven.Dataset:          {says(proven.Newest)},
		off.Dataset:             {says(ownersSnapshot(zfs.Stopped, day-hour))},
		"tank/vm-4-disk-0":      {says(ownersSnapshot(zfs.Hourly, 0))},
		"tank/nobody-asked-for": nil,
	}).WithGuests(p)
	assert.Equal(t, "1 of 4 disks lagging, oldest vm-4-disk-0 1h (limit 2h); 1 stopped, 1 stopped (unproven)", r.Summary())
	assert.Equal(t, "stopped, lagging 3d (limit 6h)", r.Disks[0].Brief())
	assert.Contains(t, r.Disks[0].FullReason(), "; lagging: 3d behind autosnap_2026-03-29_12:00:00_hourly of a (limit 6h, limits.critical)")
	assert.Equal(t, 2, r.Unproven())
	assert.Equal(t, 3*day, r.Laggard().Compared.Lag)
	doc := r.Document().Disks[0].Compared
	assert.Equal(t, &ComparisonDocument{Outcome: "lagging", State: "CRITICAL", Owner: "a", LagSeconds: 259200, Limit: "21600", Rule: "limits.critical", Reason: doc.Reason}, doc)
}

// The range "10:" alerts for values below 10, but must not alert for the lag 0 of a copy that is
// equal to its source.
func TestBeingEqualIsNeverALag(t *testing.T) {
	p := testPolicy()
	p.Warning = Limit{Range: &Range{Start: 10, End: math.Inf(1)}, Rule: "-w"}
	d := aDisk("1", zfs.Hourly, hour)
	assert.Equal(t, InSync, Compare(d, Fresh, p, []Evidence{says(d.Newest)}).Outcome)
	assert.Equal(t, Lagging, Compare(d, Fresh, p, []Evidence{says(ownersSnapshot(zfs.Hourly, hour-5*time.Second))}).Outcome)
}

// The lag of a copy is the time for which the owner has had newer snapshots: the copy of a guest
// that was off for months and has just started does not lag by months.
func TestLagIsHowLongTheReplicaHasBeenBehind(t *testing.T) {
	off := aDisk("1", zfs.Stopped, 90*day)
	since := func(ago time.Duration) func(*Evidence) {
		return func(e *Evidence) { e.Now, e.BehindSince = now.Add(hour), now.Add(hour-ago) } // the owner's clock is ahead
	}
	for name, c := range map[string]struct {
		node    Evidence
		outcome Outcome
		state   State
		lag     time.Duration
		reason  string
	}{
		"since a moment ago":                        {says(ownersSnapshot(zfs.Hourly, 0), since(time.Minute)), InSync, OK, time.Minute, "for 1m"},
		"beyond the warning limit":                  {says(ownersSnapshot(zfs.Hourly, 0), since(3*hour)), Lagging, Warning, 3 * hour, "for 3h (limit 2h, limits.warning)"},
		"beyond the critical limit":                 {says(ownersSnapshot(zfs.Hourly, 0), since(7*hour)), Lagging, Critical, 7 * hour, "for 7h"},
		"though the newest is older than that, too": {says(ownersSnapshot(zfs.Stopped, 89*day), since(89*day)), Lagging, Critical, 89 * day, "for 89d"},
		"a clock that went back":                    {says(ownersSnapshot(zfs.Hourly, 0), since(-hour)), InSync, OK, 0, "for 0s"},
		"not known":                                 {says(ownersSnapshot(zfs.Hourly, 0)), Lagging, Critical, 90 * day, "90d behind"},
	} {
		t.Run(name, func(t *testing.T) {
			got := Compare(off, Stopped, NewPolicy(config.Default()), []Evidence{c.node})
			assert.Equal(t, c.outcome, got.Outcome, got.Reason)
			assert.Equal(t, c.state, got.State)
			assert.Equal(t, c.lag, got.Lag)
			assert.Contains(t, got.Reason, c.reason)
		})
	}
}

// A disk of this host's own guest has no owner on another host. A copy with the VMID of a guest of
// this host has an owner on another host. A disk also has an owner on another host if another node
// says, or said in its last answer, that the disk's guest is that node's own.
func TestOwnGuestsAreNotCompared(t *testing.T) {
	d := aDisk("100", zfs.Hourly, minute)
	d.Owned = Owned
	theirs := Evidence{Node: "a", Owned: Owned, GUID: 9, Newest: d.Newest, Presence: AsSnapshot, PresenceGUID: d.Newest.GUID, Now: now}
	wasTheirs := theirs
	wasTheirs.Failure = "refused"
	for name, c := range map[string]struct {
		change  func(*config.Config)
		nodes   []Evidence
		outcome Outcome
	}{
		"nobody else has it":            {nil, []Evidence{{Node: "a", Owned: NotOwned, Gone: true}}, NotCompared},
		"it is known to be on this one": {nil, []Evidence{{Node: "a", Owned: NotOwned, ConfiguredOn: "c"}}, NotCompared},
		"the other one is silent":       {nil, []Evidence{{Node: "a", Failure: "refused"}}, NotCompared},
		"another one has it":            {nil, []Evidence{theirs}, InSync},
		"another one had it":            {nil, []Evidence{wasTheirs}, OwnerUnreachable},
		"a copy under replicas:":        {func(c *config.Config) { c.Replicas = []string{"tank"} }, []Evidence{{Node: "a", Owned: NotOwned}}, NoOwner},
		"a copy under sources:":         {func(c *config.Config) { c.Sources = []config.Source{{Dataset: "tank", Cluster: "a"}} }, []Evidence{{Node: "a", Owned: NotOwned}}, NoOwner},
		"role: replica":                 {func(c *config.Config) { c.Role = "replica" }, []Evidence{{Node: "a", Owned: NotOwned}}, NoOwner},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config.Default()
			if c.change != nil {
				c.change(&cfg)
			}
			got := Compare(d, Fresh, NewPolicy(cfg), c.nodes)
			assert.Equal(t, c.outcome.String(), got.Outcome.String(), got.Reason)
		})
	}
}
