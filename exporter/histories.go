package exporter

import (
	"context"
	"slices"
	"sync"
	"time"

	"snapwatch/checker"
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
	// mostHistories is of how many disks the snapshots are kept.
	mostHistories = 20
	// mostSnapshots is how many of a disk's snapshots are kept, the newest.
	mostSnapshots = 2000
)

// history is what was listed of one disk's snapshots.
type history struct {
	// Reading is true until the first listing ended.
	Reading bool
	ReadAt  time.Time
	// Total is how many there are; Snapshots holds the newest of them.
	Total     int
	Snapshots []zfs.Snapshot
	Problem   string
	key       historyKey
}

// historyKey changes when a disk's list of snapshots may have changed.
type historyKey struct {
	GUID    uint64
	Newest  string
	Changed int64
}

func historyKeyOf(d checker.Disk) historyKey {
	return historyKey{d.GUID, d.NewestOfAny, d.Changed.Unix()}
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
func (h *histories) get(d checker.Disk) history {
	h.mu.Lock()
	defer h.mu.Unlock()
	known, ok := h.of[d.Dataset]
	good := historyAge
	if known.Problem != "" {
		good = retryAge
	}
	if age := h.now().Sub(known.ReadAt); ok && known.key == historyKeyOf(d) && age >= 0 && age < good {
		return known
	}
	if !h.reading {
		h.reading = true
		go h.read(d)
	}
	known.Reading = !ok
	return known
}

func (h *histories) read(d checker.Disk) {
	ctx, cancel := context.WithTimeout(context.Background(), historyTime)
	defer cancel()
	all, err := h.list(ctx, d.Dataset)
	made := history{ReadAt: h.now().Round(0), Total: len(all), key: historyKeyOf(d)}
	made.Snapshots = slices.Clone(all[max(0, len(all)-mostSnapshots):])
	if err != nil {
		made.Problem = err.Error()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reading = false
	h.of[d.Dataset] = made
	if len(h.of) > mostHistories {
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
