package exporter

import (
	"context"
	"maps"
	"slices"
	"sync"

	"snapwatch/checker"
	"snapwatch/checker/scan"
)

// lookedAt is what was looked up of disks to judge their guests.
type lookedAt struct {
	mu sync.Mutex
	of map[string]lookedDisk
	// stirred is true where a disk changed since it was last looked; open where something
	// was to be looked up then, and may have another answer now.
	stirred, open bool
	// looking is held by the one who does it.
	looking sync.Mutex
}

type lookedDisk struct {
	guid uint64
	*checker.Looked
}

// see notes whether a scan found a pool's disks changed.
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

// due reports whether it is to be looked again.
func (l *lookedAt) due() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	due := l.stirred || l.open
	l.stirred = false
	return due
}

// with returns the pools with what is known.
func (l *lookedAt) with(pools []checker.Pool) []checker.Pool {
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

// learn keeps what was looked up, and nothing of disks that are not there any more.
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

// lookAtGuests looks up what is needed to judge guests, where something changed since it was
// done last or where it found something. It waits until ctx ends; what takes longer continues.
func (s *Store) lookAtGuests(ctx context.Context) {
	if !s.looked.looking.TryLock() {
		return // somebody does
	}
	if !s.looked.due() {
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

// lookUpGuests looks up what is needed, however long the one who asked waits.
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
