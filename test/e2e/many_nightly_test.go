//go:build e2e && nightly

package e2e

import "time"

// These constants are the numbers of snapshots with holds, and of hostile objects of each kind: up
// to 200 000 snapshots of other programs, 1000 names of 200 characters, 200 disks of one name.
// Hostile objects of different kinds are in different pools. The fake zfs of cmd/snapwatch plays
// 3000 disks of one name, which the emulated machine cannot create in the time of a test.
const (
	heldDisks        = 10
	heldSnapshots    = 1000 // on all disks together
	hostileApart     = true
	hostileLeaves    = 50 // disks in each received stream
	hostileNames     = 200
	hostileLong      = 1000
	hostileDisks     = 400
	hostileSnapshots = 500 // of each disk
	hostileTime      = 150 * time.Second
)
