package checker

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"snapwatch/config"
	"snapwatch/internal/zfs"
)

// goodDrill returns a drill of the given age that found no fault.
func goodDrill(age time.Duration) *Drill {
	return &Drill{Point: "2026-03-29_01:00:00", At: ago(age), Reach: "checked", Seconds: 90, Remarks: []string{"Debian GNU/Linux 12"}}
}

// readDrill returns a good drill that also read blocks.
func readDrill(age time.Duration) *Drill {
	d := goodDrill(age)
	d.ReadBytes = 5 << 30
	return d
}

// failedDrill returns the record of guest 100 after a drill of the given age that found faults of file systems.
func failedDrill(age time.Duration) *Proof {
	wrong := []string{"checking /dev/sda1 (ext4): faults", "more"}
	return &Proof{
		VMID: 100, Last: Drill{Point: "2026-03-29_01:00:00", At: ago(age), Reach: "cloned", Seconds: 12.34, Faults: []Fault{{FaultFiles, wrong[0]}, {FaultFiles, wrong[1]}}},
		Open: []OpenFault{{Kind: FaultFiles, Point: "2026-03-29_01:00:00", At: ago(age), Wrong: wrong}},
	}
}

// with returns the record with a change.
func (p *Proof) with(change func(*Proof)) *Proof {
	changed := *p
	change(&changed)
	return &changed
}

func lockedDrill(age time.Duration) Drill {
	return Drill{Point: "2026-03-29_01:00:00", At: ago(age), Reach: ReachedNothing, Remarks: []string{"encrypted, not looked at: the key of tank is not loaded"}}
}

