// Package report reads and writes the files that a run saves in the state directory: the report for
// people and the exporter, and the state for the next run.
package report

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"snapwatch/internal/files"
)

// Run is the report of one run of snap or prune. The report of snap is stored as last-run.json in
// the state directory, the report of prune as last-prune.json.
type Run struct {
	Node  string    `json:"node"`
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
	// Success is true if every disk of a running guest has the snapshots that were due, except
	// excluded disks. A failed destroy does not make Success false.
	Success bool `json:"success"`
	// LastSuccess is the time at which the last successful run ended. The last successful run may
	// be the present run.
	LastSuccess time.Time     `json:"last_success,omitzero"`
	Retention   string        `json:"retention"`
	Pools       []Pool        `json:"pools"`
	Disks       []Disk        `json:"disks,omitempty"`
	Unprotected []Unprotected `json:"unprotected,omitempty"`
	Problems    []Problem     `json:"problems,omitempty"`
	Counts      map[Event]int `json:"counts"`
	// Quiesced has, for each guest that should be frozen, the outcome of the freeze in the last run
	// that took snapshots of the guest.
	Quiesced []Quiesced `json:"quiesced,omitempty"`
	// Names has, by VMID, the name of each guest that is configured on the node.
	Names map[int]string `json:"guest_names,omitempty"`
	// Locked is the number of guests that have been locked long enough for a warning.
	Locked int `json:"locked,omitempty"`
	// Unlisted is true if Proxmox's live list of running guests could not be read.
	Unlisted bool `json:"unlisted,omitempty"`
	// LeftFrozen has the VMIDs of the guests that snapwatch froze and that may still be frozen.
	LeftFrozen []int `json:"left_frozen,omitempty"`
	// Backlogs has, for some datasets of one pool, the number of snapshots that the retention drops
	// but that no run has destroyed yet. A key of Backlogs is a list of datasets, separated by
	// commas. The backlog counts the snapshots of the disks below the datasets in its key. If this
	// run did not read the datasets, the backlog is from an earlier run.
	Backlogs map[string]Backlog `json:"backlogs,omitempty"`
	// Rooms has, by pool, the free space for snapshots. If this run did not read a pool, its entry
	// is from an earlier run.
	Rooms map[string]Room `json:"rooms,omitempty"`
	// Interrupted has, by dataset, the interrupted receive that prune found. If this run did not
	// read a dataset, its entry is from an earlier run.
	Interrupted map[string]Interrupted `json:"interrupted,omitempty"`
	// Sightings has, by pool, the first and the last time when a run found the pool's lock taken by
	// a process that does not record the time of locking. If this run did not try to lock a pool,
	// its entry is from an earlier run.
	Sightings map[string]Sighting `json:"lock_sightings,omitempty"`
}

// Kept is the record of a guest's configuration that is stored on a snapshot of a disk.
type Kept struct {
	// Sum is a hash of the stored guest configuration.
	Sum string `json:"sum"`
	// Snapshot is the name of the disk's newest snapshot on which the configuration is stored.
	Snapshot string `json:"snapshot"`
}

// Pool is the outcome of a run for one pool.
type Pool struct {
	Pool string `json:"pool"`
	// Error is the reason why the run could do nothing on the pool, "" if the run worked on the
	// pool.
	Error string `json:"error,omitempty"`
	// LockedSince is the time when another run locked the pool, zero if no other run holds the
	// lock.
	LockedSince time.Time `json:"locked_since,omitzero"`
}

// Disk is the outcome of a run for one disk.
type Disk struct {
	Dataset string `json:"dataset"`
	VMID    int    `json:"vmid"`
	// Result is snapshot, not due, excluded, untouched, unprotected or pruned.
	Result   string `json:"result"`
	Reason   string `json:"reason"`
	Snapshot string `json:"snapshot,omitempty"`
	Error    string `json:"error,omitempty"`
}

// Unprotected is a volume of a running guest of which snap takes no snapshots.
type Unprotected struct {
	VMID   int    `json:"vmid"`
	Volume string `json:"volume"`
	Kind   Kind   `json:"kind"`
	Reason string `json:"reason"`
}

// Kind is the reason why a running guest's disk is unprotected, as one of a fixed set of words.
type Kind string

// The reasons why a running guest's disk is unprotected.
const (
	// OtherStorage means that the volume is not on a ZFS storage of this node.
	OtherStorage Kind = "storage"
	// OtherName means that the volume's name does not have the form of a disk's name, such as
	// vm-100-disk-0.
	OtherName Kind = "name"
	// NotFound means that the storage has no dataset of the volume's name.
	NotFound Kind = "not_found"
	// BindMount means that the volume is a directory of this node, and Device that the volume is a
	// device of this node. A person puts such a volume outside the storages on purpose, so the
	// report lists the volume but does not count it as unprotected.
	BindMount Kind = "bind"
	Device    Kind = "device"
	// Failed means that the disk is unprotected because taking its snapshot failed.
	Failed Kind = "failed"
	// NotTouched means that the guest's state or the disk's label did not allow a snapshot.
	NotTouched Kind = "state"
)

