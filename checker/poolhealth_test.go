package checker

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"snapwatch/config"
	"snapwatch/internal/zfs"
)

// healthy returns a healthy pool with a recent scrub, after the given changes to its health.
func healthy(change ...func(*Health)) Pool {
	h := &Health{ReadAt: now, LastScrub: ago(10 * day)}
	h.PoolHealth = zfs.PoolHealth{State: "ONLINE", Size: 1000, Allocated: 500, Scrub: zfs.PoolScan{State: zfs.ScanFinished, End: ago(10 * day)}}
	for _, c := range change {
		c(h)
	}
	return Pool{Name: "tank", ReadAt: now, ZFSState: "ONLINE", Health: h}
}

func damagedAt(at time.Time, exact bool, snapshots map[string][]string) func(*Health) {
	return func(h *Health) {
		h.DataErrors = 3
		h.Damage = &Damage{At: at, Exact: exact, Damage: zfs.Damage{Snapshots: snapshots}}
	}
}

func TestPoolHealth(t *testing.T) {
	taken := func(n uint64) func(*Health) { return func(h *Health) { h.Allocated = n } }
	scrubbed := func(s zfs.PoolScan, last time.Time) func(*Health) {
		return func(h *Health) { h.Scrub, h.LastScrub = s, last }
	}
	never := scrubbed(zfs.PoolScan{}, time.Time{})
	errors := func(h *Health) { h.DataErrors = 3 }
	degraded := func(h *Health) {
		h.State, h.Devices = "DEGRADED", []zfs.Device{{Name: "tank", State: "DEGRADED"}, {Name: "sdb", State: "UNAVAIL"}}
	}
	in := func(names ...string) map[string][]string {
		all := map[string][]string{}
		for _, n := range names {
			all[n] = []string{"a"}
		}
		return all
	}
	for name, c := range map[string]struct {
		pool    Pool
		verdict PoolVerdict
		state   State
		reason  string
	}{
		"well":                    {healthy(), PoolOK, OK, ""},
		"a fifth is free":         {healthy(taken(799)), PoolOK, OK, ""},
		"too full":                {healthy(taken(800)), PoolFull, Warning, "80% of it is taken (limit 80%, limits.fill_warning)"},
		"far too full":            {healthy(taken(910)), PoolFull, Critical, "91% of it is taken (limit 90%, limits.fill_critical)"},
		"a scrub of 45 days":      {healthy(scrubbed(zfs.PoolScan{State: zfs.ScanFinished, End: ago(45 * day)}, ago(45*day))), PoolOK, OK, ""},
		"a scrub of 50 days":      {healthy(scrubbed(zfs.PoolScan{State: zfs.ScanFinished, End: ago(50 * day)}, ago(50*day))), PoolScrub, Warning, "its last scrub ended 50d ago (limit 45d, limits.max_scrub_age): zpool scrub tank"},
		"a scrub from the future": {healthy(scrubbed(zfs.PoolScan{State: zfs.ScanFinished, End: ago(-day)}, ago(-day))), PoolOK, OK, ""},
		"a scrub by a clock that was years ahead": {healthy(scrubbed(zfs.PoolScan{State: zfs.ScanFinished, End: ago(-3650 * day)}, ago(-3650*day))), PoolScrub, Warning,
			"its last scrub ended 3650d in the future by this host's clock (limit 45d, limits.max_scrub_age): zpool scrub tank"},
		"canceled, after one by such a clock": {healthy(scrubbed(zfs.PoolScan{State: zfs.ScanCanceled, End: ago(400 * day)}, ago(-3650*day))), PoolScrub, Warning,
			"its last scrub ended 3650d in the future by this host's clock (limit 45d, limits.max_scrub_age): zpool scrub tank"},
		"paused, begun by such a clock": {healthy(scrubbed(zfs.PoolScan{State: zfs.ScanPaused, Start: ago(-3650 * day)}, ago(5*day))), PoolScrub, Warning,
			"a scrub is under way that began 3650d in the future by this host's clock (paused)"},
		"made by such a clock": {healthy(never, func(h *Health) { h.Created = ago(-3650 * day) }), PoolScrub, Warning,
			"no scrub is known to have ended since the pool was made 3650d in the future by this host's clock (limit 45d, limits.max_scrub_age): zpool scrub tank"},
		"one runs that began nobody knows when, after an old one": {healthy(scrubbed(zfs.PoolScan{State: zfs.ScanRunning}, ago(50*day))), PoolScrub, Warning,
			"its last scrub ended 50d ago (limit 45d, limits.max_scrub_age): zpool scrub tank"},
		"one runs that began nobody knows when, after a recent one": {healthy(scrubbed(zfs.PoolScan{State: zfs.ScanRunning}, ago(5*day))), PoolOK, OK, ""},
		"one runs, and none was before": {healthy(never, func(h *Health) {
			h.Created, h.Scrub = ago(60*day), zfs.PoolScan{State: zfs.ScanRunning, Start: ago(13 * day)}
		}), PoolOK, OK, ""},
		"one has run too long":          {healthy(func(h *Health) { h.Scrub = zfs.PoolScan{State: zfs.ScanPaused, Start: ago(15 * day)} }), PoolScrub, Warning, "a scrub is under way that began 15d ago (paused)"},
		"canceled, after an old one":    {healthy(scrubbed(zfs.PoolScan{State: zfs.ScanCanceled, End: ago(day)}, ago(50*day))), PoolScrub, Warning, "its last scrub ended 50d ago (limit 45d, limits.max_scrub_age): zpool scrub tank"},
		"canceled, after a recent one":  {healthy(scrubbed(zfs.PoolScan{State: zfs.ScanCanceled, End: ago(day)}, ago(5*day))), PoolOK, OK, ""},
		"never, and new":                {healthy(never, func(h *Health) { h.Created = ago(44 * day) }), PoolOK, OK, ""},
		"never, and old":                {healthy(never, func(h *Health) { h.Created = ago(46 * day) }), PoolScrub, Warning, "no scrub is known to have ended since the pool was made 46d ago (limit 45d, limits.max_scrub_age): zpool scrub tank"},
		"only an old resilver is known": {healthy(never, func(h *Health) { h.Resilver.End = ago(46 * day) }), PoolScrub, Warning, "no scrub is known to have ended since its resilver 46d ago (limit 45d, limits.max_scrub_age): zpool scrub tank"},
		"a resilver hides the scrub":    {healthy(never, func(h *Health) { h.Resilver.End = ago(day) }), PoolOK, OK, ""},
		"the scrub found errors":        {healthy(func(h *Health) { h.LastScrubErrors = 2 }), PoolScrub, Critical, "the last scrub found 2 errors that ZFS does not list any more: zpool scrub tank"},
		"errors that only root can find": {
			healthy(errors), PoolErrors, Critical, "3 permanent errors, disks unknown: needs root (snapwatch health)"},
		"errors in disks": {healthy(damagedAt(ago(hour), true, in("tank/a", "tank/b", "tank/c", "tank/d"))), PoolErrors, Critical, "3 permanent errors in tank/a, tank/b, tank/c and 1 more"},
		"errors that root saw long ago": {
			healthy(damagedAt(ago(4*hour), true, in("tank/a"))), PoolErrors, Critical, "3 permanent errors in tank/a, as of 4h ago (snapwatch health)"},
		"errors in nothing that is there": {
			healthy(damagedAt(now, true, nil), func(h *Health) { h.Damage.Unresolved = 3 }), PoolErrors, Critical, "3 permanent errors, 3 in no existing dataset (zpool scrub tank)"},
		"errors since root looked": {
			healthy(damagedAt(ago(hour), true, in("tank/a")), func(h *Health) { h.Damage.Counted, h.DataErrors = 3, 5 }), PoolErrors, Critical, "5 permanent errors, disks unknown: needs root (snapwatch health)"},
		"as many errors as when root looked": {
			healthy(damagedAt(ago(hour), true, in("tank/a")), func(h *Health) { h.Damage.Counted = 3 }), PoolErrors, Critical, "3 permanent errors in tank/a"},
		"there were none when root looked": {
			healthy(damagedAt(ago(hour), true, nil)), PoolErrors, Critical, "3 permanent errors, disks unknown: needs root (snapwatch health)"},
		"errors of which ZFS does not say where": {
			healthy(damagedAt(now, true, nil), func(h *Health) { h.Damage.Unlisted = true }), PoolErrors, Critical, "3 permanent errors, and ZFS does not say where: any disk of the pool may be damaged"},
		"a device counts errors": {healthy(func(h *Health) { h.Devices = []zfs.Device{{Name: "sda", State: "ONLINE", Checksum: 5}} }), PoolErrors, Warning, "errors on sda (0 read, 0 write, 5 checksum): find out why, then zpool clear tank"},
		"degraded":               {healthy(degraded), PoolDegraded, Warning, "ZFS calls it DEGRADED: sdb is UNAVAIL (zpool status tank)"},
		"degraded just now":      {func() Pool { p := healthy(); p.ZFSState = "DEGRADED"; return p }(), PoolDegraded, Warning, "ZFS calls it DEGRADED (zpool status tank)"},
		"being mended":           {healthy(degraded, func(h *Health) { h.Resilver = zfs.PoolScan{State: zfs.ScanRunning, Start: ago(hour)} }), PoolDegraded, Warning, "ZFS calls it DEGRADED: sdb is UNAVAIL (zpool status tank), a resilver is under way"},
		"a spare is not there":   {healthy(func(h *Health) { h.Devices = []zfs.Device{{Name: "sde", State: "UNAVAIL"}} }), PoolDegraded, Warning, "ZFS calls it ONLINE: sde is UNAVAIL (zpool status tank)"},
		"faulted":                {healthy(func(h *Health) { h.State = "FAULTED" }), PoolFaulted, Critical, "ZFS calls it FAULTED (zpool status tank)"},
		"zpool fails":            {healthy(func(h *Health) { h.Problem, h.FailingSince = "no such program", ago(15*minute) }), PoolOK, OK, ""},
		"zpool has failed for long": {
			healthy(func(h *Health) { h.Problem, h.FailingSince = "no such program", ago(16*minute) }), PoolUnreadable, Unknown, "its health has not been read for 16m: no such program"},
		"zpool fails since a time that is far ahead": {
			healthy(func(h *Health) { h.Problem, h.FailingSince = "no such program", ago(-day) }), PoolUnreadable, Unknown, "its health is not read, and nothing remembers since when zpool fails: no such program"},
		"what alarms most comes first": {
			healthy(degraded, taken(950), scrubbed(zfs.PoolScan{}, ago(50*day))), PoolFull, Critical,
			"95% of it is taken (limit 90%, limits.fill_critical); ZFS calls it DEGRADED: sdb is UNAVAIL (zpool status tank); its last scrub ended 50d ago (limit 45d, limits.max_scrub_age): zpool scrub tank"},
	} {
		t.Run(name, func(t *testing.T) {
			r := JudgePool(c.pool, testPolicy(), now)
			assert.Equal(t, []any{c.verdict.String(), c.state, c.reason}, []any{r.Verdict.String(), r.State, r.Reason})
		})
	}
}

