//go:build e2e && !soak

package e2e

const (
	// frozenKills is the number of runs that a test kills while guests are frozen.
	frozenKills = 10
	// frozenTrials is the number of trials in which a test disturbs frozen guests; the kinds of
	// disturbance take turns.
	frozenTrials = 20
)
