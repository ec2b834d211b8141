// Package report reads and writes the files that a run leaves in the state directory: the report
// for people and the exporter, and the state for the next run.
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

// Run is the report of one run. The report of snap is stored as last-run.json in the state
// directory, the report of prune as last-prune.json.
type Run struct {
	Node  string    `json:"node"`
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
	// Success is true if every disk of a running guest has the snapshots that were due, except
	// excluded disks. A failed destroy does not make Success false.
	Success bool `json:"success"`
	// LastSuccess is the end of the last successful run, this run or an earlier one.
	LastSuccess time.Time     `json:"last_success,omitzero"`
	Retention   string        `json:"retention"`
	Pools       []Pool        `json:"pools"`
	Disks       []Disk        `json:"disks,omitempty"`
	Unprotected []Unprotected `json:"unprotected,omitempty"`
	Problems    []Problem     `json:"problems,omitempty"`
	Counts      map[Event]int `json:"counts"`
	// Quiesced are the outcomes for the guests that should be frozen, from this run or from the
	// last run in which they were due.
	Quiesced []Quiesced `json:"quiesced,omitempty"`
	// Names are the names of the guests configured on the node, by VMID.
	Names map[int]string `json:"guest_names,omitempty"`
	// Locked is the number of guests that have been locked long enough for a warning.
	Locked int `json:"locked,omitempty"`
	// Unlisted is true where Proxmox could not be asked which guests run.
	Unlisted bool `json:"unlisted,omitempty"`
	// LeftFrozen are the VMIDs of the guests that snapwatch froze and that may still be frozen.
	LeftFrozen []int `json:"left_frozen,omitempty"`
	// Backlogs are the snapshots that were due for destruction but not destroyed. The key is a list
	// of datasets of one pool, separated by commas: the backlog is below these datasets. If this
	// run could not read the pool, or did not look at the datasets, the backlog is from an earlier
	// run.
	Backlogs map[string]Backlog `json:"backlogs,omitempty"`
	// Rooms are what pools had for snapshots, by pool. One that this run did not look at is from an
	// earlier run.
	Rooms map[string]Room `json:"rooms,omitempty"`
	// Interrupted are the interrupted receives that prune found, by dataset. If this run did not
	// look at a dataset, its entry is from an earlier run.
	Interrupted map[string]Interrupted `json:"interrupted,omitempty"`
	// Sightings are the sightings, by pool, of locks whose holders do not record the time of
	// locking. If this run did not look at a pool, its sighting is from an earlier run.
	Sightings map[string]Sighting `json:"lock_sightings,omitempty"`
}

// Kept is a guest's configuration that is stored on a snapshot of a disk.
type Kept struct {
	// Sum is a hash of the configuration.
	Sum string `json:"sum"`
	// Snapshot is the newest snapshot that stores the configuration.
	Snapshot string `json:"snapshot"`
}

// Pool is the outcome for one pool.
type Pool struct {
	Pool string `json:"pool"`
	// Error is the reason why the run could do nothing on the pool, "" if it could work.
	Error string `json:"error,omitempty"`
	// LockedSince is the time when another run locked the pool, zero if no other run holds the
	// lock.
	LockedSince time.Time `json:"locked_since,omitzero"`
}

// Disk is the outcome for one disk.
type Disk struct {
	Dataset string `json:"dataset"`
	VMID    int    `json:"vmid"`
	// Result is snapshot, not due, excluded, untouched, unprotected or pruned.
	Result   string `json:"result"`
	Reason   string `json:"reason"`
	Snapshot string `json:"snapshot,omitempty"`
	Error    string `json:"error,omitempty"`
}

// Unprotected is a volume of a running guest that no snapshot covers.
type Unprotected struct {
	VMID   int    `json:"vmid"`
	Volume string `json:"volume"`
	Kind   Kind   `json:"kind"`
	Reason string `json:"reason"`
}

// Kind is the reason why a running guest's disk is unprotected, as one of a fixed set of words.
type Kind string

