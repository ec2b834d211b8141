package snapper

import (
	"fmt"
	"slices"
	"time"

	"snapwatch/internal/pve"
	"snapwatch/internal/report"
)

// GuestState is the state of a guest. snap decides by a guest's state about the snapshots and
// labels of the guest's disks.
type GuestState int

// The states of a guest. Only the disks of a guest in the state Stopped ever get a _stopped
// snapshot.
const (
	// Unknown: snap could not read whether the guest lives.
	Unknown GuestState = iota
	// UnknownAlive: the guest's process lives, but Proxmox did not answer a question about the
	// guest.
	UnknownAlive
	// Running: the guest lives; a paused guest, or one with an I/O error, also counts.
	Running
	// Backup: the guest is stopped, and its process was started only for a backup.
	Backup
	// LockedAlive: the guest lives, and Proxmox does work on the guest that snapshots do not
	// disturb.
	LockedAlive
	// Busy: Proxmox works on the guest in a way that snapshots could disturb, or the guest's stop
	// is not proven yet.
	Busy
	// Stopped: there is proof that the guest does not run.
	Stopped
	// Template: the guest is a template, which Proxmox never runs except for a backup.
	Template
	// Elsewhere: the guest's configuration is on another node of the cluster.
	Elsewhere
	// Orphan: no configuration of the cluster has the VMID in the disk's name.
	Orphan
	// Disputed: two guests claim the disk, and neither of them lives.
	Disputed
	// Replica: the configuration lists the dataset as a copy.
	Replica
)

var stateNames = [...]string{
	Unknown: "unknown", UnknownAlive: "alive (Proxmox could not be asked)", Running: "running",
	Backup: "stopped, being backed up", LockedAlive: "running, locked", Busy: "busy", Stopped: "stopped",
	Template: "template", Elsewhere: "on another node", Orphan: "in no configuration",
	Disputed: "claimed by two guests", Replica: "replica",
}

func (s GuestState) String() string { return stateNames[s] }

// Alive reports whether snap treats the guest as a running guest.
func (s GuestState) Alive() bool { return s == Running || s == LockedAlive || s == UnknownAlive }

// Evidence has the facts about a guest that a run read at one time.
type Evidence struct {
	Config pve.Config
	// Listed is the guest's status in Proxmox's live list, "" if the guest is not in the list.
	Listed string
	// ListErr is the error of reading Proxmox's live list of guests.
	ListErr error
	// Process is true if the guest's process lives, according to the files that Proxmox itself
	// checks.
	Process    bool
	ProcessErr error
	// Rebooting is true if Proxmox is about to start the guest again.
	Rebooting bool
	// RunState is the state that QEMU itself reports, "" if QEMU was not asked.
	RunState    string
	RunStateErr error
	// SeenStopped is true if this is the run's second look at the guest, and the first look found
	// the guest stopped.
	SeenStopped bool
	// JustEnded is true if this is the run's second look at the guest, and the first look found the
	// guest alive.
	JustEnded bool
	// HAStarted is true if Proxmox's high availability keeps the guest started. StoppedLastRun is
	// true if the run before this one also saw the guest stopped.
	HAStarted, StoppedLastRun bool
}

// Gate has the facts about the node that decide whether any guest's stop is believed.
type Gate struct {
	Uptime time.Duration
	// BootGrace is the uptime below which no guest's stop is believed.
	BootGrace time.Duration
	// BootState is the state of pve-guests.service, or "absent" if the host has no such unit.
	BootState string
	// In a run at the shutdown of the host, Shutdown replaces all other fields of Gate. In an
	// ordinary run, Shutdown is nil.
	Shutdown *Shutdown
	// Err is the error of reading Uptime or BootState.
	Err error
}

// If pve-guests.service, the unit that starts guests at boot, failed or never ran, guests may still
// be starting until the uptime is failedBootGrace.
const failedBootGrace = 30 * time.Minute

// closed returns the reason why a guest's stop is not believed, "" if the stops of guests are
// believed.
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

// aliveStatus has each status, of Proxmox or of QEMU, which means that the guest's process has the
// guest's disks open. A paused guest, for example, counts as alive.
var aliveStatus = map[string]bool{
	"running": true, "paused": true, "suspended": true, "io-error": true, "internal-error": true,
	"guest-panicked": true, "watchdog": true, "save-vm": true, "restore-vm": true,
	"finish-migrate": true, "postmigrate": true, "debug": true,
}

// Alive reports whether the guest's process or its status in Proxmox shows that the guest lives.
func (e Evidence) Alive() bool { return e.Process || aliveStatus[e.Listed] }

// dead reports whether all of Proxmox's files and lists show that the guest does not live.
func (e Evidence) dead() bool {
	return e.ListErr == nil && e.Listed == "stopped" && e.ProcessErr == nil && !e.Process
}

// Judge returns the state of a guest of this node, and the reason. A guest counts as stopped only
// if no evidence contradicts the stop.
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
		return Unknown, fmt.Sprintf("it is unknown whether its process runs: %v", e.ProcessErr)
	case e.Listed == "":
		return Unknown, "it is configured here but missing in Proxmox's list"
	}
	return Unknown, fmt.Sprintf("Proxmox says %q, which proves neither that it runs nor that it is stopped", e.Listed)
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
		// If QEMU does not report the state, a stopped guest under backup looks like a running
		// guest.
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
		return Busy, "its process ended while this run was looking at it"
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

// If a guest's lock is older than stuckAfter, the report mentions the lock.
const stuckAfter = time.Hour

// If Proxmox works on a guest for longer than longWork, the report warns.
const longWork = 24 * time.Hour

// StuckLock returns a message about a guest that has been locked for long, with the consequence of
// the lock, and the severity of the message. StuckLock returns "" for a guest that has not been
// locked for long. Migrations and moves of disks take hours, and Proxmox has the guest's lock file
// during such work. If atWork reports that a process has the guest's lock file, StuckLock warns of
// a lock for a migration or for a move of a disk only after longWork.
func StuckLock(e Evidence, atWork func(pve.ID) bool, now time.Time) (report.Severity, string) {
	word, held := e.Config.Lock, now.Sub(e.Config.Changed)
	if held < -futureSlack {
		// The clock was ahead when the lock was set, so its age is unknown, and the lock must be
		// reported.
		held = stuckAfter + 1
	}
	if word == "" || word == "suspended" || e.Config.Changed.IsZero() || held <= stuckAfter || e.Alive() && word == "backup" {
		return "", ""
	}
	tool := "qm"
	if e.Config.Kind == pve.LXC {
		tool = "pct"
	}
	state, cost, severity := "does not run", "its stop is not recorded while it is locked", report.Notice
	if e.Alive() {
		state, cost = "runs", "its snapshots are not rotated while it is locked"
		switch {
		case slices.Contains(waitsFor, word):
			cost, severity = "it gets no snapshots while it is locked", report.Warning
		case held > longWork || word != "migrate" && word != "disk" || !atWork(e.Config.ID):
			severity = report.Warning
		}
	}
	return severity, fmt.Sprintf("guest %d %s and is locked (%s) since %s: %s (if nothing works on it: %s unlock %d)",
		e.Config.VMID, state, word, e.Config.Changed.Format("2006-01-02 15:04"), cost, tool, e.Config.VMID)
}

// Combine returns the state of a disk, given the state of each guest that claims the disk. The disk
// is alive if at least one of the claiming guests is alive. The disk is stopped only if a single
// guest claims the disk and this guest is stopped.
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
