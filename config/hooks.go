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

// Hooks are programs of the user's that a run starts, as root, by what happens.
type Hooks struct {
	// BeforeSnapshot runs before a living guest's snapshot; where it fails the guest
	// gets none.
	BeforeSnapshot []Hook `yaml:"before_snapshot,omitempty"`
	// AfterSnapshot runs once the snapshot is there, and for each guest whose
	// BeforeSnapshot was started, whatever came of it.
	AfterSnapshot []Hook `yaml:"after_snapshot,omitempty"`
	// AfterStop runs once a guest that stopped has its _stopped snapshot.
	AfterStop []Hook `yaml:"after_stop,omitempty"`
	// AfterPrune runs once prune has destroyed something.
	AfterPrune []Hook `yaml:"after_prune,omitempty"`
}

// Hook is one program to start.
type Hook struct {
	// Argv is the program's absolute path and its words; no shell reads them.
	Argv []string `yaml:"argv"`
	// Per is "guest", as by default, or "run": once for all guests that it is for.
	Per string `yaml:"per,omitempty"`
	// VMID are the guests it is for; none named means all.
	VMID VMIDs `yaml:"vmid,omitempty"`
	// Timeout is when it is killed, 30s by default.
	Timeout Duration `yaml:"timeout,omitempty"`
}

// The longest a hook may take: one that a snapshot waits for, and any other.
const (
	maxBeforeTimeout = 2 * time.Minute
	maxHookTimeout   = 10 * time.Minute
)

// PerRun reports whether the hook is started once for all guests.
func (h Hook) PerRun() bool { return h.Per == "run" }

// For reports whether the hook is for a guest.
func (h Hook) For(vmid int) bool { return len(h.VMID) == 0 || h.VMID.Contains(vmid) }

// Limit is when the hook is killed.
func (h Hook) Limit() time.Duration {
	if h.Timeout == 0 {
		return 30 * time.Second
	}
	return h.Timeout.Std()
}

// Any reports whether there is a hook at all.
func (h Hooks) Any() bool {
	return len(h.BeforeSnapshot)+len(h.AfterSnapshot)+len(h.AfterStop)+len(h.AfterPrune) > 0
}

// Trusted returns why the hook's program is not started: it is missing, cannot be run, or
// somebody else than root, or whoever runs this, could have put it there.
func (h Hook) Trusted() error {
	info, err := os.Stat(h.Argv[0])
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0:
		return fmt.Errorf("%s is no program: chmod +x it", info.Name())
	}
	return files.OnlyRoots(h.Argv[0])
}

// Check tells what is wrong with the programs, as far as that can be seen now.
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
	switch {
	case len(h.Argv) == 0:
		return errors.New("argv is missing; write the program and its words as a list: argv: [/usr/local/sbin/flush, web]")
	case !filepath.IsAbs(h.Argv[0]):
		return fmt.Errorf("argv: %q is no absolute path; no shell and no PATH finds the program", h.Argv[0])
	case strings.Contains(strings.Join(h.Argv, ""), "\x00"):
		return errors.New("argv: a word holds a zero byte")
	case h.Per != "" && h.Per != "guest" && h.Per != "run":
		return fmt.Errorf("per: %q is not known; write guest or run", h.Per)
	case h.Timeout < 0 || h.Timeout.Std() > limit:
		return fmt.Errorf("timeout: %s; at most %s: what takes longer the hook should leave to a service (systemd-run)", h.Timeout, Duration(limit))
	}
	return nil
}

// checkOwner refuses a file that names programs to be run as root, and that somebody
// else could have written.
func checkOwner(path string) error {
	if err := files.OnlyRoots(path); err != nil {
		return fmt.Errorf("it has hooks, which run as root: %w; or take hooks out", err)
	}
	return nil
}
