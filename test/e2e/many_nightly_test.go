//go:build e2e && nightly

package e2e

// How many there are of each kind: 200 000 snapshots of others, 3000 disks of one name, 1000 names
// of 200 characters. Of one dataset there is one snapshot a transaction group.
const (
	heldSnapshots    = 1000
	hostileLeaves    = 50 // of a stream that is received so often
	hostileNames     = 3000
	hostileLong      = 1000
	hostileDisks     = 400
	hostileSnapshots = 500
	hostileTimeout   = "10m"
)
