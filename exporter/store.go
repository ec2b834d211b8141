// Package exporter serves the verdicts of package checker: as metrics for Prometheus, as JSON,
// and as a page.
//
// A [Store] reads the pools, and a [Server] answers requests. A request starts a scan, and
// simultaneous requests share one scan. Each answer judges the last scans again at the time of
// the answer, so that a pool that hangs can neither block an answer nor keep an old verdict.
//
// # In the background
//
// The health of pools (health.go), the owners (asking.go) and the histories (histories.go) are
// read in the background and do not delay answers. Answers show the age of facts that were read
// in the background.
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

// Store contains the last scan of each pool. NewStore returns a Store.
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
	// histories and runs store facts for the page: lists of disks' snapshots, and the last run of
	// snap.
	histories  *histories
	runs       reader[page.LastRun]
	proofs     reader[checker.Proofs]
	refreshing atomic.Bool
	// tidying is a lock that is held while the results of scans are saved.
	tidying sync.Mutex
	// cacheProblem says why the scanner's cache could not be written, nil if it was written.
	cacheProblem atomic.Pointer[string]
	// started is the time at which the store was made.
	started time.Time
}

// Settings contains everything on which a [Store] depends.
type Settings struct {
	// Config is the configuration with which the exporter starts.
	Config config.Config
	// ConfigFile is the path of the configuration. If ConfigFile is "", the configuration is never
	// read again. UseConfig is called with each configuration that was read again, and may refuse
	// the configuration with an error. UseConfig may be nil.
	ConfigFile string
	UseConfig  func(config.Config) error
	Scanner    scan.Scanner
	// Owners reads which node owns which guest. A call of Owners may hang. Owners is nil on a host
	// that cannot have guests.
	Owners func() (pve.Owners, error)
	// NoGuests is true on a host that cannot have guests because it is not a Proxmox node.
	NoGuests bool
	// Ask asks the nodes that the configuration names under owners: about this host's copies. If
	// Ask is nil, no node is asked.
	Ask Ask
	// Living reports whether a guest's process is alive on this host, nil if unknown.
	Living Living
	// Uptime returns the time since the host was started. Uptime is nil if the time since the start
	// cannot be found out.
	Uptime func() (time.Duration, error)
	// Runs has the functions that read about the runs of snap on this host. If Runs.Last is nil, no
	// metrics about runs are served.
	Runs Runs
	// Prunes has the functions that read about the runs of prune on this host.
	Prunes Runs
	// DamageReport is the path of root's report about pools' permanent errors, "" for none.
	DamageReport string
	// Drills is the path of the records of drills, "" for none.
	Drills string
	// StateDir is the directory for the inventory, the cache and other files that the next
	// process reads. If StateDir is "", nothing is saved.
	StateDir string
	// ScanTimeout is the longest duration of a pool's scan, for any timeout of the client.
	// ScanTimeout may exceed the scrape timeout, because the next scrape gets the result of a
	// long scan.
	ScanTimeout time.Duration
	// MaxDataAge is the age from which a pool's scan no longer counts, so that its disks become
	// unreadable.
	MaxDataAge time.Duration
	// Reuse is the time for which a scan's result is served to further requests without another
	// scan.
	Reuse time.Duration
	Log   *slog.Logger
}

// pool contains the latest scans of one pool.
type pool struct {
	// tried is the pool's last scan that has ended, with or without success. good is the pool's
	// last scan that has succeeded.
	tried, good checker.Pool
	endedAt     time.Time
	// scanning is a channel that is closed when the running scan ends, nil while no scan is
	// running.
	scanning chan struct{}
	begunAt  time.Time
	// roots has the datasets that the running scan searches. If no scan is running, roots has the
	// datasets that the last scan searched.
	roots []string
	// past contains the last listings of the pool, for the page.
	past []page.Listing
}

// NewStore returns a store that has read only the files that the last process left.
func NewStore(s Settings) *Store {
	store := &Store{settings: s, file: newConfigFile(s), pools: map[string]*pool{}, inventory: newInventoryFile(s.StateDir, s.Log, s.Scanner.Now())}
	store.started = s.Scanner.Now()
	store.following.read = func() (struct{}, error) { store.file.follow(); return struct{}{}, nil }
	store.guests.read, store.runs.read, store.proofs.read = s.Owners, s.Runs.read, store.readProofs
	store.histories = &histories{list: s.Scanner.History, now: s.Scanner.Now, of: map[string]history{}}
	store.loadCache()
	store.health.file = healthFile(s)
	return store
}

// Refresh first reads a changed configuration. After reading the configuration, Refresh scans every
// pool for which no scan is running, and waits until ctx ends for the scans and for saving their
// results. Scans that have not ended by then continue in the background. Therefore a pool that
// hangs delays neither the other pools nor the saving of the disks in these pools.
func (s *Store) Refresh(ctx context.Context) {
	s.followConfig(ctx)
	if s.settings.Owners != nil {
		s.guests.join()
	}
	targets := s.targets()
	s.askHealth(targets.Pools())
	_, _, _ = s.proofs.get(ctx, runWait) // if the file cannot be read in time, the last records count
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

// begin starts a scan of a pool unless a scan is running or has just ended. begin returns a
// channel that is closed when the scan ends, nil if there is no scan to wait for.
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
	// Round drops the monotonic clock, which stops while a machine sleeps, so that a scan from
	// before a jump of the wall clock is not reused.
	keepNewest(result.Disks, p.good.Disks)
	p.remember(result)
	s.looked.see(p.good.Disks, result.Disks)
	p.tried, p.endedAt, p.scanning = result, s.settings.Scanner.Now().Round(0), nil
	switch {
	case result.Problem == "":
		p.good = result
	case len(result.Disks) > 0:
		p.good.Disks = mergeDisks(result.Disks, p.good.Disks, func(d checker.Disk) bool { return known.Forgot(d, now) })
	case result.Missing:
		p.good = checker.Pool{} // the pool is no longer here
	}
}

// tidy starts saving the inventory and the scanner's cache, and returns a channel that is closed
// when both are saved. If saving is already running, tidy closes the returned channel immediately.
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

// Report judges the last scan of every pool at the current time. Report starts no scan.
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
	return s.withProofs(r.WithGuests(policy), policy)
}

// pooled returns the newest known facts about all pools, and adds the inventory's disks that are
// gone.
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
	return s.looked.addFacts(pools)
}

// current returns the known state of each pool: the result of the last scan. If the last scan
// failed or is under way, current returns the last good result with the reason. All callers share
// the returned disks: a caller must not change the disks, but may append to the list.
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
		now.Health = s.health.healthOf(name)
		pools = append(pools, now)
	}
	return pools
}
