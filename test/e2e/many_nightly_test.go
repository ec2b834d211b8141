//go:build e2e && nightly

package e2e

import "time"

// How many there are of each kind, each in a pool of its own: 200 000 snapshots of others, 1000
// names of 200 characters, 3000 disks of one name. Of one dataset there is one snapshot a
// transaction group.
const (
	heldDisks        = 10
	heldSnapshots    = 1000 // on all disks together
	hostileApart     = true
	hostileLeaves    = 50 // of a stream that is received so often
	hostileNames     = 3000
	hostileLong      = 1000
	hostileDisks     = 400
	hostileSnapshots = 500 // of each of them
	hostileTime      = 150 * time.Second
)
