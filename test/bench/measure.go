package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// contender is one of the measured ways to do the same work.
type contender struct {
	name string
	// The function `before` prepares each turn, and bench does not measure the preparation. If
	// `before` is nil, a turn needs no preparation.
	before func() error
	run    func() error
	// The field `words` is the command line that the function `run` starts; bench also starts this
	// command line to count its processes. If `words` is nil, the field `processes` has the number
	// of processes that the contender starts.
	words     []string
	processes int

	took []time.Duration
}

// rounds is the number of measured turns of a quick contender; a slow contender has fewer turns.
// Few turns suffice: the machine's clock counts instructions, so a contender takes nearly the same
// time in each turn.
const rounds = 7

// turns returns the contender's number of turns, which depends on its slowest turn so far.
func (c *contender) turns() int {
	if len(c.took) == 0 {
		return rounds
	}
	switch slowest := slices.Max(c.took); {
	case slowest > 5*time.Second:
		return 1
	case slowest > time.Second:
		return 3
	}
	return rounds
}

// race measures all contenders in turns.
func race(contenders []*contender) error {
	for range rounds {
		for _, c := range contenders {
			if len(c.took) >= c.turns() {
				continue
			}
			if c.before != nil {
				if err := c.before(); err != nil {
					return fmt.Errorf("%s: %w", c.name, err)
				}
			}
			began := time.Now()
			if err := c.run(); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			c.took = append(c.took, time.Since(began))
			fmt.Printf("# %s %s\n", c.name, c.took[len(c.took)-1].Round(time.Millisecond))
		}
	}
	return nil
}

func (c *contender) median() time.Duration {
	sorted := slices.Sorted(slices.Values(c.took))
	return sorted[len(sorted)/2]
}

// command returns a contender for the measurement: a program with arguments. The program's exit
// status is its verdict, so a status other than 0 is an error only if the program printed nothing.
func command(name string, words ...string) *contender {
	return &contender{name: name, words: words, run: func() error { return start(words) }}
}

func start(words []string) error {
	var out, said bytes.Buffer
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Stdout, cmd.Stderr = &out, &said
	err := cmd.Run()
	if _, exited := errors.AsType[*exec.ExitError](err); exited && out.Len() > 0 {
		return nil // the exit status is a verdict
	}
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(words, " "), err, said.String())
	}
	return nil
}

// count returns the number of programs that one turn of a contender starts, including the
// contender's own program.
func (c *contender) count() (int, error) {
	if c.words == nil {
		return c.processes, nil
	}
	if c.before != nil {
		if err := c.before(); err != nil {
			return 0, err
		}
	}
	const log = "/tmp/execs"
	if err := start(append([]string{"strace", "-f", "-qq", "-e", "trace=execve", "-o", log}, c.words...)); err != nil {
		return 0, err
	}
	return execs(log)
}

// execs returns the number of started programs in strace's log.
func execs(log string) (int, error) {
	text, err := os.ReadFile(log)
	if err != nil {
		return 0, err
	}
	n := 0
	for line := range strings.Lines(string(text)) {
		// A call that another process interrupts takes two lines in strace's log; its result is in
		// the second line.
		if (strings.Contains(line, "execve(") || strings.Contains(line, "execve resumed")) && strings.Contains(line, "= 0") {
			n++
		}
	}
	return n, nil
}

// table prints the time of each compared program, and this time divided by the time of the first
// program.
func (r *rig) table(disks int, title string, contenders []*contender) error {
	r.say("\n### %s\n\n| | median | against the first | programs started |\n|---|---:|---:|---:|", title)
	floor := contenders[0].median()
	for _, c := range contenders {
		key := fmt.Sprint(disks, " ", c.name)
		n, known := r.counted[key]
		if !known {
			var err error
			if n, err = c.count(); err != nil {
				return err
			}
			r.counted[key] = n
		}
		programs := "-"
		if n > 0 {
			programs = fmt.Sprint(n)
		}
		r.say("| %s | %.3f s | %.2f | %s |", c.name, c.median().Seconds(), float64(c.median())/float64(floor), programs)
	}
	return nil
}
