//go:build e2e && nightly

package e2e

// How many hostile things there are of each kind.
const (
	hostileSnapshots = 1000
	hostileNames     = 500
	hostileLong      = 300
)
