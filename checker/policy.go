package checker

import (
	"fmt"
	"slices"
	"time"

	"snapwatch/config"
)

// Policy contains everything on which a judgement depends, except the disk and the time.
type Policy struct {
	// Warning and Critical are the limits for the age of disks without an override.
	Warning, Critical Limit
	// MaxStoppedAge is the limit for the age of a stopped disk, and MaxInitialReceive for the
	// duration of a first receive, both for disks without an override.
	MaxStoppedAge, MaxInitialReceive Limit
	// MaxProofAge is the limit for the age of a guest's proof, without a range if no proof is
	// demanded; for disks without an override.
	MaxProofAge Limit
	// Overrides contains limits for certain disks. For each setting, the last override that matches
	// the disk and has the setting applies.
	Overrides []config.Override
	// Ignore contains shell patterns for disks that never alarm.
	Ignore []string
	// Maintenance contains disks that do not alarm until a given time.
	Maintenance []config.Maintenance
	// TrustLabel is true if label:running can make a disk alarm although the disk's newest snapshot
	// is a _stopped one.
	TrustLabel bool
	// SeveralClusters is true if the disks come from more than one cluster.
	SeveralClusters bool
	// Cluster is the cluster from which all disks come, "" if unknown or if there are several
	// clusters.
	Cluster string
	// Expect selects the disks of which this host must have copies, by their names on the owners or
	// on this host.
	Expect []config.Selector
	// OriginOf returns the cluster and the owner's dataset of a copy, as [config.Watch.OriginOf]
	// does; nil if the configuration names no origins.
	OriginOf func(disk string) (cluster, dataset string)
	// IsOwn reports whether a disk belongs to a guest of this host, as the function [IsOwn] does; nil
	// if this is unknown.
	IsOwn func(d *Disk) bool
	// Pools is the policy for pools as a whole.
	Pools PoolPolicy
	// MaxDataAge is the greatest age of facts about disks and pools that may be judged, 0 for any
	// age.
	MaxDataAge time.Duration
}

// DefaultMaxDataAge is the value of MaxDataAge in check if another process read the facts.
// Prometheus shows gaps if the time between two scrapes exceeds five minutes, and DefaultMaxDataAge
// is twice this time.
const DefaultMaxDataAge = 10 * time.Minute

// Limit is the age at which a disk begins to alarm, and the configuration entry that sets this
// age.
type Limit struct {
	// Range contains the ages that alarm, in seconds; nil for a rule without an age.
	Range *Range
	// Rule names the source of the limit, as a person would look for it in the configuration.
	Rule string
}

func atMost(d time.Duration, rule string) Limit {
	return Limit{&Range{End: d.Seconds()}, rule}
}

func (l Limit) exceeded(age time.Duration) bool {
	return l.Range != nil && l.Range.Alerts(age.Seconds())
}

// onlyMost reports whether the limit alarms only for ages above its upper end, and not for low
// ages.
func (l Limit) onlyMost() bool { return l.Range == nil || !l.Range.Inside && l.Range.Start <= 0 }

// String returns the limit for people, for example "limit 2h, default".
func (l Limit) String() string {
	if l.Range == nil {
		return l.Rule
	}
	return fmt.Sprintf("limit %s, %s", l.Range.Spoken(), l.Rule)
}

// NewPolicy returns the policy that the configuration describes.
func NewPolicy(c config.Config) Policy {
	l := c.Limits
	p := Policy{
		Warning:           atMost(l.Warning.Std(), "limits.warning"),
		Critical:          atMost(l.Critical.Std(), "limits.critical"),
		MaxStoppedAge:     atMost(l.MaxStoppedAge.Std(), "limits.max_stopped_age"),
		MaxInitialReceive: atMost(l.MaxInitialReceive.Std(), "limits.max_initial_receive"),
		MaxProofAge:       Limit{Rule: "limits.max_proof_age"},
		Overrides:         c.Overrides,
		Ignore:            c.Ignore,
		Maintenance:       c.Maintenance,
		TrustLabel:        c.ReplicaLabel == "trust",
		SeveralClusters:   slices.ContainsFunc(c.Sources, func(s config.Source) bool { return s.Cluster != c.Sources[0].Cluster }),
	}
	if l.MaxProofAge > 0 {
		p.MaxProofAge = atMost(l.MaxProofAge.Std(), p.MaxProofAge.Rule)
	}
	p.Expect = c.Expect
	p.IsOwn = func(d *Disk) bool { return IsOwn(c, d) }
	p.Pools = PoolPolicy{MaxScrubAge: l.MaxScrubAge.Std(), FillWarning: int(l.FillWarning), FillCritical: int(l.FillCritical), Ignore: c.PoolIgnore}
	if len(c.Sources) > 0 {
		p.OriginOf = c.OriginOf
		if !p.SeveralClusters {
			p.Cluster = c.Sources[0].Cluster
		}
	}
	return p
}

// Limits returns the ages at which the disk becomes a warning and critical.
func (p *Policy) Limits(d *Disk) (warning, critical Limit) { return p.warning(d), p.critical(d) }

// LongLimits returns two limits: the age at which a stopped disk becomes a warning, and the
// duration at which an unfinished first receive becomes a warning.
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

func (p *Policy) maxProofAge(d *Disk) Limit {
	return p.overridden(d, p.MaxProofAge, "max_proof_age", func(o config.WatchOverride) config.Duration { return o.MaxProofAge })
}

func (p *Policy) overridden(d *Disk, limit Limit, key string, setting func(config.WatchOverride) config.Duration) Limit {
	for i, o := range p.Overrides {
		if s := setting(o.WatchOverride); s > 0 && o.Matches(d.Dataset, d.VMID) {
			limit = atMost(s.Std(), fmt.Sprintf("overrides[%d].%s (%s)", i, key, o.Selector))
		}
	}
	return limit
}

// exceeded returns the limit level of an age, and the limit that the age exceeds. If the age
// exceeds no limit, exceeded returns the warning limit. The critical limit is compared first,
// because with ranges, or with overrides from two entries, the critical limit may be below the
// warning limit.
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

// exclusion returns the rule of the configuration that keeps the disk from alarming, and whether
// there is one.
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

// ignores returns the rule of the configuration that excludes the disk at all times, unlike a
// maintenance entry. ok is false if there is no such rule.
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

// expired returns the maintenance entries whose time is over. A maintenance entry whose time is
// over silences nothing any more. The author of an expired maintenance entry should remove or
// extend the entry.
func (p *Policy) expired(now time.Time) []config.Maintenance {
	var over []config.Maintenance
	for _, m := range p.Maintenance {
		if !now.Before(m.Until) {
			over = append(over, m)
		}
	}
	return over
}
