package run

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"snapwatch/internal/command"
	"snapwatch/internal/report"
	"snapwatch/internal/text"
)

// failed returns an error of one line that says how a hook ended, with the last line that the hook
// printed.
func (c hookCall) failed(err error, lines []string) error {
	text := c.says(err.Error())
	if len(lines) == 0 {
		return errors.New(text)
	}
	return &report.Printed{Err: errors.New(text), All: c.says(fmt.Sprintf("%v: %s", err, lines[len(lines)-1]))}
}

// hookError returns an error that says how a hook ended.
func hookError(err, timeout error, limit time.Duration) error {
	still := ""
	if errors.Is(err, command.ErrStillRunning) {
		still = ", but it is still running: no hook of its guests is started until it has ended"
	}
	if errors.Is(timeout, context.Canceled) {
		return errors.New("killed, because the run was told to end" + still)
	} else if timeout != nil {
		return fmt.Errorf("killed after its time limit (%s)%s", limit, still)
	} else if code := command.ExitCode(err); code >= 0 {
		return fmt.Errorf("exit status %d", code)
	}
	return err
}

// hookLines returns the last lines that a hook printed, shortened and without characters that
// control a terminal. The last lines of a hook are kept because they usually have the reason for
// a failure.
func hookLines(said string) []string {
	var lines []string
	for line := range strings.Lines(said) {
		line = strings.Map(func(c rune) rune {
			if c == unicode.ReplacementChar || !unicode.IsPrint(c) {
				return ' '
			}
			return c
		}, strings.TrimSpace(line))
		if len(line) > maxHookLine {
			line = strings.ToValidUTF8(line[:maxHookLine], "") + "…"
		}
		if line != "" {
			lines = append(lines, line)
		}
	}
	if over := len(lines) - maxHookLines; over > 0 {
		lines = append([]string{fmt.Sprintf("(%s before)", text.Count(over, "line"))}, lines[over:]...)
	}
	return lines
}