func TestJudgeProof(t *testing.T) {
	limit := atMost(35*day, "limits.max_proof_age")
	long := ago(100 * day)
	for name, c := range map[string]struct {
		record  *Proof
		limit   Limit
		arrived time.Time
		verdict ProofVerdict
		reason  string
	}{
		"none, and none demanded":      {nil, Limit{}, long, ProofNone, "no drill has proved it"},
		"none, and it has just come":   {nil, limit, ago(35 * day), ProofNone, "no drill has proved it"},
		"none for too long":            {nil, limit, ago(36 * day), ProofOld, "no drill has proved it since it arrived here, 36d ago (limit 35d, limits.max_proof_age)"},
		"none, it came in the future":  {nil, limit, ago(-day), ProofOld, "no drill has proved it since it arrived here, at an unknown time, because a clock was ahead by 1d (limit 35d, limits.max_proof_age)"},
		"none, its arrival is unknown": {nil, limit, time.Time{}, ProofNone, "no drill has proved it"},
		"fresh, and none demanded":     {&Proof{Last: *goodDrill(400 * day), Good: goodDrill(400 * day)}, Limit{}, ago(500 * day), ProofFresh, "checked 400d ago in 1m30s, as of 2026-03-29 01:00:00"},
		"fresh":                        {&Proof{Last: *goodDrill(35 * day), Good: goodDrill(35 * day)}, limit, long, ProofFresh, "checked 35d ago in 1m30s, as of 2026-03-29 01:00:00"},
		"fresh, by a clock a bit ahead": {&Proof{Last: *goodDrill(-clockSlack), Good: goodDrill(-clockSlack)}, limit, long, ProofFresh,
			"checked 0s ago in 1m30s, as of 2026-03-29 01:00:00"},
		"fresh, with blocks read": {&Proof{Last: *readDrill(day), Good: readDrill(day)}, limit, long, ProofFresh,
			"checked 1d ago in 1m30s, 5.0G read, as of 2026-03-29 01:00:00"},
		"old": {&Proof{Last: *goodDrill(36 * day), Good: goodDrill(36 * day)}, limit, long, ProofOld, "the last good drill was 36d ago (limit 35d, limits.max_proof_age)"},
		"by a clock that was ahead": {&Proof{Last: *goodDrill(-day), Good: goodDrill(-day)}, limit, long, ProofOld,
			"the last good drill was at an unknown time, because a clock was ahead by 1d (limit 35d, limits.max_proof_age)"},
		"failed": {failedDrill(hour).with(func(p *Proof) { p.Good = goodDrill(day) }), limit, long, ProofFailed,
			"the drill of 2026-03-29 01:00:00 failed, 1h ago: checking /dev/sda1 (ext4): faults; more; to end this warning: snapwatch drill 100"},
		"failed in all ways": {failedDrill(hour).with(func(p *Proof) {
			p.Open = []OpenFault{
				{Kind: FaultRead, Point: "2026-03-29_01:00:00", At: ago(day), Wrong: []string{"reading at byte 7: no"}, Part: &Part{To: 0.25}},
				{Kind: FaultFiles, Point: "2026-03-29_01:00:00", At: ago(day), Wrong: []string{"fsck"}, FileSystems: 3},
				{Kind: FaultStart, Point: "2026-03-29_02:00:00", At: ago(hour), Wrong: []string{"it did not start: no"}},
			}
		}), Limit{}, long, ProofFailed,
			"the drill of 2026-03-29 01:00:00 failed, 1d ago: reading at byte 7: no; to end this warning: snapwatch drill 100 --read 1/1; " +
				"the drill of 2026-03-29 01:00:00 failed, 1d ago: fsck; to end this warning: snapwatch drill 100 (which must find at least 3 file systems); " +
				"the drill of 2026-03-29 02:00:00 failed, 1h ago: it did not start: no; to end this warning: snapwatch drill 100 (with drill.boot)"},
		"failed, of disks that are not drilled now": {failedDrill(hour).with(func(p *Proof) { p.Open[0].Datasets = []string{"tank/a", "tank/b", "tank/c"} }), limit, long, ProofFailed,
			"the drill of 2026-03-29 01:00:00 failed, 1h ago: checking /dev/sda1 (ext4): faults; more; to end this warning: snapwatch drill 100, once the restore point includes tank/a and tank/c (if removed: snapwatch forget)"},
		"fresh, before it arrived": {&Proof{Last: *goodDrill(20 * day), Good: goodDrill(20 * day)}, limit, ago(day), ProofNone, "no drill has proved it"},
		"fresh, before it arrived, for too long": {&Proof{Last: *goodDrill(50 * day), Good: goodDrill(50 * day)}, limit, ago(40 * day), ProofOld,
			"no drill has proved it since it arrived here, 40d ago (limit 35d, limits.max_proof_age)"},
		"failed before it arrived":                    {failedDrill(20 * day), Limit{}, ago(day), ProofNone, "no drill has proved it"},
		"failed before it arrived, and fresh since":   {failedDrill(20 * day).with(func(p *Proof) { p.Last, p.Good = *goodDrill(hour), goodDrill(hour) }), Limit{}, ago(day), ProofFresh, "checked 1h ago in 1m30s, as of 2026-03-29 01:00:00"},
		"fresh before it arrived, and then encrypted": {&Proof{Last: lockedDrill(hour), Good: goodDrill(20 * day)}, Limit{}, ago(day), ProofNone, "no drill has proved it; the last drill, 1h ago, could not look: encrypted, not looked at: the key of tank is not loaded"},
		"encrypted, before it arrived":                {&Proof{Last: lockedDrill(20 * day)}, Limit{}, ago(day), ProofNone, "no drill has proved it"},
		"failed, and it came in the future":           {failedDrill(hour), Limit{}, ago(-day), ProofFailed, "the drill of 2026-03-29 01:00:00 failed, 1h ago: checking /dev/sda1 (ext4): faults; more; to end this warning: snapwatch drill 100"},
		"failed, and then it could not look":          {failedDrill(hour).with(func(p *Proof) { p.Last, p.Good = lockedDrill(0), goodDrill(day) }), Limit{}, long, ProofFailed, "the drill of 2026-03-29 01:00:00 failed, 1h ago: checking /dev/sda1 (ext4): faults; more; to end this warning: snapwatch drill 100"},
		"failed, by a clock that was ahead":           {failedDrill(-day), Limit{}, long, ProofFailed, "the drill of 2026-03-29 01:00:00 failed, at an unknown time, because a clock was ahead by 1d: checking /dev/sda1 (ext4): faults; more; to end this warning: snapwatch drill 100"},
		"failed before, by a clock that was ahead":    {&Proof{Last: *goodDrill(hour), Good: goodDrill(hour)}, Limit{}, long, ProofFresh, "checked 1h ago in 1m30s, as of 2026-03-29 01:00:00"},
		"encrypted, and none demanded":                {&Proof{Last: lockedDrill(hour)}, Limit{}, long, ProofNone, "no drill has proved it; the last drill, 1h ago, could not look: encrypted, not looked at: the key of tank is not loaded"},
		"encrypted, and one is demanded":              {&Proof{Last: lockedDrill(hour)}, limit, long, ProofOld, "no drill has proved it since it arrived here, 100d ago (limit 35d, limits.max_proof_age); the last drill, 1h ago, could not look: encrypted, not looked at: the key of tank is not loaded"},
		"encrypted now, and the proof is still fresh": {&Proof{Last: lockedDrill(hour), Good: goodDrill(day)}, limit, long, ProofFresh, "checked 1d ago in 1m30s, as of 2026-03-29 01:00:00; the last drill, 1h ago, could not look: encrypted, not looked at: the key of tank is not loaded"},
	} {
		t.Run(name, func(t *testing.T) {
			got := judgeProof(c.record.Since(firstMade([]*Disk{{Created: c.arrived}}, now)), c.limit, c.arrived, now, []string{"tank/a", "tank/c"})
			assert.Equal(t, c.verdict, got.Verdict, got.Reason)
			assert.Equal(t, c.reason, got.Reason)
			assert.Equal(t, proofTable[c.verdict].State, got.State)
		})
	}
	assert.Len(t, ProofVerdicts(), int(ProofNone)+1)
	for i, row := range ProofVerdicts() {
		assert.Equal(t, ProofVerdict(i), row.Verdict)
	}
}

