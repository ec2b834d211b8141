package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"snapwatch/internal/crontab"
	"snapwatch/snapper/run"
)

// cronCmd is `snapwatch cron`.
type cronCmd struct {
	Install cronInstallCmd `cmd:"" help:"Run snap every 15 minutes with the given arguments, or prune every hour."`
	Remove  cronRemoveCmd  `cmd:"" help:"Stop running snap, or prune, from cron."`
	Status  cronStatusCmd  `cmd:"" help:"Show the lines that run snap or prune, wherever they stand, and why cron never runs one."`
}

type cronInstallCmd struct {
	Keep   []string `arg:"" optional:"" name:"retention" help:"The retention, as for snap. Default: the key keep in the configuration."`
	Config string   `placeholder:"FILE" help:"Read this configuration."`
	Prune  bool     `help:"Register prune, on a host with copies, instead of snap."`
}

// Help implements kong's HelpProvider.
func (cronInstallCmd) Help() string {
	return `The line runs this very program, as root, with a configuration that can be used; what can only
fail is not registered. Beside a line of another file none is added.
The other flags of a line that is registered already, such as --config, --textfile or --node, stay unless you
type them; so do its times. To be rid of them, run snapwatch cron remove first.`
}

// Run implements the command.
func (c *cronInstallCmd) Run(env *environment) error {
	job, words, err := snapJob, []string(nil), error(nil)
	if c.Prune {
		job = pruneJob
		words, err = c.prune(env)
	} else {
		words, err = c.snap(env)
	}
	if err != nil {
		return fmt.Errorf("not registered: %w", err)
	}
	if err := job.register(env, words); err != nil {
		return fmt.Errorf("not registered: %w", asRoot(err))
	}
	pointOutOld(env)
	return nil
}

// possibleTimeout is the longest time that cron install waits for Proxmox's files.
const possibleTimeout = 30 * time.Second

// snap returns the arguments of snap that cron install registers in cron. The error is the reason
// why every run of snap with these arguments would fail.
func (c *cronInstallCmd) snap(env *environment) ([]string, error) {
	snap := snapJob.merged(env, &snapCmd{Keep: c.Keep, Config: c.Config})
	cfg, keep, err := snap.settings(env)
	switch {
	case err != nil:
		return nil, err
	case keep == nil:
		return nil, errors.New("no retention given, and no keep in the configuration")
	}
	if timerEnabled(env) {
		return nil, errors.New("snapwatch.timer is enabled, and one of the two is enough: systemctl disable --now snapwatch.timer first")
	}
	ctx, cancel := context.WithTimeout(context.Background(), possibleTimeout)
	defer cancel()
	return snap.words(), run.Possible(ctx, env.options(cfg))
}

func (c *cronInstallCmd) prune(env *environment) ([]string, error) {
	prune := pruneJob.merged(env, &pruneCmd{Keep: c.Keep, Config: c.Config})
	cfg, _, err := prune.settings(env)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), possibleTimeout)
	defer cancel()
	return prune.words(), run.PossiblePrune(ctx, env.options(cfg))
}

type cronRemoveCmd struct {
	Prune bool `help:"Remove prune instead of snap."`
}

// Run implements the command.
func (c cronRemoveCmd) Run(env *environment) error {
	job := snapJob
	if c.Prune {
		job = pruneJob
	}
	lines, err := job.lines(env)
	if err != nil {
		return asRoot(err)
	}
	var gone, left []crontab.Entry
	for _, line := range lines {
		if line.File == env.CronFile && line.Problem == "" && !line.Beside {
			gone = append(gone, line)
		} else {
			left = append(left, line)
		}
	}
	if len(gone) > 0 {
		if err := rewriteCron(env.CronFile, func(n int, _ *string) bool {
			return !slices.ContainsFunc(gone, func(line crontab.Entry) bool { return line.Number == n })
		}); err != nil {
			return asRoot(err)
		}
		fmt.Fprintf(env.Stdout, "removed from %s\n", env.CronFile)
	}
	switch {
	case len(left) > 0:
		return &exit{1, fmt.Errorf("not changed, remove that line yourself: %s", linesText(left))}
	case len(gone) == 0:
		fmt.Fprintf(env.Stdout, "%s is not registered in cron\n", job.word)
	}
	if job == snapJob && timerEnabled(env) {
		fmt.Fprintln(env.Stdout, "snapwatch.timer still runs snap: systemctl disable --now snapwatch.timer ends that")
	}
	return nil
}

type cronStatusCmd struct{}

// Run implements the command.
func (cronStatusCmd) Run(env *environment) error {
	lines, err := env.cronLines()
	if err != nil {
		fmt.Fprintf(env.Stderr, "snapwatch: not all of cron's lines could be read: %v\n", asRoot(err))
	}
	for _, line := range lines {
		if !isOld(line) {
			fmt.Fprintln(env.Stdout, linesText([]crontab.Entry{line}))
		}
	}
	if timerEnabled(env) {
		fmt.Fprintln(env.Stdout, "snapwatch.timer is enabled (systemctl list-timers snapwatch.timer)")
	}
	if !registered(env) {
		fmt.Fprintf(env.Stdout, "snap is not registered: run snapwatch snap at a terminal, or snapwatch cron install\n")
	}
	pointOutTwice(env)
	pointOutOld(env)
	return nil
}

