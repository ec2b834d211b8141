package exporter

import (
	"context"
	"maps"
	"slices"
	"sync"

	"snapwatch/checker"
	"snapwatch/checker/scan"
)

// lookedAt stores the facts about disks that were looked up to judge the disks' guests.
type lookedAt struct {
	mu sync.Mutex
	of map[string]lookedDisk
	// stirred is true if a disk has changed since the last lookup for guests. open is true if the
	// last lookup asked questions: the answers may have changed.
	stirred, open bool
	// looking is a lock that is held during a lookup for guests.
	looking sync.Mutex
}

type lookedDisk struct {
	guid uint64
	*checker.Looked
}

// see sets the field `stirred` to true if a pool's disks differ between two scans.
func (l *lookedAt) see(before, now []checker.Disk) {
	same := slices.EqualFunc(before, now, func(a, b checker.Disk) bool {
		return a.Dataset == b.Dataset && a.GUID == b.GUID && a.Problem == b.Problem && (a.Newest == nil) == (b.Newest == nil) && (a.Newest == nil || a.Newest.GUID == b.Newest.GUID)
	})
	if !same {
		l.stir()
	}
}

func (l *lookedAt) stir() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stirred = true
}

// isDue reports whether another lookup for guests is needed.
func (l *lookedAt) isDue() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	due := l.stirred || l.open
	l.stirred = false
	return due
}

// addFacts returns the pools with the stored facts added to their disks.
func (l *lookedAt) addFacts(pools []checker.Pool) []checker.Pool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.of) == 0 {
		return pools
	}
	looked := map[string]*checker.Looked{}
	for i := range pools {
		for k := range pools[i].Disks {
			d := &pools[i].Disks[k]
			if known, ok := l.of[d.Dataset]; ok && known.guid == d.GUID {
				looked[d.Dataset] = known.Looked
			}
		}
	}
	return scan.WithLooked(pools, looked)
}

// learn stores the facts that were looked up for guests, and drops the facts about disks that no
// longer exist.
func (l *lookedAt) learn(pools []checker.Pool, open bool) {
	of := map[string]lookedDisk{}
	for i := range pools {
		for k := range pools[i].Disks {
			if d := &pools[i].Disks[k]; d.Looked != nil {
				of[d.Dataset] = lookedDisk{d.GUID, d.Looked}
			}
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !maps.Equal(l.of, of) {
		l.of = of
	}
	l.open = open
}

// lookAtGuests looks up the facts needed to judge guests if a disk has changed since the last
// lookup, or if the last lookup asked questions, because the answers may have changed. lookAtGuests
// waits for the lookup at most until ctx ends. If the lookup has not ended by then, it continues in
// the background.
func (s *Store) lookAtGuests(ctx context.Context) {
	if !s.looked.looking.TryLock() {
		return // another lookup is under way
	}
	if !s.looked.isDue() {
		s.looked.looking.Unlock()
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer s.looked.looking.Unlock()
		s.lookUpGuests()
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// lookUpGuests looks up the facts needed to judge guests, within ScanTimeout.
func (s *Store) lookUpGuests() {
	ctx, cancel := context.WithTimeout(context.Background(), s.settings.ScanTimeout)
	defer cancel()
	open := false
	pools := s.settings.Scanner.LookAtGuests(ctx, s.pooled(), func(pools []checker.Pool) checker.Report {
		r := s.judge(pools)
		open = len(r.Questions) > 0
		return r
	})
	s.looked.learn(pools, open)
}
