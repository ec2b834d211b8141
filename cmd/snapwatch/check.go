package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"snapwatch/checker"
	"snapwatch/config"
	"snapwatch/internal/zfs"
)

// checkUnknown is the exit status of a check that could not find out, the one for
// its help and its usage errors, too (Monitoring Plugins guidelines).
const checkUnknown = int(checker.Unknown)

// checkCmd is `snapwatch check`.
type checkCmd struct {
	Warning  *checker.Threshold `short:"w" placeholder:"AGE" help:"Warn when a disk's newest snapshot is older: seconds, a duration (2h, 1d12h), or a Nagios range of these. Replaces the default limit only, not the overrides of the configuration."`
	Critical *checker.Threshold `short:"c" placeholder:"AGE" help:"Be critical when it is older, likewise."`
	Timeout  seconds            `short:"t" default:"8s" placeholder:"TIME" help:"Answer within this time, whatever zfs does (seconds or a duration; default ${default})."`

	Pool []string `placeholder:"NAME" help:"Only this pool; may be repeated."`
	VMID []int    `name:"vmid" placeholder:"N" help:"Only this guest's disks; may be repeated."`
	Disk []string `placeholder:"PATTERN" help:"Only disks with this dataset or last component, a shell pattern; may be repeated."`

	Primary primaryFlags `embed:""`

	From     string `placeholder:"URL" help:"Read the exporter at this URL instead of zfs."`
	Format   string `enum:"nagios,checkmk,json,table" default:"nagios" help:"nagios, checkmk, json or table."`
	Perfdata string `enum:"summary,disks" default:"summary" help:"disks adds each disk's age to the performance data."`
	Quiet    bool   `short:"q" help:"Print nothing while all is well."`
	Verbose  int    `short:"v" type:"counter" help:"Say more: the disks that are not well with the reason, all disks (-vv), the commands run (-vvv)."`
	Config   string `placeholder:"FILE" help:"Read this configuration instead of the default one."`
	Seen     string `default:"/var/lib/snapwatch-exporter/seen.json" placeholder:"FILE" help:"The disks that the exporter has seen: one that is gone is missing."`
	Cache    string `placeholder:"FILE" help:"Where to remember what is slow to find (default: in the user's cache directory)."`
}

// Help is the long help of the command.
func (checkCmd) Help() string {
	return `EXIT STATUS
  0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN; the worst of all disks counts, in the order
  CRITICAL, UNKNOWN, WARNING, OK. Help and usage errors are 3, and so is finding no disk.

EXAMPLES
  snapwatch check                          every disk, with the limits of the configuration
  snapwatch check -w 90m -c 4h --pool tank
  snapwatch check --vmid 100 -v            one guest, with the reasons
  snapwatch check --primary https://pve1.example:10191,https://pve2.example:10191

WITHOUT --primary a disk whose newest snapshot ends in _stopped is believed to be off.
If replication dies meanwhile and the guest starts again, only its owner can tell.`
}

// Run prints the check's result and ends with its state. Whatever happens, it
// answers in time and with a state.
func (c *checkCmd) Run(env *environment) error {
	begun := time.Now()
	var stage atomic.Value
	stage.Store("starting")
	answer := make(chan checkAnswer, 1)
	go func() { answer <- c.guarded(env, &stage, begun) }()

	timer := time.NewTimer(time.Duration(c.Timeout))
	defer timer.Stop()
	var a checkAnswer
	select {
	case a = <-answer:
	case <-timer.C:
		return c.unknown(env, fmt.Errorf("no answer within %s while %s", c.Timeout, stage.Load()))
	}
	if a.err != nil {
		return c.unknown(env, a.err)
	}
	if err := c.print(env.Stdout, a.report); err != nil {
		return c.unknown(env, err)
	}
	c.save(a, time.Duration(c.Timeout)-time.Since(begun))
	if state := a.report.State(); state != checker.OK {
		return &exit{code: int(state)}
	}
	return nil
}

// checkAnswer is what was found out, or why nothing was.
type checkAnswer struct {
	report checker.Report
	memory *checker.Memory
	cache  string
	err    error
}

// guarded turns a panic into an answer: a plugin that dies says nothing.
func (c *checkCmd) guarded(env *environment, stage *atomic.Value, begun time.Time) (a checkAnswer) {
	defer func() {
		if e := recover(); e != nil {
			_, _ = fmt.Fprintf(env.Stderr, "%s\n", debug.Stack())
			a = checkAnswer{err: fmt.Errorf("internal error while %s: %v", stage.Load(), e)}
		}
	}()
	return c.find(env, stage, begun)
}

