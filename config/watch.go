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
	// PoolIgnore has the verdicts on pools that check does not report, such as scrub.
	PoolIgnore []string `yaml:"pool_ignore,omitempty"`
	// Ignore has shell patterns for disks. check lists these disks, but never alarms about them.
	Ignore []string `yaml:"ignore"`
	// Expect selects the disks that this host must have, no matter which node owns them.
	Expect []Selector `yaml:"expect"`
	// Maintenance has entries that each exclude some disks from alarms until a given time.
	Maintenance []Maintenance `yaml:"maintenance"`
	// ReplicaLabel is "show" or "trust". With replica_label: show, check prints the received
	// label:running of a copy. With replica_label: trust, the received label:running may also
	// overrule the class of the newest snapshot.
	ReplicaLabel string `yaml:"replica_label"`
	// Sources has the origins of received datasets, for alert rules that join the data of several
	// sites.
	Sources []Source `yaml:"sources"`
	// Owners has the nodes that check asks about their disks, to compare the copies on this host
	// with these disks.
	Owners Owners `yaml:"owners"`
}

// Source names the origin of the disks below a dataset.
type Source struct {
	// Dataset is the name of the dataset on this host. Origin is the dataset's name on the host
	// from which the disks come, "" if both hosts use the same name.
	Dataset string `yaml:"dataset"`
	Origin  string `yaml:"origin"`
	// Cluster is the name of the cluster or single node that sends the disks.
	Cluster string `yaml:"cluster"`
}

// OriginOf returns the origin of a disk: the cluster, and the name of the disk's dataset in the
// cluster. If several sources contain the disk, the source with the longest dataset name applies.
// If no source contains the disk, cluster and dataset are "".
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
	// If the _stopped snapshot of a disk is older than MaxStoppedAge, check warns.
	MaxStoppedAge Duration `yaml:"max_stopped_age"`
	// If the first receive of a disk takes longer than MaxInitialReceive, check alarms.
	MaxInitialReceive Duration `yaml:"max_initial_receive"`
	// If a pool's last scrub ended longer ago than MaxScrubAge, check alarms. 0 means no limit.
	MaxScrubAge Duration `yaml:"max_scrub_age"`
	// FillWarning is the used share of a pool at which check warns. FillCritical is the used share
	// at which the alarm is critical. 0% means no limit.
	FillWarning  Percent `yaml:"fill_warning"`
	FillCritical Percent `yaml:"fill_critical"`
	// A drill must end within MaxDrill.
	MaxDrill Duration `yaml:"max_drill"`
	// If the last good proof of a guest is older than MaxProofAge, check warns. 0 means no limit.
	MaxProofAge Duration `yaml:"max_proof_age"`
}

// WatchOverride has the limits that an override may change for the selected disks. A limit with the
// value zero is not changed.
type WatchOverride struct {
	Warning           Duration `yaml:"warning,omitempty"`
	Critical          Duration `yaml:"critical,omitempty"`
	MaxStoppedAge     Duration `yaml:"max_stopped_age,omitempty"`
	MaxInitialReceive Duration `yaml:"max_initial_receive,omitempty"`
	MaxProofAge       Duration `yaml:"max_proof_age,omitempty"`
}

// Maintenance excludes the selected disks from alarms until a given time.
type Maintenance struct {
	Selector `yaml:",inline"`
	Until    time.Time `yaml:"until"`
	Reason   string    `yaml:"reason"`
}

// poolVerdicts has the verdicts on pools that pool_ignore may name. Each verdict that is not in
// poolVerdicts means that the pool is unusable.
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
			MaxDrill:          Duration(time.Hour),
		},
		ReplicaLabel: "show",
	}
}

func (w Watch) validate() error {
	l := w.Limits
	if l.Warning <= 0 || l.Critical <= 0 || l.MaxStoppedAge <= 0 || l.MaxInitialReceive <= 0 || l.MaxDrill <= 0 {
		return errors.New("limits: each age except max_scrub_age and max_proof_age must be more than 0")
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
// change. Without validate, an override could raise the warning limit above the critical limit.
// check would then alarm more, although the override should reduce alarms.
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
