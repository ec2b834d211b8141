package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"snapwatch/checker/format"
)

// statusCmd is `snapwatch status`.
type statusCmd struct {
	filterFlags
	limitFlags
	sourceFlags

	Timeout seconds `short:"t" default:"30s" placeholder:"TIME" help:"Wait for zfs no longer than this (default ${default})."`
	Format  string  `enum:"table,json" default:"table" help:"What to print: table or json."`
	Disks   bool    `help:"A line for each disk instead of each guest."`
	Watch   bool    `help:"At a terminal: show the table again and again, until Ctrl-C."`
	Every   seconds `default:"5s" placeholder:"TIME" help:"With --watch: the time between two tables (default ${default})."`
}

// Help returns the long help text of `snapwatch status`.
func (statusCmd) Help() string {
	return `It prints a line for each guest, the worst first, with the verdicts of check: how many of its
disks are here, how old the newest state is that all of them have, and what is wrong. --disks
prints a line for each disk. So do --pool and --disk, since they may leave out a part of a guest.
It needs no root. Its exit status is 0 whatever the verdicts are: in a monitoring system, use
snapwatch check.

EXAMPLES
  snapwatch status --disks
  snapwatch status --pool tank
  snapwatch status --vmid 100 --watch
  snapwatch status --from http://127.0.0.1:10191  what the exporter read`
}

// Run prints the table once, or with --watch until a signal ends it.
func (c *statusCmd) Run(env *environment) error {
	var stage atomic.Value
	stage.Store("starting")
	if !c.Watch {
		return runReading(time.Duration(c.Timeout), &stage, func(ctx context.Context) error {
			return c.show(ctx, env, &stage, func(text string) string { return text })
		})
	}
	if !env.Terminal {
		return errors.New("--watch needs a terminal; without one, run it from watch(1) or a loop")
	}
	err := runReading(0, &stage, func(ctx context.Context) error { return c.watch(ctx, env, &stage) })
	if _, is := errors.AsType[signalError](err); is {
		return nil // --watch runs until a signal ends it
	}
	return err
}

// watch prints the status table at intervals of c.Every until ctx ends. watch returns the cause of
// the end of ctx.
func (c *statusCmd) watch(ctx context.Context, env *environment, stage *atomic.Value) error {
	again := time.NewTicker(time.Duration(c.Every))
	defer again.Stop()
	for {
		if err := c.show(ctx, env, stage, func(text string) string { return frame(text, env) }); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-again.C:
		}
	}
}

// show reads the disks, and prints the status table or the JSON in one write. Before show prints
// the text, the function `dress` changes the text.
func (c *statusCmd) show(ctx context.Context, env *environment, stage *atomic.Value, dress func(string) string) error {
	begun := time.Now()
	r := query{limitFlags: c.limitFlags, filterFlags: c.filterFlags, sourceFlags: c.sourceFlags, Timeout: time.Duration(c.Timeout)}.find(ctx, env, stage, begun)
	switch {
	case r.err != nil:
		return r.err
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	var text bytes.Buffer
	if c.Format == "json" {
		_ = format.JSON(&text, r.report) // cannot fail: the text goes into memory
	} else {
		table := env.table()
		table.Disks = c.Disks
		_ = table.Write(&text, r.report)
	}
	_, err := env.Stdout.Write([]byte(dress(text.String())))
	return err
}

// frame returns text as the next frame of --watch: with escape sequences that make the terminal
// overwrite the frame before. If frame cleared the terminal first, the terminal would flicker. A
// dumb terminal shows each frame below the frame before.
func frame(text string, env *environment) string {
	if env.dumb() {
		return text + "\n"
	}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if _, height := env.size(); height > 2 && len(lines) > height-1 {
		lines = append(lines[:height-2], "…")
	}
	return "\x1b[H" + strings.Join(lines, "\x1b[K\n") + "\x1b[K\n\x1b[J"
}

// table returns the style of tables for this terminal: its width, and whether to use colours
// (no-color.org).
func (e *environment) table() format.Table {
	if !e.Terminal {
		return format.Table{}
	}
	width, _ := e.size()
	return format.Table{Colour: e.Getenv("NO_COLOR") == "" && !e.dumb(), Width: width}
}

// dumb reports whether the terminal cannot interpret escape sequences.
func (e *environment) dumb() bool { return e.Getenv("TERM") == "dumb" }

// size returns the terminal's size in characters, zero if the size is unknown.
func (e *environment) size() (width, height int) {
	if e.Size == nil {
		return 0, 0
	}
	return e.Size()
}
