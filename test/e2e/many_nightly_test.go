//go:build e2e && nightly

package e2e

// The numbers of held snapshots and of hostile objects of each kind.
const (
	heldDisks        = 10
	heldSnapshots    = 1000 // on all disks together
	hostileSnapshots = 1000
	hostileNames     = 500
	hostileLong      = 300
)
