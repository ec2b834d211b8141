package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Watch is the part of the file for check and exporter.
type Watch struct {
	Limits Limits `yaml:"limits"`
	// PoolIgnore are verdicts on pools that are never given, such as scrub.
	PoolIgnore []string `yaml:"pool_ignore,omitempty"`
	// Ignore are shell patterns for disks that are listed but never alarm.
	Ignore []string `yaml:"ignore"`
	// Expect are the disks that this host must hold, whoever owns them.
	Expect []Selector `yaml:"expect"`
	// Maintenance silences disks until a time.
	Maintenance []Maintenance `yaml:"maintenance"`
	// ReplicaLabel is "show" or "trust": whether a label that arrived here may
	// contradict the newest snapshot's suffix.
	ReplicaLabel string `yaml:"replica_label"`
	// Sources say where received datasets come from, for joins between sites.
	Sources []Source `yaml:"sources"`
	// Owners are the nodes that check compares the disks with.
	Owners Owners `yaml:"owners"`
}

// Source says where the disks below a dataset come from.
type Source struct {
	// Dataset is here, Origin there; without an Origin it is called the same there.
	Dataset string `yaml:"dataset"`
	Origin  string `yaml:"origin"`
	// Cluster is the name of the cluster, or of the single node, they come from.
	Cluster string `yaml:"cluster"`
}

// OriginOf returns where a disk comes from: the cluster and the disk's dataset there.
// The source with the longest dataset that holds the disk decides; both are empty
// where there is none.
func (w Watch) OriginOf(disk string) (cluster, dataset string) {
	longest := -1
	for _, s := range w.Sources {
		below, ok := strings.CutPrefix(disk, s.Dataset)
		if !ok || len(s.Dataset) <= longest || (below != "" && below[0] != '/') {
			continue
		}
		longest = len(s.Dataset)
		cluster, dataset = s.Cluster, disk
		if s.Origin != "" {
			dataset = s.Origin + below
		}
	}
	return cluster, dataset
}

// Limits are ages at which a disk alarms.
type Limits struct {
	Warning  Duration `yaml:"warning"`
	Critical Duration `yaml:"critical"`
	// MaxStoppedAge is how old a _stopped snapshot may be before the silence it
	// keeps is a warning of its own.
	MaxStoppedAge Duration `yaml:"max_stopped_age"`
	// MaxInitialReceive is how long a disk's first receive may take.
	MaxInitialReceive Duration `yaml:"max_initial_receive"`
	// MaxScrubAge is how long ago a pool's last scrub may have ended; 0 for ever.
	MaxScrubAge Duration `yaml:"max_scrub_age"`
	// FillWarning and FillCritical are how much of a pool may be taken; 0% sets no limit.
	FillWarning  Percent `yaml:"fill_warning"`
	FillCritical Percent `yaml:"fill_critical"`
}

// WatchOverride are the limits an override may change; zero leaves one alone.
type WatchOverride struct {
	Warning           Duration `yaml:"warning,omitempty"`
	Critical          Duration `yaml:"critical,omitempty"`
	MaxStoppedAge     Duration `yaml:"max_stopped_age,omitempty"`
	MaxInitialReceive Duration `yaml:"max_initial_receive,omitempty"`
}

// Maintenance silences the disks that it selects until a time.
type Maintenance struct {
	Selector `yaml:",inline"`
	Until    time.Time `yaml:"until"`
	Reason   string    `yaml:"reason"`
}

// poolVerdicts are those that pool_ignore may name. The others say that a pool cannot be used.
var poolVerdicts = []string{"errors", "degraded", "scrub", "full"}

func defaultWatch() Watch {
	return Watch{
		Limits: Limits{
			Warning:           Duration(2 * time.Hour),
			Critical:          Duration(6 * time.Hour),
			MaxStoppedAge:     Duration(30 * 24 * time.Hour),
			MaxInitialReceive: Duration(7 * 24 * time.Hour),
			MaxScrubAge:       Duration(45 * 24 * time.Hour),
			FillWarning:       80,
			FillCritical:      90,
		},
		ReplicaLabel: "show",
	}
}

func (w Watch) validate() error {
	l := w.Limits
	if l.Warning <= 0 || l.Critical <= 0 || l.MaxStoppedAge <= 0 || l.MaxInitialReceive <= 0 {
		return errors.New("limits: each age must be more than 0, but for max_scrub_age")
	}
	if w.Limits.Critical < w.Limits.Warning {
		return fmt.Errorf("limits: critical (%s) comes before warning (%s); give both", w.Limits.Critical, w.Limits.Warning)
	}
	if l.FillWarning > 0 && l.FillCritical > 0 && l.FillCritical < l.FillWarning {
		return fmt.Errorf("limits.fill_critical (%s) comes before fill_warning (%s); write them as fill_warning: 80%%, fill_critical: 90%%", l.FillCritical, l.FillWarning)
	}
	for _, name := range w.PoolIgnore {
		if !slices.Contains(poolVerdicts, name) {
			return fmt.Errorf("pool_ignore: %q is no verdict that can be left out; write one of %s", name, strings.Join(poolVerdicts, ", "))
		}
	}
	if w.ReplicaLabel != "show" && w.ReplicaLabel != "trust" {
		return fmt.Errorf("replica_label: %q is not known; write show or trust", w.ReplicaLabel)
	}
	for i, pattern := range w.Ignore {
		if err := (Selector{Disk: pattern}).validate(); err != nil {
			return fmt.Errorf("ignore, entry %d: %w", i+1, err)
		}
	}
	for i, s := range w.Expect {
		if err := s.validate(); err != nil {
			return fmt.Errorf("expect, entry %d: %w", i+1, err)
		}
	}
	for i, s := range w.Sources {
		if err := s.validate(); err != nil {
			return fmt.Errorf("sources, entry %d: %w", i+1, err)
		}
	}
	if err := w.Owners.Validate(); err != nil {
		return err
	}
	for i, m := range w.Maintenance {
		if err := m.Selector.validate(); err != nil {
			return fmt.Errorf("maintenance, entry %d: %w", i+1, err)
		}
		if m.Until.IsZero() {
			return fmt.Errorf("maintenance, entry %d: until is missing; a silence without an end is forgotten", i+1)
		}
	}
	return nil
}

func (s Source) validate() error {
	if err := validateDataset(s.Dataset); err != nil {
		return fmt.Errorf("dataset: %w", err)
	}
	if s.Origin != "" {
		if err := validateDataset(s.Origin); err != nil {
			return fmt.Errorf("origin: %w", err)
		}
	}
	if s.Cluster == "" {
		return errors.New("cluster is missing; name the cluster or node the disks come from")
	}
	return nil
}

// validate looks at an override with the limits it leaves as they are: one that
// moves warning beyond the critical limit would alarm at once where it was meant
// to calm.
func (w WatchOverride) validate(defaults Limits) error {
	warning, critical := w.Warning, w.Critical
	if warning == 0 {
		warning = defaults.Warning
	}
	if critical == 0 {
		critical = defaults.Critical
	}
	if critical < warning {
		return fmt.Errorf("critical (%s) comes before warning (%s); give both", critical, warning)
	}
	return nil
}
