//go:build e2e && !nightly

package e2e

import "time"

// These constants are the numbers of snapshots with holds, and of hostile objects of each kind.
// Hostile objects of all kinds are in one pool; the nightly tests create more hostile objects.
const (
	heldDisks        = 1
	heldSnapshots    = 60 // on all disks together
	hostileApart     = false
	hostileLeaves    = 10
	hostileNames     = 20
	hostileLong      = 20
	hostileDisks     = 10
	hostileSnapshots = 4 // of each disk
	hostileTime      = time.Minute
)
