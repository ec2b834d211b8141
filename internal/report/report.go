// Package report is the file that a run of snap leaves for people, for the exporter
// and for the next run: what became of every disk, and when a run last succeeded.
package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"snapwatch/internal/files"
)

// Run is what a run did. It is kept as last-run.json in the state directory.
type Run struct {
	Node  string    `json:"node"`
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
	// Success is true when every running guest's disk that is not excluded has the
	// snapshots that were due. A destroy that failed does not make it false.
	Success bool `json:"success"`
	// LastSuccess is the end of the last run that was one, this or an earlier.
	LastSuccess time.Time     `json:"last_success,omitzero"`
	Retention   string        `json:"retention"`
	Pools       []Pool        `json:"pools"`
	Disks       []Disk        `json:"disks,omitempty"`
	Unprotected []Unprotected `json:"unprotected,omitempty"`
	Problems    []Problem     `json:"problems,omitempty"`
	Counts      map[Event]int `json:"counts"`
	// Quiesced is how the guests fared that are to be frozen, in this run or the
	// last one in which they were due.
	Quiesced []Quiesced `json:"quiesced,omitempty"`
	// Names are what people call the guests that are configured on the node, by VMID.
	Names map[int]string `json:"guest_names,omitempty"`
	// Locked is how many guests have been locked for so long that this is a warning.
	Locked int `json:"locked,omitempty"`
	// LeftFrozen are the guests, by VMID, that snapwatch froze and that may be frozen yet.
	LeftFrozen []int `json:"left_frozen,omitempty"`
	// Backlogs are what is due and was not destroyed, by the datasets of one pool below which that
	// is, parted by commas. One of a pool that this run could not read, or of datasets that it did not
	// look at, is from an earlier run.
	Backlogs map[string]Backlog `json:"backlogs,omitempty"`
	// Interrupted are the receives, by dataset, that prune found broken off. One that this run did
	// not look at is from an earlier run.
	Interrupted map[string]Interrupted `json:"interrupted,omitempty"`
	// Sightings are, by pool, those of locks whose holders do not say since when. One of a pool
	// that this run did not look at is from an earlier run.
	Sightings map[string]Sighting `json:"lock_sightings,omitempty"`
}

// Kept is a guest's configuration that a snapshot of a disk keeps.
type Kept struct {
	// Sum tells it from others.
	Sum string `json:"sum"`
	// Snapshot is the newest one that keeps it.
	Snapshot string `json:"snapshot"`
}

// Pool is what became of one pool.
type Pool struct {
	Pool string `json:"pool"`
	// Error is why nothing could be done there, "" if something could.
	Error string `json:"error,omitempty"`
	// LockedSince is since when another run holds the pool's lock, zero if none does.
	LockedSince time.Time `json:"locked_since,omitzero"`
}

// Disk is what a run meant for one disk.
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

// Kind is why a running guest's disk is not covered, in one word of a closed set.
type Kind string

// The kinds.
const (
	// OtherStorage: the volume is on no ZFS storage of this node.
	OtherStorage Kind = "storage"
	// OtherName: its name is not that of a disk.
	OtherName Kind = "name"
	// NotFound: the storage has no such dataset.
	NotFound Kind = "not_found"
	// BindMount: a directory of this node. Device: a device of it that is passed through. They lie
	// outside of the storages on purpose, so they are listed and not counted.
	BindMount Kind = "bind"
	Device    Kind = "device"
	// Failed: its snapshot failed.
	Failed Kind = "failed"
	// NotTouched: the guest's state or label did not allow one.
	NotTouched Kind = "state"
)

// Kinds returns the kinds that are counted.
func Kinds() []Kind { return []Kind{OtherStorage, OtherName, NotFound, Failed, NotTouched} }

// ResultUnprotected is the result of a running guest's disk that got no snapshot and
// should have.
const ResultUnprotected = "unprotected"

// UnprotectedByKind counts what no snapshot covers: volumes that are none of our disks,
// and disks that should have got one.
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

// Add notes a problem. A warning counts as a failure.
func (r *Run) Add(severity Severity, format string, args ...any) {
	r.Note(Problem{Severity: severity, Text: fmt.Sprintf(format, args...)})
}

// Note is [Run.Add] for a problem that is there already.
func (r *Run) Note(p Problem) {
	r.Problems = append(r.Problems, p)
	if p.Severity == Warning {
		r.Counts[DidFail]++
	}
}

// Failed reports whether something went wrong that a person must hear of.
func (r *Run) Failed() bool {
	for _, p := range r.Problems {
		if p.Severity == Warning {
			return true
		}
	}
	return false
}

// Nothing reports whether no pool could be worked on at all.
func (r *Run) Nothing() bool {
	for _, p := range r.Pools {
		if p.Error == "" && p.LockedSince.IsZero() {
			return false
		}
	}
	return true
}

// The reports' files in the state directory: of snap, and of prune.
const (
	Name      = "last-run.json"
	PruneName = "last-prune.json"
)

// Load reads the report of the last run of snap. Without one it returns an error that
// wraps [fs.ErrNotExist].
func Load(stateDir string) (Run, error) { return LoadFile(stateDir, Name) }

// LoadFile is Load for one of the files.
func LoadFile(stateDir, name string) (Run, error) {
	var r Run
	text, err := os.ReadFile(filepath.Join(stateDir, name))
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return Run{}, fmt.Errorf("%s: %w", filepath.Join(stateDir, name), err) // r has half of it
	}
	return r, nil
}

// SuccessBefore returns the end of the last run that was a success, zero where there was none
// or where it lies after now: a clock that was wrong proves nothing.
func (r *Run) SuccessBefore(now time.Time) time.Time {
	if r.LastSuccess.After(now) {
		return time.Time{}
	}
	return r.LastSuccess
}

// Save writes the report into one of the files so that a reader finds either the old
// one or the new one. It is readable for all: the exporter runs as another user.
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

// save writes a file in the state directory as one step, and makes the directory.
func save(stateDir, name string, text []byte, mode fs.FileMode) error {
	if err := files.Directory(stateDir, 0o755); err != nil {
		return err
	}
	return files.Replace(filepath.Join(stateDir, name), append(text, '\n'), mode)
}

// Last is LoadFile for the next run: without a report it returns an empty one.
func Last(stateDir, name string) (Run, error) {
	r, err := LoadFile(stateDir, name)
	if errors.Is(err, fs.ErrNotExist) {
		return Run{}, nil
	}
	return r, err
}

// LastStart returns when the last run of snap began, zero if there was none. Of a report
// that cannot be read it returns when that was written: it is there, so snap runs here.
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
