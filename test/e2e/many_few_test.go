//go:build e2e && !nightly

package e2e

// The constants below are the numbers of objects that the usual tests create: of snapshots with
// holds, and of hostile objects of each kind. The nightly tests create more objects than the usual
// tests.
const (
	heldDisks        = 1
	heldSnapshots    = 60 // on all disks together
	hostileSnapshots = 40
	hostileNames     = 20
	hostileLong      = 20
)
