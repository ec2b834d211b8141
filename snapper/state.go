package snapper

import (
	"fmt"
	"slices"
	"time"

	"snapwatch/internal/pve"
	"snapwatch/internal/report"
)

// GuestState is what is known of a guest, in the words that decide what may be done to
// its disks.
type GuestState int

// The states. Only Stopped ever causes a _stopped snapshot.
const (
	// Unknown: it cannot be told whether the guest lives.
	Unknown GuestState = iota
	// UnknownAlive: its process lives, and Proxmox could not be asked.
	UnknownAlive
	// Running: it lives, paused and in trouble included.
	Running
	// Backup: a process was started just to back up a stopped guest.
	Backup
	// LockedAlive: it lives, while Proxmox works on it in a way snapshots don't harm.
	LockedAlive
	// Busy: Proxmox works on it, or its stop is not proven yet.
	Busy
	// Stopped: proven not to run.
	Stopped
	// Template: it can never run.
	Template
	// Elsewhere: its configuration is on another node of the cluster.
	Elsewhere
	// Orphan: no configuration of the cluster has this VMID.
	Orphan
	// Disputed: two guests claim the disk, and none of them lives.
	Disputed
	// Replica: the dataset is received from elsewhere, as the configuration says.
	Replica
)

var stateNames = [...]string{
	Unknown: "unknown", UnknownAlive: "alive (Proxmox could not be asked)", Running: "running",
	Backup: "stopped, being backed up", LockedAlive: "running, locked", Busy: "busy", Stopped: "stopped",
	Template: "template", Elsewhere: "on another node", Orphan: "in no configuration",
	Disputed: "claimed by two guests", Replica: "replica",
}

func (s GuestState) String() string { return stateNames[s] }

// Alive reports whether the guest runs as far as snapshots are concerned.
func (s GuestState) Alive() bool { return s == Running || s == LockedAlive || s == UnknownAlive }

// Evidence is what was found out about a guest at one time.
type Evidence struct {
	Config pve.Config
	// Listed is the status in Proxmox's live list, "" if the guest is not in it.
	Listed string
	// ListErr is why there is no list.
	ListErr error
	// Process is whether the guest's process lives, by the files Proxmox looks at.
	Process    bool
	ProcessErr error
	// Rebooting is true when Proxmox is about to start the guest again.
	Rebooting bool
	// RunState is QEMU's own state where it was asked for, else "".
	RunState    string
	RunStateErr error
	// SeenStopped is true when an earlier reading in this run found it stopped, too.
	SeenStopped bool
	// JustEnded is true when that reading found it alive.
	JustEnded bool
	// HAStarted is true when high availability wants the guest started;
	// StoppedLastRun when the run before this one saw it stopped already.
	HAStarted, StoppedLastRun bool
}

// Gate is what holds for all guests of the node.
type Gate struct {
	Uptime time.Duration
	// BootGrace is the uptime below which no stop is believed.
	BootGrace time.Duration
	// BootState is the state of pve-guests.service, or "absent".
	BootState string
	// Shutdown is asked instead where a run is for the end of the host, else nil.
	Shutdown *Shutdown
	// Err is why the two could not be read.
	Err error
}

// failedBootGrace is how long after boot the guests may still be starting when the
// unit that starts them failed or never ran.
const failedBootGrace = 30 * time.Minute

// closed returns why no stop is believed now, "" if stops are.
func (g Gate) closed() string {
	switch {
	case g.Shutdown != nil:
		return g.Shutdown.closed()
	case g.Err != nil:
		return fmt.Sprintf("it is not known whether the host is starting: %v", g.Err)
	case g.Uptime < g.BootGrace:
		return fmt.Sprintf("the host is up for %s only (boot_grace %s)", g.Uptime.Round(time.Second), g.BootGrace)
	case g.BootState == "active" || g.BootState == "absent":
		return ""
	case (g.BootState == "failed" || g.BootState == "inactive") && g.Uptime > failedBootGrace:
		return ""
	}
	return fmt.Sprintf("pve-guests.service is %s: guests may be starting or stopping", g.BootState)
}

// aliveStatus are the words of Proxmox and QEMU for a guest whose process holds its
// disks: a paused one is no stopped one.
var aliveStatus = map[string]bool{
	"running": true, "paused": true, "suspended": true, "io-error": true, "internal-error": true,
	"guest-panicked": true, "watchdog": true, "save-vm": true, "restore-vm": true,
	"finish-migrate": true, "postmigrate": true, "debug": true,
}

// Alive reports whether anything says that the guest lives.
func (e Evidence) Alive() bool { return e.Process || aliveStatus[e.Listed] }

// dead reports whether everything says that it does not.
func (e Evidence) dead() bool {
	return e.ListErr == nil && e.Listed == "stopped" && e.ProcessErr == nil && !e.Process
}

