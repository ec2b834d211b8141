package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"snapwatch/config"
	"snapwatch/internal/crontab"
	"snapwatch/internal/report"
)

// regularCmd is a snapwatch command that cron or a timer can run: snap or prune.
type regularCmd interface {
	// settings returns the configuration and the retention of the command. The retention is nil if
	// neither the command line nor the configuration has one.
	settings(env *environment) (config.Config, config.Keep, error)
	// words returns the command line without the flags for a single run, such as --dry-run.
	words() []string
	flags() regularFlags
}

// regularFlags points to the flags in which two runs of a command may differ.
type regularFlags struct {
	keep                   *[]string
	config, textfile, node *string
}

// regularRun is one way in which cron or a timer runs a command on this host.
type regularRun struct {
	regularCmd
	// The field By names the timer or the crontab line that starts the run. Idle is true if cron
	// never runs the line, or cannot find the line's program.
	By   string
	Idle bool
}

// timerName is the systemd timer that starts snap, and serviceName is the service that this timer
// starts.
const (
	timerName   = "snapwatch.timer"
	serviceName = "snapwatch.service"
)

// regularRuns returns the runs of a job that cron or the timer starts on this host. The second
// result has the crontab lines that may start the job but could not be parsed. If both results are
// empty, neither cron nor the timer starts the job.
func regularRuns(env *environment, job cronJob) (runs []regularRun, unclear []crontab.Entry) {
	lines, _ := job.lines(env) // snap runs as root, which can read all crontabs
	if job == snapJob && timerEnabled(env) {
		lines = append(timerLines(env), lines...)
	}
	for _, line := range lines {
		cli, err := parse(line.Args)
		switch {
		case line.Problem != "" || err != nil:
			unclear = append(unclear, line)
		case line.File == timerName:
			runs = append(runs, regularRun{regularCmd: job.commandOf(&cli), By: timerName})
		default:
			_, err = programPath(line)
			runs = append(runs, regularRun{job.commandOf(&cli), linesText([]crontab.Entry{line}), err != nil || line.Never() != ""})
		}
	}
	return runs, unclear
}

// timerLines returns the commands that the timer's service starts, in the form of crontab lines. A
// drop-in of systemd may have replaced the commands of the service. If the commands cannot be read,
// timerLines returns one line that has the reason in Problem.
func timerLines(env *environment) []crontab.Entry {
	ctx, cancel := context.WithTimeout(context.Background(), partTimeout)
	defer cancel()
	commands, err := env.PVE.UnitCommands(ctx, serviceName)
	var lines []crontab.Entry
	for _, command := range commands {
		lines = append(lines, cronSearch.ReadRoots(timerName, "@hourly "+command)...)
	}
	if err == nil && len(lines) == 0 {
		err = fmt.Errorf("the service starts no known run of snap (%s)", strings.Join(commands, "; "))
	}
	if err != nil {
		return []crontab.Entry{{File: timerName, Line: serviceName, Problem: err.Error()}}
	}
	return lines
}

// programPath returns the path at which cron finds the program of a crontab line. The error is the
// reason why cron does not find the program.
func programPath(line crontab.Entry) (string, error) {
	if strings.Contains(line.Program, "/") {
		_, err := os.Stat(line.Program)
		return line.Program, err
	}
	for _, dir := range filepath.SplitList(line.Path) {
		path := filepath.Join(dir, line.Program)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path, nil
		}
	}
	return line.Program, fmt.Errorf("it is not in cron's PATH (%s)", line.Path)
}

// asRegistered copies the flags of the regular run into the snap command c, because a person who
// types snap without a retention means the registered retention.
func (c *snapCmd) asRegistered(env *environment, r regularRun) {
	f := r.flags()
	c.Keep, c.Config = *f.keep, *f.config
	c.Textfile, c.Node = cmp.Or(c.Textfile, *f.textfile), cmp.Or(c.Node, *f.node)
	if env.Terminal && c.Format == "text" {
		fmt.Fprintf(env.Stdout, "as cron does: %s\n", strings.Join(r.words(), " "))
	}
}

