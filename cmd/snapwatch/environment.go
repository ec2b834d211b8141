package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/term"

	"snapwatch/config"
	"snapwatch/internal/command"
	"snapwatch/internal/pve"
	"snapwatch/internal/zfs"
	"snapwatch/snapper/run"
)

// environment has the parts of the machine that a command uses, such as the terminal, the clock and
// paths. A test constructs an environment of its own.
type environment struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Terminal is true when a person is watching standard output.
	Terminal bool
	// Typed is true when a person may have typed the command: standard input, output or error is
	// a terminal.
	Typed bool
	// Size returns the terminal's size in characters, zero if the size is unknown.
	Size func() (width, height int)
	// Getenv returns the value of an environment variable.
	Getenv func(string) string
	// Root is true when this process runs as root.
	Root bool
	// Now returns the current time. Each run calls Now once.
	Now func() time.Time
	// ConfigPath is the path of the default configuration. A command reads this file if the file
	// exists and the flag --config is absent.
	ConfigPath string
	// Kstat is the directory in which ZFS publishes the state of its pools. On a real host, Kstat
	// is zfs.KstatDir.
	Kstat string
	// LockDir is the directory of the locks that all users share. RunDir is the directory of the
	// locks of root's commands. StateDir is the directory of the reports and the state of the last
	// runs.
	LockDir, RunDir, StateDir string
	// CronFile is the crontab in which snap registers itself. cron also reads all other files in
	// the directory of CronFile. Crontab and RootCrontab are the crontabs of the system and of
	// root. TimerLink exists while the systemd timer of snapwatch is enabled.
	CronFile, Crontab, RootCrontab, TimerLink string
	// ZFSDevice is the path of the device that zfs must open. Sanoid is the path of sanoid's
	// configuration.
	ZFSDevice, Sanoid string
	// Dev is the directory of devices, /dev.
	Dev string
	// Mounts is the path of the list of mounts, /proc/self/mounts.
	Mounts string
	// Hostname returns the kernel's name for the machine. ClockSync returns "yes" if the clock is
	// synchronized, "no" if it is not, and "" if the kernel does not say.
	Hostname, ClockSync func() string
	// Self is a path from which the running program can be started.
	Self string
	// Trusted returns the reason why cron must not run a program as root, nil if cron may run the
	// program.
	Trusted func(program string) error
	// PVE has the paths of Proxmox's files and directories.
	PVE pve.Host
}

func systemEnvironment() *environment {
	const self = "/proc/self/exe"
	proxmox := pve.LocalHost()
	proxmox.Reader = []string{self, readPVEWord}
	return &environment{
		Stdin:       os.Stdin,
		Stdout:      os.Stdout,
		Stderr:      os.Stderr,
		Terminal:    isTerminal(os.Stdout),
		Typed:       slices.ContainsFunc([]*os.File{os.Stdin, os.Stdout, os.Stderr}, isTerminal),
		Size:        terminalSize,
		Getenv:      os.Getenv,
		Root:        os.Geteuid() == 0,
		Now:         time.Now,
		ConfigPath:  config.Path,
		Kstat:       zfs.KstatDir,
		LockDir:     "/run/lock",
		RunDir:      "/run/snapwatch",
		StateDir:    "/var/lib/snapwatch",
		CronFile:    "/etc/cron.d/snapwatch",
		Crontab:     "/etc/crontab",
		RootCrontab: "/var/spool/cron/crontabs/root",
		TimerLink:   "/etc/systemd/system/timers.target.wants/snapwatch.timer",
		ZFSDevice:   "/dev/zfs",
		Sanoid:      "/etc/sanoid/sanoid.conf",
		Dev:         "/dev",
		Mounts:      "/proc/self/mounts",
		Hostname:    hostname,
		ClockSync:   clockSync,
		Self:        self,
		Trusted:     trusted,
		PVE:         proxmox,
	}
}

func isTerminal(file *os.File) bool { return term.IsTerminal(int(file.Fd())) }

func terminalSize() (width, height int) {
	width, height, err := term.GetSize(int(os.Stdout.Fd()))
	if err != nil {
		return 0, 0
	}
	return width, height
}

// loadConfig reads the named configuration file. If the name is "", loadConfig reads the default
// configuration file, if this file exists.
func (e *environment) loadConfig(named string) (config.Config, error) {
	if named != "" {
		return config.Load(named)
	}
	return config.LoadDefault(e.ConfigPath)
}

// installed reports whether a program is in the directories in which snapwatch looks for
// programs.
func (e *environment) installed(program string) bool {
	_, err := command.Find(program)
	return err == nil
}

func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	return name
}

// clockSync asks the kernel whether the clock is synchronized (adjtimex(2)).
func clockSync() string {
	const unsynchronized = 5 // TIME_ERROR
	state, err := syscall.Adjtimex(&syscall.Timex{})
	switch {
	case err != nil:
		return ""
	case state == unsynchronized:
		return "no"
	}
	return "yes"
}

// local returns the real World of a run: its methods work on this machine.
func (e *environment) local() run.Local {
	return run.Local{
		Host: e.PVE, Freezers: e.quiesce(), Kstat: e.Kstat, LockDir: e.RunDir, StateDir: e.StateDir, Clock: e.Now,
	}
}

// options returns the options that are the same for all commands that work on this host's pools.
func (e *environment) options(cfg config.Config) run.Options {
	return run.Options{Config: cfg, World: e.local(), Progress: e.progress()}
}

// checkTextfile checks the path of a textfile, "" for none. If node_exporter would ignore the file
// because of its name, checkTextfile returns an error.
func checkTextfile(path string) error {
	if path != "" && !strings.HasSuffix(path, ".prom") {
		return fmt.Errorf("--textfile %s: the name must end in .prom, or node_exporter does not read it", path)
	}
	return nil
}
