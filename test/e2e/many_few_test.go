//go:build e2e && !nightly

package e2e

// These constants are the numbers of snapshots with holds, and of hostile objects of each kind,
// that the tests create; the nightly tests create more.
const (
	heldDisks        = 1
	heldSnapshots    = 60 // on all disks together
	hostileSnapshots = 40
	hostileNames     = 20
	hostileLong      = 20
)