// The kinds.
const (
	// OtherStorage means that the volume is not on a ZFS storage of this node.
	OtherStorage Kind = "storage"
	// OtherName means that the volume's name is not the name of a disk.
	OtherName Kind = "name"
	// NotFound means that the storage has no dataset of the volume's name.
	NotFound Kind = "not_found"
	// BindMount means that the volume is a directory of this node, Device that it is a device of
	// this node. Such volumes are outside the storages on purpose, so they are listed but not
	// counted.
	BindMount Kind = "bind"
	Device    Kind = "device"
	// Failed means that the disk's snapshot failed.
	Failed Kind = "failed"
	// NotTouched means that the guest's state or label did not allow a snapshot.
	NotTouched Kind = "state"
)

// Kinds returns the kinds that are counted.
func Kinds() []Kind { return []Kind{OtherStorage, OtherName, NotFound, Failed, NotTouched} }

// ResultUnprotected is the result for a running guest's disk that should have got a snapshot and
// did not.
const ResultUnprotected = "unprotected"

// UnprotectedByKind counts the unprotected volumes and the disks that should have got a snapshot
// and did not, by kind.
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

// Add adds a problem to the report. A warning also counts as a failure.
func (r *Run) Add(severity Severity, format string, args ...any) {
	r.Note(Problem{Severity: severity, Text: fmt.Sprintf(format, args...)})
}

// Note does the same as [Run.Add] for an existing Problem.
func (r *Run) Note(p Problem) {
	r.Problems = append(r.Problems, p)
	if p.Severity == Warning {
		r.Counts[DidFail]++
	}
}

// Failed reports whether the report contains a warning.
func (r *Run) Failed() bool {
	for _, p := range r.Problems {
		if p.Severity == Warning {
			return true
		}
	}
	return false
}

// Nothing reports whether the run could not work on any pool.
func (r *Run) Nothing() bool {
	for _, p := range r.Pools {
		if p.Error == "" && p.LockedSince.IsZero() {
			return false
		}
	}
	return true
}

// The files of the reports in the state directory: of snap, and of prune.
const (
	Name      = "last-run.json"
	PruneName = "last-prune.json"
)

// Load reads the report of the last run of snap. If there is no report, the error wraps
// [fs.ErrNotExist].
func Load(stateDir string) (Run, error) { return LoadFile(stateDir, Name) }

// LoadFile reads the report in the file of the given name in the state directory.
func LoadFile(stateDir, name string) (Run, error) {
	var r Run
	text, err := os.ReadFile(filepath.Join(stateDir, name))
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return Run{}, fmt.Errorf("%s: %w", filepath.Join(stateDir, name), err) // r may be only half filled
	}
	return r, nil
}

// SuccessBefore returns the end of the last successful run. SuccessBefore returns zero if there was
// none, or if that end is after now, because a clock that was wrong proves nothing.
func (r *Run) SuccessBefore(now time.Time) time.Time {
	if r.LastSuccess.After(now) {
		return time.Time{}
	}
	return r.LastSuccess
}

// SnapLimit is how long ago the last good run of snap may have ended: three times the longest time
// between two starts by cron, which is a quarter of an hour where it is not known (0).
func SnapLimit(period time.Duration) time.Duration {
	return 3 * cmp.Or(period, 15*time.Minute)
}

// PruneLimit is that of prune: two such times, of an hour where it is not known, and four hours.
func PruneLimit(period time.Duration) time.Duration {
	return 2*cmp.Or(period, time.Hour) + 4*time.Hour
}

// Save writes the report into the file of the given name, so that a reader finds either the old
// report or the new one. All users may read the file, because the exporter runs as another user.
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

// Last does the same as LoadFile, but returns an empty report if there is no file.
func Last(stateDir, name string) (Run, error) {
	r, err := LoadFile(stateDir, name)
	if errors.Is(err, fs.ErrNotExist) {
		return Run{}, nil
	}
	return r, err
}

// LastStart returns the start of the last run of snap, zero if there was none. If the report cannot
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
