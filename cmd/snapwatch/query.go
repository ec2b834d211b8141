package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"snapwatch/checker"
	"snapwatch/checker/remote"
	"snapwatch/checker/scan"
	"snapwatch/config"
	"snapwatch/internal/zfs"
)

// limitFlags has the limits on the command line. Each limit on the command line replaces the
// configured limit.
type limitFlags struct {
	Warning  *checker.Threshold `short:"w" placeholder:"AGE" help:"Warn when a disk's newest snapshot is older than this: seconds, a duration (2h, 1d12h), or a Nagios range of these. It replaces only the default limit, not the overrides in the configuration."`
	Critical *checker.Threshold `short:"c" placeholder:"AGE" help:"The same for critical."`
}

// filterFlags select the disks.
type filterFlags struct {
	Pool  []string `placeholder:"NAME" help:"Only this pool; may be repeated."`
	VMID  []int    `name:"vmid" placeholder:"N" help:"Only this guest's disks; may be repeated."`
	Guest []string `placeholder:"N|NAME" help:"Only this guest and its disks, by number or name; may be repeated."`
	Disk  []string `placeholder:"PATTERN" help:"Only disks whose dataset, or its last component, matches this shell pattern; may be repeated."`
}

// seenFile is the file in which the exporter remembers the disks that it saw.
const seenFile = "/var/lib/snapwatch-exporter/seen.json"

// sourceFlags name the files and the pools that the command reads.
type sourceFlags struct {
	Owners ownerFlags `embed:""`

	From   string `placeholder:"URL" help:"Read the exporter at this URL instead of zfs."`
	Config string `placeholder:"FILE" help:"Read this configuration instead of the default one."`
	Seen   string `default:"${seen_path}" placeholder:"FILE" help:"The file in which the exporter remembers the disks that it saw: a remembered disk that is gone counts as missing."`
	Cache  string `placeholder:"FILE" help:"The file in which to remember what takes long to find out (default: in the user's cache directory)."`
}

// query is the common part of check, status and explain: it reads the disks and judges them.
type query struct {
	limitFlags
	filterFlags
	sourceFlags
	Timeout time.Duration
	// If the field `pings` is not nil, the query stores there the addresses of the pings in the
	// configuration.
	pings *atomic.Pointer[[]config.Ping]
	// If the field `ran` is not nil, the query records there the programs that it starts.
	ran *commands
}

// result is the outcome of a query: a report, or an error in err.
type result struct {
	report checker.Report
	// evidence has, by dataset, the answer of the nodes that may own the disk. If no node was
	// asked, evidence is nil.
	evidence map[string][]checker.Evidence
	config   config.Config
	err      error
}

// own reports whether the disk belongs to a guest of this host and is not a copy.
func (r result) own(d checker.Disk) bool { return checker.IsOwn(r.config, &d) }

// disksOf returns the disks that count for the guest's verdict.
func (r result) disksOf(g checker.Guest) []checker.Result {
	return slices.DeleteFunc(slices.Clone(r.report.Disks), func(d checker.Result) bool { return !slices.Contains(g.Disks, d.Dataset) })
}

// ownGuest reports whether the guest belongs to this host, so that its disks are no copies.
func (r result) ownGuest(g checker.Guest) bool {
	of := r.disksOf(g)
	return len(of) > 0 && !slices.ContainsFunc(of, func(d checker.Result) bool { return !r.own(d.Disk) })
}