// proofsOf returns the report about the pools with the verdicts on proofs.
func proofsOf(cfg config.Config, all Proofs, disks ...Disk) Report {
	p := NewPolicy(cfg)
	return Assemble([]Pool{{Name: "tank", ReadAt: now, Disks: disks}}, p, now).WithGuests(p).WithProofs(p, all)
}

func demanding() config.Config {
	cfg := config.Default()
	cfg.Limits.MaxProofAge = config.Duration(35 * day)
	return cfg
}

func TestProofs(t *testing.T) {
	disk := part(first, zfs.Hourly, minute)
	failed := Proofs{Guests: []Proof{*failedDrill(hour).with(func(p *Proof) { p.VMID = 7 }), *failedDrill(hour)}}
	r := proofsOf(config.Default(), failed, disk)
	require.Len(t, r.Guests, 1)
	assert.Equal(t, ProofFailed, r.Guests[0].Proof.Verdict)
	assert.Equal(t, []Note{{State: Warning, Text: "guest 100: proof failed: the drill of 2026-03-29 01:00:00 failed, 1h ago: checking /dev/sda1 (ext4): faults; more; to end this warning: snapwatch drill 100", Subject: "about the proof of guest 100", kind: "failed", proofOf: 100}}, r.Notes,
		"and nothing of guest 7, which is not here")
	assert.Equal(t, Warning, r.State())
	assert.Equal(t, GuestWhole, r.Guests[0].Verdict)
	assert.Equal(t, OK, r.Guests[0].State, "it can be started")
	assert.Equal(t, OK, r.Disks[0].State)
	assert.True(t, strings.HasPrefix(r.Summary(), "1 guest failed in a drill, oldest "), r.Summary())

	assert.Nil(t, proofsOf(config.Default(), Proofs{}, disk).Guests[0].Proof, "nobody asks for one")
	r = proofsOf(demanding(), Proofs{}, disk)
	assert.Equal(t, ProofOld, r.Guests[0].Proof.Verdict)
	assert.True(t, strings.HasPrefix(r.Summary(), "1 guest without a recent proof, "), r.Summary())
	r = proofsOf(demanding(), Proofs{}, part(first, zfs.Hourly, 0, bare, created(100*day)))
	assert.Equal(t, ProofNone, r.Guests[0].Proof.Verdict, "nothing could be drilled without a restore point")
	r = proofsOf(demanding(), Proofs{}, part(first, zfs.Hourly, minute, unread, created(100*day)))
	assert.Equal(t, ProofOld, r.Guests[0].Proof.Verdict, "a disk that cannot be read ends no alarm")
	r = proofsOf(demanding(), Proofs{}, part(first, zfs.Hourly, minute, created(100*day)), part(second, zfs.Hourly, minute, created(day)))
	assert.Equal(t, ProofOld, r.Guests[0].Proof.Verdict, "a new disk does not make the guest new")
	r = proofsOf(demanding(), Proofs{}, part(first, zfs.Hourly, minute, created(day)))
	assert.Equal(t, ProofNone, r.Guests[0].Proof.Verdict)

	cfg := demanding()
	cfg.Ignore = []string{"vm-100-*"}
	r = proofsOf(cfg, failed, disk)
	assert.Nil(t, r.Guests[0].Proof, "excluded")
	assert.Empty(t, r.Notes)
	r = proofsOf(demanding(), failed, part(first, zfs.Hourly, minute, func(d *Disk) { d.Owned = Owned }))
	assert.Nil(t, r.Guests[0].Proof, "this host's own")
	assert.Empty(t, r.Notes)

	// Overrides: the shortest limit of the guest's disks counts.
	cfg = config.Default()
	cfg.Overrides = []config.Override{{Selector: config.Selector{Disk: second}, WatchOverride: config.WatchOverride{MaxProofAge: config.Duration(day)}}}
	both := Proofs{Guests: []Proof{{VMID: 100, Last: *goodDrill(2 * day), Good: goodDrill(2 * day)}}}
	r = proofsOf(cfg, both, disk, part(second, zfs.Hourly, minute))
	assert.Equal(t, "the last good drill was 2d ago (limit 1d, overrides[0].max_proof_age (disk fast/vm-100-disk-1))", r.Guests[0].Proof.Reason)
	assert.Equal(t, ProofFresh, proofsOf(demanding(), both, disk, part(second, zfs.Hourly, minute)).Guests[0].Proof.Verdict)
	assert.Equal(t, ProofOld, proofsOf(cfg, Proofs{}, disk, part(second, zfs.Hourly, minute)).Guests[0].Proof.Verdict, "with a demand in an override only")
}

