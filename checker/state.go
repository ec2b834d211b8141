package checker

// State is the exit status of a plugin (Monitoring Plugins guidelines).
type State int

// The Nagios states are numbered by the exit status of a plugin.
const (
	OK State = iota
	Warning
	Critical
	Unknown
)

func (s State) String() string {
	switch s {
	case OK:
		return "OK"
	case Warning:
		return "WARNING"
	case Critical:
		return "CRITICAL"
	}
	return "UNKNOWN"
}

// Colour returns the colour in which a state is shown where there is no verdict.
func (s State) Colour() string {
	switch s {
	case OK:
		return "green"
	case Warning:
		return "yellow"
	case Critical:
		return "red"
	}
	return "purple"
}

// severity orders the states for [Worst]. The Monitoring Plugins guidelines define no order of the
// states. For snapwatch, Critical is worse than Unknown, because a known disaster is more urgent,
// and Unknown is worse than Warning.
func (s State) severity() int {
	switch s {
	case OK:
		return 0
	case Warning:
		return 1
	case Critical:
		return 3
	}
	return 2
}

// Worst returns the worst of the states, in the order CRITICAL, UNKNOWN, WARNING, OK. Without
// states Worst returns OK.
func Worst(states ...State) State {
	worst := OK
	for _, s := range states {
		if s.severity() > worst.severity() {
			worst = s
		}
	}
	return worst
}
