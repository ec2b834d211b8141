package snapper

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"
)

// Report is what a run did. It is kept as last-run.json in the state directory, for
// people, for the exporter and for the next run.
type Report struct {
	Node  string    `json:"node"`
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
	// Success is true when every running guest's disk that is not excluded has the
	// snapshots that were due. A destroy that failed does not make it false.
	Success bool `json:"success"`
	// LastSuccess is the end of the last run that was one, this or an earlier.
	LastSuccess time.Time     `json:"last_success,omitzero"`
	Retention   string        `json:"retention"`
	Pools       []PoolReport  `json:"pools"`
	Disks       []DiskReport  `json:"disks"`
	Unprotected []Uncovered   `json:"unprotected"`
	Problems    []Problem     `json:"problems"`
	Counts      map[Event]int `json:"counts"`
	// SeenStopped are the guests that did not run, by VMID.
	SeenStopped []int `json:"seen_stopped"`
}

// PoolReport is what became of one pool.
type PoolReport struct {
	Pool string `json:"pool"`
	// Error is why nothing could be done there, "" if something could.
	Error string `json:"error,omitempty"`
	// LockedSince is since when another run holds the pool's lock, zero if none does.
	LockedSince time.Time `json:"locked_since,omitzero"`
}

// DiskReport is what a run meant for one disk.
type DiskReport struct {
	Dataset  string `json:"dataset"`
	VMID     int    `json:"vmid"`
	Result   Result `json:"result"`
	Reason   string `json:"reason"`
	Snapshot string `json:"snapshot,omitempty"`
	Error    string `json:"error,omitempty"`
}

// Uncovered is a volume of a running guest that no snapshot covers.
type Uncovered struct {
	VMID   int    `json:"vmid"`
	Volume string `json:"volume"`
	Reason string `json:"reason"`
}

// Problem is something a person should know.
type Problem struct {
	Level Level  `json:"-"`
	Grade string `json:"level"`
	Text  string `json:"text"`
}

// Event is a kind of change that is counted.
type Event string

// The events.
const (
	DidSnapshot Event = "snapshot"
	DidDestroy  Event = "destroy"
	DidLabel    Event = "label"
	DidBookmark Event = "bookmark"
	DidFail     Event = "failure"
)

func (r *Report) problem(level Level, format string, args ...any) {
	grade := map[Level]string{Info: "info", Notice: "notice", Warning: "warning"}[level]
	r.Problems = append(r.Problems, Problem{Level: level, Grade: grade, Text: fmt.Sprintf(format, args...)})
	if level == Warning {
		r.Counts[DidFail]++
	}
}

// Failed tells whether something went wrong that a person must hear of.
func (r *Report) Failed() bool {
	for _, p := range r.Problems {
		if p.Level == Warning {
			return true
		}
	}
	return false
}

// Nothing tells whether no pool could be worked on at all.
func (r *Report) Nothing() bool {
	for _, p := range r.Pools {
		if p.Error == "" && p.LockedSince.IsZero() {
			return false
		}
	}
	return true
}

// reportFile is the report's name in the state directory.
const reportFile = "last-run.json"

// LoadReport reads the report of the last run. Without one it returns an error that
// wraps [fs.ErrNotExist].
func LoadReport(stateDir string) (Report, error) {
	var r Report
	text, err := os.ReadFile(filepath.Join(stateDir, reportFile))
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return r, fmt.Errorf("%s: %w", filepath.Join(stateDir, reportFile), err)
	}
	return r, nil
}

// save writes the report so that a reader finds either the old one or the new one.
// It is readable for all: the exporter runs as another user.
func (r *Report) save(stateDir string) error {
	if err := os.MkdirAll(stateDir, 0o755); err != nil {
		return err
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return renameio.WriteFile(filepath.Join(stateDir, reportFile), append(text, '\n'), 0o644)
}

// last returns the report of the run before this one, an empty one if there is none
// or it cannot be read: nothing that changes a pool depends on it alone.
func last(stateDir string) (Report, error) {
	r, err := LoadReport(stateDir)
	if errors.Is(err, fs.ErrNotExist) {
		return Report{}, nil
	}
	return r, err
}