func TestPoolHealthCanBeSwitchedOff(t *testing.T) {
	bad := healthy(func(h *Health) {
		h.State, h.Allocated, h.LastScrub, h.DataErrors = "DEGRADED", 950, ago(50*day), 1
	})
	cfg := config.Default()
	cfg.Limits.MaxScrubAge, cfg.Limits.FillWarning, cfg.Limits.FillCritical = 0, 0, 0
	assert.Equal(t, "1 permanent error, disks unknown: needs root (snapwatch health); ZFS calls it DEGRADED (zpool status tank)",
		JudgePool(bad, NewPolicy(cfg), now).Reason, "no limits, no verdicts of theirs")
	cfg.PoolIgnore = []string{"errors", "degraded"}
	assert.Equal(t, PoolOK, JudgePool(bad, NewPolicy(cfg), now).Verdict)

	cfg = config.Default()
	cfg.Maintenance = []config.Maintenance{{Selector: config.Selector{Pool: "tank"}, Until: now.Add(hour)}}
	assert.Equal(t, OK, JudgePool(bad, NewPolicy(cfg), now).State, "under maintenance")
}

func TestSuspendedAndFaultedPoolsAreCritical(t *testing.T) {
	for state, want := range map[string]PoolVerdict{"SUSPENDED": PoolSuspended, "FAULTED": PoolFaulted, "UNAVAIL": PoolFaulted} {
		pool := healthy(func(h *Health) { h.Allocated = 950 })
		pool.ZFSState, pool.Problem = state, "pool tank is "+state
		r := JudgePool(pool, testPolicy(), now)
		assert.Equal(t, []any{want.String(), Critical, "pool tank is " + state + "; 95% of it is taken (limit 90%, limits.fill_critical)"}, []any{r.Verdict.String(), r.State, r.Reason})
	}
}

