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

// stateVersion is the version of that file's format.
const stateVersion = 1

// State is the information that a run of snap leaves for the next run. State only helps to find the
// disks to look at and is never by itself a reason to destroy anything. Without a valid state, the
// next run looks at more disks.
type State struct {
	Version int `json:"version"`
	// Checked is the known history of the disks, by dataset.
	Checked map[string]Checked `json:"checked,omitempty"`
	// SlowHistory holds, by pool, the time when reading the pool's history took too long.
	SlowHistory map[string]time.Time `json:"slow_history,omitempty"`
	// Signs holds, by the guid of a dataset, the sign that the dataset came from another host. The
	// sign is "" if a person took the dataset over nevertheless.
	Signs map[string]string `json:"signs,omitempty"`
	// Configs are the configurations stored on snapshots, by the disk's dataset.
	Configs map[string]Kept `json:"configs,omitempty"`
	// Busy is the number of runs that have waited for the lock of a running guest, by VMID.
	Busy map[int]int `json:"busy,omitempty"`
	// SeenStopped are the VMIDs of the guests that were not running.
	SeenStopped []int `json:"seen_stopped,omitempty"`
}

// CheckedOf returns the known history of a disk, even if the disk or its pool was renamed.
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

// Checked is the known history of a disk: which bookmarks belong to the disk's history, and up to
// which point the history is this node's own.
type Checked struct {
	// GUID and Origin are the properties of the dataset.
	GUID   uint64 `json:"guid"`
	Origin string `json:"origin,omitempty"`
	// TXG is the last transaction group of the pool for which the bookmarks were checked. Newest is
	// the disk's newest snapshot at that time, and Changed is the last change of the disk's list of
	// snapshots, in Unix seconds.
	TXG     uint64 `json:"txg"`
	Newest  string `json:"newest,omitempty"`
	Changed int64  `json:"changed,omitempty"`
	// Own is the transaction group of the newest snapshot that belongs to this node. A snapshot
	// belongs to this node if this node made the snapshot or saw a guest run on the disk while the
	// snapshot existed. Own is 0 if the disk is not known to belong to this node; Foreign is true
	// if it is known not to belong to this node.
	Own     uint64 `json:"own,omitempty"`
	Foreign bool   `json:"foreign,omitempty"`
	// Elsewhere is true if the guest was on another node of the cluster. If Elsewhere is true,
	// snapshots received up to that time belong to the guest.
	Elsewhere bool `json:"elsewhere,omitempty"`
	// Unproven are the bookmarks whose history is unproven.
	Unproven []Unproven `json:"unproven,omitempty"`
	// Gone is the time since when the dataset is missing from the lists, zero if the dataset
	// exists.
	Gone time.Time `json:"gone,omitzero"`
}

// Unproven is a bookmark whose history could not be proved, with the reason.
type Unproven struct {
	Name   string `json:"name"`
	GUID   uint64 `json:"guid"`
	Reason string `json:"reason"`
}

// LoadState reads the state that the last run left. LoadState returns an empty state if the file is
// missing or unusable. The error is the reason, and is nil if the file is missing.
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

// Save writes the state in one step. Only root can read the file.
func (s State) Save(stateDir string) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return save(stateDir, StateName, text, 0o600)
}
