package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"snapwatch/checker"
	"snapwatch/checker/scan"
	"snapwatch/config"
	"snapwatch/drill"
	drillrun "snapwatch/drill/run"
	"snapwatch/internal/zfs"
)

// drillCmd is `snapwatch drill`.
type drillCmd struct {
	Guests []string   `arg:"" optional:"" name:"guest" help:"The guests to prove, by number or name."`
	Next   bool       `help:"Prove the guest whose last drill is oldest, a guest without a drill first."`
	DryRun bool       `help:"Print what would be done, or why not, and change nothing."`
	Read   string     `placeholder:"PART" help:"Also read this part of all blocks, the next part in each drill: 1/30, or 1/1 for all blocks."`
	Format string     `enum:"text,json" default:"text" help:"What to print: text or json."`
	Owners ownerFlags `embed:""`
	Config string     `placeholder:"FILE" help:"Read this configuration (default: ${config_path} if it is there)."`

	// share is the share of all blocks that is read, 0 for none.
	share float64
}

// Help implements kong's HelpProvider.
func (drillCmd) Help() string {
	return `It clones the disks of the guest's restore point below POOL/snapwatch-drill, has guestfish
(libguestfs-tools) look at the clones, and destroys them. guestfish mounts each file system, so
that its journal is replayed, and checks it, in a small virtual machine: no file system of a
guest reaches the kernel of this host. If drill.boot in the configuration names a program, the
program then starts the guest from its clones. Datasets of containers are mounted by ZFS, for reading.
The copies themselves are only read. The result is kept in drills.json.
A drill does not begin while a disk is being received, where the pool is fuller than
limits.fill_warning, and unless the source and prune are known to keep the snapshots for an
hour. It ends when a receive begins. Where a key is not loaded, it says so, and does not fail.
Exit status: 0 done; 1 a fault was found, or a drill could not begin or end; 2 nothing could be
done.

EXAMPLES
  snapwatch drill 100 --dry-run
  snapwatch drill 100 web02
  snapwatch drill --next --read 1/30    for cron: one guest in each run`
}

// drillReadTime is the longest time for reading the copies before a drill.
const drillReadTime = time.Minute

// Run implements the command.
func (c *drillCmd) Run(env *environment) error {
	switch {
	case c.Next == (len(c.Guests) > 0):
		return &exit{2, errors.New("name the guests, or say --next")}
	case !env.Root:
		return &exit{2, errors.New("drill must be run as root: it makes clones and destroys them")}
	}
	if c.Read != "" {
		share, err := drill.ParseShare(c.Read)
		if err != nil {
			return &exit{2, fmt.Errorf("--read: %w", err)}
		}
		c.share = share
	}
	cfg, err := env.loadConfig(c.Config)
	if err == nil {
		err = cfg.Drill.Check()
	}
	if err != nil {
		return &exit{2, err}
	}
	return runChanging(env, func(ctx context.Context) error { return c.drill(ctx, env, cfg) })
}

// drilled is what is printed about one guest.
type drilled struct {
	Cluster string         `json:"cluster,omitempty"`
	VMID    int            `json:"vmid"`
	Name    string         `json:"name"`
	Point   string         `json:"point,omitempty"`
	Plan    *drill.Plan    `json:"plan,omitempty"`
	Proof   *checker.Drill `json:"proof,omitempty"`
	// Not is the reason why no drill was tried, began or came to its end.
	Not string `json:"not,omitempty"`
	// expected is true if a drill of the guest is refused on purpose, because the guest is
	// excluded, or runs on this host itself.
	expected bool
}

func (c *drillCmd) drill(ctx context.Context, env *environment, cfg config.Config) error {
	options := env.drills()
	status := 0
	if !c.DryRun {
		pools, err := zfs.Pools(env.Kstat)
		if err == nil {
			err = drillrun.RemoveLeft(ctx, options, pools)
		}
		if err != nil {
			fmt.Fprintf(env.Stderr, "snapwatch: %v\n", err)
			status = 1
		}
	}
	guests, others, err := c.guests(ctx, env)
	if err != nil {
		return &exit{2, err}
	}
	facts := drill.Facts{StoppedGrace: cfg.StoppedGrace.Std(), FillWarning: int(cfg.Limits.FillWarning), MaxDrill: cfg.Limits.MaxDrill.Std()}
	prunes := env.prunes(cfg, &facts)
	records, err := options.World.Records()
	if err != nil {
		return &exit{2, err}
	}
	if c.Next {
		guests = drill.Order(guests, records, env.Now())
	}
	var all []drilled
	proved := false
	for _, g := range guests {
		if ctx.Err() != nil || c.Next && proved {
			break
		}
		facts.Prunes = prunes(g)
		p := drillrun.Plan(ctx, options, g, facts)
		record, _ := records.Of(g)
		p.Before = record.Good
		if c.share > 0 {
			part := records.NextPart(g, c.share)
			p.Part = &part
		}
		p.Boot = bootOf(cfg, g)
		d, good := c.prove(ctx, env, options, p)
		all = append(all, d)
		proved = d.Not == ""
		if !good && (proved || !c.Next) {
			status = 1
		}
	}
	if !proved && c.Next || !c.Next && len(others) > 0 {
		status = 1
	}
	if c.Next && !c.DryRun { // from cron, each line of output is a mail
		others = slices.DeleteFunc(others, func(d drilled) bool { return d.expected })
	}
	if err := c.print(env, append(all, others...)); err != nil {
		return &exit{1, err}
	}
	if ctx.Err() != nil {
		return &exit{1, context.Cause(ctx)}
	}
	if c.Next && len(guests) == 0 {
		return &exit{1, errors.New("no guest here has a restore point that could be proved")}
	}
	if status != 0 {
		return &exit{code: status}
	}
	return nil
}

