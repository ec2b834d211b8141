//go:build e2e && nightly

package e2e

import (
	"testing"
	"time"

	"snapwatch/test/sim"
)

// TestDayOfANode plays a node's day in the lab and in the model: the work of Proxmox from an
// evening to the next morning, Proxmox's replication, and a run of snap every quarter of an hour.
// After each run, the test compares the pools with the model.
func TestDayOfANode(t *testing.T) {
	usual := *storyTime
	*storyTime = max(usual, 30*time.Minute) // the test is slow while other programs use the processors
	defer func() { *storyTime = usual }()
	setup, plan := sim.LabDay()
	playInLab(t, setup, plan, sim.DayTicks)
}
