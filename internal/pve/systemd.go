package pve

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"snapwatch/internal/command"
)

// UnitState returns systemd's state of a unit: active, activating, deactivating, failed or
// inactive. UnitState returns "absent" if the unit or systemd does not exist.
func (h Host) UnitState(ctx context.Context, unit string) (string, error) {
	state, err := h.show(ctx, "-p", "LoadState", "-p", "ActiveState", unit)
	switch {
	case errors.Is(err, errNoSystemd), err == nil && state["LoadState"] == "not-found":
		return "absent", nil
	case err != nil:
		return "", err
	case state["ActiveState"] == "":
		return "", fmt.Errorf("systemctl show %s: no ActiveState in the answer", unit)
	}
	return state["ActiveState"], nil
}

// UnitCommands returns the command lines that a service starts, including the command lines from
// drop-ins. Each command line is in the form that systemd prints: the arguments joined by spaces.
func (h Host) UnitCommands(ctx context.Context, unit string) ([]string, error) {
	state, err := h.show(ctx, "-p", "ExecStart", unit)
	if err != nil {
		return nil, err
	}
	var commands []string
	for line := range strings.Lines(state["ExecStart"]) {
		_, argv, _ := strings.Cut(line, "argv[]=")
		argv, _, whole := strings.Cut(argv, " ; ignore_errors=")
		if !whole {
			return nil, fmt.Errorf("systemctl show %s: ExecStart is not understood: %s", unit, strings.TrimSpace(line))
		}
		commands = append(commands, argv)
	}
	return commands, nil
}

// SystemState returns systemd's state of the whole machine: running or degraded, starting, or
// stopping once a shutdown has begun (see is-system-running in systemctl(1)). SystemState returns
// "absent" if the machine does not run systemd.
func (h Host) SystemState(ctx context.Context) (string, error) {
	state, err := h.show(ctx, "-p", "SystemState")
	switch {
	case errors.Is(err, errNoSystemd):
		return "absent", nil
	case err != nil:
		return "", err
	case state["SystemState"] == "":
		return "", errors.New("systemctl show: no SystemState in the answer")
	}
	return state["SystemState"], nil
}

var errNoSystemd = errors.New("systemd does not run this machine")

// show returns, by name, the properties that systemctl show prints of a unit or of systemd itself.
func (h Host) show(ctx context.Context, args ...string) (map[string]string, error) {
	if _, err := os.Stat(h.Systemd); errors.Is(err, fs.ErrNotExist) {
		return nil, errNoSystemd
	}
	ctx, cancel := context.WithTimeout(ctx, PveshTimeout)
	defer cancel()
	text, err := command.Output(ctx, command.Cmd{Argv: append([]string{"systemctl", "show"}, args...)})
	if err != nil {
		return nil, err
	}
	state := map[string]string{}
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		if before, more := state[key]; more { // a service may start several programs
			value = before + "\n" + value
		}
		state[key] = value
	}
	return state, nil
}