// find reads the disks and judges them. find keeps part of the timeout for printing.
func (q query) find(ctx context.Context, env *environment, stage *atomic.Value, begun time.Time) result {
	limit := q.Timeout - min(q.Timeout/8, 500*time.Millisecond)
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	stage.Store("reading the configuration")
	cfg, err := env.loadConfig(q.Config)
	if err != nil {
		return result{err: err}
	}
	if q.pings != nil {
		q.pings.Store(&cfg.Ping)
	}
	policy, err := q.policy(cfg)
	if err != nil {
		return result{err: err}
	}
	nodes, err := remote.NewOwners(q.Owners.override(cfg.Owners))
	if err != nil {
		return result{err: err}
	}
	share := limit
	if nodes.Configured() {
		share = time.Duration(localShare * float64(limit))
	}
	here, stop := context.WithTimeout(ctx, share)
	defer stop()
	r := result{config: cfg}
	var facts remote.Facts
	var notes []checker.Note
	var memory *memory
	var runs []checker.RunAge
	if q.From != "" {
		stage.Store("asking " + q.From)
		policy.MaxDataAge = checker.DefaultMaxDataAge
		facts, err = remote.Read(here, q.From, share)
	} else {
		facts.Pools, memory, notes, err = q.scan(here, env, cfg, policy, stage)
		stage.Store("reading the reports of snap, prune and drill")
		facts.Proofs = scan.LoadProofs(filepath.Join(env.StateDir, checker.ProofsName))
		snap, prune := env.runs()
		notes, runs = append(notes, checker.RunNotes(snap, prune, env.Now())...), checker.RunAges(snap, prune, env.Now())
	}
	if err != nil {
		return result{err: err}
	}
	judge := func(pools []checker.Pool) checker.Report {
		report := q.filter().Apply(checker.Assemble(pools, policy, env.Now(), notes...))
		if q.filter().None() {
			report.Runs = runs
		}
		if len(facts.Nodes) > 0 {
			report = report.WithOwners(policy, facts.Said, facts.Nodes...)
		}
		return report.WithGuests(policy).WithProofs(policy, facts.Proofs)
	}
	if nodes.Configured() {
		stage.Store("asking the nodes that may own the disks")
		facts.Said, facts.Nodes = nil, nil
		facts.Said, facts.Nodes = nodes.Ask(ctx, max(limit-time.Duration(lookShare*float64(limit))-time.Since(begun), time.Millisecond), judge(facts.Pools), cfg.OriginOf)
		if memory != nil {
			facts.Pools = q.lookAgain(ctx, env, memory, facts.Pools, judge)
			facts.Nodes = memory.hear(facts.Nodes, timeLeft(ctx))
		}
	}
	r.evidence, r.report = facts.Said, judge(facts.Pools)
	if len(q.Guest) > 0 {
		r.report = checker.Filter{Guests: q.Guest}.Apply(r.report)
	}
	return r
}

// The answers of the nodes may change the list of a guest's disks. For each guest whose list
// changed, lookAgain looks up again the snapshots that the guest's disks have in common.
func (q query) lookAgain(ctx context.Context, env *environment, memory *memory, pools []checker.Pool, judge func([]checker.Pool) checker.Report) []checker.Pool {
	if !slices.ContainsFunc(judge(pools).Questions, func(q checker.GuestQuestion) bool { return !q.Answered() }) {
		return pools
	}
	return q.scanner(env, memory).LookAtGuests(ctx, pools, judge)
}

// scanner returns the scanner of a check. The scanner stores its results in memory.
func (q query) scanner(env *environment, memory *memory) scan.Scanner {
	s := scan.Scanner{Kstat: env.Kstat, LockDir: env.LockDir, Now: env.Now, Cache: memory.cache, Shared: memory.shared()}
	if q.ran != nil {
		s.Trace = q.ran.add
	}
	return s
}

// filter returns the filter of the command line, without --guest, because some names of guests are
// known only after the owners have answered.
func (q query) filter() checker.Filter {
	return checker.Filter{Pools: q.Pool, VMIDs: q.VMID, Disks: q.Disk}
}

// timeLeft returns the time until ctx ends, 0 if ctx has no deadline.
func timeLeft(ctx context.Context) time.Duration {
	until, ok := ctx.Deadline()
	if !ok {
		return 0
	}
	return time.Until(until)
}

