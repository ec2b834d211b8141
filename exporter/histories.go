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
	// historyTime is the greatest duration of a listing of one disk's snapshots. A listing's
	// duration is limited because a pool's listings run one after another, so a slow listing delays
	// all later ones.
	historyTime = 10 * time.Second
	// historyAge is the time for which a list of a disk's snapshots is used if the disk shows no
	// change.
	historyAge = 5 * time.Minute
	// retryAge is the time after which a failed listing of a disk's snapshots is repeated.
	retryAge = 15 * time.Second
	// maxHistories is the greatest number of disks whose lists of snapshots are stored.
	maxHistories = 20
	// maxSnapshots is the greatest number of snapshots stored for a disk: the newest ones.
	maxSnapshots = 2000
)

// history is the list of one disk's snapshots, and the facts about the disk that change when the
// list changes.
type history struct {
	page.History
	key scan.Key
}

// keyOf returns a key that changes when a disk's list of snapshots may have changed.
func keyOf(d checker.Disk) scan.Key {
	return scan.Key{GUID: d.GUID, Newest: d.NewestOfAny, Changed: d.Changed.Unix()}
}

// histories stores the snapshots of the disks that somebody opened on the page. histories reads
// one disk's list at a time, in the background.
type histories struct {
	list func(ctx context.Context, dataset string) ([]zfs.Snapshot, error)
	now  func() time.Time

	mu      sync.Mutex
	of      map[string]history
	reading bool
}

// get returns the stored snapshots of a disk. If no snapshots are stored, or the snapshots may
// have changed, get starts a listing in the background and does not wait.
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