// cronJob is a command that snapwatch registers in cron, snap or prune. word is its name, head the
// heading of a new crontab, and schedule the five time fields.
type cronJob struct{ word, head, schedule string }

var (
	snapJob = cronJob{
		"snap", "# Snapshots of running guests. The line with \"snap\" is written by snapwatch; others are left alone.", "*/15 * * * *",
	}
	pruneJob = cronJob{
		"prune", "# Rotation of copies. The line with \"prune\" is written by snapwatch; others are left alone.", "7 * * * *",
	}
)

// commandOf returns, from a parsed command line, the command of the cron job: snap or prune.
func (j cronJob) commandOf(cli *grammar) regularCmd {
	if j == pruneJob {
		return &cli.Prune
	}
	return &cli.Snap
}

// oldProgram is the program that snapwatch replaces. Snapwatch may be installed under the name
// pve-zfs-snap too.
const oldProgram = "pve-zfs-snap"

// cronSearch describes the crontab lines that start snap or prune of snapwatch.
var cronSearch = crontab.Search{
	Names: func(base string) bool {
		return strings.HasPrefix(base, "snapwatch") || strings.HasPrefix(base, oldProgram)
	},
	Job: jobOf,
}

// jobOf returns the job, snap or prune, that the command-line arguments run. For another command,
// or for a dry run, jobOf returns "". The result problem says why the arguments cannot be parsed.
func jobOf(args []string) (job, problem string) {
	args = withCommand(args)
	if len(args) == 0 || args[0] != snapJob.word && args[0] != pruneJob.word {
		return "", ""
	}
	cli, err := parse(args)
	switch {
	case err != nil:
		return args[0], err.Error()
	case cli.Snap.DryRun || cli.Prune.DryRun:
		return "", ""
	}
	return args[0], ""
}

// registered reports whether the systemd timer or cron starts snap on this host.
func registered(env *environment) bool { return timerEnabled(env) || snapJob.registered(env) }

// snapPeriod returns the longest time between two starts of snap by cron, 0 if it is unknown. If
// the systemd timer starts snap, snapPeriod returns 0, because snapwatch does not read the timer's
// unit.
func snapPeriod(env *environment) time.Duration {
	if timerEnabled(env) {
		return 0
	}
	return snapJob.period(env)
}

// registered reports whether cron runs the job, snap or prune. A crontab line that could not be
// parsed counts as a line that runs the job, because the line may run the job.
func (j cronJob) registered(env *environment) bool { return len(j.running(env)) > 0 }

// running returns the crontab lines by which cron runs the job regularly.
func (j cronJob) running(env *environment) []crontab.Entry {
	lines, _ := j.lines(env) // this leaves out crontabs that this user cannot read
	return slices.DeleteFunc(lines, func(line crontab.Entry) bool { return line.Never() != "" })
}

// period returns the longest time between two starts of the job by cron, 0 if it is unknown.
func (j cronJob) period(env *environment) time.Duration {
	// Each crontab line runs the whole job, so the period is that of the line that runs the job
	// most often.
	var shortest time.Duration
	for _, line := range j.running(env) {
		if p := line.Period(); p > 0 && (shortest == 0 || p < shortest) {
			shortest = p
		}
	}
	return shortest
}

func timerEnabled(env *environment) bool {
	_, err := os.Lstat(env.TimerLink)
	return err == nil
}

// pointOutTwice warns if both cron and the systemd timer start snap.
func pointOutTwice(env *environment) {
	lines := snapJob.running(env)
	if timerEnabled(env) && len(lines) > 0 {
		fmt.Fprintf(env.Stderr, "snapwatch: both snapwatch.timer and cron run snap, and one of the two is enough: "+
			"snapwatch cron remove, or systemctl disable --now snapwatch.timer (%s)\n", linesText(lines))
	}
}

// pointOutOld prints the lines of cron that still run pve-zfs-snap, the program that snapwatch
// replaces. snapwatch itself never edits a crontab that a person wrote.
func pointOutOld(env *environment) {
	for _, line := range oldCronLines(env) {
		fmt.Fprintf(env.Stdout, "cron still runs pve-zfs-snap; remove this line from %s: %s\n", line.File, line.Line)
	}
}

// oldCronLines returns the lines of cron that run pve-zfs-snap.
func oldCronLines(env *environment) []crontab.Entry {
	lines, _ := env.cronLines()
	return slices.DeleteFunc(lines, func(line crontab.Entry) bool { return !isOld(line) })
}

// absolute returns the absolute form of path. If the working directory is unknown, absolute returns
// path unchanged.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}