func TestAStateThatNobodyKnowsIsUnknown(t *testing.T) {
	reason := "ZFS calls it SPLIT, a state that snapwatch does not know (zpool status tank)"
	for name, pool := range map[string]Pool{
		"zpool":  healthy(func(h *Health) { h.State = "SPLIT" }),
		"kernel": {Name: "tank", ReadAt: now, ZFSState: "SPLIT"},
		"both":   func() Pool { p := healthy(func(h *Health) { h.State = "SPLIT" }); p.ZFSState = "SPLIT"; return p }(),
	} {
		r := JudgePool(pool, testPolicy(), now)
		assert.Equal(t, []any{PoolUnreadable, Unknown, reason}, []any{r.Verdict, r.State, r.Reason}, name)
	}
	r := JudgePool(healthy(func(h *Health) { h.State = "SUSPENDED" }), testPolicy(), now)
	assert.Equal(t, []any{PoolSuspended, Critical, "ZFS calls it SUSPENDED (zpool status tank)"}, []any{r.Verdict, r.State, r.Reason},
		"OpenZFS 2.1 does not tell in /proc where failmode is continue")
}

func TestWhatZpoolSaysAndNobodyKnowsIsTold(t *testing.T) {
	r := JudgePool(healthy(func(h *Health) { h.Unknown = []string{"mood: blue"} }), testPolicy(), now)
	assert.Equal(t, []string{"zpool status has a line about tank that snapwatch does not know: mood: blue"}, r.Remarks)
	assert.Equal(t, OK, r.State)
}

