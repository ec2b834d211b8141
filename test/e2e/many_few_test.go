//go:build e2e && !nightly

package e2e

// How many there are of each kind; nightly there are many.
const (
	heldSnapshots    = 60
	hostileLeaves    = 10
	hostileNames     = 20
	hostileLong      = 20
	hostileDisks     = 10
	hostileSnapshots = 4 // of each of them
	hostileTimeout   = "60s"
)
