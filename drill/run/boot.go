package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"snapwatch/drill"
	"snapwatch/internal/command"
	"snapwatch/internal/files"
)

// bootGrace is the time that the program of a boot gets after its limit, to end by itself.
const bootGrace = 5 * time.Second

// NotTried is the exit status of the program of a boot that could not try to start the guest.
const NotTried = 2

var errNoBoot = errors.New("the guest did not start in time")

// Boot implements [World]. The program gets the volumes with their devices as arguments of the form
// VOLUME=DEVICE, and all else in its environment.
func (l Local) Boot(ctx context.Context, lock *os.File, p drill.Plan) (drill.Started, error) {
	if err := files.Directory(l.MountDir, 0o700); err != nil {
		return drill.Started{}, err
	}
	config := ""
	if p.Boot.Config != "" {
		config = filepath.Join(l.MountDir, fmt.Sprintf("%d.conf", p.Guest.VMID))
		if err := files.Replace(config, []byte(p.Boot.Config), 0o600); err != nil {
			return drill.Started{}, err
		}
		defer func() { _ = os.Remove(config) }()
	}
	argv := slices.Clone(p.Boot.Argv)
	for i, c := range p.Clones {
		argv = append(argv, filepath.Base(p.Guest.Disks[i].Dataset)+"="+c.Device)
	}
	env := []string{
		fmt.Sprintf("SNAPWATCH_VMID=%d", p.Guest.VMID), "SNAPWATCH_CONFIG=" + config,
		fmt.Sprintf("SNAPWATCH_SECONDS=%d", int(p.Boot.Limit.Seconds())),
	}
	limited, cancel := context.WithTimeoutCause(ctx, p.Boot.Limit+bootGrace, errNoBoot)
	defer cancel()
	said, err := command.RunHook(limited, command.Cmd{Argv: argv, Inherit: inherited(lock), DiesWithUs: true}, env)
	lines := strings.Split(strings.TrimSpace(said), "\n")
	started := drill.Started{Tried: true, Booted: err == nil, Said: lines[len(lines)-1]}
	switch {
	case ctx.Err() != nil, errors.Is(err, command.ErrStillRunning):
		return started, err
	case errors.Is(err, command.ErrNotStarted):
		return drill.Started{Said: err.Error()}, nil
	case errors.Is(err, errNoBoot):
		started.Said = fmt.Sprintf("it did not start within %s", p.Boot.Limit)
	case command.ExitCode(err) == NotTried:
		started.Tried = false
	}
	return started, nil
}