// Drills from before the guest's first dataset was made here do not count. A dataset that does not
// count for the guest's verdict, or of which it is unknown when it was made, ends no fault.
func TestFirstMade(t *testing.T) {
	failed := Proofs{Guests: []Proof{*failedDrill(2 * day)}}
	young := part(second, zfs.Hourly, minute, created(day))
	assert.Equal(t, ProofNone, proofsOf(demanding(), failed, young).Guests[0].Proof.Verdict, "of another guest with this VMID")
	old := Proofs{Guests: []Proof{{VMID: 100, Last: *goodDrill(50 * day), Good: goodDrill(50 * day)}}}
	for name, absent := range map[string]Disk{
		"unreadable": {Dataset: first, VMID: 100, ReadAt: now, Problem: "pool tank is suspended"},
		"gone":       {Dataset: first, VMID: 100, ReadAt: now, Gone: true},
		"ahead":      part(first, zfs.Hourly, minute, created(-day)),
	} {
		assert.Equal(t, ProofFailed, proofsOf(demanding(), failed, absent, young).Guests[0].Proof.Verdict, name)
		assert.NotNil(t, proofsOf(demanding(), old, absent, young).Guests[0].Proof.Good(), name)
	}

	copied := part("tank/a/vm-100-disk-0", zfs.Hourly, 3*minute, created(100*day))
	fresher := part("tank/b/vm-100-disk-0", zfs.Hourly, minute, created(day), func(d *Disk) { d.Looked = &Looked{Same: []string{copied.Dataset}} })
	r := proofsOf(demanding(), failed, copied, fresher)
	require.Equal(t, []string{copied.Dataset}, r.Guests[0].Others)
	assert.Equal(t, ProofFailed, r.Guests[0].Proof.Verdict, "a second copy that is fresher")
	assert.Equal(t, ago(100*day), ExplainGuest(r, r.Guests[0], false, Volumes{}).Arrived)
}

