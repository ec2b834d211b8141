package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"snapwatch/internal/command"
)

// soonCmd is `snapwatch soon`.
type soonCmd struct{}

// Help implements kong's HelpProvider.
func (soonCmd) Help() string {
	return `For Proxmox's hookscript (/usr/share/snapwatch/pve/snapwatch-hookscript), which calls it when a guest has stopped.
systemd starts the run ten seconds later, with the words that cron or the timer has; guests
that stop meanwhile share it. It returns at once. Exit status: 0 the run will come; 2 it won't.`
}

// The unit that makes the run, and a second one for a guest that stops during it.
const (
	soonUnit  = "snapwatch-soon"
	laterUnit = "snapwatch-soon-again"
)

// soonDelay lets the hook end and guests that stop together share a run.
const soonDelay = "10s"

// Run implements the command.
func (soonCmd) Run(env *environment) error {
	if !env.Root {
		return errors.New("soon must be run as root: it asks systemd for a run of snap")
	}
	words, err := regularRun(env)
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
			continue // it may have looked at the guests already
		}
		// A timer is active while its service runs, too.
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
			// As in snapwatch.service: no change that zfs has begun is cut off.
			"--service-type=oneshot", "--property=KillMode=process", "--property=SendSIGKILL=no", "--",
		}
		if unit == laterUnit { // it would find the pools locked, and do nothing
			argv = slices.Insert(argv, len(argv)-1, "--property=After="+soonUnit+".service")
		}
		_, err = command.Output(ctx, command.Cmd{Argv: append(argv, words...)})
		if err != nil && strings.Contains(err.Error(), "was already loaded") {
			return nil // another guest's hook was quicker
		}
		return err
	}
	return nil // one runs and another waits for its end: more need not
}

// regularRun is what runs snap on this host by itself.
func regularRun(env *environment) ([]string, error) {
	if timerEnabled(env) {
		return []string{"systemctl", "start", "snapwatch.service"}, nil
	}
	words, err := registeredCommand(env)
	if err != nil || len(words) > 0 {
		return words, err
	}
	return nil, errors.New("snap does not run by itself on this host: snapwatch cron install, or systemctl enable --now snapwatch.timer")
}

// registeredCommand are the words of cron's line that runs snap, the program first; none
// where there is no such line.
func registeredCommand(env *environment) ([]string, error) {
	lines, err := cronLines(env.CronFile)
	if err != nil {
		return nil, err
	}
	for _, line := range lines {
		if snapJob.wrote(line) {
			return commandOf(line)
		}
	}
	return nil, nil
}

// registeredWords are those of them that come after the word snap.
func registeredWords(env *environment) ([]string, error) {
	words, err := registeredCommand(env)
	if err != nil || len(words) < 2 {
		return nil, err
	}
	return words[2:], nil
}

// commandOf are the words of a line of cron that this program wrote: the inverse of
// quote, behind five fields of time and the user.
func commandOf(line string) ([]string, error) {
	m := programLine.FindStringSubmatchIndex(line)
	if m == nil {
		return nil, fmt.Errorf("the line of cron is not understood: %s", line)
	}
	text := strings.ReplaceAll(line[m[2]:], `\%`, "%")
	var words []string
	var word strings.Builder
	begun, quoted := false, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\'':
			quoted, begun = !quoted, true
		case quoted:
			word.WriteByte(c)
		case c == '\\' && i+1 < len(text):
			i++
			word.WriteByte(text[i])
			begun = true
		case c == ' ' || c == '\t':
			if begun {
				words = append(words, word.String())
			}
			word.Reset()
			begun = false
		case strings.ContainsRune("\"$`&|;<>()*?[#~{}!", rune(c)):
			return nil, fmt.Errorf("the line of cron holds more than snapwatch writes there: %s", line)
		default:
			word.WriteByte(c)
			begun = true
		}
	}
	if quoted {
		return nil, fmt.Errorf("the line of cron has a quote that does not end: %s", line)
	}
	if begun {
		words = append(words, word.String())
	}
	return words, nil
}
