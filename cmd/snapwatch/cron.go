package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"snapwatch/internal/crontab"
	"snapwatch/internal/files"
	"snapwatch/snapper/run"
)

// cronCmd is `snapwatch cron`.
type cronCmd struct {
	Install cronInstallCmd `cmd:"" help:"Run snap every 15 minutes with these words, or prune every hour."`
	Remove  cronRemoveCmd  `cmd:"" help:"Stop running snap, or prune, from cron."`
	Status  cronStatusCmd  `cmd:"" help:"Show the registered lines."`
}

type cronInstallCmd struct {
	Keep   []string `arg:"" optional:"" name:"retention" help:"What to keep, as for snap. Default: keep in the configuration."`
	Config string   `placeholder:"FILE" help:"Read this configuration."`
	Prune  bool     `help:"Register prune, on a host with copies, instead of snap."`
}

// Help implements kong's HelpProvider.
func (cronInstallCmd) Help() string {
	return `What else the registered line has, such as --config, --textfile or --node, stays unless it is typed,
and so do its times. To begin without them: snapwatch cron remove.`
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

// possibleTimeout bounds the reading of Proxmox's files.
const possibleTimeout = 30 * time.Second

// snap returns the words to register, or why they could only fail.
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
		return &exit{1, fmt.Errorf("left alone, remove it there: %s", shown(left))}
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
		fmt.Fprintf(env.Stderr, "snapwatch: not all of cron's lines are seen: %v\n", asRoot(err))
	}
	for _, line := range lines {
		if !isOld(line) {
			fmt.Fprintln(env.Stdout, shown([]crontab.Entry{line}))
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

// cronJob is what this program lets cron do.
type cronJob struct{ word, head, schedule string }

var (
	snapJob = cronJob{
		"snap", "# Snapshots of running guests. The line with \"snap\" is written by snapwatch; others are left alone.", "*/15 * * * *",
	}
	pruneJob = cronJob{
		"prune", "# Rotation of copies. The line with \"prune\" is written by snapwatch; others are left alone.", "7 * * * *",
	}
)

// of returns the job's command of a command line.
func (j cronJob) of(cli *grammar) regularCmd {
	if j == pruneJob {
		return &cli.Prune
	}
	return &cli.Snap
}

// oldProgram is the one that snapwatch replaces. Snapwatch may have its name, too.
const oldProgram = "pve-zfs-snap"

// cronSearch finds the lines that start snap or prune.
var cronSearch = crontab.Search{
	Names: func(base string) bool {
		return strings.HasPrefix(base, "snapwatch") || strings.HasPrefix(base, oldProgram)
	},
	Job: jobOf,
}

// jobOf returns what this program does with these arguments, where a schedule matters to it,
// and what is wrong with them.
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

// register makes cron run this very program with the words. Its own line keeps its times
// and what stands around the words; beside a line of somewhere else none is added, unless
// cron never runs that one.
func (j cronJob) register(env *environment, words []string) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	if err := env.Trusted(program); err != nil {
		return err
	}
	words = append([]string{program}, words...)
	lines, err := j.lines(env)
	if err != nil {
		return err
	}
	if text, err := os.ReadFile(env.CronFile); err == nil {
		if why := crontab.Ignored(strings.TrimSuffix(string(text), "\n")+"\n", true); why != "" {
			return fmt.Errorf("cron would ignore %s: %s; correct or remove that line first", env.CronFile, why)
		}
	}
	// What is wrong with the file itself is mended when it is written.
	idle := func(line crontab.Entry) bool { return line.AtBoot || line.Ignored != "" && line.File != env.CronFile }
	var left []crontab.Entry
	for _, line := range lines {
		if idle(line) {
			left = append(left, line)
		}
	}
	lines = slices.DeleteFunc(lines, idle)
	line := j.schedule + " root " + crontab.Quote(words)
	switch {
	case len(lines) == 0:
		err = addToCron(env.CronFile, j.head, line)
	case len(lines) == 1 && lines[0].File == env.CronFile && lines[0].Problem == "":
		line = lines[0].With(words)
		err = rewriteCron(env.CronFile, func(n int, text *string) bool {
			if n == lines[0].Number {
				*text = line
			}
			return true
		})
	default:
		return fmt.Errorf("cron starts %s already, and nothing is added beside it: %s; change or remove it there, or snapwatch cron remove", j.word, shown(lines))
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(env.Stdout, "registered in %s: %s\n", env.CronFile, line)
	if len(lines) == 1 && lines[0].Line != line || len(lines) == 1 && lines[0].Ignored != "" {
		fmt.Fprintf(env.Stdout, "it was: %s\n", shown(lines))
	}
	if len(left) > 0 {
		fmt.Fprintf(env.Stdout, "left alone; remove it there, or it destroys by its own words: %s\n", shown(left))
	}
	return nil
}

// merged returns the command to register: what is typed, and what the registered line says
// beside the retention, unless that is typed, too.
func (j cronJob) merged(env *environment, typed regularCmd) regularCmd {
	args := []string{j.word}
	lines, _ := j.lines(env) // what cannot be read is not registered either
	own := slices.DeleteFunc(lines, func(line crontab.Entry) bool {
		return line.File != env.CronFile || line.Problem != "" || line.AtBoot
	})
	if len(own) == 1 {
		args = own[0].Args
	}
	cli, err := parse(args)
	if err != nil {
		return typed // such a line has a problem
	}
	command := j.of(&cli)
	to, from := command.flags(), typed.flags()
	*to.keep, *to.node = *from.keep, cmp.Or(*from.node, *to.node)
	if *from.config != "" {
		*to.config = absolute(*from.config)
	}
	if *from.textfile != "" {
		*to.textfile = absolute(*from.textfile)
	}
	return command
}

// registerTyped is register for a command that was typed.
func (j cronJob) registerTyped(env *environment, typed regularCmd) error {
	command := j.merged(env, typed)
	if _, keep, err := command.settings(env); err != nil {
		return err
	} else if keep == nil {
		return errNoRetention
	}
	return j.register(env, command.words())
}

// trusted returns why cron must not run a program as root: somebody else could put another
// one in its place, now or when a directory for everybody was emptied.
func trusted(program string) error {
	const instead = "or install snapwatch where only root may write, such as /usr/local/sbin"
	if err := files.OnlyRoots(program); err != nil {
		return fmt.Errorf("cron would run as root what another may replace: %w; %s", err, instead)
	}
	for dir := filepath.Dir(program); dir != "/"; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			return err
		}
		if info.Mode()&fs.ModeSticky != 0 {
			return fmt.Errorf("cron would run as root what another may replace: %s is for everybody, and emptied now and then; %s", dir, instead)
		}
	}
	return nil
}

