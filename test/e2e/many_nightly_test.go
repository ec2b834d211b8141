//go:build e2e && nightly

package e2e

// How many there are of each kind.
const (
	heldDisks        = 10
	heldSnapshots    = 1000 // of all of them
	hostileSnapshots = 1000
	hostileNames     = 500
	hostileLong      = 300
)
