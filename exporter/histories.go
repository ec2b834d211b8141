package exporter

import (
	"context"
	"slices"
	"sync"
	"time"

	"snapwatch/checker"
	"snapwatch/checker/scan"
	"snapwatch/exporter/page"
	"snapwatch/internal/zfs"
)

const (
	// historyTime is when the listing of a disk's snapshots is given up: the pool's
	// other listings wait for it.
	historyTime = 10 * time.Second
	// historyAge is how long a list is good where nothing tells that it changed.
	historyAge = 5 * time.Minute
	// retryAge is when a listing that failed is tried again.
	retryAge = 15 * time.Second
	// maxHistories is of how many disks the snapshots are kept.
	maxHistories = 20
	// maxSnapshots is how many of a disk's snapshots are kept, the newest.
	maxSnapshots = 2000
)

// history is what was listed of one disk's snapshots, and the facts that it depends on.
type history struct {
	page.History
	key scan.Key
}

// keyOf changes when a disk's list of snapshots may have changed.
func keyOf(d checker.Disk) scan.Key {
	return scan.Key{GUID: d.GUID, Newest: d.NewestOfAny, Changed: d.Changed.Unix()}
}

// histories keeps the snapshots of the disks that somebody looked at. One list is
// read at a time, in the background.
type histories struct {
	list func(ctx context.Context, dataset string) ([]zfs.Snapshot, error)
	now  func() time.Time

	mu      sync.Mutex
	of      map[string]history
	reading bool
}

// get returns what is known of the disk's snapshots, and begins to read them where
// that is nothing or may have changed. It waits for nothing.
func (h *histories) get(d checker.Disk) page.History {
	h.mu.Lock()
	defer h.mu.Unlock()
	known, ok := h.of[d.Dataset]
	good := historyAge
	if known.Problem != "" {
		good = retryAge
	}
	if age := h.now().Sub(known.ReadAt); ok && known.key == keyOf(d) && age >= 0 && age < good {
		return known.History
	}
	if !h.reading {
		h.reading = true
		go h.read(d)
	}
	known.Reading = !ok
	return known.History
}

func (h *histories) read(d checker.Disk) {
	ctx, cancel := context.WithTimeout(context.Background(), historyTime)
	defer cancel()
	all, err := h.list(ctx, d.Dataset)
	made := history{page.History{ReadAt: h.now().Round(0), Total: len(all)}, keyOf(d)}
	made.Snapshots = slices.Clone(all[max(0, len(all)-maxSnapshots):])
	if err != nil {
		made.Problem = err.Error()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reading = false
	h.of[d.Dataset] = made
	if len(h.of) > maxHistories {
		h.dropOldest()
	}
}

func (h *histories) dropOldest() {
	oldest := ""
	for name, one := range h.of {
		if oldest == "" || one.ReadAt.Before(h.of[oldest].ReadAt) {
			oldest = name
		}
	}
	delete(h.of, oldest)
}
