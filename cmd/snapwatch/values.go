package main

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"snapwatch/checker"
	"snapwatch/config"
)

// seconds is a positive length of time. On the command line, the length is a whole number of
// seconds, which is usual for monitoring plugins, or a duration such as 8s.
type seconds time.Duration

// UnmarshalText implements [encoding.TextUnmarshaler].
func (s *seconds) UnmarshalText(text []byte) error {
	n, err := strconv.ParseUint(string(text), 10, 31)
	if err == nil {
		*s = seconds(time.Duration(n) * time.Second)
	} else {
		d, err := config.ParseDuration(string(text))
		if err != nil {
			return fmt.Errorf("%q is neither whole seconds nor a duration such as 8s", text)
		}
		*s = seconds(d)
	}
	if *s <= 0 {
		return fmt.Errorf("%q is not a time greater than 0", text)
	}
	return nil
}

func (s seconds) String() string { return time.Duration(s).String() }

// commands has the command lines of the programs that check started. check -vvv prints these
// command lines.
type commands struct {
	mu    sync.Mutex
	argvs [][]string
}

func (c *commands) add(argv []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.argvs = append(c.argvs, argv)
}

func (c *commands) notes() []checker.Note {
	c.mu.Lock()
	defer c.mu.Unlock()
	var notes []checker.Note
	for _, argv := range c.argvs {
		notes = append(notes, checker.Note{Text: "ran " + strings.Join(argv, " ")})
	}
	return notes
}
