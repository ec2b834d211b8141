package exporter

import (
	"context"
	"errors"
	"fmt"
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

// InventoryName is the name of the file in the state directory with the inventory of disks. The
// commands check and forget also use the inventory's file.
const InventoryName = "seen.json"

// inventoryFile is the inventory of disks, in memory and in a file. If another process changes
// the file, this process reads the file again.
type inventoryFile struct {
	path string // "" for memory only
	log  *slog.Logger

	mu    sync.Mutex
	known scan.Inventory
	// same has the size and times that the inventory's file had when its contents were last equal
	// to the inventory in the field `known`, nil if there is no file.
	same os.FileInfo
	// problem says why the inventory could not be saved, nil if it was saved.
	problem error
}

func newInventoryFile(dir string, log *slog.Logger, now time.Time) *inventoryFile {
	f := &inventoryFile{log: log}
	if dir == "" {
		f.problem = errors.New("there is no state directory")
		return f
	}
	f.path = filepath.Join(dir, InventoryName)
	f.tell(f.load(now))
	return f
}

// disks returns the inventory of disks. The returned inventory never changes; later inventories
// replace it.
func (f *inventoryFile) disks() scan.Inventory {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.known
}

// notes returns the faults of the inventory's file as notes for a report.
func (f *inventoryFile) notes(now time.Time) []checker.Note {
	f.mu.Lock()
	defer f.mu.Unlock()
	notes := f.known.Notes(now)
	if f.problem != nil {
		notes = append(notes, checker.Note{State: checker.Warning, Text: fmt.Sprintf("the list of known disks is not saved, so a disk that disappears during a restart is not reported missing: %v", f.problem)})
	}
	return notes
}

// update adds the disks that were just read to the inventory, and removes the disks of guests
// that left this host. guests is nil if the owners of guests are unknown. If the inventory's file
// cannot be read or written, this process keeps the inventory in memory and tries again at the
// next update.
func (f *inventoryFile) update(pools []checker.Pool, guests *scan.Guests, now time.Time) {
	f.change(now, func(known scan.Inventory) (scan.Inventory, bool) { return updated(known, pools, guests, now) })
}

// hear adds to the inventory the disks of guests that nodes reported as their own. hear handles
// faults of the inventory's file as update does.
func (f *inventoryFile) hear(nodes []checker.NodeAnswer, now time.Time) {
	f.change(now, func(known scan.Inventory) (scan.Inventory, bool) { return known.Heard(nodes, now) })
}

// change applies a function to the inventory. The function's second result reports whether the
// function changed the inventory.
func (f *inventoryFile) change(now time.Time, change func(scan.Inventory) (scan.Inventory, bool)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.path == "" {
		f.known, _ = change(f.known)
		return
	}
	f.tell(f.keep(now, change))
}

func (f *inventoryFile) keep(now time.Time, change func(scan.Inventory) (scan.Inventory, bool)) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	l, err := lock.Wait(ctx, f.path+".lock", now)
	if err == nil {
		defer func() { _ = l.Release() }()
		err = f.load(now)
	}
	changed := false
	f.known, changed = change(f.known)
	if err != nil || (!changed && f.same != nil && f.problem == nil) {
		return err
	}
	if err := f.known.Save(f.path); err != nil {
		return err
	}
	f.same, _ = os.Stat(f.path)
	return nil
}

func updated(known scan.Inventory, pools []checker.Pool, guests *scan.Guests, now time.Time) (all scan.Inventory, changed bool) {
	all, changed = known.Updated(pools, now)
	if guests == nil {
		return all, changed
	}
	settled, also := all.Settled(pools, *guests, now)
	return settled, changed || also
}

// load reads the inventory's file if it has changed, and merges it with the inventory in memory,
// because this process may have found disks that it could not write. A missing inventory file is
// written again. An unreadable inventory file is not overwritten, because its contents may be
// intact.
func (f *inventoryFile) load(now time.Time) error {
	info, err := os.Stat(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		f.same = nil
		return nil
	}
	if err != nil {
		return err
	}
	if f.same != nil && os.SameFile(info, f.same) && info.ModTime().Equal(f.same.ModTime()) && info.Size() == f.same.Size() {
		return nil
	}
	loaded, err := scan.Reopen(f.path, now)
	if err != nil {
		return err
	}
	if loaded.Lost != nil && loaded.Disks == nil {
		f.log.Error("disks seen before", "err", loaded.Lost.Why)
		if f.same != nil {
			loaded.Lost = f.known.Lost // this process has all disks in memory
		}
		info = nil
	}
	f.known, f.same = loaded.With(f.known, now), info
	return nil
}

// tell logs an error of the inventory's file, unless the previous error had the same text.
func (f *inventoryFile) tell(err error) {
	if err != nil && (f.problem == nil || err.Error() != f.problem.Error()) {
		f.log.Error("disks seen before", "err", err)
	}
	f.problem = err
}

// loadCache reads the scanner's cache that was saved before a restart.
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

// saveCache writes the scanner's cache to its file if the cache has changed since the last write.
// Only [Store.tidy] calls saveCache.
func (s *Store) saveCache() {
	cache := s.settings.Scanner.Cache
	if s.settings.StateDir == "" || !cache.Unsaved() {
		return
	}
	err := cache.Save(s.cachePath())
	if err == nil {
		s.cacheProblem.Store(nil)
		return
	}
	problem := err.Error()
	if last := s.cacheProblem.Swap(&problem); last == nil || *last != problem {
		s.settings.Log.Warn("cache not kept", "err", err)
	}
}

// remembers reports whether the inventory and the cache are saved for the next process.
func (s *Store) remembers(now time.Time) bool {
	return len(s.inventory.notes(now)) == 0 && s.cacheProblem.Load() == nil
}

func (s *Store) cachePath() string { return filepath.Join(s.settings.StateDir, "newest.json") }
