package checker

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"snapwatch/config"
)

// PoolVerdict is the verdict on a pool as a whole; the pool's disks have verdicts of their own. If
// several verdicts apply to a pool, the pool gets the verdict with the worst state. Among verdicts
// with the same state, the pool gets the first one in the order of the constants.
type PoolVerdict int

// The verdicts on a pool, in precedence.
const (
	PoolSuspended PoolVerdict = iota
	PoolUnreadable
	PoolMissing
	PoolFaulted
	PoolIncomplete
	PoolErrors
	PoolDegraded
	PoolScrub
	PoolFull
	PoolOK
)

func (v PoolVerdict) String() string { return poolTable[v].Name }

// PoolRow is one line of the table of verdicts on pools.
type PoolRow struct {
	Verdict PoolVerdict
	Name    string
	// States has the same meaning as in [Row].
	States [3]State
	// Meaning explains the verdict on a pool to a person.
	Meaning string
}

var poolTable = [...]PoolRow{
	{PoolSuspended, "suspended", all(Critical),
		"I/O of the pool failed, and ZFS waits for the devices; snapwatch sends no commands to the pool"},
	{PoolUnreadable, "unreadable", [3]State{OK, Unknown, Unknown},
		"the last scan of the pool failed: alarms when the last good reading is too old. Or zpool fails: alarms after 15 minutes, but immediately if the pool was never read or the time of the first failure is not remembered. Or snapwatch does not know the pool's state: alarms immediately"},
	{PoolMissing, "missing", all(Critical),
		"the pool is not imported, and no maintenance names it"},
	{PoolFaulted, "faulted", all(Critical),
		"the pool is FAULTED, UNAVAIL, REMOVED or OFFLINE"},
	{PoolIncomplete, "incomplete", all(Critical),
		"a dataset that the configuration names does not exist"},
	{PoolErrors, "errors", [3]State{Warning, Warning, Critical},
		"ZFS reports permanent errors, which is critical; or devices have counted errors, which is a warning"},
	{PoolDegraded, "degraded", all(Warning),
		"the pool is DEGRADED, or one of its devices is missing"},
	{PoolScrub, "scrub", [3]State{Warning, Warning, Critical},
		"no scrub has ended for longer than max_scrub_age (if no scrub is known, the time counts from the last resilver or from the creation of the pool; a time that is further in the future than max_scrub_age counts as too old); or a scrub has run for 14 days; or the last finished scrub found errors that ZFS no longer lists, which is critical until a scrub ends without errors"},
	{PoolFull, "full", [3]State{OK, Warning, Critical},
		"the used part of the pool is above fill_warning or fill_critical"},
	{PoolOK, "ok", all(OK),
		"no fault of the pool is known"},
}

// PoolVerdicts returns the table of verdicts on pools, ordered by precedence.
func PoolVerdicts() []PoolRow { return slices.Clone(poolTable[:]) }

// tooOld reports whether the facts about a pool are too old to be used.
func (p *Policy) tooOld(pool Pool, now time.Time) bool {
	return pool.ReadAt.IsZero() || now.Sub(pool.ReadAt) > p.MaxDataAge
}

// poolMatch is a verdict that applies to a pool, and the reason.
type poolMatch struct {
	verdict PoolVerdict
	match
}

func (m poolMatch) state() State { return poolTable[m.verdict].States[m.level] }

// JudgePool judges a pool as a whole, without its disks. An unfinished scan of the pool is not a
// fault while the result of the last finished scan is recent enough.
func JudgePool(pool Pool, p Policy, now time.Time) PoolResult {
	result := PoolResult{Pool: pool, Verdict: PoolOK, FillWarning: p.Pools.FillWarning, FillCritical: p.Pools.FillCritical}
	excluded := p.poolExcluded(pool.Name, now)
	var found []poolMatch
	add := func(v PoolVerdict, level limitLevel, reason string) {
		found = append(found, poolMatch{v, match{level: level, reason: reason}})
	}
	switch {
	case pool.Missing && excluded:
		result.Reason = pool.Problem + ", under maintenance"
		return result
	case pool.Missing:
		add(PoolMissing, Within, pool.Problem)
	case pool.ZFSState == suspendedState:
		add(PoolSuspended, Within, pool.Problem)
	case slices.Contains(faultedStates, pool.ZFSState):
		add(PoolFaulted, Within, pool.Problem)
	case pool.Problem != "":
		result.Reason = pool.Problem
		switch {
		case p.tooOld(pool, now):
			// The verdicts on the pool's disks use the facts from the last good scan until these
			// facts are too old. If the facts are too old, the disks are unreadable.
			add(PoolUnreadable, BeyondWarning, pool.Problem)
		case !pool.Unfinished:
			add(PoolUnreadable, Within, pool.Problem)
		}
	}
	if len(pool.MissingRoots) > 0 && !pool.Missing {
		// Datasets that the last finished scan did not find count as missing until another scan
		// finds them.
		add(PoolIncomplete, Within, fmt.Sprintf("%s: no such dataset, but the configuration names it", strings.Join(pool.MissingRoots, ", ")))
	}
	if word := strangeState(pool); word != "" && !excluded {
		add(PoolUnreadable, BeyondWarning, fmt.Sprintf("ZFS calls it %s, a state that snapwatch does not know (zpool status %s)", word, pool.Name))
	}
	if pool.Health != nil && !pool.Missing && !excluded {
		found = append(found, pool.Health.judge(pool, p.Pools, now)...)
		for _, line := range pool.Health.Unknown {
			result.Remarks = append(slices.Clip(result.Remarks), fmt.Sprintf("zpool status has a line about %s that snapwatch does not know: %s", pool.Name, line))
		}
	}
	return result.become(found)
}

// become sets the pool's verdict to the verdict with the worst state in the list found. The pool's
// reason becomes a list of the reasons of all verdicts that alarm.
func (r PoolResult) become(found []poolMatch) PoolResult {
	slices.SortStableFunc(found, func(a, b poolMatch) int {
		if by := b.state().severity() - a.state().severity(); by != 0 {
			return by
		}
		return int(a.verdict - b.verdict)
	})
	if len(found) == 0 {
		return r
	}
	r.found = found
	r.Verdict, r.Level, r.State, r.Reason = found[0].verdict, found[0].level, found[0].state(), found[0].reason
	for _, other := range found[1:] {
		if other.state() != OK {
			r.Reason += "; " + other.reason
		}
	}
	return r
}

// Holds reports whether a verdict applies to the pool, and returns the state of this verdict.
// Several verdicts may apply; PoolOK applies if no other verdict applies.
func (r PoolResult) Holds(v PoolVerdict) (state State, holds bool) {
	for _, m := range r.found {
		if m.verdict == v {
			state, holds = Worst(state, m.state()), true
		}
	}
	return state, holds || v == r.Verdict
}

// poolExcluded reports whether the pool as a whole is under maintenance.
func (p *Policy) poolExcluded(pool string, now time.Time) bool {
	return slices.ContainsFunc(p.Maintenance, func(m config.Maintenance) bool {
		whole := m.Disk == "" && len(m.VMID) == 0
		return whole && now.Before(m.Until) && m.Matches(pool, 0)
	})
}
