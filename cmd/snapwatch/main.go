// Snapwatch snapshots the disks of running Proxmox VE guests on ZFS. On hosts that receive copies
// of these snapshots, snapwatch reports whether new snapshots still arrive.
//
// Package main has the grammar of the command line, the wiring and the exit codes. Each command has
// its own file.
package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"snapwatch/config"
	drillrun "snapwatch/drill/run"
)

func main() {
	os.Exit(execute(os.Args[1:], systemEnvironment()))
}

// version is the version of snapwatch, set by the linker.
var version = "devel"

const description = `Snapshots of running Proxmox VE guests on ZFS, and alarms when they stop arriving.

  On each node, from cron: snapwatch snap f48 h24 d30
  Where copies arrive:     snapwatch check, snapwatch exporter
  To look at it:           snapwatch status, snapwatch explain GUEST|DISK
  Does it work here?       snapwatch doctor`

// firstScreen is the text that snapwatch prints if it is started without arguments.
const firstScreen = `Snapshots of running Proxmox VE guests on ZFS, and an alarm when they stop
arriving at the other site.

On each Proxmox node, as root:
  snapwatch snap f48 h24 d30 --dry-run   what would be done, and why
  snapwatch snap f48 h24 d30             does it, and registers itself in cron
    keeps the newest 48, one for each of 24 hours, one for each of 30 days;
    a guest that stops gets one last snapshot, whose name ends in _stopped

On each site that receives copies of the disks, as any user:
  snapwatch check                        for Nagios or Icinga: status 0, 1, 2, 3
  snapwatch exporter                     for Prometheus, on :10191
    a disk alarms when its newest snapshot is 2 hours old, unless it is _stopped

When in doubt:
  snapwatch status                       every guest, for people
  snapwatch explain DISK                 where its snapshots got stuck
  snapwatch explain GUEST                as of when it can be started here
  snapwatch doctor                       does it work here, and what to do
  snapwatch config show DATASET          what applies to a disk, and why
  snapwatch --help                       all commands
`

// grammar describes the command line: the commands, and the flags that all commands have.
type grammar struct {
	Version kong.VersionFlag `short:"V" help:"Print the version and end."`

	Snap        snapCmd         `cmd:"" group:"node" help:"Snapshot the disks of running guests and rotate the snapshots (on a Proxmox node, as root)."`
	Unblock     unblockCmd      `cmd:"" group:"node" help:"Make room for a rollback by Proxmox: remove newer snapshots and bookmarks of a guest (as root)."`
	Soon        soonCmd         `cmd:"" group:"node" help:"Ask for a run of snap in a moment (for Proxmox's hookscript, as root)."`
	Finalize    finalizeCmd     `cmd:"" group:"node" help:"Take the _stopped snapshots while the host shuts down (for snapwatch-finalize.service)."`
	Check       checkCmd        `cmd:"" group:"replica" help:"Say whether every guest and disk has a fresh snapshot, as a Nagios-style check."`
	Exporter    exporterCmd     `cmd:"" group:"replica" help:"Serve what check says as metrics for Prometheus, and a page for people."`
	Prune       pruneCmd        `cmd:"" group:"replica" help:"Rotate the snapshots of copies that are received here (as root)."`
	Health      healthCmd       `cmd:"" group:"replica" help:"Find the disks with permanent errors, so that check and exporter name them (as root)."`
	Drill       drillCmd        `cmd:"" group:"replica" help:"Prove that the copies of a guest can be used: clone them, look at the clones, destroy them (as root)."`
	Forget      forgetCmd       `cmd:"" group:"replica" help:"Forget disks that you removed on purpose, so that check no longer reports them missing."`
	Status      statusCmd       `cmd:"" group:"people" help:"Show every guest, or every disk, and what is wrong with it, for people."`
	Explain     explainCmd      `cmd:"" group:"people" help:"Say from which restore point a guest can be started here, or where a disk's snapshots got stuck, and what to do next."`
	GuestConfig guestConfigCmd  `cmd:"" group:"people" help:"Print a guest's configuration that is kept with its snapshots, also on a host that has only copies."`
	Doctor      doctorCmd       `cmd:"" group:"people" help:"Look whether snapwatch can do its work on this host, and say what to do where it can't."`
	Config      configCmd       `cmd:"" group:"setup" help:"Show the configuration, or what applies to a disk."`
	Cron        cronCmd         `cmd:"" group:"setup" help:"Register snap or prune in cron, or remove it from there."`
	Completion  completionCmd   `cmd:"" group:"setup" help:"Print the completion for a shell."`
	Watchdog    watchdogCmd     `cmd:"" hidden:"" help:"Freeze guests, and thaw them (only snap starts this command)."`
	Manual      manualCmd       `cmd:"" hidden:"" help:"Print the man page."`
	Inspect     drillInspectCmd `cmd:"" name:"drill-inspect" hidden:"" help:"Read a clone for drill."`
	BootQEMU    drillBootCmd    `cmd:"" name:"drill-boot-qemu" hidden:"" help:"Start a guest from its clones in QEMU (for drill.boot)."`
	ReadPVE     readPVECmd      `cmd:"" name:"read-pve" hidden:"" help:"Read Proxmox's files for another process."`
}

// exit is an error that ends the program with the exit status code. err is nil if the message about
// the error was already printed.
type exit struct {
	code int
	err  error
}

func (e *exit) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit status %d", e.code)
	}
	return e.err.Error()
}

func (e *exit) Unwrap() error { return e.err }