// A record that cannot be read is a fault of its own. It is no proof that there was no drill.
func TestProofsUnreadable(t *testing.T) {
	disk, other := part(first, zfs.Hourly, minute), aDisk("7", zfs.Hourly, minute)
	r := proofsOf(demanding(), Proofs{Problem: "unexpected end of JSON input"}, disk)
	assert.Nil(t, r.Guests[0].Proof)
	require.Len(t, r.Notes, 1)
	assert.Equal(t, "the record of drills cannot be read: unexpected end of JSON input", r.Notes[0].Text)
	assert.Equal(t, Warning, r.State())
	r = proofsOf(demanding(), Proofs{Problem: "no", Guests: []Proof{*failedDrill(hour)}}, disk, other)
	assert.Len(t, r.Notes, 2, "what was read before still counts")
	_, old, judged := r.CountProofs()
	assert.True(t, judged)
	assert.Zero(t, old)
	assert.Empty(t, Filter{VMIDs: []int{7}}.Apply(r).Notes)
}

// The cluster of a record and that of a guest are unknown until the configuration names them.
func TestProofsOfClusters(t *testing.T) {
	cfg := config.Default()
	east := part("tank/east/vm-100-disk-0", zfs.Hourly, minute)
	west := part("tank/west/vm-100-disk-0", zfs.Hourly, 2*minute, func(d *Disk) { d.Looked = &Looked{Others: []string{east.Dataset}} })
	cfg.Sources = []config.Source{{Dataset: "tank/east", Cluster: "east"}, {Dataset: "tank/west", Cluster: "west"}}
	failed := func(cluster string) Proof { return *failedDrill(hour).with(func(p *Proof) { p.Cluster = cluster }) }
	good := func(cluster string) Proof {
		return Proof{Cluster: cluster, VMID: 100, Last: *goodDrill(hour), Good: goodDrill(hour)}
	}
	verdicts := func(r Report) (all []string) {
		for _, g := range r.Guests {
			all = append(all, g.Cluster+" "+g.Proof.Verdict.String())
		}
		slices.Sort(all)
		return all
	}
	assert.Equal(t, []string{"east failed", "west fresh"}, verdicts(proofsOf(cfg, Proofs{Guests: []Proof{failed("east"), good("west")}}, east, west)))
	assert.Equal(t, []string{"east failed", "west failed"}, verdicts(proofsOf(cfg, Proofs{Guests: []Proof{failed("")}}, east, west)), "it may be either")
	both := *failedDrill(hour).with(func(p *Proof) { p.Good = goodDrill(2 * hour) })
	assert.Nil(t, proofsOf(cfg, Proofs{Guests: []Proof{both}}, east, west).Guests[0].Proof.Good(), "of which is it?")
	assert.Equal(t, []string{"east none", "west none"}, verdicts(proofsOf(cfg, Proofs{Guests: []Proof{good("")}}, east, west)), "of which is it?")
	assert.Equal(t, []string{"east failed"}, verdicts(proofsOf(cfg, Proofs{Guests: []Proof{failed("")}}, east)), "sources: was added later")
	assert.Equal(t, []string{"east fresh"}, verdicts(proofsOf(cfg, Proofs{Guests: []Proof{good("")}}, east)), "sources: was added later")
	assert.Equal(t, []string{"east fresh"}, verdicts(proofsOf(cfg, Proofs{Guests: []Proof{failed(""), good("east")}}, east)), "the record of east began with the faults of the other")
	assert.Equal(t, []string{"east none"}, verdicts(proofsOf(cfg, Proofs{Guests: []Proof{failed("west")}}, east)))
	assert.Equal(t, []string{" failed"}, verdicts(proofsOf(config.Default(), Proofs{Guests: []Proof{failed("west"), good("east")}}, east)), "sources: was removed")
	assert.Equal(t, []string{" fresh"}, verdicts(proofsOf(config.Default(), Proofs{Guests: []Proof{good("east")}}, east)), "sources: was removed")
	older := Proof{VMID: 100, Last: *goodDrill(2 * hour), Good: goodDrill(2 * hour)}
	assert.Equal(t, []string{" failed"}, verdicts(proofsOf(config.Default(), Proofs{Guests: []Proof{older, failed("east")}}, east)), "sources: was removed again")
	assert.Equal(t, "about the proof of guest 100 of east", proofsOf(cfg, Proofs{Guests: []Proof{failed("east")}}, east, west).Notes[0].Subject)
}

