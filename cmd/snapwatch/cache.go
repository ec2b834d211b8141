package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"snapwatch/checker"
	"snapwatch/checker/scan"
)

// cachePath is where the cache is, "" where this user has no place for one.
func cachePath(named string) string {
	if named != "" {
		return named
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "snapwatch", "newest.json")
}

// memory is what a check remembers of its own, beside the cache, and what the exporter does.
type memory struct {
	cache     *scan.Cache
	cachePath string
	// own is this user's inventory, changed whether it must be written; known is it with
	// the exporter's.
	own, known scan.Inventory
	changed    bool
	// exporter is true where an exporter remembers, too; a file of which only forget has
	// written shows none.
	exporter bool
	// unreadable is why own may not be written over, nil if it may.
	unreadable error
}

// remember reads what was seen before. What cannot be read is told.
func (q query) remember(now time.Time) (m memory, notes []checker.Note) {
	m.cache, m.cachePath = scan.NewCache(), cachePath(q.Cache)
	shared, err := scan.LoadInventory(q.Seen)
	if err != nil {
		notes = append(notes, seenNote(err))
	}
	m.exporter = shared.Disks != nil
	notes = append(notes, shared.Notes(now)...)
	if m.cachePath != "" {
		if m.cache, err = scan.LoadCache(m.cachePath); err != nil {
			notes = append(notes, checker.Note{Text: err.Error()})
		}
		m.own, m.unreadable = scan.Reopen(m.inventoryPath(), now)
		notes = append(notes, m.own.Notes(now)...)
		m.changed = m.own.Disks == nil && m.unreadable == nil
	}
	m.own = m.own.With(scan.Inventory{Forgotten: shared.Forgotten}, now)
	m.known = m.own.With(shared, now)
	return m, notes
}

// inventoryPath is where this user's inventory is: beside the cache, and called like it.
func (m *memory) inventoryPath() string {
	return strings.TrimSuffix(m.cachePath, ".json") + ".seen.json"
}

// shared begins the names of the files by which checks share what they read, "" for none.
func (m *memory) shared() string {
	if m.cachePath == "" {
		return ""
	}
	return strings.TrimSuffix(m.cachePath, ".json") + ".scan"
}

// learn adds what was just read.
func (m *memory) learn(pools []checker.Pool, now time.Time) {
	own, changed := m.own.Updated(pools, now)
	m.own, m.changed = own, m.changed || changed
}

// save keeps the memory if that takes no longer than the time that is left.
func (m *memory) save(left time.Duration) error {
	switch {
	case m.cachePath == "":
		return errors.New("this user has no cache directory")
	case m.unreadable != nil:
		return m.unreadable
	case !m.cache.Unsaved() && !m.changed:
		return nil
	}
	saved := make(chan error, 1)
	go func() {
		err := os.MkdirAll(filepath.Dir(m.cachePath), 0o700)
		if m.changed {
			err = errors.Join(err, m.own.Save(m.inventoryPath()))
		}
		if m.cache.Unsaved() {
			err = errors.Join(err, m.cache.Save(m.cachePath))
		}
		saved <- err
	}()
	select {
	case err := <-saved:
		return err
	case <-time.After(max(left, 0)):
		return errors.New("writing " + m.cachePath + " takes too long")
	}
}

// keep saves what a scan found, and says what does not work where it cannot. What is here is
// not missed when it goes, if no exporter remembers either, and a scan whose time was up
// begins from its start again.
func (m *memory) keep(left time.Duration, timeUp bool) (kept bool, notes []checker.Note) {
	const least = 100 * time.Millisecond
	unfinished := timeUp && m.cache.Unsaved()
	err := m.save(max(left, least))
	if err == nil {
		return true, nil
	}
	if unfinished {
		notes = append(notes, checker.Note{State: checker.Warning, Text: fmt.Sprintf("the next check begins from the start, as what was found cannot be kept; name a file with --cache: %v", err)})
	}
	if !m.exporter {
		notes = append(notes, checker.Note{State: checker.Warning, Text: fmt.Sprintf("nothing remembers the disks that are here, so that one that goes is not missed; run an exporter, or name a file with --cache: %v", err)})
	}
	return false, notes
}

// seenNote says that disks that are gone will not be missed. That another user may
// not read the exporter's file is a matter of how it is installed, no alarm: a check
// remembers, too.
func seenNote(err error) checker.Note {
	note := checker.Note{State: checker.Warning, Text: err.Error()}
	if errors.Is(err, fs.ErrPermission) {
		note.State = checker.OK
	}
	return note
}