// In kong, the flags --help and --version end the program. In snapwatch, these flags panic with a
// value of the type `ended`, and execute takes the exit status from this value.
type ended struct{ code int }

// execute runs the command line in args and returns the exit status. Tests call execute with a
// simulated environment.
func execute(args []string, env *environment) (status int) {
	defer func() {
		if e := recover(); e != nil {
			end, ok := e.(ended)
			if !ok {
				panic(e)
			}
			status = end.code
			if isCheck(args) {
				status = checkUnknown // a plugin's help must not exit with OK (Monitoring Plugins guidelines)
			}
		}
	}()
	if len(args) == 0 {
		fmt.Fprint(env.Stdout, firstScreen)
		return 0
	}
	args = withCommand(args)
	ctx, err := newParser(&grammar{}, env).Parse(withAdopt(args))
	if err != nil {
		if slices.Contains([]string{"snap", "prune", "finalize"}, args[0]) && !slices.Contains(args, "--dry-run") {
			thawLeft(env, "plain")
		}
		return fail(env, args, &exit{code: 2, err: fmt.Errorf("%w (snapwatch --help explains)", cmp.Or(renamed(args), err))})
	}
	if err := ctx.Run(env); err != nil {
		return fail(env, args, err)
	}
	return 0
}

func newParser(cli *grammar, env *environment) *kong.Kong {
	parser, err := kong.New(cli,
		kong.Name("snapwatch"),
		kong.Description(description),
		kong.Vars{"version": version, "config_path": env.ConfigPath, "seen_path": seenFile},
		kong.ExplicitGroups([]kong.Group{
			{Key: "node", Title: "On a Proxmox node, as root:"},
			{Key: "replica", Title: "Where copies are received:"},
			{Key: "people", Title: "To look, as any user:"},
			{Key: "setup", Title: "To set up:"},
		}),
		kong.Writers(env.Stdout, env.Stderr),
		kong.Exit(func(code int) { panic(ended{code}) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
	)
	if err != nil {
		panic(err) // a mistake in the grammar
	}
	return parser
}

// parse parses a command line without running it.
func parse(args []string) (cli grammar, err error) {
	defer func() {
		if e := recover(); e != nil {
			if _, ok := e.(ended); !ok {
				panic(e)
			}
			err = errors.New("it only prints a help")
		}
	}()
	_, err = newParser(&cli, &environment{Stdout: io.Discard, Stderr: io.Discard}).Parse(withAdopt(withCommand(args)))
	return cli, err
}

// commandWords has each word that may be the first word of a valid command line.
var commandWords = []string{
	"snap", "check", "config", "guest-config", "cron", "drill", "explain", "exporter", "finalize", "forget", "health", "unblock", "prune", "soon",
	"status", "doctor", "completion", "watchdog", "manual", readPVEWord, drillrun.InspectWord, "drill-boot-qemu",
}

// withCommand makes old lines of cron work: if a command line has retention words but no command,
// withCommand adds the command snap. Flags may come before the retention words or the command.
// withCommand also changes the words help and version to --help and --version.
func withCommand(args []string) []string {
	switch {
	case len(args) > 0 && args[0] == "help":
		words := slices.DeleteFunc(slices.Clone(args), func(arg string) bool { return arg == "help" })
		return append(words, "--help")
	case len(args) == 1 && args[0] == "version":
		return []string{"--version"}
	}
	if len(args) == 0 || args[0] == "" || args[0][0] != '-' && !config.IsKeepWord(args[0]) {
		return args
	}
	if i := slices.IndexFunc(args, func(arg string) bool { return slices.Contains(commandWords, arg) }); i > 0 {
		return slices.Concat(args[i:i+1], args[:i], args[i+1:])
	}
	if slices.ContainsFunc(args, config.IsKeepWord) {
		return append([]string{"snap"}, args...)
	}
	return args
}

// renamed returns an error if args contain the old name of a flag or command that was renamed. The
// error names the new flag or command.
func renamed(args []string) error {
	command := slices.IndexFunc(args, func(arg string) bool { return !strings.HasPrefix(arg, "-") })
	for i, arg := range args {
		word, _, _ := strings.Cut(arg, "=")
		if rest, is := strings.CutPrefix(word, "--primary"); is && (rest == "" || rest[0] == '-') {
			return fmt.Errorf("%s is called --owners%s now", word, rest)
		}
		if i == command && word == "config-of" {
			return errors.New("config-of is called guest-config now")
		}
	}
	return nil
}

// fail prints err and returns the exit status that err has, or 2 if err has none. For check, fail
// always returns one of the statuses that a monitoring system knows: OK, WARNING, CRITICAL or
// UNKNOWN.
func fail(env *environment, args []string, err error) int {
	status := 2
	end, asked := errors.AsType[*exit](err)
	if asked {
		status = end.code
	}
	silent := asked && end.err == nil
	if isCheck(args) && (!asked || end.code != checkUnknown) && !silent {
		fmt.Fprintf(env.Stdout, "UNKNOWN: %s\n", firstLine(err))
		return checkUnknown
	}
	if !silent {
		fmt.Fprintf(env.Stderr, "snapwatch: %v\n", err)
	}
	return status
}

// isCheck reports whether the command, the first word that is not a flag, is check. "config check"
// is a different command.
func isCheck(args []string) bool {
	i := slices.IndexFunc(args, func(a string) bool { return !strings.HasPrefix(a, "-") })
	return i >= 0 && args[i] == "check"
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}
