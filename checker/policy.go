package checker

import (
	"fmt"
	"slices"
	"time"

	"snapwatch/config"
)

// Policy is everything a judgement depends on but the disk and the time.
type Policy struct {
	// Warning and Critical hold for disks that no override is for.
	Warning, Critical Limit
	// MaxStoppedAge and MaxInitialReceive likewise.
	MaxStoppedAge, MaxInitialReceive Limit
	// Overrides: for each setting the last entry that is for the disk and has it.
	Overrides []config.Override
	// Ignore are shell patterns for disks that never alarm.
	Ignore []string
	// Maintenance silences disks until a time.
	Maintenance []config.Maintenance
	// TrustLabel lets a label contradict a _stopped snapshot.
	TrustLabel bool
	// SeveralClusters is true where disks come from more than one.
	SeveralClusters bool
	// Cluster is the one that all disks come from, "" if that is not said or not one.
	Cluster string
	// Expect are the disks, as their owners call them or as they are called here, that this
	// host must hold.
	Expect []config.Selector
	// OriginOf returns where a disk comes from, as [config.Watch.OriginOf]; nil where that is
	// nowhere said.
	OriginOf func(disk string) (cluster, dataset string)
	// Pools is what holds for pools as a whole.
	Pools PoolPolicy
	// MaxDataAge is how old the facts may be, 0 for any age.
	MaxDataAge time.Duration
}

// DefaultMaxDataAge is how old facts may be that were not read just now: two
// intervals of five minutes, the longest at which Prometheus shows no gaps.
const DefaultMaxDataAge = 10 * time.Minute

// Limit is an age at which to alarm, and where it was said.
type Limit struct {
	// Range holds seconds; nil where a rule has no age.
	Range *Range
	// Rule is where the limit comes from, as a person would look for it.
	Rule string
}

func atMost(d time.Duration, rule string) Limit {
	return Limit{&Range{End: d.Seconds()}, rule}
}

func (l Limit) exceeded(age time.Duration) bool {
	return l.Range != nil && l.Range.Alerts(age.Seconds())
}

// onlyMost reports whether the limit alarms of nothing but what is too old.
func (l Limit) onlyMost() bool { return l.Range == nil || !l.Range.Inside && l.Range.Start <= 0 }

// String is the limit for a person: "limit 2h, default".
func (l Limit) String() string {
	if l.Range == nil {
		return l.Rule
	}
	return fmt.Sprintf("limit %s, %s", l.Range.Spoken(), l.Rule)
}

// NewPolicy is the policy that the configuration asks for.
func NewPolicy(c config.Config) Policy {
	l := c.Limits
	p := Policy{
		Warning:           atMost(l.Warning.Std(), "limits.warning"),
		Critical:          atMost(l.Critical.Std(), "limits.critical"),
		MaxStoppedAge:     atMost(l.MaxStoppedAge.Std(), "limits.max_stopped_age"),
		MaxInitialReceive: atMost(l.MaxInitialReceive.Std(), "limits.max_initial_receive"),
		Overrides:         c.Overrides,
		Ignore:            c.Ignore,
		Maintenance:       c.Maintenance,
		TrustLabel:        c.ReplicaLabel == "trust",
		SeveralClusters:   slices.ContainsFunc(c.Sources, func(s config.Source) bool { return s.Cluster != c.Sources[0].Cluster }),
	}
	p.Expect = c.Expect
	p.Pools = PoolPolicy{MaxScrubAge: l.MaxScrubAge.Std(), FillWarning: int(l.FillWarning), FillCritical: int(l.FillCritical), Ignore: c.PoolIgnore}
	if len(c.Sources) > 0 {
		p.OriginOf = c.OriginOf
		if !p.SeveralClusters {
			p.Cluster = c.Sources[0].Cluster
		}
	}
	return p
}

// Limits are the ages at which the disk is a warning and critical.
func (p *Policy) Limits(d *Disk) (warning, critical Limit) { return p.warning(d), p.critical(d) }

// LongLimits are the ages at which the silence of a stopped disk and a first receive that
// is not finished are warnings.
func (p *Policy) LongLimits(d *Disk) (stopped, receive Limit) {
	return p.maxStoppedAge(d), p.maxInitialReceive(d)
}

func (p *Policy) warning(d *Disk) Limit {
	return p.overridden(d, p.Warning, "warning", func(o config.WatchOverride) config.Duration { return o.Warning })
}

func (p *Policy) critical(d *Disk) Limit {
	return p.overridden(d, p.Critical, "critical", func(o config.WatchOverride) config.Duration { return o.Critical })
}

func (p *Policy) maxStoppedAge(d *Disk) Limit {
	return p.overridden(d, p.MaxStoppedAge, "max_stopped_age", func(o config.WatchOverride) config.Duration { return o.MaxStoppedAge })
}

func (p *Policy) maxInitialReceive(d *Disk) Limit {
	return p.overridden(d, p.MaxInitialReceive, "max_initial_receive", func(o config.WatchOverride) config.Duration { return o.MaxInitialReceive })
}

func (p *Policy) overridden(d *Disk, limit Limit, key string, setting func(config.WatchOverride) config.Duration) Limit {
	for i, o := range p.Overrides {
		if s := setting(o.WatchOverride); s > 0 && o.Matches(d.Dataset, d.VMID) {
			limit = atMost(s.Std(), fmt.Sprintf("overrides[%d].%s (%s)", i, key, o.Selector))
		}
	}
	return limit
}

// exceeded returns which level the age is at and the limit that says so; where none
// is exceeded, the limit that comes next. Critical is asked first: with ranges, or
// with overrides from two entries, it need not lie beyond warning.
func (p *Policy) exceeded(d *Disk, age time.Duration) (limitLevel, Limit) {
	warning, critical := p.Limits(d)
	switch {
	case critical.exceeded(age):
		return BeyondCritical, critical
	case warning.exceeded(age):
		return BeyondWarning, warning
	}
	return Within, warning
}

// exclusion returns which rule of the configuration keeps the disk from alarming.
func (p *Policy) exclusion(d *Disk, now time.Time) (rule string, ok bool) {
	if rule, ok = p.ignores(d); ok {
		return rule, true
	}
	for _, m := range p.Maintenance {
		if now.Before(m.Until) && m.Matches(d.Dataset, d.VMID) {
			return fmt.Sprintf("maintenance (%s) until %s", m.Selector, m.Until.Format(time.RFC3339)), true
		}
	}
	return "", false
}

// ignores is the rule by which the disk is left out whatever the time, false for none.
func (p *Policy) ignores(d *Disk) (rule string, ok bool) {
	for _, pattern := range p.Ignore {
		if (config.Selector{Disk: pattern}).Matches(d.Dataset, d.VMID) {
			return "ignore " + pattern, true
		}
	}
	for i, o := range p.Overrides {
		if o.Ignore && o.Matches(d.Dataset, d.VMID) {
			return fmt.Sprintf("overrides[%d].ignore (%s)", i, o.Selector), true
		}
	}
	return "", false
}

// expired are the maintenance entries whose time is over. They silence nothing any
// more, and whoever wrote them has to say whether the work is done.
func (p *Policy) expired(now time.Time) []config.Maintenance {
	var over []config.Maintenance
	for _, m := range p.Maintenance {
		if !now.Before(m.Until) {
			over = append(over, m)
		}
	}
	return over
}
