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

// environment is all that a command takes from the machine. Tests make one of
// their own.
type environment struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Terminal is true when a person is watching standard output.
	Terminal bool
	// Typed is true when a person may have typed the command: it can reach a terminal, be it
	// one that standard output does not go to.
	Typed bool
	// Size is the terminal's, in characters, zero where it is not known.
	Size func() (width, height int)
	// Getenv reads the environment's variables.
	Getenv func(string) string
	// Root is true when this process may do what snap does.
	Root bool
	// Now is the clock; each run reads it once.
	Now func() time.Time
	// ConfigPath is read when no --config is given, if it is there.
	ConfigPath string
	// Kstat is where ZFS tells about its pools, zfs.KstatDir.
	Kstat string
	// LockDir holds the locks that all users share, RunDir those of root's work, and
	// StateDir what the last runs left.
	LockDir, RunDir, StateDir string
	// CronFile is where snap registers itself, among other files that cron reads. Crontab and
	// RootCrontab are the system's and root's own. TimerLink is there while our systemd timer
	// is enabled.
	CronFile, Crontab, RootCrontab, TimerLink string
	// ZFSDevice is what zfs needs to open, Sanoid its configuration.
	ZFSDevice, Sanoid string
	// Mounts lists what is mounted, /proc/self/mounts.
	Mounts string
	// Hostname is the kernel's name for the machine, ClockSync whether its clock is
	// synchronized: yes, no, or "" where that is not known.
	Hostname, ClockSync func() string
	// Self is where this very program can be started from.
	Self string
	// Trusted returns why cron must not run a program as root.
	Trusted func(program string) error
	// PVE are the places where Proxmox keeps its state.
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

// loadConfig reads the named file, or the default one if there is one.
func (e *environment) loadConfig(named string) (config.Config, error) {
	if named != "" {
		return config.Load(named)
	}
	return config.LoadDefault(e.ConfigPath)
}

// installed reports whether a program is found where programs are looked for.
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

// clockSync asks the kernel (adjtimex(2)).
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

// local is this machine, as a run sees it.
func (e *environment) local() run.Local {
	return run.Local{
		Host: e.PVE, Freezers: e.quiesce(), Kstat: e.Kstat, LockDir: e.RunDir, StateDir: e.StateDir, Clock: e.Now,
	}
}

// options are those of every work on this host's pools.
func (e *environment) options(cfg config.Config) run.Options {
	return run.Options{Config: cfg, World: e.local(), Progress: e.progress()}
}

// checkTextfile refuses a name that node_exporter does not look at; "" is none.
func checkTextfile(path string) error {
	if path != "" && !strings.HasSuffix(path, ".prom") {
		return fmt.Errorf("--textfile %s: the name must end in .prom, or node_exporter does not read it", path)
	}
	return nil
}