// Kinds returns the reasons for unprotected disks that the report counts.
func Kinds() []Kind { return []Kind{OtherStorage, OtherName, NotFound, Failed, NotTouched} }

// ResultUnprotected is the result for a running guest's disk that should have a new snapshot but
// has none.
const ResultUnprotected = "unprotected"

// UnprotectedByKind returns, by kind, the number of unprotected volumes and of disks that should
// have a new snapshot but have none.
func (r *Run) UnprotectedByKind() map[Kind]int {
	counts := map[Kind]int{}
	for _, u := range r.Unprotected {
		counts[u.Kind]++
	}
	for _, d := range r.Disks {
		switch {
		case d.Result == ResultUnprotected && d.Error != "":
			counts[Failed]++
		case d.Result == ResultUnprotected:
			counts[NotTouched]++
		}
	}
	return counts
}

// Add adds a problem to the report. Add adds a problem to the report. A run with a warning counts
// as failed.
func (r *Run) Add(severity Severity, format string, args ...any) {
	r.Note(Problem{Severity: severity, Text: fmt.Sprintf(format, args...)})
}

// Note adds an existing Problem to the report. As in [Run.Add], a run with a warning counts as
// failed.
func (r *Run) Note(p Problem) {
	r.Problems = append(r.Problems, p)
	if p.Severity == Warning {
		r.Counts[DidFail]++
	}
}

// Failed reports whether the run counts as failed: whether the report contains a warning.
func (r *Run) Failed() bool {
	for _, p := range r.Problems {
		if p.Severity == Warning {
			return true
		}
	}
	return false
}

// Nothing (a method) reports whether the run could not work on any pool.
func (r *Run) Nothing() bool {
	for _, p := range r.Pools {
		if p.Error == "" && p.LockedSince.IsZero() {
			return false
		}
	}
	return true
}

// The names of the report files of snap and of prune, in the state directory.
const (
	Name      = "last-run.json"
	PruneName = "last-prune.json"
)

// LoadFile reads the report in the file with the given name, in the state directory. If there is no
// report, the error wraps [fs.ErrNotExist].
func LoadFile(stateDir, name string) (Run, error) {
	var r Run
	text, err := os.ReadFile(filepath.Join(stateDir, name))
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return Run{}, fmt.Errorf("%s: %w", filepath.Join(stateDir, name), err) // r may have only some of its fields
	}
	return r, nil
}

// SuccessBefore returns the time when the last successful run ended, zero if no run succeeded, or
// if the time is after now, because the clock was wrong.
func (r *Run) SuccessBefore(now time.Time) time.Time {
	if r.LastSuccess.After(now) {
		return time.Time{}
	}
	return r.LastSuccess
}

// SnapLimit returns the age of the last successful run of snap above which this run counts as too
// old. The returned age is three times period, the longest time between two starts by cron. If
// period is unknown, it is 0, and SnapLimit assumes a quarter of an hour.
func SnapLimit(period time.Duration) time.Duration {
	return 3 * cmp.Or(period, 15*time.Minute)
}

// PruneLimit returns the age of the last successful run of prune above which this run counts as too
// old. The returned age is four hours plus twice period, the longest time between two starts by
// cron. If period is unknown, it is 0, and PruneLimit assumes an hour.
func PruneLimit(period time.Duration) time.Duration {
	return 2*cmp.Or(period, time.Hour) + 4*time.Hour
}

// Save writes the report into the file of the given name in the state directory, so that a reader
// finds either the old report or the new one. All users may read the file, because the exporter
// runs as another user.
func (r *Run) Save(stateDir, name string) error {
	kept := *r
	kept.Problems = nil
	for _, p := range r.Problems {
		if p.Kept != nil {
			p.Text = *p.Kept
		}
		if p.Text != "" {
			kept.Problems = append(kept.Problems, p)
		}
	}
	text, err := json.MarshalIndent(kept, "", "  ")
	if err != nil {
		return err
	}
	return save(stateDir, name, text, 0o644)
}

// save writes a file in the state directory in one step, and creates the directory if necessary.
func save(stateDir, name string, text []byte, mode fs.FileMode) error {
	if err := files.Directory(stateDir, 0o755); err != nil {
		return err
	}
	return files.Replace(filepath.Join(stateDir, name), append(text, '\n'), mode)
}

// Last reads the report in a file, as LoadFile does. If the file does not exist, Last returns an
// empty report.
func Last(stateDir, name string) (Run, error) {
	r, err := LoadFile(stateDir, name)
	if errors.Is(err, fs.ErrNotExist) {
		return Run{}, nil
	}
	return r, err
}

// LastStart returns the start of the last run of snap, zero if snap never ran. If the report cannot
// be read, LastStart returns the time when the file was written, because the file proves that snap
// runs here.
func LastStart(stateDir string) (time.Time, error) {
	r, err := Last(stateDir, Name)
	if err == nil {
		return r.Start, nil
	}
	info, statErr := os.Stat(filepath.Join(stateDir, Name))
	if statErr != nil {
		return time.Time{}, err
	}
	return info.ModTime(), err
}
