// Package exporter serves the verdicts of package checker: as metrics for Prometheus, as JSON,
// and as a page.
//
// A [Store] reads the pools, and a [Server] answers requests. A request starts a scan, and
// simultaneous requests share one scan. Each answer judges the last reading again at its own
// time, so that a pool that hangs can neither block an answer nor keep an old verdict alive.
//
// # In the background
//
// The health of pools (health.go), the owners (asking.go) and the histories (histories.go) are
// read in the background and do not delay answers. The answers show the age of these readings.
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

// Store has the last reading of each pool. NewStore makes one.
type Store struct {
	settings Settings
	file     *configFile
	// following reads the configuration file without blocking callers if reading hangs.
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
	// tidying is held while the results of scans are saved.
	tidying sync.Mutex
	// cacheProblem is why the cache could not be written, nil if it was written.
	cacheProblem atomic.Pointer[string]
	// started is the time at which the store was made.
	started time.Time
}

// Settings has everything on which a [Store] depends.
type Settings struct {
	// Config is the configuration at the start.
	Config config.Config
	// ConfigFile is the path of the configuration. If ConfigFile is "", the configuration is never
	// read again. UseConfig is called with each configuration that was read again, and may refuse
	// it with an error. It may be nil.
	ConfigFile string
	UseConfig  func(config.Config) error
	Scanner    scan.Scanner
	// Owners reads which node owns which guest. It may hang. It is nil on a host that cannot have
	// guests.
	Owners func() (pve.Owners, error)
	// NoGuests is true on a host that cannot have guests because it is not a Proxmox node.
	NoGuests bool
	// Ask asks the nodes that the configuration names. If Ask is nil, no node is asked.
	Ask Ask
	// Living reports whether a guest is alive here. It is nil where this cannot be found out.
	Living Living
	// Uptime returns the time since the host was started. It is nil where this cannot be found
	// out.
	Uptime func() (time.Duration, error)
	// Runs reads about the runs of snap on this host. If Runs.Last is nil, no metrics about runs
	// are served.
	Runs Runs
	// Prunes reads about the runs of prune, like Runs.
	Prunes Runs
	// DamageReport is the path of root's report about the permanent errors of pools, "" for none.
	DamageReport string
	// StateDir is the directory of the files that outlive the process. If StateDir is "", nothing
	// is saved.
	StateDir string
	// ScanTimeout limits a listing, however long the client waits. It may exceed the scrape
	// timeout: the next scrape then gets the result.
	ScanTimeout time.Duration
	// MaxDataAge is the age at which a reading no longer counts and its disks become unreadable.
	MaxDataAge time.Duration
	// Reuse is how long a scan's result is served to further requests without another scan.
	Reuse time.Duration
	Log   *slog.Logger
}

// pool is one pool's latest results.
type pool struct {
	// tried is the last scan that ended; good is the last that succeeded.
	tried, good checker.Pool
	endedAt     time.Time
	// scanning is closed when the scan under way ends. It is nil while no scan is under way.
	scanning chan struct{}
	begunAt  time.Time
	// roots are the datasets that the current scan, or else the last one, searches.
	roots []string
	// past has the last listings, for the page.
	past []page.Listing
}

// NewStore returns a store that knows only the files that the last process left.
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

// Refresh first reads a changed configuration. Then it scans every pool that is not being
// scanned, and waits until ctx ends for the scans and for saving their results. Longer work
// continues in the background, so a pool that hangs does not delay the other pools or saving
// their disks.
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
	// Without ZFS the report names the expected pools as missing.
	imported, _ := scan.FindPools(s.settings.Scanner.Kstat)
	return scan.NewTargets(s.config(), imported, s.inventory.disks())
}

// begin starts a scan unless one is under way or has just ended. It returns a channel that is
// closed when the scan ends, nil if there is no scan to wait for.
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
	// Round drops the monotonic clock, which stops while a machine sleeps, so that a reading from
	// before a jump of the wall clock is not reused.
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
		p.good = checker.Pool{} // the pool is no longer here
	}
}

// tidy starts saving the disks and the cache, and returns a channel that is closed at the end. If
// saving is already under way, the channel is closed immediately.
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

// Report judges the last reading of every pool at the current time. It reads nothing.
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

// pooled returns the pools as they are known now, with the disks that were here before.
func (s *Store) pooled() []checker.Pool {
	known := s.inventory.disks() // before the pools: a disk found meanwhile is not lost
	pools := s.current()
	read := make([]int, len(pools))
	for i := range pools {
		read[i] = len(pools[i].Disks)
	}
	known.Recall(pools, s.targets())
	owners := s.guests.known()
	for i := range pools {
		s.setOwned(owners, pools[i].Disks[read[i]:]) // each scan has set Owned for the disks that it read
	}
	return s.looked.with(pools)
}

// current returns the known state of each pool: the last scan's result or, if that failed or is
// under way, the last good result with the reason. All callers share the same disks: they must
// not change them, but may append to the list.
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