// find reads and judges. It leaves a part of the time for printing.
func (c *checkCmd) find(env *environment, stage *atomic.Value, begun time.Time) checkAnswer {
	limit := time.Duration(c.Timeout)
	limit -= min(limit/8, 500*time.Millisecond)
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	stage.Store("reading the configuration")
	cfg, err := env.loadConfig(c.Config)
	if err != nil {
		return checkAnswer{err: err}
	}
	policy, err := c.policy(cfg)
	if err != nil {
		return checkAnswer{err: err}
	}
	nodes, err := checker.NewPrimaries(c.Primary.over(cfg.Primary))
	if err != nil {
		return checkAnswer{err: err}
	}
	here := ctx
	if nodes.Configured() {
		var stop context.CancelFunc
		here, stop = context.WithTimeout(ctx, time.Duration(localShare*float64(limit)))
		defer stop()
	}
	a := checkAnswer{memory: checker.NewMemory()}
	var pools []checker.Pool
	var notes []checker.Note
	if c.From != "" {
		stage.Store("asking " + c.From)
		policy.MaxDataAge = checker.DefaultMaxDataAge
		pools, notes, err = checker.From(here, c.From)
	} else {
		pools, notes, err = c.scan(here, env, cfg, stage, &a)
	}
	if err != nil {
		return checkAnswer{err: err}
	}
	filter := checker.Filter{Pools: c.Pool, VMIDs: c.VMID, Disks: c.Disk}
	a.report = filter.Apply(checker.Assemble(pools, policy, env.Now(), notes...))
	a.report = compare(ctx, a.report, policy, cfg, nodes, stage, limit-time.Since(begun))
	return a
}

// scan reads zfs.
func (c *checkCmd) scan(ctx context.Context, env *environment, cfg config.Config, stage *atomic.Value, a *checkAnswer) ([]checker.Pool, []checker.Note, error) {
	stage.Store("reading what was seen before")
	var notes []checker.Note
	seen, err := checker.LoadSeen(c.Seen)
	if err != nil {
		notes = append(notes, seenNote(err))
	}
	if a.cache = c.cachePath(); a.cache != "" {
		if a.memory, err = checker.LoadMemory(a.cache); err != nil {
			notes = append(notes, checker.Note{Text: err.Error()})
		}
	}
	stage.Store("looking for pools")
	imported, err := zfs.Pools(env.Kstat)
	if err != nil && (!errors.Is(err, zfs.ErrNoZFS) || len(seen)+len(cfg.Pools)+len(cfg.Datasets) == 0) {
		return nil, nil, err
	}
	filter := checker.Filter{Pools: c.Pool}
	targets := checker.NewTargets(cfg, append(imported, c.unconfigured(cfg)...), seen).Only(filter.Pool)
	stage.Store("reading " + strings.Join(targets.Pools(), ", "))
	traced := &commands{}
	scanner := checker.Scanner{Kstat: env.Kstat, LockDir: env.LockDir, Now: env.Now, Memory: a.memory, Trace: traced.add}
	pools := scanner.All(ctx, targets)
	seen.Recall(pools, targets)
	if c.Verbose > 2 {
		notes = append(notes, traced.notes()...)
	}
	return pools, notes, nil
}

// unconfigured are the pools named on the command line, which must be there.
func (c *checkCmd) unconfigured(cfg config.Config) []string {
	if len(cfg.Datasets) > 0 {
		return nil
	}
	return c.Pool
}

// seenNote says that disks that are gone will not be missed. That another user may
// not read the exporter's file is a matter of how it is installed, no alarm.
func seenNote(err error) checker.Note {
	note := checker.Note{State: checker.Warning, Text: err.Error()}
	if errors.Is(err, fs.ErrPermission) {
		note.State = checker.OK
	}
	return note
}

// policy is the one of the configuration with the limits of the command line.
func (c *checkCmd) policy(cfg config.Config) (checker.Policy, error) {
	p := checker.NewPolicy(cfg)
	warning := checker.Threshold{Range: *p.Warning.Range, Bare: true}
	critical := checker.Threshold{Range: *p.Critical.Range, Bare: true}
	if c.Warning != nil {
		warning = *c.Warning
		p.Warning = checker.Limit{Range: &c.Warning.Range, Rule: "-w"}
	}
	if c.Critical != nil {
		critical = *c.Critical
		p.Critical = checker.Limit{Range: &c.Critical.Range, Rule: "-c"}
	}
	if warning.Bare && critical.Bare && critical.Range.End < warning.Range.End {
		return p, fmt.Errorf("critical (%s, %s) comes before warning (%s, %s)",
			p.Critical.Range.Spoken(), p.Critical.Rule, p.Warning.Range.Spoken(), p.Warning.Rule)
	}
	return p, nil
}

func (c *checkCmd) print(w io.Writer, r checker.Report) error {
	if c.Quiet && r.State() == checker.OK {
		return nil
	}
	switch c.Format {
	case "checkmk":
		return checker.WriteCheckmk(w, r)
	case "json":
		return checker.WriteJSON(w, r)
	case "table":
		return checker.WriteTable(w, r)
	}
	return checker.Nagios{Verbosity: c.Verbose, DiskPerfdata: c.Perfdata == "disks"}.Write(w, r)
}

// unknown prints why nothing was found out, in the form that is read.
func (c *checkCmd) unknown(env *environment, err error) error {
	_ = c.print(env.Stdout, checker.Report{Now: env.Now(), Failure: err.Error()})
	return &exit{code: checkUnknown}
}
