package drill

import "time"

// Boot is the start of a guest from its clones, by a program of the administrator.
type Boot struct {
	// Argv is the program with its arguments. Limit is the time after which it must have ended.
	Argv  []string      `json:"argv"`
	Limit time.Duration `json:"-"`
	// Config is the guest's kept configuration, "" if none is known.
	Config string `json:"-"`
}

// Started is the result of a program that starts a guest.
type Started struct {
	// Tried is false if the program could not start the guest for a reason that says nothing about the
	// copy.
	Tried bool
	// Booted is true if the guest started.
	Booted bool
	// Said is the last line that the program printed.
	Said string
}
