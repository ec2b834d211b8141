package checker

// State is a plugin's exit status (Monitoring Plugins guidelines).
type State int

// The states, with the exit status each stands for.
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

// Colour is what a state is shown in, where there is no verdict to say more.
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

// severity orders the states for [Worst]. The guidelines give no order; here a
// known disaster comes before ignorance, and ignorance before a hint.
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

// Worst is the worst of the states: CRITICAL, UNKNOWN, WARNING, OK. Of no states
// at all it is OK.
func Worst(states ...State) State {
	worst := OK
	for _, s := range states {
		if s.severity() > worst.severity() {
			worst = s
		}
	}
	return worst
}
