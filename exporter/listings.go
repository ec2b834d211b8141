package exporter

import (
	"context"
	"slices"
	"time"

	"snapwatch/checker"
	"snapwatch/exporter/page"
)

// maxListings is the greatest number of listings of a pool that are kept for the page.
const maxListings = 12

// remember adds the result of a scan to the pool's listings on the page.
func (p *pool) remember(result checker.Pool) {
	one := page.Listing{Begun: p.begunAt, Took: result.Took, Disks: len(result.Disks), Problem: result.Problem}
	p.past = append([]page.Listing{one}, p.past[:min(len(p.past), maxListings-1)]...)
}

// listings returns every pool's listings, by the pool's name.
func (s *Store) listings() map[string]page.Listings {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[string]page.Listings{}
	for name, p := range s.pools {
		l := page.Listings{Past: slices.Clone(p.past)}
		if p.scanning != nil {
			l.Begun = p.begunAt
		}
		all[name] = l
	}
	return all
}

// RefreshLater starts [Store.Refresh] in the background, unless it is running, and does not wait.
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

// Quiet reports whether all scans and listings that [Store.RefreshLater] or a page started have
// ended. Tests wait until Quiet returns true.
func (s *Store) Quiet() bool {
	if !s.looked.looking.TryLock() {
		return false
	}
	defer s.looked.looking.Unlock()
	if !s.tidying.TryLock() {
		return false
	}
	defer s.tidying.Unlock()
	s.histories.mu.Lock()
	defer s.histories.mu.Unlock()
	return !s.refreshing.Load() && !s.histories.reading && s.asking.idle() && s.health.idle()
}

// current returns the newest known facts about the pool. The argument `name` is the name of the
// pool.
func (p *pool) current(name string) checker.Pool {
	now := p.tried
	if p.scanning != nil {
		now.Unfinished = p.tried.Problem == "" && !p.endedAt.IsZero()
		now.Problem = "the listing begun at " + p.begunAt.Format(time.RFC3339) + " is not finished"
		now.Missing = false
	} else if p.endedAt.IsZero() {
		now.Problem = "not read yet"
	}
	now.Name = name
	if now.Problem != "" {
		now.ReadAt, now.Disks, now.MissingRoots = p.good.ReadAt, p.good.Disks, p.good.MissingRoots
	}
	now.Disks = slices.Clip(now.Disks)
	return now
}
