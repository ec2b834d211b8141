package main

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"snapwatch/internal/note"
	"snapwatch/internal/quiesce"
)

// watchdogCmd is `snapwatch watchdog`, which snap starts for itself.
type watchdogCmd struct {
	Budget time.Duration `arg:"" help:"For how long guests may be frozen."`
	Guests []string      `arg:"" help:"The guests, as qemu/101."`
}

// Run implements the command. A run that was killed reads nothing any more, and a
// terminal that was closed or a service that is stopped must not end the watchdog before
// all guests go on.
func (c *watchdogCmd) Run(env *environment) error {
	signal.Ignore(syscall.SIGPIPE)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	told := make(chan struct{})
	go func() { <-signals; close(told) }()
	g := quiesce.Watchdog{Host: env.quiesce(), Budget: c.Budget, Told: told}
	for _, text := range c.Guests {
		id, ok := quiesce.ParseID(text)
		if !ok {
			return &exit{2, fmt.Errorf("%q is no guest; write it as qemu/101", text)}
		}
		g.Guests = append(g.Guests, id)
	}
	if err := g.Run(env.Stdin, env.Stdout); err != nil {
		return &exit{1, err}
	}
	return nil
}

// quiesce is how guests of this host are frozen. The watchdog is this very program,
// even where the file was replaced since it was started.
func (e *environment) quiesce() quiesce.Host {
	return quiesce.Local(e.PVE, note.Dir(filepath.Join(e.RunDir, "frozen")), e.Self, e.Now)
}
