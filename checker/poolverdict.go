package checker

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"snapwatch/config"
)

// PoolVerdict is what is said of a pool as a whole; its disks have verdicts of their own.
type PoolVerdict int

// The verdicts on a pool, in precedence.
const (
	// PoolOK: it was read, or what was read before still counts and nothing failed since.
	PoolOK PoolVerdict = iota
	// PoolMissing: it is not imported, and no maintenance says so.
	PoolMissing
	// PoolUnreadable: the last scan of it failed, or what was read is too old.
	PoolUnreadable
	// PoolIncomplete: it lacks a dataset that the configuration names.
	PoolIncomplete
)

var poolVerdicts = [...]string{"ok", "missing", "unreadable", "incomplete"}

func (v PoolVerdict) String() string { return poolVerdicts[v] }

// PoolVerdicts are all verdicts on a pool, in precedence.
func PoolVerdicts() []PoolVerdict {
	return []PoolVerdict{PoolOK, PoolMissing, PoolUnreadable, PoolIncomplete}
}

// tooOld reports whether what was read of a pool counts no longer.
func (p *Policy) tooOld(pool Pool, now time.Time) bool {
	return pool.ReadAt.IsZero() || now.Sub(pool.ReadAt) > p.MaxDataAge
}

// judgePool says what is wrong with a pool as a whole; its disks are judged for
// themselves. That a scan takes longer than somebody waits for it is no fault while what
// the one before it read still counts.
func judgePool(pool Pool, p Policy, now time.Time) PoolResult {
	result := PoolResult{Pool: pool}
	switch {
	case pool.Missing && p.poolExcluded(pool.Name, now):
		result.Reason = pool.Problem + ", under maintenance"
	case pool.Missing:
		result.State, result.Verdict, result.Reason = Critical, PoolMissing, pool.Problem
	case pool.Problem != "":
		result.Reason = pool.Problem
		switch {
		case p.tooOld(pool, now):
			// What was read before stands for a while; then its disks are unreadable.
			result.State, result.Verdict = Unknown, PoolUnreadable
		case !pool.Unfinished:
			result.Verdict = PoolUnreadable
		case len(pool.MissingRoots) > 0:
			result.Verdict = PoolIncomplete
		}
	case len(pool.MissingRoots) > 0:
		result.State, result.Verdict = Critical, PoolIncomplete
		result.Reason = fmt.Sprintf("%s: no such dataset, but the configuration names it", strings.Join(pool.MissingRoots, ", "))
	}
	return result
}

// poolExcluded reports whether the pool as a whole is under maintenance.
func (p *Policy) poolExcluded(pool string, now time.Time) bool {
	return slices.ContainsFunc(p.Maintenance, func(m config.Maintenance) bool {
		whole := m.Disk == "" && len(m.VMID) == 0
		return whole && now.Before(m.Until) && m.Matches(pool, 0)
	})
}
