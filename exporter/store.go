// Package exporter serves what package checker finds: metrics for Prometheus, JSON, and a page.
//
// [Store] reads, [Server] answers. A scan begins when somebody asks, and all who ask at the same
// time share it. Each answer judges again what was read last, so that a pool that hangs can
// neither hang an answer nor keep an old verdict alive.
//
// # In the background
//
// Pools' health (health.go), the owners (asking.go) and histories (histories.go) are read in the
// background, never in the way of an answer, and age where everybody sees it.
package exporter

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"snapwatch/checker"
	"snapwatch/checker/scan"
	"snapwatch/config"
	"snapwatch/exporter/page"
	"snapwatch/internal/pve"
)

// Store holds what was last read of each pool. It is made by [NewStore].
type Store struct {
	settings Settings
	file     *configFile
	// following reads the file without making anybody wait who finds it hung.
	following reader[struct{}]

	mu        sync.Mutex
	pools     map[string]*pool
	inventory *inventoryFile
	guests    reader[pve.Owners]
	looked    lookedAt
	asking    asking
	health    health
	// histories and runs are for the page.
	histories  *histories
	runs       reader[page.LastRun]
	refreshing atomic.Bool
	// tidying is held by the one who does what follows a scan.
	tidying sync.Mutex
	// cacheProblem is why the cache could not be written, nil if it could.
	cacheProblem atomic.Pointer[string]
	// started is when this began.
	started time.Time
}

// Settings are what a [Store] depends on.
type Settings struct {
	// Config is the configuration at the start.
	Config config.Config
	// ConfigFile is where it is from, and LoadConfig reads it again; "" never does.
	ConfigFile string
	LoadConfig func() (config.Config, error)
	Scanner    scan.Scanner
	// Owners reads which node has which guest; nil where no guests can be. It may
	// hang.
	Owners func() (pve.Owners, error)
	// NoGuests is true where no guests can be: the host is no Proxmox node.
	NoGuests bool
	// Ask asks the nodes that the configuration names; nil asks nobody.
	Ask Ask
	// Living says whether a guest lives here; nil where that cannot be told.
	Living Living
	// Uptime is how long this host has been up; nil where that cannot be told.
	Uptime func() (time.Duration, error)
	// Runs tells of the runs of snap on this host; without a Last there are none.
	Runs Runs
	// Prunes tells the same of prune.
	Prunes Runs
	// DamageReport is root's report of pools' permanent errors, "" for none.
	DamageReport string
	// StateDir keeps what must outlive the process; "" keeps nothing.
	StateDir string
	// ScanTimeout is when a listing is given up, however long the one who asked
	// waits. It may be longer than a scrape: the next one finds the result.
	ScanTimeout time.Duration
	// MaxDataAge is when what was read becomes unreadable.
	MaxDataAge time.Duration
	// Reuse is how long a result is good for others who ask.
	Reuse time.Duration
	Log   *slog.Logger
}

// pool is one pool's latest results.
type pool struct {
	// tried is the last scan that ended, good or not; good the last that succeeded.
	tried, good checker.Pool
	endedAt     time.Time
	// scanning is closed when the scan under way ends, nil while there is none.
	scanning chan struct{}
	begunAt  time.Time
	// roots are what the scan under way, or else the last one, was asked to search.
	roots []string
	// past are the last listings, for the page.
	past []page.Listing
}

// NewStore makes a store that has read nothing yet but what the last process left.
func NewStore(s Settings) *Store {
	store := &Store{settings: s, file: newConfigFile(s), pools: map[string]*pool{}, inventory: newInventoryFile(s.StateDir, s.Log, s.Scanner.Now())}
	store.started = s.Scanner.Now()
	store.following.read = func() (struct{}, error) { store.file.follow(); return struct{}{}, nil }
	store.guests.read, store.runs.read = s.Owners, s.Runs.read
	store.histories = &histories{list: s.Scanner.History, now: s.Scanner.Now, of: map[string]history{}}
	store.loadCache()
	store.health.file = healthFile(s)
	return store
}

// Refresh scans every pool that is not being scanned, and waits for the scans and
// for what follows them until ctx ends. What takes longer continues: a pool that
// hangs keeps neither the others nor the memory of their disks waiting. A configuration
// that has changed is taken before.
func (s *Store) Refresh(ctx context.Context) {
	s.followConfig(ctx)
	if s.settings.Owners != nil {
		s.guests.join()
	}
	targets := s.targets()
	s.askHealth(targets.Pools())
	var scans []<-chan struct{}
	for _, name := range targets.Pools() {
		if scanning := s.begin(name, targets[name]); scanning != nil {
			scans = append(scans, scanning)
		}
	}
	for _, scanning := range scans {
		select {
		case <-scanning:
		case <-ctx.Done():
		}
	}
	select {
	case <-s.tidy():
	case <-ctx.Done():
	}
	s.lookAtGuests(ctx)
	s.askLater()
}