// agree makes a typed run use the flags of the job's regular run, so that a retention typed by
// mistake does not destroy snapshots that the regular runs keep. If the retention of the regular
// runs is unknown, agree returns an error. The argument `always` is the command line that would
// register the typed flags in cron for all runs, "" if this run itself registers the typed flags.
func agree(env *environment, job cronJob, typed regularCmd, always string) error {
	runs, unclear := regularRuns(env, job)
	for _, r := range runs {
		if sameFlags(env, typed, r) {
			return nil
		}
	}
	const once = "--no-cron runs once with the typed words"
	switch {
	case len(unclear) > 0:
		return fmt.Errorf("the retention of the regular runs is unknown, so nothing was done; %s: %s", once, linesText(unclear))
	case len(runs) == 0:
		return nil
	case len(runs) > 1:
		return fmt.Errorf("nothing was done: %s is registered with several command lines, and not with this one; %s: %s", job.word, once, by(runs))
	}
	r := runs[0]
	_, keep, err := r.settings(env)
	if err == nil && keep == nil {
		err = errNoRetention
	}
	if err != nil {
		return fmt.Errorf("the retention of the regular runs is unknown, so nothing was done; %s: %w (%s)", once, err, r.By)
	}
	fmt.Fprintf(env.Stderr, "snapwatch: this run uses the registered words instead: %s (%s)\n", strings.Join(r.words(), " "), r.By)
	if always != "" {
		words := crontab.Quote(typed.words())
		fmt.Fprintf(env.Stderr, "snapwatch: to see what the typed words would do: snapwatch %[1]s --dry-run; to run them once: snapwatch %[1]s --no-cron; to use them from now on: snapwatch %[2]s\n", words, always)
	}
	to, from := typed.flags(), r.flags()
	*to.keep, *to.config, *to.node = *from.keep, *from.config, *from.node
	return nil
}

func by(runs []regularRun) string {
	var all []string
	for _, r := range runs {
		all = append(all, r.By)
	}
	return strings.Join(all, "; ")
}

// sameFlags reports whether the typed command and the regular run r have the same flags and
// retention.
func sameFlags(env *environment, typed regularCmd, r regularRun) bool {
	_, keep, err := typed.settings(env)
	_, registered, registeredErr := r.settings(env)
	config := func(named string) string { return absolute(cmp.Or(named, env.ConfigPath)) }
	t, f := typed.flags(), r.flags()
	return err == nil && registeredErr == nil && keep.String() == registered.String() && config(*t.config) == config(*f.config) &&
		(*t.node == "" || *t.node == *f.node) && (*t.textfile == "" || absolute(*t.textfile) == *f.textfile)
}

// registers adds `snap` to cron after a person has run it at a terminal for the first time, or if a
// flag demands this. The argument `done` is the report of this run, and shows whether a later run
// can succeed.
func (c *snapCmd) registers(env *environment, done report.Run) error {
	switch {
	case timerEnabled(env) && c.Register:
		return errors.New("snapwatch.timer is enabled: write keep: into the configuration, or systemctl disable --now snapwatch.timer first")
	case c.Register:
		if err := snapJob.registerTyped(env, c); err != nil {
			return err
		}
	case !env.Terminal || c.NoCron:
		return nil
	case timerEnabled(env):
		fmt.Fprintln(env.Stdout, "not registered in cron: snapwatch.timer is enabled")
		pointOutTwice(env)
	default:
		runs, unclear := regularRuns(env, snapJob)
		if len(unclear) > 0 || slices.ContainsFunc(runs, func(r regularRun) bool { return !r.Idle || !sameFlags(env, c, r) }) {
			break
		}
		if done.Unlisted {
			return errors.New("no answer from Proxmox on which guests run, and each later run would fail in the same way; repair Proxmox and run snap again, or add --register")
		}
		if err := snapJob.registerTyped(env, c); err != nil {
			return err
		}
	}
	pointOutOld(env)
	return nil
}
