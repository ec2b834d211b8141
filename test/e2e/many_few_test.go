//go:build e2e && !nightly

package e2e

import "time"

// How many there are of each kind, all of them in one pool; nightly there are many.
const (
	heldDisks        = 1
	heldSnapshots    = 60
	hostileApart     = false
	hostileLeaves    = 10
	hostileNames     = 20
	hostileLong      = 20
	hostileDisks     = 10
	hostileSnapshots = 4 // of each of them
	hostileTime      = time.Minute
)
