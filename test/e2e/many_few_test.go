//go:build e2e && !nightly

package e2e

// The numbers of held snapshots and of hostile objects of each kind; the nightly tests have many.
const (
	heldDisks        = 1
	heldSnapshots    = 60 // on all disks together
	hostileSnapshots = 40
	hostileNames     = 20
	hostileLong      = 20
)
