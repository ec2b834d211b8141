package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// StateName is the name of the file with the state for the next run, in the state directory.
const StateName = "state.json"

// stateVersion is the version of the format of state.json.
const stateVersion = 1

// State is the information that a run of snap leaves for the next run. State alone is never a
// reason to destroy a snapshot or bookmark. Without a valid state, the next run reads more from
// ZFS.
type State struct {
	Version int `json:"version"`
	// Checked has, by dataset, the record of the disk's history.
	Checked map[string]Checked `json:"checked,omitempty"`
	// SlowHistory has, by pool, the time of the last run in which reading the pool's history took
	// too long.
	SlowHistory map[string]time.Time `json:"slow_history,omitempty"`
	// Signs holds, by the guid of a dataset, the sign that the dataset came from another host. If a
	// person adopted the dataset, the entry in Signs is "".
	Signs map[string]string `json:"signs,omitempty"`
	// Configs has, by dataset, the record of the guest's configuration that is stored on a snapshot
	// of the disk.
	Configs map[string]Kept `json:"configs,omitempty"`
	// Busy has, by VMID, the number of runs in succession that skipped a running guest because its
	// lock was taken.
	Busy map[int]int `json:"busy,omitempty"`
	// SeenStopped has the VMIDs of the guests that did not run in the last run of snap.
	SeenStopped []int `json:"seen_stopped,omitempty"`
}

// CheckedOf returns the record of a disk's history, even if the disk or its pool was renamed.
func (s State) CheckedOf(dataset string, guid uint64) Checked {
	if c := s.Checked[dataset]; c.GUID == guid {
		return c
	}
	for _, name := range slices.Sorted(maps.Keys(s.Checked)) {
		if c := s.Checked[name]; c.GUID == guid {
			return c
		}
	}
	return Checked{}
}

// Checked is the record that a run makes of a disk's history: the transaction group up to which the
// disk's bookmarks were judged, and the transaction group up to which the disk is this node's own.
type Checked struct {
	// GUID and Origin are the ZFS properties guid and origin of the disk's dataset.
	GUID   uint64 `json:"guid"`
	Origin string `json:"origin,omitempty"`
	// TXG is the transaction group of the pool up to which the disk's bookmarks were checked.
	// Newest is the name of the disk's newest snapshot at that time, and Changed is the time of the
	// last change of the disk's list of snapshots, in Unix seconds.
	TXG     uint64 `json:"txg"`
	Newest  string `json:"newest,omitempty"`
	Changed int64  `json:"changed,omitempty"`
	// Own is the transaction group of the newest snapshot that belongs to this node. A snapshot
	// belongs to this node if this node made the snapshot or saw a guest run on the disk while the
	// snapshot existed. Own is 0 if it is unknown whether the disk belongs to this node. Foreign is
	// true if the disk is known to be a copy.
	Own     uint64 `json:"own,omitempty"`
	Foreign bool   `json:"foreign,omitempty"`
	// Elsewhere is true if this run found the guest on another node of the cluster. If the next run
	// finds the guest on this node, all snapshots that the disk received before the next run count as
	// this node's own.
	Elsewhere bool `json:"elsewhere,omitempty"`
	// Unproven has the bookmarks of the disk that may belong to a discarded history, because nothing
	// proves whether they belong to it.
	Unproven []Unproven `json:"unproven,omitempty"`
	// Gone is the time of the first list by zfs that lacked the dataset, zero if the dataset
	// exists.
	Gone time.Time `json:"gone,omitzero"`
}

// Unproven is a bookmark that may belong to a discarded history. Reason says why this is unknown.
type Unproven struct {
	Name   string `json:"name"`
	GUID   uint64 `json:"guid"`
	Reason string `json:"reason"`
}

// LoadState reads the state that the last run of snap saved in state.json. LoadState returns an
// empty state if the file is missing or unusable. The error is the reason why state.json is
// unusable. A missing state.json is not an error.
func LoadState(stateDir string) (State, error) {
	empty := State{Version: stateVersion}
	path := filepath.Join(stateDir, StateName)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return empty, nil
	}
	if err != nil {
		return empty, err
	}
	var s State
	if err := json.Unmarshal(text, &s); err != nil {
		return empty, fmt.Errorf("%s is damaged: %w", path, err)
	}
	if s.Version != stateVersion {
		return empty, fmt.Errorf("%s has version %d, not %d", path, s.Version, stateVersion)
	}
	return s, nil
}

// Save writes state.json in one step, so that a reader finds either the old state or the new one.
// Only root can read state.json.
func (s State) Save(stateDir string) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return save(stateDir, StateName, text, 0o600)
}