// Judge says what a guest of this node is, and why. A stop is believed only when
// nothing speaks against it.
func Judge(e Evidence, gate Gate) (GuestState, string) {
	alive := e.Alive()
	switch {
	case e.Config.Problem != "":
		return Unknown, "its configuration could not be read: " + e.Config.Problem
	case e.RunState == "prelaunch" && e.Config.Lock == "backup", e.RunState == "shutdown" && e.Config.Lock == "backup":
		return Backup, "QEMU runs only for a backup (" + e.RunState + ")"
	case alive && e.Config.Template:
		return Backup, "a template runs only for a backup"
	case alive:
		return judgeAlive(e)
	case e.dead():
		return judgeDead(e, gate)
	case e.ListErr != nil:
		return Unknown, fmt.Sprintf("Proxmox could not be asked: %v", e.ListErr)
	case e.ProcessErr != nil:
		return Unknown, fmt.Sprintf("its process could not be looked at: %v", e.ProcessErr)
	case e.Listed == "":
		return Unknown, "it is configured here but missing in Proxmox's list"
	}
	return Unknown, fmt.Sprintf("Proxmox says %q, which decides nothing", e.Listed)
}

func judgeAlive(e Evidence) (GuestState, string) {
	switch e.RunState {
	case "inmigrate", "prelaunch", "preconfig":
		return Busy, "QEMU is not started yet (" + e.RunState + ")"
	}
	switch e.Config.Lock {
	case "rollback", "create", "clone", "destroyed":
		return Busy, "locked: " + e.Config.Lock
	case "backup":
		// Without QEMU's own word a stopped guest under backup looks the same.
		if e.Config.Kind == pve.QEMU && e.RunState == "" {
			return UnknownAlive, fmt.Sprintf("locked for backup, and QEMU's state is not known: %v", e.RunStateErr)
		}
	case "", "fstrim":
	default:
		return LockedAlive, "locked: " + e.Config.Lock
	}
	if e.ListErr != nil {
		return UnknownAlive, fmt.Sprintf("its process lives; Proxmox could not be asked: %v", e.ListErr)
	}
	if e.Listed != "stopped" && !aliveStatus[e.Listed] {
		return UnknownAlive, fmt.Sprintf("its process lives; Proxmox says %q", e.Listed)
	}
	return Running, "running"
}

func judgeDead(e Evidence, gate Gate) (GuestState, string) {
	if e.JustEnded {
		return Busy, "it ended between the two looks of this run"
	}
	if e.Config.Template {
		return Template, "template"
	}
	if e.Config.Lock != "" && e.Config.Lock != "suspended" {
		return Busy, "stopped, but locked: " + e.Config.Lock
	}
	if e.Rebooting {
		return Busy, "stopped for a reboot"
	}
	if why := gate.closed(); why != "" {
		return Busy, "stopped, but " + why
	}
	if e.HAStarted && !e.StoppedLastRun && gate.Shutdown == nil {
		return Busy, "stopped, but high availability wants it started: the next run looks again"
	}
	if !e.SeenStopped {
		return Busy, "stopped at one look only"
	}
	if e.Config.Lock == "suspended" {
		return Stopped, "hibernated"
	}
	return Stopped, "stopped"
}

// stuckAfter is how old a stopped guest's lock is when it is mentioned.
const stuckAfter = time.Hour

// longWork is how long Proxmox may be at work on a guest before that is a warning.
const longWork = 24 * time.Hour

// StuckLock says that a guest has been locked for long and what that costs, and how loudly;
// "" where it has not. Migrations and moves of disks take hours: they are only mentioned while
// atWork reports that somebody holds the guest's lock file, as Proxmox does meanwhile.
func StuckLock(e Evidence, atWork func(pve.ID) bool, now time.Time) (report.Severity, string) {
	word, held := e.Config.Lock, now.Sub(e.Config.Changed)
	if held < -futureSlack { // a clock was ahead: since when is not known, and it must not stay untold
		held = stuckAfter + 1
	}
	if word == "" || word == "suspended" || e.Config.Changed.IsZero() || held <= stuckAfter || e.Alive() && word == "backup" {
		return "", ""
	}
	tool := "qm"
	if e.Config.Kind == pve.LXC {
		tool = "pct"
	}
	state, cost, severity := "does not run", "its stop is not recorded meanwhile", report.Notice
	if e.Alive() {
		state, cost = "runs", "nothing of it is rotated meanwhile"
		switch {
		case slices.Contains(waitsFor, word):
			cost, severity = "it gets no snapshots meanwhile", report.Warning
		case held > longWork || word != "migrate" && word != "disk" || !atWork(e.Config.ID):
			severity = report.Warning
		}
	}
	return severity, fmt.Sprintf("guest %d %s and is locked (%s) since %s: %s (if nothing works on it: %s unlock %d)",
		e.Config.VMID, state, word, e.Config.Changed.Format("2006-01-02 15:04"), cost, tool, e.Config.VMID)
}

// Combine returns the state of a disk from those of the guests that claim it: alive
// if any of them is, and stopped only where there is but one.
func Combine(states []GuestState) GuestState {
	if len(states) == 1 {
		return states[0]
	}
	for _, s := range []GuestState{Running, LockedAlive, UnknownAlive} {
		for _, have := range states {
			if have == s {
				return s
			}
		}
	}
	return Disputed
}
