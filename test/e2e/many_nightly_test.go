//go:build e2e && nightly

package e2e

// The constants below are the numbers of objects that the nightly tests create: of snapshots with
// holds, and of hostile objects of each kind.
const (
	heldDisks        = 10
	heldSnapshots    = 1000 // on all disks together
	hostileSnapshots = 1000
	hostileNames     = 500
	hostileLong      = 300
)
