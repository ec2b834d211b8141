//go:build e2e && nightly

package e2e

// The number of hostile objects of each kind.
const (
	hostileSnapshots = 1000
	hostileNames     = 500
	hostileLong      = 300
)
