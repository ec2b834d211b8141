package checker

import "time"

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
