package checker

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/google/renameio/v2"

	"snapwatch/internal/zfs"
)

// cacheFile is the part of a [Memory] that is dear to find again: the newest
// managed snapshot behind one that is not managed. Only its name is kept, and it is
// looked up again at each scan, so that the file is never more than a hint.
type cacheFile struct {
	Version int                  `json:"version"`
	Newest  map[string]cacheLine `json:"newest"`
}

type cacheLine struct {
	GUID   uint64 `json:"guid,string"`
	Origin string `json:"origin,omitempty"`
	Newest string `json:"newest_of_any"`
	// Listed is the newest of any where ZFS does not tell it and a list did.
	Listed  string `json:"newest_listed,omitempty"`
	Changed int64  `json:"snapshots_changed"`
	Managed string `json:"newest_managed"`
}

const cacheVersion = 1

// LoadMemory reads the hints that [Memory.Save] left at path. Where there are none
// or they cannot be used, the memory is empty and the error says why, nil for a
// file that is not there.
func LoadMemory(path string) (*Memory, error) {
	m := NewMemory()
	text, err := readOwn(path)
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err != nil {
		return m, fmt.Errorf("cache ignored: %w", err)
	}
	var file cacheFile
	if err := json.Unmarshal(text, &file); err != nil {
		return m, fmt.Errorf("cache %s ignored: %w", path, err)
	}
	if file.Version != cacheVersion {
		return m, fmt.Errorf("cache %s ignored: version %d is not known", path, file.Version)
	}
	for dataset, line := range file.Newest {
		if _, managed := zfs.ParseSnapshotName(line.Managed); line.Managed != "" && !managed {
			return NewMemory(), fmt.Errorf("cache %s ignored: %q is no managed snapshot", path, line.Managed)
		}
		m.newest[dataset] = memo{key: memoKey{line.GUID, line.Origin, line.Newest, line.Changed}, name: line.Managed, ofAny: cmp.Or(line.Newest, line.Listed)}
	}
	return m, nil
}

// readOwn reads a file that belongs to this user: another's could hold anything.
func readOwn(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); ok && int(owner.Uid) != os.Geteuid() {
		return nil, fmt.Errorf("%s belongs to user %d", path, owner.Uid)
	}
	return io.ReadAll(file) // the one that was looked at
}

// Save writes the hints to path as one step.
func (m *Memory) Save(path string) error {
	text, err := json.Marshal(m.cacheFile())
	if err != nil {
		return fmt.Errorf("cache: %w", err)
	}
	if err := renameio.WriteFile(path, append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("cache: %w", err)
	}
	return nil
}

func (m *Memory) cacheFile() cacheFile {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.unsaved = false
	file := cacheFile{Version: cacheVersion, Newest: map[string]cacheLine{}}
	for dataset, k := range m.newest {
		if _, managed := zfs.ParseSnapshotName(k.key.Newest); !managed {
			line := cacheLine{GUID: k.key.GUID, Origin: k.key.Origin, Newest: k.key.Newest, Changed: k.key.Changed, Managed: k.name}
			if line.Newest == "" {
				line.Listed = k.ofAny
			}
			file.Newest[dataset] = line
		}
	}
	return file
}
