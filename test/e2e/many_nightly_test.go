//go:build e2e && nightly

package e2e

// These constants are the numbers of snapshots with holds, and of hostile objects of each kind,
// that the nightly tests create.
const (
	heldDisks        = 10
	heldSnapshots    = 1000 // on all disks together
	hostileSnapshots = 1000
	hostileNames     = 500
	hostileLong      = 300
)
