package checker

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"snapwatch/internal/text"
	"snapwatch/internal/zfs"
)

// Health has what zpool(8) says about a pool, and what root's report says about the pool's errors.
type Health struct {
	zfs.PoolHealth
	// GUID is the pool's guid, 0 if unknown. The guid is needed because another pool may get the same
	// name later.
	GUID uint64 `json:"guid,string,omitempty"`
	// ReadAt is the time at which the pool's health was last read, zero if never. AskedAt is the
	// time of the last call of zpool for the pool.
	ReadAt  time.Time `json:"read_at,omitzero"`
	AskedAt time.Time `json:"asked_at,omitzero"`
	// Problem says why the last call of zpool failed, "" if the call succeeded. FailingSince is
	// the time since when all calls of zpool have failed, zero if unknown.
	Problem      string    `json:"problem,omitempty"`
	FailingSince time.Time `json:"failing_since,omitzero"`
	// LastScrub is the end of the last known scrub, and LastScrubErrors the number of errors that
	// this scrub could not repair. ZFS forgets the end and the errors of a scrub when the next
	// scrub or resilver begins.
	LastScrub       time.Time `json:"last_scrub,omitzero"`
	LastScrubErrors uint64    `json:"last_scrub_errors,omitempty"`
	// Damage contains the places of the pool's permanent errors, nil if root has not looked for
	// them.
	Damage *Damage `json:"damage,omitempty"`
}

// PoolPolicy contains everything on which a judgement of a pool's health depends.
type PoolPolicy struct {
	// MaxScrubAge is the age of a pool's last scrub above which the pool alarms, 0 for no limit.
	MaxScrubAge time.Duration
	// FillWarning and FillCritical are the limits for the used part of a pool, in percent, 0 for
	// no limit.
	FillWarning, FillCritical int
	// Ignore contains the names of pool verdicts that the admin has turned off.
	Ignore []string
}

const (
	// HealthInterval is the shortest time between two calls of zpool for a pool.
	HealthInterval = 5 * time.Minute
	// healthMissing is the time for which zpool may fail before the failure alarms.
	healthMissing = 3 * HealthInterval
	// longestScrub is the time after which a running scrub alarms.
	longestScrub = 14 * 24 * time.Hour
	// fewNames is the greatest number of disks or devices that the reason of a verdict names.
	fewNames = 3
)

const suspendedState = "SUSPENDED"

var (
	// faultedStates are ZFS's words for a pool that cannot be used.
	faultedStates = []string{"FAULTED", "UNAVAIL", "REMOVED", "OFFLINE"}
	// otherStates has ZFS's words for all known states of a pool that are not in faultedStates. ZFS
	// shows TRANSITIONING only for a moment, while a pool is imported or exported. The entry ""
	// stands for a pool about which ZFS was not asked.
	otherStates = []string{"", "ONLINE", "DEGRADED", suspendedState, "TRANSITIONING"}
)

// strangeState returns the first of ZFS's words for the pool's state that snapwatch does not know,
// "" if all are known.
func strangeState(pool Pool) string {
	words := []string{pool.ZFSState}
	if pool.Health != nil {
		words = append(words, pool.Health.State)
	}
	for _, w := range words {
		if !slices.Contains(faultedStates, w) && !slices.Contains(otherStates, w) {
			return w
		}
	}
	return ""
}

// judge returns the verdicts that apply to the pool because of its health.
func (h *Health) judge(pool Pool, p PoolPolicy, now time.Time) []poolMatch {
	var found []poolMatch
	for _, c := range []struct {
		verdict PoolVerdict
		holds   func(Pool, PoolPolicy, time.Time) (match, bool)
	}{
		{PoolUnreadable, h.unreadable}, {PoolSuspended, h.suspended}, {PoolFaulted, h.faulted}, {PoolErrors, h.errors},
		{PoolDegraded, h.degraded}, {PoolScrub, h.scrub}, {PoolFull, h.full},
	} {
		if m, holds := c.holds(pool, p, now); holds && !slices.Contains(p.Ignore, c.verdict.String()) {
			found = append(found, poolMatch{c.verdict, m})
		}
	}
	return found
}

func (h *Health) unreadable(_ Pool, _ PoolPolicy, now time.Time) (match, bool) {
	failing := now.Sub(h.FailingSince)
	reason := ""
	switch {
	case h.Problem == "":
		return match{}, false
	case h.ReadAt.IsZero():
		reason = "its health was never read"
	case h.FailingSince.IsZero() || failing < -healthMissing:
		reason = "its health is not read, and nothing remembers since when zpool fails"
	case failing <= healthMissing:
		return match{}, false
	default:
		reason = fmt.Sprintf("its health has not been read for %s", text.Age(failing))
	}
	return match{level: BeyondWarning, reason: reason + ": " + h.Problem}, true
}

// suspended applies if zpool says that the pool is suspended and the kernel's statistics do not say
// so: see docs/zfs-versions.md.
func (h *Health) suspended(pool Pool, _ PoolPolicy, _ time.Time) (match, bool) {
	if pool.ZFSState == suspendedState || h.State != suspendedState {
		return match{}, false
	}
	return match{reason: fmt.Sprintf("ZFS calls it %s (zpool status %s)", h.State, pool.Name)}, true
}

