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

// StateName is the file in the state directory that holds what only the next run needs.
const StateName = "state.json"

// stateVersion is the form of that file.
const stateVersion = 1

// State is what a run of snap leaves for the next one. It says where to look, and is
// never by itself a reason to destroy anything: without it, or with an old one, the next
// run looks at more.
type State struct {
	Version int `json:"version"`
	// Checked is what is known of the disks, by dataset.
	Checked map[string]Checked `json:"checked,omitempty"`
	// SlowHistory says of pools when their history took too long to read.
	SlowHistory map[string]time.Time `json:"slow_history,omitempty"`
	// Signs say by the guid of a dataset what said that it came from elsewhere; "" where a
	// person took it over all the same.
	Signs map[string]string `json:"signs,omitempty"`
	// Configs are the configurations that snapshots keep, by the disk's dataset.
	Configs map[string]Kept `json:"configs,omitempty"`
	// Busy says of living guests how many runs have waited for their locks, by VMID.
	Busy map[int]int `json:"busy,omitempty"`
	// SeenStopped are the guests that did not run, by VMID.
	SeenStopped []int `json:"seen_stopped,omitempty"`
}

// CheckedOf returns what is known of a disk, also where it was renamed since, or its pool.
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

// Checked is what is known of a disk: which bookmarks belong to its history, and up to where
// that is this node's own.
type Checked struct {
	// GUID and Origin are the dataset's.
	GUID   uint64 `json:"guid"`
	Origin string `json:"origin,omitempty"`
	// TXG is up to which transaction group of its pool they were looked at. Newest is its
	// newest snapshot then, Changed when its list of snapshots had last changed, in seconds.
	TXG     uint64 `json:"txg"`
	Newest  string `json:"newest,omitempty"`
	Changed int64  `json:"changed,omitempty"`
	// Own is the transaction group of the newest snapshot that is this node's: it made that,
	// or saw a guest run on the disk when that was there. It is 0 for a disk that is not known
	// to have been this node's; Foreign says that it was not.
	Own     uint64 `json:"own,omitempty"`
	Foreign bool   `json:"foreign,omitempty"`
	// Elsewhere: its guest was on another node of the cluster. What it received by then is the
	// guest's.
	Elsewhere bool `json:"elsewhere,omitempty"`
	// Unproven are those of which nothing could be proved.
	Unproven []Unproven `json:"unproven,omitempty"`
	// Gone is since when no list has the dataset, zero where it is there.
	Gone time.Time `json:"gone,omitzero"`
}

// Unproven is a bookmark of which nothing could be proved, and why.
type Unproven struct {
	Name   string `json:"name"`
	GUID   uint64 `json:"guid"`
	Reason string `json:"reason"`
}

// LoadState reads the state that the last run left. Where there is none, or it cannot be
// used, it is empty; the error says why, and is nil for a file that is not there.
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

// Save writes the state as one step. Only root can read it.
func (s State) Save(stateDir string) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return save(stateDir, StateName, text, 0o600)
}
