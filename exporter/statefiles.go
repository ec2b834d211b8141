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

// SeenName is the file in the state directory that remembers the disks; check and
// forget read it, too.
const SeenName = "seen.json"

// seenFile is the disks seen before, on disk and in memory. Somebody may change the
// file: then it is read again.
type seenFile struct {
	path string // "" for memory only
	log  *slog.Logger

	mu   sync.Mutex
	seen scan.Seen
	// readAt is the file's time when seen was the same as it.
	readAt time.Time
	failed string
}

func newSeenFile(dir string, log *slog.Logger) *seenFile {
	f := &seenFile{log: log, seen: scan.Seen{}}
	if dir != "" {
		f.path = filepath.Join(dir, SeenName)
		f.load()
	}
	return f
}

// disks is what is remembered now. It is never changed, only replaced.
func (f *seenFile) disks() scan.Seen {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.seen
}

// update adds what was read. If the file cannot be written, the memory goes on
// without it, and the log says so once.
func (f *seenFile) update(pools []checker.Pool, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.path == "" {
		f.seen, _ = f.seen.Updated(pools, now)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	l, err := lock.Wait(ctx, f.path+".lock", now)
	if err != nil {
		f.seen, _ = f.seen.Updated(pools, now)
		f.fail(err)
		return
	}
	defer func() { _ = l.Release() }()
	if f.changed() {
		f.load()
	}
	seen, changed := f.seen.Updated(pools, now)
	f.seen = seen
	if !changed && f.failed == "" {
		return
	}
	if err := f.seen.Save(f.path); err != nil {
		f.fail(err)
		return
	}
	f.failed = ""
	f.readAt = modified(f.path)
}

// changed tells whether somebody else wrote the file.
func (f *seenFile) changed() bool {
	at := modified(f.path)
	return !at.IsZero() && !at.Equal(f.readAt)
}

// load reads the file. One that cannot be understood is moved aside, not written
// over: it is the only witness of disks that are gone.
func (f *seenFile) load() {
	at := modified(f.path)
	seen, err := scan.LoadSeen(f.path)
	if err == nil {
		f.seen, f.readAt = seen, at
		return
	}
	f.fail(err)
	if !errors.Is(err, fs.ErrPermission) {
		f.fail(os.Rename(f.path, f.path+".broken"))
	}
}

func (f *seenFile) fail(err error) {
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

// hintFile keeps the scanner's memory over a restart.
type hintFile struct {
	path string
	log  *slog.Logger

	mu     sync.Mutex
	failed string
}

func newHintFile(dir string, log *slog.Logger) *hintFile {
	f := &hintFile{log: log}
	if dir != "" {
		f.path = filepath.Join(dir, "newest.json")
	}
	return f
}

func (f *hintFile) load() *scan.Memory {
	if f.path == "" {
		return scan.NewMemory()
	}
	memory, err := scan.LoadMemory(f.path)
	if err != nil {
		f.log.Warn("starting without hints", "err", err)
	}
	return memory
}

// save writes the memory if it is not what was written last.
func (f *hintFile) save(memory *scan.Memory) {
	if f.path == "" || !memory.Unsaved() {
		return
	}
	err := memory.Save(f.path)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil && err.Error() != f.failed {
		f.failed = err.Error()
		f.log.Warn("hints not kept", "err", err)
	}
}