// prove carries out the plan of a drill, unless this is a dry run. good is true if the drill found
// no fault, and would begin in a dry run.
func (c *drillCmd) prove(ctx context.Context, env *environment, options drillrun.Options, p drill.Plan) (d drilled, good bool) {
	g := p.Guest
	d = drilled{Cluster: g.Cluster, VMID: g.VMID, Name: g.Name, Point: g.Point, Plan: &p}
	switch {
	case len(p.Refusals) > 0:
		d.Not = strings.Join(p.Refusals, "; ")
		return d, false
	case c.DryRun:
		return d, true
	case p.Boot != nil:
		p.Boot.Config = env.keptConfig(ctx, g)
	}
	proof, err := drillrun.Drill(ctx, options, p)
	d.Proof = proof
	if proof == nil {
		d.Not = err.Error()
	} else if err != nil {
		fmt.Fprintf(env.Stderr, "snapwatch: guest %s: %v\n", g.Name, err)
	}
	return d, err == nil && !proof.Failed()
}

// guests returns the guests that can be proved, and those that cannot, with the reasons: of the
// guests named on the command line, or of all.
func (c *drillCmd) guests(ctx context.Context, env *environment) (guests []drill.Guest, others []drilled, err error) {
	var stage atomic.Value
	stage.Store("starting")
	ctx, cancel := context.WithTimeout(ctx, drillReadTime)
	defer cancel()
	q := query{sourceFlags: sourceFlags{Owners: c.Owners, Config: c.Config, Seen: seenFile}, Timeout: drillReadTime}
	r := q.find(ctx, env, &stage, time.Now())
	switch {
	case r.err != nil:
		return nil, nil, r.err
	case ctx.Err() != nil:
		return nil, nil, fmt.Errorf("%w while %s", context.Cause(ctx), stage.Load())
	}
	named := r.report.Guests
	if !c.Next {
		named = nil
		for _, word := range c.Guests {
			of := checker.Filter{Guests: []string{word}}.Apply(r.report).Guests
			if len(of) == 0 {
				return nil, nil, fmt.Errorf("no guest here is called %s; snapwatch status lists the guests", word)
			}
			named = append(named, of...)
		}
	}
	var datasets []string
	for _, g := range named {
		datasets = append(datasets, g.Disks...)
	}
	v := scan.Scanner{Kstat: env.Kstat, LockDir: env.LockDir, Now: env.Now}.Volumes(ctx, datasets)
	for _, g := range named {
		own := r.ownGuest(g)
		candidate, why := drill.Candidate(checker.ExplainGuest(r.report, g, own, v), v)
		if why != "" {
			expected := own || g.Verdict == checker.GuestExcluded
			others = append(others, drilled{Cluster: g.Cluster, VMID: g.VMID, Name: g.Number(), Not: why, expected: expected})
		} else {
			guests = append(guests, candidate)
		}
	}
	return guests, others, nil
}

// print prints the results, for people or as JSON.
func (c *drillCmd) print(env *environment, all []drilled) error {
	if c.Format == "json" {
		e := json.NewEncoder(env.Stdout)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		return e.Encode(struct {
			Drills []drilled `json:"drills"`
		}{all})
	}
	for _, d := range all {
		switch {
		case d.Proof != nil:
			fmt.Fprintf(env.Stdout, "guest %s as of %s: %s\n", d.Name, point(d), d.Proof.Words())
		case d.Plan == nil || d.Not != "":
			fmt.Fprintf(env.Stderr, "snapwatch: guest %s: no proof: %s\n", d.Name, d.Not)
		default:
			printDrill(env.Stdout, d)
		}
	}
	return nil
}

// point returns the restore point's time for people.
func point(d drilled) string { return checker.Point{Time: d.Point}.Words() }

// printDrill prints the plan of a drill that would begin.
func printDrill(w io.Writer, d drilled) {
	fmt.Fprintf(w, "guest %s as of %s:\n", d.Name, point(d))
	if len(d.Plan.Locked) > 0 {
		fmt.Fprintf(w, "  encrypted, not looked at: no key of %s is loaded\n", strings.Join(d.Plan.Locked, ", "))
		return
	}
	for _, parent := range d.Plan.Parents {
		fmt.Fprintf(w, "  make     %s\n", parent)
	}
	for _, clone := range d.Plan.Clones {
		fmt.Fprintf(w, "  clone    %s to %s\n", clone.Snapshot, clone.Dataset)
	}
	if p := d.Plan.Part; p != nil {
		fmt.Fprintf(w, "  read     from %.1f%% to %.1f%% of each clone\n", 100*p.From, 100*p.To)
	}
	for _, clone := range d.Plan.Clones {
		if clone.Filesystem {
			fmt.Fprintf(w, "  mount    %s\n", clone.Dataset)
		} else {
			fmt.Fprintf(w, "  look at  %s\n", clone.Device)
		}
	}
	if b := d.Plan.Boot; b != nil {
		fmt.Fprintf(w, "  start    %s\n", strings.Join(b.Argv, " "))
	}
	for _, clone := range slices.Backward(d.Plan.Clones) {
		fmt.Fprintf(w, "  destroy  %s\n", clone.Dataset)
	}
}
