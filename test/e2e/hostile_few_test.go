//go:build e2e && !nightly

package e2e

// The number of hostile objects of each kind; the nightly tests have many.
const (
	hostileSnapshots = 40
	hostileNames     = 20
	hostileLong      = 20
)
