//go:build e2e && !nightly

package e2e

// How many hostile things there are of each kind; nightly there are many.
const (
	hostileSnapshots = 40
	hostileNames     = 20
	hostileLong      = 20
)
