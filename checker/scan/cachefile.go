package scan

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"snapwatch/checker"
	"snapwatch/internal/files"
)

// cacheFile is the part of a [Memory] that outlives the process: what depends on facts
// that every scan reads anew, and on no name alone.
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
	// Snapshot is the managed one, nil where only its name is known.
	Snapshot *checker.SnapshotDocument `json:"snapshot,omitempty"`
}

func (l cacheLine) memo(dataset string) (memo, error) {
	k := memo{key: Key{l.GUID, l.Origin, l.Newest, l.Changed}, name: l.Managed, ofAny: cmp.Or(l.Newest, l.Listed)}
	if l.Managed != "" && !checker.IsManaged(l.Managed) {
		return k, fmt.Errorf("%q is no managed snapshot", l.Managed)
	}
	if checker.IsManaged(l.Newest) && l.Newest != l.Managed {
		return k, fmt.Errorf("%s has the managed snapshot %s as its newest, and %q as its newest managed one", dataset, l.Newest, l.Managed)
	}
	if l.Snapshot == nil {
		return k, nil
	}
	s, err := l.Snapshot.Snapshot(dataset)
	if err != nil {
		return k, fmt.Errorf("%s: %w", dataset, err)
	}
	if s.Name != l.Managed || s.GUID == 0 || s.CreateTXG == 0 || s.Creation.Unix() <= 0 {
		return k, fmt.Errorf("%s is no snapshot that %s can have", s.FullName(), dataset)
	}
	s.Creation = s.Creation.Local() // as zfs tells it
	k.snapshot = s
	return k, nil
}

func newCacheLine(k memo) cacheLine {
	l := cacheLine{GUID: k.key.GUID, Origin: k.key.Origin, Newest: k.key.Newest, Changed: k.key.Changed, Managed: k.name}
	if l.Newest == "" {
		l.Listed = k.ofAny
	}
	if k.snapshot != nil {
		l.Snapshot = checker.NewSnapshotDocument(*k.snapshot)
	}
	return l
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
		if m.newest[dataset], err = line.memo(dataset); err != nil {
			return NewMemory(), fmt.Errorf("cache %s ignored: %w", path, err)
		}
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
	if err := files.Replace(path, append(text, '\n'), 0o600); err != nil {
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
		if k.key.lasting() {
			file.Newest[dataset] = newCacheLine(k)
		}
	}
	return file
}
