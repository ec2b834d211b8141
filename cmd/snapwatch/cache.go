package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"snapwatch/checker"
	"snapwatch/checker/scan"
	"snapwatch/internal/lock"
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
	// read are the pools as they were just read, forgotten what the exporter was told to forget.
	read []checker.Pool
	// heard are the nodes that answered.
	heard     []checker.NodeAnswer
	forgotten scan.Inventory
	// now is when that was.
	now time.Time
	// exporter is true where an exporter remembers, too; a file of which only forget has
	// written shows none.
	exporter bool
	// unreadable is why own may not be written over, nil if it may.
	unreadable error
}

// remember reads what was seen before. What cannot be read is told.
func (q query) remember(now time.Time) (m memory, notes []checker.Note) {
	m.now, m.cache, m.cachePath = now, scan.NewCache(), cachePath(q.Cache)
	shared, err := scan.LoadInventory(q.Seen)
	if err != nil {
		notes = append(notes, seenNote(err))
	}
	m.exporter = shared.Disks != nil
	notes = append(notes, shared.Notes(now)...)
	m.forgotten = scan.Inventory{Forgotten: shared.Forgotten}
	if m.cachePath != "" {
		if m.cache, err = scan.LoadCache(m.cachePath); err != nil {
			notes = append(notes, checker.Note{Text: err.Error()})
		}
		m.unreadable = m.open()
		notes = append(notes, m.own.Notes(now)...)
		m.changed = m.own.Disks == nil && m.unreadable == nil
	}
	m.known = m.own.With(shared, now)
	return m, notes
}

// open reads this user's inventory. That it was lost once stays known.
func (m *memory) open() (err error) {
	lost := m.own.Lost
	m.own, err = scan.Reopen(m.inventoryPath(), m.now)
	if m.own.Lost == nil {
		m.own.Lost = lost
	}
	m.own = m.own.With(m.forgotten, m.now)
	return err
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

// health is where check remembers how pools are, and finds root's report.
func (m *memory) health(env *environment) scan.HealthFile {
	f := scan.HealthFile{Report: filepath.Join(env.StateDir, scan.DamageName)}
	if m.cachePath != "" {
		f.Prefix = strings.TrimSuffix(m.cachePath, ".json") + ".health."
	}
	return f
}

// learn adds what was just read.
func (m *memory) learn(pools []checker.Pool, now time.Time) {
	m.now, m.read = now, slices.Clone(pools)
	for i := range m.read {
		m.read[i].Disks = slices.Clone(m.read[i].Disks) // more is said of them later
	}
	own, changed := m.own.Updated(m.read, m.now)
	m.own, m.changed = own, m.changed || changed
}

// hear adds what nodes said of their own guests, and keeps that if it takes no longer than the
// time that is left. It returns the nodes with the disks that they had before.
func (m *memory) hear(nodes []checker.NodeAnswer, left time.Duration) []checker.NodeAnswer {
	m.heard = nodes
	var changed bool
	m.own, changed = m.own.Heard(nodes, m.now)
	m.changed = m.changed || changed
	_, _ = m.keep(left, false) // where that is not possible it was said when the disks were kept
	return m.own.Former(nodes)
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
	ctx, cancel := context.WithTimeoutCause(context.Background(), max(left, 0), errors.New("writing "+m.cachePath+" takes too long"))
	defer cancel()
	saved := make(chan error, 1)
	go func() { saved <- m.merge(ctx) }()
	select {
	case err := <-saved:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// merge writes what was found out here into the files as they are now: other checks of this user
// may have written them since they were read. One does so at a time.
func (m *memory) merge(ctx context.Context) error {
	if err := os.MkdirAll(filepath.Dir(m.cachePath), 0o700); err != nil {
		return err
	}
	l, err := lock.Wait(ctx, m.cachePath+".lock", m.now)
	if err != nil {
		return err
	}
	defer func() { _ = l.Release() }()
	if m.changed {
		err = m.open()
		changed := m.own.Disks == nil
		m.own, m.changed = m.own.Updated(m.read, m.now)
		if m.heard != nil {
			var more bool
			m.own, more = m.own.Heard(m.heard, m.now)
			changed = changed || more
		}
		if err == nil && (changed || m.changed) {
			err = m.own.Save(m.inventoryPath())
		}
	}
	if m.cache.Unsaved() {
		m.cache.Merge(m.cachePath)
		err = errors.Join(err, m.cache.Save(m.cachePath))
	}
	return err
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
