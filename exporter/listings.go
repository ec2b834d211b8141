package exporter

import (
	"context"
	"slices"
	"time"

	"snapwatch/checker"
)

// listing is one scan of a pool that ended.
type listing struct {
	Begun   time.Time
	Took    time.Duration
	Disks   int
	Problem string
}

// mostListings is how many listings of a pool are remembered.
const mostListings = 12

// listings are the last listings of a pool.
type listings struct {
	// Begun is when the one under way began, zero while there is none.
	Begun time.Time
	// Past are those that ended, the newest first.
	Past []listing
}

// remember adds a result to a pool's listings.
func (p *pool) remember(result checker.Pool) {
	one := listing{Begun: p.begunAt, Took: result.Took, Disks: len(result.Disks), Problem: result.Problem}
	p.past = append([]listing{one}, p.past[:min(len(p.past), mostListings-1)]...)
}

// listings are those of every pool, by its name.
func (s *Store) listings() map[string]listings {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string]listings{}
	for name, p := range s.pools {
		l := listings{Past: slices.Clone(p.past)}
		if p.scanning != nil {
			l.Begun = p.begunAt
		}
		all[name] = l
	}
	return all
}

// RefreshLater begins a refresh and waits for nothing. One is under way at a time.
func (s *Store) RefreshLater() {
	if !s.refreshing.CompareAndSwap(false, true) {
		return
	}
	go func() {
		defer s.refreshing.Store(false)
		ctx, cancel := context.WithTimeout(context.Background(), s.settings.ScanTimeout)
		defer cancel()
		s.Refresh(ctx)
	}()
}

// Quiet tells whether nothing is being read that [Store.RefreshLater] or a page began.
func (s *Store) Quiet() bool {
	s.histories.mu.Lock()
	defer s.histories.mu.Unlock()
	return !s.refreshing.Load() && !s.histories.reading
}
