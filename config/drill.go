package config

import (
	"fmt"
	"time"
)

// Drill is the part of the configuration about drills, which prove that the copies of a guest can
// be used.
type Drill struct {
	// Boot has the absolute path of the program that starts a guest from its clones, and the
	// program's arguments. The program is started without a shell. If Boot is empty, no drill starts
	// a guest.
	Boot []string `yaml:"boot,omitempty"`
	// If the program runs for longer than BootTime, it is killed, and the guest counts as one that
	// does not start.
	BootTime Duration `yaml:"boot_time"`
}

func defaultDrill() Drill { return Drill{BootTime: Duration(5 * time.Minute)} }

// Check returns an error if the program in Boot must not be started at present. Check returns nil
// if the program may be started, or if Boot is empty.
func (d Drill) Check() error {
	if len(d.Boot) == 0 {
		return nil
	}
	if err := trusted(d.Boot[0]); err != nil {
		return fmt.Errorf("the program %s of drill.boot cannot be started: %w", d.Boot[0], err)
	}
	return nil
}

func (d Drill) validate(maxDrill Duration) error {
	if len(d.Boot) > 0 {
		if err := validateArgv(d.Boot); err != nil {
			return fmt.Errorf("drill.boot: %w", err)
		}
	}
	if d.BootTime <= 0 || len(d.Boot) > 0 && d.BootTime >= maxDrill {
		return fmt.Errorf("drill.boot_time: %s; write more than 0s and less than limits.max_drill (%s)", d.BootTime, maxDrill)
	}
	return nil
}