func (s *Store) targets() scan.Targets {
	// No ZFS at all is told by the pools that are expected and missing.
	imported, _ := scan.FindPools(s.settings.Scanner.Kstat)
	return scan.NewTargets(s.config(), imported, s.inventory.disks())
}

// begin starts a scan unless one is under way or has just ended, and returns what
// is closed at its end, nil where there is nothing to wait for.
func (s *Store) begin(name string, roots []string) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pools[name]
	if p == nil {
		p = &pool{}
		s.pools[name] = p
	}
	now := s.settings.Scanner.Now()
	if p.scanning != nil {
		return p.scanning
	}
	if since := now.Sub(p.endedAt); !p.endedAt.IsZero() && since >= 0 && since < s.settings.Reuse && slices.Equal(roots, p.roots) {
		return nil
	}
	ended := make(chan struct{})
	p.scanning, p.begunAt, p.roots = ended, now, roots
	go func() {
		defer close(ended)
		ctx, cancel := context.WithTimeout(context.Background(), s.settings.ScanTimeout)
		defer cancel()
		result := s.settings.Scanner.Pool(ctx, name, roots)
		s.setOwned(s.ownersOnce(ctx), result.Disks)
		s.end(p, result)
	}()
	return ended
}

func (s *Store) end(p *pool, result checker.Pool) {
	known, now := s.inventory.disks(), s.settings.Scanner.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if result.Problem != "" && result.Problem != p.tried.Problem {
		s.settings.Log.Error("pool not read", "pool", result.Name, "err", result.Problem)
	}
	for _, remark := range result.Remarks {
		if !slices.Contains(p.tried.Remarks, remark) {
			s.settings.Log.Warn("pool read with a remark", "pool", result.Name, "remark", remark)
		}
	}
	if result.Problem == "" && p.tried.Problem != "" {
		s.settings.Log.Info("pool read again", "pool", result.Name)
	}
	// Round drops the monotonic clock, which stands still while a machine sleeps: what
	// was read before a jump of the wall clock is not reused.
	keepNewest(result.Disks, p.good.Disks)
	p.remember(result)
	s.looked.see(p.good.Disks, result.Disks)
	p.tried, p.endedAt, p.scanning = result, s.settings.Scanner.Now().Round(0), nil
	switch {
	case result.Problem == "":
		p.good = result
	case len(result.Disks) > 0:
		p.good.Disks = newer(result.Disks, p.good.Disks, func(d checker.Disk) bool { return known.Forgot(d, now) })
	case result.Missing:
		p.good = checker.Pool{} // nothing of it is here any more
	}
}

// tidy begins what follows scans: to keep the disks and the cache. It returns what is closed at
// the end. One does it; who comes meanwhile does not wait.
func (s *Store) tidy() <-chan struct{} {
	tidied := make(chan struct{})
	if !s.tidying.TryLock() {
		close(tidied)
		return tidied
	}
	go func() {
		defer close(tidied)
		defer s.tidying.Unlock()
		s.inventory.update(s.current(), s.guestsByDisk(), s.settings.Scanner.Now())
		s.saveCache()
	}()
	return tidied
}

// Report judges what was last read of every pool, at the time it is called. It
// reads nothing.
func (s *Store) Report() checker.Report { return s.judge(s.pooled()) }

func (s *Store) judge(pools []checker.Pool) checker.Report {
	now, policy := s.settings.Scanner.Now(), s.file.current.Load().policy
	r := checker.Assemble(pools, policy, now, append(s.inventory.notes(now), s.configNotes()...)...)
	if s.asks() {
		if said, nodes := s.asking.answers(now, s.settings.MaxDataAge); len(nodes) > 0 {
			r = r.WithOwners(policy, said, s.inventory.disks().Former(nodes)...)
		}
	}
	if len(pools) == 0 {
		if _, err := scan.FindPools(s.settings.Scanner.Kstat); err != nil {
			r.Failure = err.Error()
		}
	}
	return r.WithGuests(policy)
}

// pooled are the pools as they are known now, with the disks that were here before.
func (s *Store) pooled() []checker.Pool {
	known := s.inventory.disks() // before the pools: what is remembered meanwhile is no disk that they lack
	pools := s.current()
	read := make([]int, len(pools))
	for i := range pools {
		read[i] = len(pools[i].Disks)
	}
	known.Recall(pools, s.targets())
	owners := s.guests.known()
	for i := range pools {
		s.setOwned(owners, pools[i].Disks[read[i]:]) // each scan says it of those that it read
	}
	return s.looked.with(pools)
}

// current is what is known of each pool now: the last scan's result or, where that
// failed or is not at its end, the last good one with the reason. Every caller gets the
// same disks: none may change them, but for adding to the list.
func (s *Store) current() []checker.Pool {
	targets := s.targets()
	s.mu.Lock()
	defer s.mu.Unlock()
	var pools []checker.Pool
	for _, name := range targets.Pools() {
		p := s.pools[name]
		if p == nil {
			p = &pool{}
		}
		now := p.current(name)
		now.Health = s.health.of(name)
		pools = append(pools, now)
	}
	return pools
}

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