func TestProofsAreFiltered(t *testing.T) {
	r := proofsOf(config.Default(), Proofs{Guests: []Proof{*failedDrill(hour).with(func(p *Proof) { p.VMID = 7 }), *failedDrill(hour)}}, part(first, zfs.Hourly, minute), aDisk("7", zfs.Hourly, minute))
	require.Len(t, r.Notes, 2)
	assert.Len(t, Filter{Guests: []string{"7"}}.Apply(r).Notes, 1)
	assert.Len(t, Filter{VMIDs: []int{100}}.Apply(r).Notes, 1)
	assert.Empty(t, Filter{Pools: []string{"tank"}}.Apply(r).Notes, "no guest is judged")
}

// A document has the whole record, so that another host judges the same.
func TestProofsOfADocument(t *testing.T) {
	all := Proofs{Problem: "no", Guests: []Proof{*failedDrill(day).with(func(p *Proof) { p.Last, p.Good = lockedDrill(hour), goodDrill(2*day) })}}
	r := proofsOf(demanding(), all, part(first, zfs.Hourly, minute), aDisk("7", zfs.Hourly, minute))
	text, err := json.Marshal(r.Document())
	require.NoError(t, err)
	var doc Document
	require.NoError(t, json.Unmarshal(text, &doc))
	assert.Equal(t, all, doc.Proofs())
	assert.Equal(t, "WARNING", doc.Guests[1].Proof.State)
	assert.Equal(t, "OK", doc.Guests[1].State)
	assert.Equal(t, Proofs{}, proofsOf(config.Default(), Proofs{}, part(first, zfs.Hourly, minute)).Document().Proofs())
}

// Whatever is on record, it changes no other verdict, and a recorded fault is always told.
func TestProofsChangeNothingElse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		age := func(name string) time.Duration {
			return rapid.SampledFrom([]time.Duration{-day, -minute, 0, hour, 40 * day}).Draw(t, name)
		}
		p := Proof{VMID: 100, Last: *goodDrill(age("last"))}
		openAge, arrived := age("open"), age("arrived")
		if rapid.Bool().Draw(t, "failed") {
			p = *failedDrill(openAge)
			if openAge > 0 {
				p.Last = *goodDrill(0)
			}
		}
		if rapid.Bool().Draw(t, "good") {
			p.Good = goodDrill(hour)
		}
		cfg := config.Default()
		if rapid.Bool().Draw(t, "demanded") {
			cfg = demanding()
		}
		disk := part(first, zfs.Hourly, rapid.SampledFrom([]time.Duration{minute, 7 * hour}).Draw(t, "newest"), created(arrived))
		bare, r := proofsOf(config.Default(), Proofs{}, disk), proofsOf(cfg, Proofs{Guests: []Proof{p}}, disk)
		got := r.Guests[0].Proof
		counts := p.Open != nil && (arrived < 0 || openAge <= arrived)
		if counts != (got.Verdict == ProofFailed) {
			t.Fatalf("%+v: %s", p, got.Reason)
		}
		r.Guests[0].Proof = nil
		assert.Equal(t, bare.Guests, r.Guests)
		assert.Equal(t, bare.Disks, r.Disks)
		assert.GreaterOrEqual(t, r.State().severity(), bare.State().severity())
	})
}
