package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Watch is the part of the configuration that check and the exporter use.
type Watch struct {
	Limits Limits `yaml:"limits"`
	// PoolIgnore are the verdicts on pools that check never reports, such as scrub.
	PoolIgnore []string `yaml:"pool_ignore,omitempty"`
	// Ignore are shell patterns for disks that check lists but about which it never alarms.
	Ignore []string `yaml:"ignore"`
	// Expect selects the disks that this host must have, no matter which node owns them.
	Expect []Selector `yaml:"expect"`
	// Maintenance has the entries that exclude disks from alarms until a given time.
	Maintenance []Maintenance `yaml:"maintenance"`
	// ReplicaLabel says how check uses a copy's received label:running: "show" or "trust". With
	// "trust", the received label may overrule the class of the newest snapshot.
	ReplicaLabel string `yaml:"replica_label"`
	// Sources names the origin of received datasets, for alert rules that join data of several
	// sites.
	Sources []Source `yaml:"sources"`
	// Owners are the nodes with whose disks check compares the copies on this host.
	Owners Owners `yaml:"owners"`
}

// Source names the origin of the disks below a dataset.
type Source struct {
	// Dataset is the name of the dataset on this host. Origin is its name at the source, "" if both
	// names are the same.
	Dataset string `yaml:"dataset"`
	Origin  string `yaml:"origin"`
	// Cluster is the name of the cluster or single node that sends the disks.
	Cluster string `yaml:"cluster"`
}

// OriginOf returns the origin of a disk: the cluster, and the name of the disk's dataset in the
// cluster. If several sources contain the disk, the longest dataset decides. cluster and dataset
// are empty if no source contains the disk.
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

// Limits are the limits at which check alarms about a disk or pool.
type Limits struct {
	Warning  Duration `yaml:"warning"`
	Critical Duration `yaml:"critical"`
	// MaxStoppedAge is the largest age of a _stopped snapshot with which the disk does not alarm;
	// check warns about an older one.
	MaxStoppedAge Duration `yaml:"max_stopped_age"`
	// MaxInitialReceive is the longest time that a disk's first receive may take.
	MaxInitialReceive Duration `yaml:"max_initial_receive"`
	// MaxScrubAge is the longest time since the end of a pool's last scrub; 0 sets no limit.
	MaxScrubAge Duration `yaml:"max_scrub_age"`
	// FillWarning and FillCritical are the used shares of a pool at which check warns and alarms;
	// 0% sets no limit.
	FillWarning  Percent `yaml:"fill_warning"`
	FillCritical Percent `yaml:"fill_critical"`
}

// WatchOverride has the limits that an override may change for the selected disks. A zero value
// changes nothing.
type WatchOverride struct {
	Warning           Duration `yaml:"warning,omitempty"`
	Critical          Duration `yaml:"critical,omitempty"`
	MaxStoppedAge     Duration `yaml:"max_stopped_age,omitempty"`
	MaxInitialReceive Duration `yaml:"max_initial_receive,omitempty"`
}

// Maintenance excludes the selected disks from alarms until a given time.
type Maintenance struct {
	Selector `yaml:",inline"`
	Until    time.Time `yaml:"until"`
	Reason   string    `yaml:"reason"`
}

// poolVerdicts are the verdicts that pool_ignore may name. All other verdicts mean an unusable
// pool.
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
		return errors.New("limits: each age except max_scrub_age must be more than 0")
	}
	if w.Limits.Critical < w.Limits.Warning {
		return fmt.Errorf("limits: critical (%s) is lower than warning (%s); give both", w.Limits.Critical, w.Limits.Warning)
	}
	if l.FillWarning > 0 && l.FillCritical > 0 && l.FillCritical < l.FillWarning {
		return fmt.Errorf("limits.fill_critical (%s) is lower than fill_warning (%s); write them as fill_warning: 80%%, fill_critical: 90%%", l.FillCritical, l.FillWarning)
	}
	for _, name := range w.PoolIgnore {
		if !slices.Contains(poolVerdicts, name) {
			return fmt.Errorf("pool_ignore: %q is not a verdict that can be ignored; write one of %s", name, strings.Join(poolVerdicts, ", "))
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
			return fmt.Errorf("maintenance, entry %d: until is missing; maintenance without an end would be forgotten", i+1)
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

// validate checks the limits of an override together with the limits that the override does not
// change. An override that only raises warning above the critical limit would raise alarms where it
// should reduce them.
func (w WatchOverride) validate(defaults Limits) error {
	warning, critical := w.Warning, w.Critical
	if warning == 0 {
		warning = defaults.Warning
	}
	if critical == 0 {
		critical = defaults.Critical
	}
	if critical < warning {
		return fmt.Errorf("critical (%s) is lower than warning (%s); give both", critical, warning)
	}
	return nil
}