func (h *Health) faulted(pool Pool, _ PoolPolicy, _ time.Time) (match, bool) {
	if slices.Contains(faultedStates, pool.ZFSState) || !slices.Contains(faultedStates, h.State) {
		return match{}, false // not faulted, or JudgePool reports the kernel's word
	}
	return match{reason: fmt.Sprintf("ZFS calls it %s%s (zpool status %s)", h.State, h.brokenDevices(), pool.Name)}, true
}

func (h *Health) errors(pool Pool, _ PoolPolicy, now time.Time) (match, bool) {
	if h.DataErrors > 0 {
		return match{level: BeyondCritical, reason: errorCount(h.DataErrors, "permanent error") + h.damagedDisks(pool.Name, now)}, true
	}
	var counted []string
	for _, d := range h.Devices {
		if d.Errors() > 0 {
			counted = append(counted, fmt.Sprintf("%s (%d read, %d write, %d checksum)", d.Name, d.Read, d.Write, d.Checksum))
		}
	}
	if len(counted) == 0 {
		return match{}, false
	}
	return match{level: BeyondWarning, reason: fmt.Sprintf("errors on %s: find out why, then zpool clear %s", firstNames(counted), pool.Name)}, true
}

// errorCount returns a number of errors of a pool in words; n is limited to fit an int.
func errorCount(n uint64, what string) string { return text.Count(int(min(n, 1<<31)), what) }

func (h *Health) degraded(pool Pool, _ PoolPolicy, _ time.Time) (match, bool) {
	broken := h.brokenDevices()
	state := h.State
	if pool.ZFSState == "DEGRADED" {
		state = pool.ZFSState // the kernel's word is newer than zpool's
	}
	switch {
	case slices.Contains(faultedStates, state):
		return match{}, false
	case state != "DEGRADED" && broken == "":
		return match{}, false
	}
	reason := fmt.Sprintf("ZFS calls it %s%s (zpool status %s)", state, broken, pool.Name)
	if h.Resilver.UnderWay() {
		reason += ", a resilver is under way"
	}
	return match{reason: reason}, true
}

// brokenDevices names the devices that are not usable, without the groups that contain them.
func (h *Health) brokenDevices() string {
	var names []string
	for _, d := range h.Devices {
		if !d.There() {
			names = append(names, d.Name+" is "+d.State)
		}
	}
	return after(": ", firstNames(names))
}

func (h *Health) scrub(pool Pool, p PoolPolicy, now time.Time) (match, bool) {
	s := h.Scrub
	do := fmt.Sprintf(": zpool scrub %s", pool.Name)
	limit := fmt.Sprintf(" (limit %s, limits.max_scrub_age)", text.Age(p.MaxScrubAge))
	// If the time of a scrub is far in the future, a clock was wrong. A scrub time in the future
	// must not silence the pool until this time is reached.
	old := func(t time.Time) bool { return p.MaxScrubAge > 0 && !t.IsZero() && now.Sub(t).Abs() > p.MaxScrubAge }
	when := func(t time.Time) string {
		if t.After(now) {
			return text.Age(t.Sub(now)) + " in the future by this host's clock"
		}
		return text.Age(now.Sub(t)) + " ago"
	}
	switch {
	case h.LastScrubErrors > 0 && h.DataErrors == 0:
		if s.UnderWay() {
			do = ", and another is under way"
		}
		return match{level: BeyondCritical, reason: fmt.Sprintf("the last scrub found %s that ZFS does not list any more%s", errorCount(h.LastScrubErrors, "error"), do)}, true
	case s.UnderWay() && !s.Start.IsZero() && now.Sub(s.Start).Abs() > longestScrub:
		return match{reason: fmt.Sprintf("a scrub is under way that began %s (%s)", when(s.Start), s.State)}, true
	case s.UnderWay() && !s.Start.IsZero():
		return match{}, false
	case old(h.LastScrub):
		return match{reason: fmt.Sprintf("its last scrub ended %s%s%s", when(h.LastScrub), limit, do)}, true
	case !h.LastScrub.IsZero():
		return match{}, false
	case old(h.Resilver.End):
		return match{reason: fmt.Sprintf("no scrub is known to have ended since its resilver %s%s%s", when(h.Resilver.End), limit, do)}, true
	case old(h.Created):
		return match{reason: fmt.Sprintf("no scrub is known to have ended since the pool was made %s%s%s", when(h.Created), limit, do)}, true
	}
	return match{}, false
}

// Fill returns the used part of the pool, from 0 to 1, and whether the used part is known.
func (h *Health) Fill() (ratio float64, known bool) {
	if h == nil || h.Size == 0 {
		return 0, false
	}
	return float64(h.Allocated) / float64(h.Size), true
}

func (h *Health) full(_ Pool, p PoolPolicy, _ time.Time) (match, bool) {
	ratio, known := h.Fill()
	percent := 100 * ratio
	for _, l := range []struct {
		percent int
		level   limitLevel
		rule    string
	}{{p.FillCritical, BeyondCritical, "limits.fill_critical"}, {p.FillWarning, BeyondWarning, "limits.fill_warning"}} {
		if known && l.percent > 0 && percent >= float64(l.percent) {
			return match{level: l.level, reason: fmt.Sprintf("%.0f%% of it is taken (limit %d%%, %s)", percent, l.percent, l.rule)}, true
		}
	}
	return match{}, false
}

// firstNames returns a text with the first of the names and the number of the remaining names.
func firstNames(names []string) string {
	if len(names) <= fewNames {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:fewNames], ", "), len(names)-fewNames)
}
