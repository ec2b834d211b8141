package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"snapwatch/internal/command"
	"snapwatch/internal/crontab"
)

// soonCmd is `snapwatch soon`.
type soonCmd struct{}

// Help implements kong's HelpProvider.
func (soonCmd) Help() string {
	return `Proxmox's hookscript (/usr/share/snapwatch/pve/snapwatch-hookscript) calls it when a guest has stopped.
It returns at once. systemd starts the run ten seconds later, with the words that cron or the timer
has; guests that stop in these ten seconds share it. Exit status: 0 the run will come; 2 it won't.`
}

// soonUnit is the systemd unit in which snapwatch soon runs snap. laterUnit runs snap once more for
// guests that stop during the run of soonUnit.
const (
	soonUnit  = "snapwatch-soon"
	laterUnit = "snapwatch-soon-again"
)

// soonDelay is the time between snapwatch soon and the start of snap. In the meantime Proxmox's
// hook ends, and guests that stop at about the same time get one common run.
const soonDelay = "10s"

// Run implements the command.
func (soonCmd) Run(env *environment) error {
	if !env.Root {
		return errors.New("soon must be run as root: it asks systemd for a run of snap")
	}
	words, err := regularCommand(env)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, unit := range []string{soonUnit, laterUnit} {
		runs, err := env.PVE.UnitState(ctx, unit+".service")
		if err != nil {
			return err
		}
		if runs == "activating" || runs == "active" {
			continue // that run may have read the states before the stop
		}
		// systemd reports a timer as active while the timer waits, and also while its service runs.
		waits, err := env.PVE.UnitState(ctx, unit+".timer")
		if err != nil {
			return err
		}
		if waits == "active" {
			return nil
		}
		argv := []string{
			"systemd-run", "--quiet", "--collect", "--unit=" + unit, "--description=Snapshots of running guests' disks, after a stop",
			"--on-active=" + soonDelay, "--timer-property=AccuracySec=1s",
			// systemd must not kill the processes of the run, because a zfs command that changes a
			// pool must not be killed. snapwatch.service has the same settings.
			"--service-type=oneshot", "--property=KillMode=process", "--property=SendSIGKILL=no", "--",
		}
		if unit == laterUnit { // snap at the same time as the first run would find the pools locked
			argv = slices.Insert(argv, len(argv)-1, "--property=After="+soonUnit+".service")
		}
		_, err = command.Output(ctx, command.Cmd{Argv: append(argv, words...)})
		if err != nil && strings.Contains(err.Error(), "was already loaded") {
			return nil // the hook of another guest has just created the unit
		}
		return err
	}
	return nil // one run of snap works and a second waits; a third is not needed
}

// regularCommand returns the command line with which cron or the systemd timer runs snap on this
// host.
func regularCommand(env *environment) ([]string, error) {
	if timerEnabled(env) {
		return []string{"systemctl", "start", "snapwatch.service"}, nil
	}
	lines, err := snapJob.lines(env)
	if err != nil {
		return nil, err
	}
	for _, line := range lines {
		switch {
		case line.Problem != "":
			err = fmt.Errorf("cron's line is not understood: %s", linesText([]crontab.Entry{line}))
		case line.Never() != "":
			err = fmt.Errorf("snap does not run by itself on this host: %s", linesText([]crontab.Entry{line}))
		case line.Beside:
			err = fmt.Errorf("the line of cron holds more than a run of snap: %s", line.Line)
		default:
			return line.Command(), nil
		}
	}
	if err != nil {
		return nil, err
	}
	return nil, errors.New("snap does not run by itself on this host: snapwatch cron install, or systemctl enable --now snapwatch.timer")
}
