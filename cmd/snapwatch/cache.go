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
	"syscall"
	"time"

	"snapwatch/checker"
	"snapwatch/checker/scan"
	"snapwatch/internal/lock"
)

// cachePath returns the path of the file in which check remembers the disks that it listed, "" if
// the user has no cache directory.
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

// anothersCache returns an error if this process runs as root and the cache file at path belongs to
// another user. If root wrote the cache, checks of the user could not read the cache.
func anothersCache(path string) error {
	if path == "" || os.Geteuid() != 0 {
		return nil
	}
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if errors.Is(err, fs.ErrNotExist) && dir != filepath.Dir(dir) {
			continue // root would create it
		}
		if err != nil {
			return nil
		}
		if owner, is := info.Sys().(*syscall.Stat_t); is && owner.Uid != 0 {
			return fmt.Errorf("%s belongs to user %d", dir, owner.Uid)
		}
		return nil
	}
}

// memory has the files that a check reads and saves: the cache of listings, its own inventory of
// disks, and the exporter's inventory.
type memory struct {
	cache     *scan.Cache
	cachePath string
	// The field own is the user's inventory, the list of all disks that checks of this user have
	// seen. The field changed is true if the user's inventory must be saved. The field known is the
	// user's inventory merged with the exporter's inventory.
	own, known scan.Inventory
	changed    bool
	// The field read has the pools that this check has read, with their disks.
	read []checker.Pool
	// heard has, for each node that this check asked about the disks of its guests, the node's
	// answer. forgotten has the disks that a person removed from the exporter's inventory.
	heard     []checker.NodeAnswer
	forgotten scan.Inventory
	// The error anothers is not nil if this check runs as root and the cache belongs to a different
	// user: then root must not write to the cache.
	anothers error
	// The field now is the time at which this check read the pools.
	now time.Time
	// exporter is true if an exporter on this host keeps an inventory of disks. exporter is false
	// if only snapwatch forget wrote the inventory.
	exporter bool
	// unreadable is the error of reading the user's inventory, nil if it could be read. An
	// inventory that could not be read must not be overwritten.
	unreadable error
}

// remember reads the cache and the inventories. Each of the notes reports a file that could not be
// read.
func (q query) remember(now time.Time) (m memory, notes []checker.Note) {
	m.now, m.cache, m.cachePath = now, scan.NewCache(), cachePath(q.Cache)
	if m.anothers = anothersCache(m.cachePath); m.anothers != nil {
		m.cachePath = ""
	}
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

// open reads the user's inventory of disks again. open keeps the field Lost, which records an
// earlier loss of the inventory.
func (m *memory) open() (err error) {
	lost := m.own.Lost
	m.own, err = scan.Reopen(m.inventoryPath(), m.now)
	if m.own.Lost == nil {
		m.own.Lost = lost
	}
	m.own = m.own.With(m.forgotten, m.now)
	return err
}

// inventoryPath returns the path of this user's inventory, next to the cache and with a similar
// name.
func (m *memory) inventoryPath() string {
	return strings.TrimSuffix(m.cachePath, ".json") + ".seen.json"
}

// shared returns the beginning of the names of the files through which simultaneous checks share
// their readings, "" if there is no cache directory.
func (m *memory) shared() string {
	if m.cachePath == "" {
		return ""
	}
	return strings.TrimSuffix(m.cachePath, ".json") + ".scan"
}

// health returns two paths: that of root's report about permanent errors in pools, and the
// beginning of the paths of the files in which check remembers the health of pools.
func (m *memory) health(env *environment) scan.HealthFile {
	f := scan.HealthFile{Report: filepath.Join(env.StateDir, scan.DamageName)}
	if m.cachePath != "" {
		f.Prefix = strings.TrimSuffix(m.cachePath, ".json") + ".health."
	}
	return f
}

// learn adds the pools that were just read to this user's inventory.
func (m *memory) learn(pools []checker.Pool, now time.Time) {
	m.now, m.read = now, slices.Clone(pools)
	for i := range m.read {
		// The list of disks is copied, because the caller changes its disks later.
		m.read[i].Disks = slices.Clone(m.read[i].Disks)
	}
	own, changed := m.own.Updated(m.read, m.now)
	m.own, m.changed = own, m.changed || changed
}

// hear adds to this user's inventory the disks that other nodes reported of their own guests, and
// saves the inventory. The argument `left` is the longest time for which hear waits for saving.
// hear returns, by node, the disks that the node reported at earlier checks.
func (m *memory) hear(nodes []checker.NodeAnswer, left time.Duration) []checker.NodeAnswer {
	m.heard = nodes
	var changed bool
	m.own, changed = m.own.Heard(nodes, m.now)
	m.changed = m.changed || changed
	// The notes about a failure to save are dropped, because this check has already reported such a
	// failure when it saved the disks.
	_, _ = m.keep(left, false)
	return m.own.Former(nodes)
}

// save writes the cache and the inventory to their files. The argument `left` is the longest time
// for which save waits.
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

// merge adds the results of this check to the present cache and inventory, which other checks of
// the user may have written since this check began. A lock makes sure that only one check at a time
// merges its results.
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

// keep saves the disks that a check has read. If keep cannot save the disks, the returned notes
// name the consequences: without an exporter, check will not report a disk that disappears, and the
// next check cannot continue a scan that ran out of time.
func (m *memory) keep(left time.Duration, timeUp bool) (kept bool, notes []checker.Note) {
	if m.anothers != nil {
		return false, nil
	}
	const least = 100 * time.Millisecond
	unfinished := timeUp && m.cache.Unsaved()
	err := m.save(max(left, least))
	if err == nil {
		return true, nil
	}
	if unfinished {
		notes = append(notes, checker.Note{State: checker.Warning, Subject: "about results that cannot be saved", Text: fmt.Sprintf("the results of this check could not be saved, so the next check begins from the start; name a file with --cache: %v", err)})
	}
	if !m.exporter {
		notes = append(notes, checker.Note{State: checker.Warning, Subject: "about disks that cannot be saved", Text: fmt.Sprintf("the disks found here could not be saved, so a disk that disappears is not reported missing; run an exporter, or name a file with --cache: %v", err)})
	}
	return false, notes
}

// If the exporter's inventory could not be read, seenNote returns a note about that: check may not
// report disks that disappeared. If this user merely lacks the permission to read the exporter's
// inventory, the note does not alarm, because check has an inventory of its own.
func seenNote(err error) checker.Note {
	note := checker.Note{State: checker.Warning, Text: err.Error()}
	if errors.Is(err, fs.ErrPermission) {
		note.State = checker.OK
	}
	return note
}
