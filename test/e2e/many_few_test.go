//go:build e2e && !nightly

package e2e

// How many there are of each kind; nightly there are many.
const (
	heldDisks        = 1
	heldSnapshots    = 60 // of all of them
	hostileSnapshots = 40
	hostileNames     = 20
	hostileLong      = 20
)