func TestADamagedDiskAndItsGuest(t *testing.T) {
	policy := testPolicy()
	pool := healthy(damagedAt(now, true, map[string][]string{
		"tank/vm-100-disk-0": {"autosnap_2026-03-01_00:00:00_daily", ""}, "tank/vm-103-disk-0": {"a"},
	}))
	for _, vmid := range []string{"100", "101", "103"} {
		pool.Disks = append(pool.Disks, aDisk(vmid, zfs.Hourly, 10*minute))
	}
	policy.Ignore = []string{"vm-103-*"}
	judged := func(pool Pool) map[string]string {
		said := map[string]string{}
		r := Assemble([]Pool{pool}, policy, now).WithGuests(policy)
		for _, d := range r.Disks {
			said[d.Name()] = d.State.String() + " " + d.Verdict.String() + ": " + d.Reason
		}
		for _, g := range r.Guests {
			said[g.ID] = g.State.String() + " " + g.Verdict.String()
		}
		return said
	}
	said := judged(pool)
	assert.Equal(t, "CRITICAL damaged: permanent errors in @autosnap_2026-03-01_00:00:00_daily, its newest data", said["vm-100-disk-0"])
	assert.Equal(t, "CRITICAL damaged", said["qemu/100"])
	assert.Contains(t, said["vm-101-disk-0"], "OK fresh")
	assert.Equal(t, "OK whole", said["qemu/101"])
	assert.Equal(t, "OK excluded: ignore vm-103-*", said["vm-103-disk-0"])
	assert.Empty(t, pool.Disks[0].Damaged, "what was read is not changed: others share it")

	pool.Health.Damage.Exact = false
	assert.Contains(t, judged(pool)["vm-100-disk-0"], "CRITICAL damaged: permanent errors; ZFS does not tell in which snapshots")
	pool.Health.DataErrors = 0
	assert.Contains(t, judged(pool)["vm-100-disk-0"], "OK fresh", "mended since root looked")
}

func TestHealthPassesThroughADocument(t *testing.T) {
	pool := healthy(damagedAt(ago(hour), true, map[string][]string{"tank/vm-100-disk-0": {"a", ""}}))
	pool.Disks = []Disk{aDisk("100", zfs.Hourly, 10*minute)}
	r := Assemble([]Pool{pool}, testPolicy(), now)
	doc := r.Document()
	assert.Equal(t, "errors", doc.Pools[0].Verdict)
	facts, err := doc.Facts()
	require.NoError(t, err)
	assert.Equal(t, pool.Health, facts[0].Health)
	assert.Equal(t, "ONLINE", facts[0].ZFSState)
	assert.Equal(t, Damaged, Assemble(facts, testPolicy(), now).Disks[0].Verdict)
}
