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
	// same is the file that known was last the same as, nil if there is none.
	same os.FileInfo
	// problem is why known is not kept, nil if it is.
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

// disks is what is remembered now. It is never changed, only replaced.
func (f *inventoryFile) disks() scan.Inventory {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.known
}

// notes say what a person must know of the memory.
func (f *inventoryFile) notes(now time.Time) []checker.Note {
	f.mu.Lock()
	defer f.mu.Unlock()
	notes := f.known.Notes(now)
	if f.problem != nil {
		notes = append(notes, checker.Note{State: checker.Warning, Text: fmt.Sprintf("the disks that are here are not remembered over a restart, so that one that goes meanwhile is not missed: %v", f.problem)})
	}
	return notes
}

// update adds what was just read, and forgets the disks of guests that are gone; guests is
// nil where it is not known where they are. Where the file cannot be read or written, this
// process remembers all the same, and tries again.
func (f *inventoryFile) update(pools []checker.Pool, guests *scan.Guests, now time.Time) {
	f.change(now, func(known scan.Inventory) (scan.Inventory, bool) { return updated(known, pools, guests, now) })
}

// hear adds what nodes said of their own guests, likewise.
func (f *inventoryFile) hear(nodes []checker.NodeAnswer, now time.Time) {
	f.change(now, func(known scan.Inventory) (scan.Inventory, bool) { return known.Heard(nodes, now) })
}

// change makes a change of what is known, which says whether it is one.
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

// load reads the file if it is another than the one that is known, and adds it to what is
// known: this process may have seen what it could not write. One that is gone is written
// again. One that cannot be read may be whole, and is left as it is.
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
			loaded.Lost = f.known.Lost // this process has it all in memory
		}
		info = nil
	}
	f.known, f.same = loaded.With(f.known, now), info
	return nil
}

// tell logs what is another fault than before.
func (f *inventoryFile) tell(err error) {
	if err != nil && (f.problem == nil || err.Error() != f.problem.Error()) {
		f.log.Error("disks seen before", "err", err)
	}
	f.problem = err
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

// remembers reports whether what is known here outlives this process.
func (s *Store) remembers(now time.Time) bool {
	return len(s.inventory.notes(now)) == 0 && s.cacheProblem.Load() == nil
}

func (s *Store) cachePath() string { return filepath.Join(s.settings.StateDir, "newest.json") }
