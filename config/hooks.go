package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"snapwatch/internal/files"
)

// Hooks has the user's programs that a run starts, as root, before and after snapshots and
// destroys.
type Hooks struct {
	// BeforeSnapshot runs before the snapshot of a running guest. If the hook fails, the guest gets
	// no snapshot.
	BeforeSnapshot []Hook `yaml:"before_snapshot,omitempty"`
	// AfterSnapshot runs after a guest's snapshot was taken. AfterSnapshot also runs for each guest
	// whose BeforeSnapshot was started, even if no snapshot was taken.
	AfterSnapshot []Hook `yaml:"after_snapshot,omitempty"`
	// AfterStop runs after a guest stopped and its _stopped snapshot was taken.
	AfterStop []Hook `yaml:"after_stop,omitempty"`
	// AfterPrune runs after prune has destroyed a snapshot.
	AfterPrune []Hook `yaml:"after_prune,omitempty"`
}

// Hook is a program that a run starts before or after snapshots.
type Hook struct {
	// Argv has the program's absolute path and its arguments. The program is started without a
	// shell.
	Argv []string `yaml:"argv"`
	// Per is "guest" (the default) or "run". If Per is "run", the program is started once for all
	// its guests.
	Per string `yaml:"per,omitempty"`
	// VMID has the guests for which the hook runs. An empty VMID means all guests.
	VMID VMIDs `yaml:"vmid,omitempty"`
	// If the program runs for longer than Timeout, it is killed. The default is 30s.
	Timeout Duration `yaml:"timeout,omitempty"`
}

// maxBeforeTimeout is the longest timeout that the configuration may set for a hook for which a
// snapshot waits. maxHookTimeout is the longest timeout for the other hooks.
const (
	maxBeforeTimeout = 2 * time.Minute
	maxHookTimeout   = 10 * time.Minute
)

// PerRun reports whether the hook is started once for all guests.
func (h Hook) PerRun() bool { return h.Per == "run" }

// For reports whether the hook runs for the given guest.
func (h Hook) For(vmid int) bool { return len(h.VMID) == 0 || h.VMID.Contains(vmid) }

// Limit returns the time after which the hook is killed.
func (h Hook) Limit() time.Duration {
	if h.Timeout == 0 {
		return 30 * time.Second
	}
	return h.Timeout.Std()
}

// Any reports whether the configuration has any hook.
func (h Hooks) Any() bool {
	return len(h.BeforeSnapshot)+len(h.AfterSnapshot)+len(h.AfterStop)+len(h.AfterPrune) > 0
}

// Trusted returns an error if the hook's program must not be started. The hook's program may be
// missing or not executable, or a user other than root and the current user could have replaced the
// program.
func (h Hook) Trusted() error { return trusted(h.Argv[0]) }

func trusted(program string) error {
	info, err := os.Stat(program)
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0:
		return fmt.Errorf("%s is not an executable file: chmod +x it", info.Name())
	}
	return files.OnlyRoots(program)
}

// Check returns an error about the first hook whose program must not be started at present, nil if
// all programs may be started.
func (h Hooks) Check() error {
	for _, hook := range slices.Concat(h.BeforeSnapshot, h.AfterSnapshot, h.AfterStop, h.AfterPrune) {
		if err := hook.Trusted(); err != nil {
			return fmt.Errorf("the hook %s cannot be started: %w", hook.Argv[0], err)
		}
	}
	return nil
}

func (h Hooks) validate() error {
	for _, list := range []struct {
		key   string
		hooks []Hook
		limit time.Duration
	}{
		{"before_snapshot", h.BeforeSnapshot, maxBeforeTimeout}, {"after_snapshot", h.AfterSnapshot, maxHookTimeout},
		{"after_stop", h.AfterStop, maxHookTimeout}, {"after_prune", h.AfterPrune, maxHookTimeout},
	} {
		for i, hook := range list.hooks {
			if err := hook.validate(list.limit); err != nil {
				return fmt.Errorf("hooks.%s, entry %d: %w", list.key, i+1, err)
			}
		}
	}
	return nil
}

func (h Hook) validate(limit time.Duration) error {
	if len(h.Argv) == 0 {
		return errors.New("argv is missing; write the program and its arguments as a list: argv: [/usr/local/sbin/flush, web]")
	}
	if err := validateArgv(h.Argv); err != nil {
		return fmt.Errorf("argv: %w", err)
	}
	switch {
	case h.Per != "" && h.Per != "guest" && h.Per != "run":
		return fmt.Errorf("per: %q is not known; write guest or run", h.Per)
	case h.Timeout < 0 || h.Timeout.Std() > limit:
		return fmt.Errorf("timeout: %s; at most %s; for longer work, let the hook start a service (systemd-run)", h.Timeout, Duration(limit))
	}
	return nil
}

func validateArgv(argv []string) error {
	if !filepath.IsAbs(argv[0]) {
		return fmt.Errorf("%q is not an absolute path; the program is started without a shell and without PATH", argv[0])
	}
	if strings.Contains(strings.Join(argv, ""), "\x00") {
		return errors.New("an argument contains a zero byte")
	}
	return nil
}

// checkOwner returns an error if a user other than root and the current user could have written the
// file. A configuration that other users can write must not name programs that run as root.
func checkOwner(path, key string) error {
	if err := files.OnlyRoots(path); err != nil {
		return fmt.Errorf("it has %s to run as root: %w; or remove %s", key, err, key)
	}
	return nil
}