// addToCron appends a line to a file of cron's, which begins with head.
func addToCron(path, head, line string) error {
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if len(text) == 0 {
		text = []byte(head + "\n")
	} else if !strings.HasSuffix(string(text), "\n") {
		text = append(text, '\n')
	}
	return writeCron(path, string(text)+line+"\n")
}

// rewriteCron writes a file of cron's with those lines that change keeps, as it changes them.
func rewriteCron(path string, change func(n int, line *string) bool) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var kept []string
	for n, line := range strings.Split(strings.TrimSuffix(string(text), "\n"), "\n") {
		if change(n, &line) {
			kept = append(kept, line)
		}
	}
	return writeCron(path, strings.Join(kept, "\n")+"\n")
}

// writeCron replaces the file at once; cron reads only files that are root's and
// writable by nobody else.
func writeCron(path, text string) error { return files.Replace(path, []byte(text), 0o644) }

// registered reports whether snap runs on this host by itself.
func registered(env *environment) bool { return timerEnabled(env) || snapJob.registered(env) }

// registered reports whether cron runs the job. A line that is not understood counts: it may.
func (j cronJob) registered(env *environment) bool { return len(j.running(env)) > 0 }

// running returns those of the job's lines that cron starts again and again.
func (j cronJob) running(env *environment) []crontab.Entry {
	lines, _ := j.lines(env) // this user may not read all, and what was read counts
	return slices.DeleteFunc(lines, func(line crontab.Entry) bool { return line.Never() != "" })
}

func timerEnabled(env *environment) bool {
	_, err := os.Lstat(env.TimerLink)
	return err == nil
}

// pointOutTwice says where both cron and the timer run snap.
func pointOutTwice(env *environment) {
	lines := snapJob.running(env)
	if timerEnabled(env) && len(lines) > 0 {
		fmt.Fprintf(env.Stderr, "snapwatch: both snapwatch.timer and cron run snap, and one of the two is enough: "+
			"snapwatch cron remove, or systemctl disable --now snapwatch.timer (%s)\n", shown(lines))
	}
}

// pointOutOld names lines of the program this one replaces. A person's crontab is never
// edited.
func pointOutOld(env *environment) {
	for _, line := range oldCronLines(env) {
		fmt.Fprintf(env.Stdout, "cron still runs pve-zfs-snap; remove that line from %s: %s\n", line.File, line.Line)
	}
}

// oldCronLines are the lines that run pve-zfs-snap.
func oldCronLines(env *environment) []crontab.Entry {
	lines, _ := env.cronLines()
	return slices.DeleteFunc(lines, func(line crontab.Entry) bool { return !isOld(line) })
}

// absolute is the path as it is found from any directory.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}