// scan reads the disks from zfs. scan also returns the updated cache and inventory in memory, and
// notes for the report.
func (q query) scan(ctx context.Context, env *environment, cfg config.Config, policy checker.Policy, stage *atomic.Value) ([]checker.Pool, *memory, []checker.Note, error) {
	stage.Store("reading what was seen before")
	memory, notes := q.remember(env.Now())
	if memory.anothers != nil {
		_, _ = fmt.Fprintf(env.Stderr, "snapwatch: results are not saved: %v\n", memory.anothers)
	}
	stage.Store("looking for pools")
	imported, err := scan.FindPools(env.Kstat)
	if err != nil && (!errors.Is(err, zfs.ErrNoZFS) || len(memory.known.Disks)+len(cfg.Pools)+len(cfg.Datasets) == 0) {
		return nil, nil, nil, err
	}
	q.addUnconfigured(imported, cfg)
	filter := checker.Filter{Pools: q.Pool}
	targets := scan.NewTargets(cfg, imported, memory.known).Only(filter.Pool)
	stage.Store("reading " + strings.Join(targets.Pools(), ", "))
	scanner := q.scanner(env, &memory)
	healths := askHealths(ctx, scanner, memory.health(env), targets.Pools())
	pools := scanner.All(ctx, targets)
	known := healths()
	for i := range pools {
		pools[i].Health = known[pools[i].Name]
	}
	memory.learn(pools, env.Now())
	setOwned(ctx, env, pools)
	memory.known.Recall(pools, targets)
	if len(q.Pool) == 0 && len(q.Disk) == 0 {
		stage.Store("looking up what guests' disks have in common")
		pools = scanner.LookAtGuests(ctx, pools, func(pools []checker.Pool) checker.Report {
			return checker.Assemble(pools, policy, env.Now()).WithGuests(policy)
		})
	}
	kept, more := memory.keep(timeLeft(ctx), ctx.Err() != nil)
	if !kept {
		forgetPending(pools)
	}
	notes = append(notes, more...)
	if q.ran != nil {
		notes = append(notes, q.ran.notes()...)
	}
	return pools, &memory, notes, nil
}

// forgetPending removes from each disk the time since which its receive has been pending. A check
// that saves no cache does not know when an earlier check first saw the receive, and would use its
// own time instead.
func forgetPending(pools []checker.Pool) {
	for i := range pools {
		for k := range pools[i].Disks {
			pools[i].Disks[k].PendingSince = time.Time{}
		}
	}
}

// addUnconfigured adds each pool named by --pool to the pools that must be imported, so that check
// reports the pool if it is not imported.
func (q query) addUnconfigured(imported scan.Imported, cfg config.Config) {
	for _, name := range q.Pool {
		if _, here := imported[name]; !here && len(cfg.Datasets) == 0 {
			imported[name] = 0
		}
	}
}

// policy returns the configuration's policy with the limits of the command line.
func (l limitFlags) policy(cfg config.Config) (checker.Policy, error) {
	p := checker.NewPolicy(cfg)
	warning := checker.Threshold{Range: *p.Warning.Range, Bare: true}
	critical := checker.Threshold{Range: *p.Critical.Range, Bare: true}
	if l.Warning != nil {
		warning = *l.Warning
		p.Warning = checker.Limit{Range: &l.Warning.Range, Rule: "-w"}
	}
	if l.Critical != nil {
		critical = *l.Critical
		p.Critical = checker.Limit{Range: &l.Critical.Range, Rule: "-c"}
	}
	if warning.Bare && critical.Bare && critical.Range.End < warning.Range.End {
		return p, fmt.Errorf("the critical limit (%s, %s) is lower than the warning limit (%s, %s)",
			p.Critical.Range.Spoken(), p.Critical.Rule, p.Warning.Range.Spoken(), p.Warning.Rule)
	}
	return p, nil
}
