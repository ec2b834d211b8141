package config

import (
	"errors"
	"fmt"
	"time"
)

// Watch is the part of the file for check and exporter.
type Watch struct {
	Limits Limits `yaml:"limits"`
	// Ignore are shell patterns for disks that are listed but never alarm.
	Ignore []string `yaml:"ignore"`
	// Maintenance silences disks until a time.
	Maintenance []Maintenance `yaml:"maintenance"`
	// ReplicaLabel is "show" or "trust": whether a label that arrived here may
	// contradict the newest snapshot's suffix.
	ReplicaLabel string `yaml:"replica_label"`
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
}

// WatchOverride are the limits an override may change; zero leaves one alone.
type WatchOverride struct {
	Warning  Duration `yaml:"warning"`
	Critical Duration `yaml:"critical"`
}

// Maintenance silences the disks that it selects until a time.
type Maintenance struct {
	Selector `yaml:",inline"`
	Until    time.Time `yaml:"until"`
	Reason   string    `yaml:"reason"`
}

func defaultWatch() Watch {
	return Watch{
		Limits: Limits{
			Warning:           Duration(2 * time.Hour),
			Critical:          Duration(6 * time.Hour),
			MaxStoppedAge:     Duration(30 * 24 * time.Hour),
			MaxInitialReceive: Duration(7 * 24 * time.Hour),
		},
		ReplicaLabel: "show",
	}
}

func (w Watch) validate() error {
	if w.Limits.Warning <= 0 || w.Limits.Critical <= 0 {
		return errors.New("limits: warning and critical must be more than 0")
	}
	if w.Limits.Critical < w.Limits.Warning {
		return fmt.Errorf("limits: critical (%s) comes before warning (%s)", w.Limits.Critical, w.Limits.Warning)
	}
	if w.ReplicaLabel != "show" && w.ReplicaLabel != "trust" {
		return fmt.Errorf("replica_label: %q is not known; write show or trust", w.ReplicaLabel)
	}
	for i, pattern := range w.Ignore {
		if err := (Selector{Disk: pattern}).validate(); err != nil {
			return fmt.Errorf("ignore, entry %d: %w", i+1, err)
		}
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

func (w WatchOverride) validate() error {
	if w.Warning > 0 && w.Critical > 0 && w.Critical < w.Warning {
		return fmt.Errorf("critical (%s) comes before warning (%s)", w.Critical, w.Warning)
	}
	return nil
}
