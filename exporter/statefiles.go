package exporter

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"snapwatch/checker"
	"snapwatch/checker/scan"
	"snapwatch/internal/lock"
)

// InventoryName is the file in the state directory that remembers the disks; check and
// forget read it, too.
const InventoryName = "seen.json"

// inventoryFile is the disks seen before, on disk and in memory. Somebody may change the
// file: then it is read again.
type inventoryFile struct {
	path string // "" for memory only
	log  *slog.Logger

	mu    sync.Mutex
	known scan.Inventory
	// readAt is the file's time when known was the same as it.
	readAt time.Time
	failed string
}

func newInventoryFile(dir string, log *slog.Logger) *inventoryFile {
	f := &inventoryFile{log: log, known: scan.Inventory{}}
	if dir != "" {
		f.path = filepath.Join(dir, InventoryName)
		f.load()
	}
	return f
}

// disks is what is remembered now. It is never changed, only replaced.
func (f *inventoryFile) disks() scan.Inventory {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.known
}

// update adds what was read. If the file cannot be written, the inventory lives on
// in memory, and the log says so once.
func (f *inventoryFile) update(pools []checker.Pool, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.path == "" {
		f.known, _ = f.known.Updated(pools, now)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	l, err := lock.Wait(ctx, f.path+".lock", now)
	if err != nil {
		f.known, _ = f.known.Updated(pools, now)
		f.fail(err)
		return
	}
	defer func() { _ = l.Release() }()
	if f.changed() {
		f.load()
	}
	known, changed := f.known.Updated(pools, now)
	f.known = known
	if !changed && f.failed == "" {
		return
	}
	if err := f.known.Save(f.path); err != nil {
		f.fail(err)
		return
	}
	f.failed = ""
	f.readAt = modified(f.path)
}

// changed reports whether somebody else wrote the file.
func (f *inventoryFile) changed() bool {
	at := modified(f.path)
	return !at.IsZero() && !at.Equal(f.readAt)
}

// load reads the file. One that cannot be understood is moved aside, not written
// over: it is the only witness of disks that are gone.
func (f *inventoryFile) load() {
	at := modified(f.path)
	known, err := scan.LoadInventory(f.path)
	if err == nil {
		f.known, f.readAt = known, at
		return
	}
	f.fail(err)
	if !errors.Is(err, fs.ErrPermission) {
		f.fail(os.Rename(f.path, f.path+".broken"))
	}
}

func (f *inventoryFile) fail(err error) {
	if err == nil || err.Error() == f.failed {
		return
	}
	f.failed = err.Error()
	f.log.Error("disks seen before", "err", err)
}

func modified(path string) time.Time {
	info, err := os.Stat(path)
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

// loadCache reads what the scanner knew before a restart.
func (s *Store) loadCache() {
	if s.settings.StateDir == "" {
		s.settings.Scanner.Cache = scan.NewCache()
		return
	}
	cache, err := scan.LoadCache(s.cachePath())
	if err != nil {
		s.settings.Log.Warn("starting without a cache", "err", err)
	}
	s.settings.Scanner.Cache = cache
}

// saveCache writes the cache if it is not what was written last; [Store.tidy] alone does.
func (s *Store) saveCache() {
	cache := s.settings.Scanner.Cache
	if s.settings.StateDir == "" || !cache.Unsaved() {
		return
	}
	if err := cache.Save(s.cachePath()); err != nil && err.Error() != s.cacheFailed {
		s.cacheFailed = err.Error()
		s.settings.Log.Warn("cache not kept", "err", err)
	}
}

func (s *Store) cachePath() string { return filepath.Join(s.settings.StateDir, "newest.json") }
