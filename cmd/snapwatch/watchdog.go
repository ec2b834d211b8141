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

// watchdogCmd is `snapwatch watchdog`. Only snap starts the watchdog; a person never types the
// command.
type watchdogCmd struct {
	Budget time.Duration `arg:"" help:"For how long guests may be frozen."`
	Guests []string      `arg:"" help:"The guests, as qemu/101."`
}

// Run implements the command. The watchdog ignores SIGPIPE, because a killed run of snap no longer
// reads the watchdog's output. The watchdog catches all other signals, because a closed terminal or
// a stopped service must not end it before all guests are thawed.
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
			return &exit{2, fmt.Errorf("%q is not a guest; write it as qemu/101", text)}
		}
		g.Guests = append(g.Guests, id)
	}
	if err := g.Run(env.Stdin, env.Stdout); err != nil {
		return &exit{1, err}
	}
	return nil
}

// quiesce returns the Host that freezes guests. quiesce starts the watchdog from the program that
// is running now, even if a new version has replaced the program's file meanwhile.
func (e *environment) quiesce() quiesce.Host {
	return quiesce.Local(e.PVE, note.Dir(filepath.Join(e.RunDir, "frozen")), e.Self, e.Now)
}
