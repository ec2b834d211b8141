//go:build e2e && soak

package e2e

const (
	// frozenKills is the number of runs that a test kills while guests are frozen.
	frozenKills = 50
	// frozenTrials is the number of trials in which a test disturbs frozen guests: each of six
	// kinds of disturbance 20 times.
	frozenTrials = 120
)
